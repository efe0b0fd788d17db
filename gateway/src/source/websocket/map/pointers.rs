//! Pointers of an entry, and where they may begin.

use engine::json::pointer::Pointer;
use toml::de::DeValue;

use crate::document::read::{Named, Section};

pub fn pointer(section: &mut Section, key: &'static str) -> Named<Option<Pointer>> {
    section.read(key, None, |value| Pointer::parse(&text(value)?).map(Some))
}

pub fn text(value: DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.into_owned()),
        _ => Err("write text in quotes".to_owned()),
    }
}

/// Where a pointer may begin at the whole message: `labels` with `each`, `content` never. Each has its line.
pub fn check_carets(
    section: &mut Section,
    each: &Named<Option<Pointer>>,
    labels: &[(usize, Pointer)],
    content: &[(usize, Pointer)],
) {
    if let (Some(line), Some(true)) = (each.line, each.value.as_ref().map(|p| p.whole)) {
        section.problem(line, "each begins at the message anyway; leave out the ^");
    }
    let whole = |pointers: &[(usize, Pointer)]| pointers.iter().find(|(_, pointer)| pointer.whole).cloned();
    match (each.line, whole(labels), whole(content)) {
        (Some(_), _, Some((line, pointer))) => {
            let text = format!(
                "{pointer:?} would be published once for every element of each; begin at the element, without the ^"
            );
            section.problem(line, text);
        }
        (None, Some((line, pointer)), _) | (None, _, Some((line, pointer))) => {
            let plain = &pointer.as_str()[1..];
            let text = format!("{pointer:?}: ^ leads out of `each`, of which there is none; write {plain:?}");
            section.problem(line, text);
        }
        _ => {}
    }
}
