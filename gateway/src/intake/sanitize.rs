//! HTML in texts, cleaned to a few harmless tags.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use ammonia::{Builder, UrlRelative};
use engine::json::{members::Members, pointer::Pointer};
use serde_json::value::RawValue;

/// Tags of a message: what a text is emphasised, quoted and listed with, and links.
const TAGS: [&str; 19] = [
    "a",
    "b",
    "blockquote",
    "br",
    "code",
    "del",
    "em",
    "i",
    "li",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "strong",
    "sub",
    "sup",
    "u",
    "ul",
];
const SCHEMES: [&str; 3] = ["http", "https", "mailto"];

static CLEANER: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut cleaner = Builder::empty();
    cleaner
        .tags(HashSet::from(TAGS))
        .tag_attributes(HashMap::from([("a", HashSet::from(["href"]))]))
        .url_schemes(HashSet::from(SCHEMES))
        .url_relative(UrlRelative::PassThrough)
        .clean_content_tags(HashSet::from(["script", "style"]))
        .link_rel(Some("noopener noreferrer nofollow"));
    cleaner
});

/// The value with the texts at `pointers` cleaned; every other byte is as it was, and so is a text that is clean.
/// Where a pointer leads to no text nothing happens.
pub fn clean<'a>(json: &'a str, pointers: &[Pointer]) -> Result<Cow<'a, str>, String> {
    let mut texts = Vec::new();
    for pointer in pointers {
        find(json, &pointer.steps, &mut texts).map_err(|e| format!("cannot be read: {e}"))?;
    }
    // Of one text that two pointers lead to there is one place.
    texts.sort_unstable_by_key(|text| text.as_ptr());
    texts.dedup_by_key(|text| text.as_ptr());
    let (mut out, mut from) = (String::new(), 0);
    for text in texts {
        let cleaned = cleaned(text).map_err(|e| format!("has a text that cannot be read: {e}"))?;
        if let Some(cleaned) = cleaned {
            let at = text.as_ptr().addr() - json.as_ptr().addr();
            out.push_str(&json[from..at]);
            out.push_str(&cleaned);
            from = at + text.len();
        }
    }
    if from == 0 {
        return Ok(json.into());
    }
    out.push_str(&json[from..]);
    Ok(out.into())
}

/// The texts that a pointer leads to, with their quotes. A key that an object has twice leads to both, since readers
/// differ in which counts.
fn find<'a>(json: &'a str, steps: &[String], texts: &mut Vec<&'a str>) -> serde_json::Result<()> {
    let json = json.trim_ascii();
    match (json.as_bytes().first(), steps) {
        (Some(b'"'), []) => texts.push(json),
        (Some(b'{'), [step, below @ ..]) => {
            for (key, value) in serde_json::from_str::<Members>(json)?.0 {
                if key == *step {
                    find(value.get(), below, texts)?;
                }
            }
        }
        (Some(b'['), [step, below @ ..]) => {
            let elements: Vec<&RawValue> = serde_json::from_str(json)?;
            if let Some(element) = step.parse().ok().and_then(|at: usize| elements.get(at)) {
                find(element.get(), below, texts)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// A JSON string as it is once it was cleaned. `None`: it is clean. One with half a surrogate pair, which browsers take,
/// cannot be read.
fn cleaned(json: &str) -> serde_json::Result<Option<String>> {
    let text: String = serde_json::from_str(json)?;
    let cleaned = CLEANER.clean(&text).to_string();
    Ok((cleaned != text).then(|| serde_json::to_string(&cleaned).expect("a text is always JSON")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned_at(json: &str, pointers: &[&str]) -> String {
        let pointers: Vec<Pointer> = pointers.iter().map(|text| Pointer::parse(text).unwrap()).collect();
        clean(json, &pointers).unwrap().into_owned()
    }

    #[test]
    fn only_the_texts_named_change_and_every_other_byte_stays() {
        let json = r#" { "content" : "<b>hi</b><script>x()</script>" , "other":"<script>", "n": 1.0e0, "content2":"<i onclick=1>" } "#;
        assert_eq!(
            cleaned_at(json, &["/content"]),
            r#" { "content" : "<b>hi</b>" , "other":"<script>", "n": 1.0e0, "content2":"<i onclick=1>" } "#
        );
        assert_eq!(
            cleaned_at(json, &["/content2", "/content", "/content", "/n", "/none"]),
            r#" { "content" : "<b>hi</b>" , "other":"<script>", "n": 1.0e0, "content2":"<i></i>" } "#
        );
    }

    #[test]
    fn a_clean_text_stays_as_it_was_written() {
        for json in [
            r#"{"content":"\u0061\/b \u00e9 <b>x<\/b>"}"#,
            r#"{"content":""}"#,
            r#"{"content":7}"#,
            "[]",
            "null",
        ] {
            assert_eq!(cleaned_at(json, &["/content"]), json);
        }
    }

    #[test]
    fn a_pointer_leads_through_objects_and_arrays_and_to_the_value_itself() {
        assert_eq!(cleaned_at(r#"{"a":[0,{"b":"<x>t"}]}"#, &["/a/1/b"]), r#"{"a":[0,{"b":"t"}]}"#);
        assert_eq!(cleaned_at(r#""<x>t""#, &[""]), r#""t""#);
        assert_eq!(cleaned_at(r#"{"a/b":"<x>t"}"#, &["/a~1b"]), r#"{"a/b":"t"}"#);
    }

    #[test]
    fn no_spelling_of_a_key_or_a_text_gets_past() {
        let twice = r#"{"content":"ok","\u0063ontent":"\u003cscript>x\u003c/script>y"}"#;
        assert_eq!(cleaned_at(twice, &["/content"]), r#"{"content":"ok","\u0063ontent":"y"}"#);
        let pointer = Pointer::parse("/content").unwrap();
        for half in
            [r#"{"content":"\ud800<script>x</script>"}"#, r#"{"\ud800":1,"content":"<script>x</script>"}"#]
        {
            assert!(clean(half, std::slice::from_ref(&pointer)).is_err(), "{half}");
        }
    }

    #[test]
    fn what_runs_or_loads_goes_and_what_marks_up_stays() {
        let clean = |html: &str| {
            let json = serde_json::to_string(html).unwrap();
            serde_json::from_str::<String>(&cleaned_at(&json, &[""])).unwrap()
        };
        assert_eq!(clean("<p>a <em>b</em><br>c</p>"), "<p>a <em>b</em><br>c</p>");
        assert_eq!(clean("<img src=x onerror=alert(1)>"), "");
        assert_eq!(
            clean("<a href='javascript:alert(1)'>x</a>"),
            "<a rel=\"noopener noreferrer nofollow\">x</a>"
        );
        assert_eq!(
            clean("<a href='https://example.com/' onclick=x style='y'>x</a>"),
            "<a href=\"https://example.com/\" rel=\"noopener noreferrer nofollow\">x</a>"
        );
        assert_eq!(clean("<svg><style><img src=x onerror=alert(1)></style></svg>"), "");
        assert_eq!(clean("a < b & c"), "a &lt; b &amp; c");
        assert_eq!(clean("<!-- c --><iframe src=x></iframe>t"), "t");
    }
}
