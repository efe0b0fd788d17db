//! Texts that are sent, with braces that are filled first: names, pointers, what `[source.token]` brought, the time,
//! a signature.

use std::{borrow::Cow, fmt};

use engine::json::{
    Node,
    named::is_name,
    pointer::{Pointer, Root},
};
use toml::de::DeValue;

use crate::document::{
    environment::Environment,
    read::{Named, Section},
};

/// What stands before a pointer into the answer of `[source.token]`, and before a variable of the environment.
const TOKEN: &str = "@token";
const ENVIRONMENT: &str = "env:";
const SIGN: &str = "sign";

/// Reads a text of `key`. `check`: what else is to hold of it.
pub fn read(
    section: &mut Section,
    key: &'static str,
    may: May<'_>,
    check: impl FnOnce(&Braced) -> Result<(), String>,
) -> Named<Option<Braced>> {
    let (unfilled, environment) = (section.unfilled(key), section.environment());
    section.read(key, None, |_| {
        let text = unfilled.as_ref().and_then(DeValue::as_str).ok_or("write text in quotes")?;
        let text = Braced::parse(text, environment)?;
        text.check(may)?;
        check(&text)?;
        Ok(Some(text))
    })
}

/// A text with braces. It may hold secrets, so nothing of it is shown.
#[derive(Clone, PartialEq)]
pub struct Braced {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq)]
enum Part {
    Text(String),
    /// Of a variable of the environment.
    Secret(String),
    Name(String),
    /// Into a message.
    Value(Pointer),
    /// Into the token's answer.
    Token(Pointer),
    Time(Unit),
    Sign,
}

/// Of the time since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Second,
    Millisecond,
    Microsecond,
}

impl Unit {
    const ALL: [(&str, Unit); 3] =
        [("time_s", Unit::Second), ("time_ms", Unit::Millisecond), ("time_us", Unit::Microsecond)];

    fn of(self, us: i64) -> i64 {
        match self {
            Unit::Second => us / 1_000_000,
            Unit::Millisecond => us / 1_000,
            Unit::Microsecond => us,
        }
    }
}

/// What may stand in the braces of a text, beside the time.
#[derive(Debug, Clone, Copy, Default)]
pub struct May<'a> {
    pub names: &'a [&'a str],
    pub values: bool,
    pub token: bool,
    pub sign: bool,
}

/// Gives the JSON to which a pointer leads.
pub type Lookup<'f> = dyn Fn(&Pointer) -> Option<String> + 'f;

/// What braces are filled with. What is not there is nothing.
#[derive(Clone, Copy, Default)]
pub struct Filling<'f> {
    pub names: &'f [(&'f str, &'f str)],
    /// Into the message.
    pub value: Option<&'f Lookup<'f>>,
    /// The answer of `[source.token]`.
    pub token: Option<&'f str>,
    /// What comes from the environment is not to be shown.
    pub hides_secrets: bool,
    /// Microseconds since the Unix epoch.
    pub now_us: i64,
    /// A signature, by that time.
    pub sign: Option<&'f dyn Fn(i64) -> String>,
}

impl Braced {
    /// The error says what to write instead. Of a variable that is not set, whoever reads the file tells.
    pub fn parse(text: &str, environment: &Environment) -> Result<Self, String> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find('{') {
            let begun = &rest[at + 1..];
            let inner = begun.find(['}', '{', '"']).filter(|end| begun[*end..].starts_with('}'));
            let part = inner.map(|end| part(&begun[..end], environment)).transpose()?.flatten();
            let taken = match (&part, inner) {
                (Some(_), Some(end)) => end + 2,
                _ => 1,
            };
            plain.push_str(&rest[..at]);
            match part {
                Some(part) => {
                    push_text(&mut parts, &mut plain);
                    parts.push(part);
                }
                None => plain.push('{'),
            }
            rest = &rest[at + taken..];
        }
        plain.push_str(rest);
        push_text(&mut parts, &mut plain);
        Ok(Self { text: text.to_owned(), parts })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Nothing has to be filled in.
    pub fn is_plain(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_) | Part::Secret(_)))
    }

    pub fn has_name(&self, name: &str) -> bool {
        self.names().any(|other| other == name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| if let Part::Name(name) = part { Some(&**name) } else { None })
    }

    pub fn has_values(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Value(_)))
    }

    pub fn has_token(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Token(_)))
    }

    /// The error says what to write instead.
    pub fn check(&self, may: May<'_>) -> Result<(), String> {
        for part in &self.parts {
            match part {
                Part::Name(name) if !may.names.contains(&&**name) => {
                    let names = may.names.iter().map(|name| format!("{{{name}}}, ")).collect::<String>();
                    return Err(format!(
                        "{{{name}}} stands for nothing; there are {names}{{time_s}}, {{time_ms}} and {{time_us}}"
                    ));
                }
                Part::Value(pointer) if !may.values => {
                    return Err(format!("{{{}}}: there is no message to take it from", pointer.as_str()));
                }
                Part::Value(pointer) if pointer.root == Root::Remembered => {
                    return Err(format!("{{{}}}: what was remembered cannot stand here", pointer.as_str()));
                }
                Part::Token(pointer) if !may.token => {
                    return Err(format!(
                        "{{@token{}}}: there is no [source.token] to ask first",
                        pointer.as_str()
                    ));
                }
                Part::Sign if !may.sign => {
                    return Err("{sign}: there is no [source.sign] that says how to sign".to_owned());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A text to be sent. Within quotes of a JSON text values are escaped; outside of them they stand as JSON.
    pub fn fill(&self, with: &Filling<'_>) -> String {
        let is_json = self.text.trim_start().starts_with(['{', '[']);
        let mut out = String::with_capacity(self.text.len() + 32);
        let mut quoted = false;
        for part in &self.parts {
            match part {
                Part::Text(text) => {
                    quoted ^= is_json && quotes(text) % 2 == 1;
                    out.push_str(text);
                }
                Part::Value(pointer) => {
                    let json = with.value.and_then(|value| value(pointer)).unwrap_or_default();
                    let escaped = json.strip_prefix('"').and_then(|json| json.strip_suffix('"'));
                    match escaped {
                        Some(escaped) if quoted => out.push_str(escaped),
                        Some(_) if !is_json => out.push_str(&scalar(&json)),
                        _ => out.push_str(&json),
                    }
                }
                part => {
                    let text = plain_value(part, with);
                    match is_json && quoted {
                        true => {
                            let json = serde_json::Value::from(&*text).to_string();
                            out.push_str(&json[1..json.len() - 1]);
                        }
                        false => out.push_str(&text),
                    }
                }
            }
        }
        out
    }

    /// An address. What stands at its beginning is taken as it is, everything else is percent-encoded.
    pub fn fill_url(&self, with: &Filling<'_>) -> String {
        let mut out = String::with_capacity(self.text.len() + 32);
        for part in &self.parts {
            let text = match part {
                Part::Text(text) => {
                    out.push_str(text);
                    continue;
                }
                // It may be of several parts of the address.
                Part::Secret(_) => {
                    out.push_str(&plain_value(part, with));
                    continue;
                }
                Part::Value(pointer) => {
                    Cow::Owned(scalar(&with.value.and_then(|value| value(pointer)).unwrap_or_default()))
                }
                part => plain_value(part, with),
            };
            match out.is_empty() {
                true => out.push_str(&text),
                false => push_encoded(&mut out, &text),
            }
        }
        out
    }
}

/// What stands in braces; `None`: it is text.
fn part(inner: &str, environment: &Environment) -> Result<Option<Part>, String> {
    if let Some(name) = inner.strip_prefix(ENVIRONMENT) {
        return Ok(Some(Part::Secret(environment.get(name).unwrap_or_default().to_owned())));
    }
    if let Some(path) = inner.strip_prefix(TOKEN) {
        return Pointer::parse(path).map(|pointer| Some(Part::Token(pointer)));
    }
    if let Some((_, unit)) = Unit::ALL.iter().find(|(name, _)| *name == inner) {
        return Ok(Some(Part::Time(*unit)));
    }
    Ok(match inner {
        SIGN => Some(Part::Sign),
        name if is_name(name) => Some(Part::Name(name.to_owned())),
        pointer if pointer.starts_with(['/', '^', '@']) => Some(Part::Value(Pointer::parse(pointer)?)),
        _ => None,
    })
}

fn push_text(parts: &mut Vec<Part>, plain: &mut String) {
    if !plain.is_empty() {
        parts.push(Part::Text(std::mem::take(plain)));
    }
}

/// Of anything but a text and a pointer into the message.
fn plain_value<'f>(part: &Part, with: &Filling<'f>) -> Cow<'f, str> {
    match part {
        Part::Name(name) => {
            let found = with.names.iter().find(|(other, _)| other == name);
            found.map_or(Cow::Borrowed(""), |(_, text)| Cow::Borrowed(*text))
        }
        Part::Token(pointer) => {
            let node = with.token.and_then(|token| Node::parse(token.as_bytes()).ok());
            let text = node.and_then(|node| node.find(&pointer.steps)?.scalar().map(Cow::into_owned));
            text.unwrap_or_default().into()
        }
        Part::Time(unit) => unit.of(with.now_us).to_string().into(),
        Part::Secret(_) if with.hides_secrets => Cow::Borrowed("(secret)"),
        Part::Secret(secret) => Cow::Owned(secret.clone()),
        Part::Sign => with.sign.map_or(String::new(), |sign| sign(with.now_us)).into(),
        Part::Text(_) | Part::Value(_) => Cow::Borrowed(""),
    }
}

/// A JSON string without quotes and escapes; anything else as it is.
fn scalar(json: &str) -> String {
    serde_json::from_str(json).unwrap_or_else(|_| json.to_owned())
}

/// Quotes that begin or end a JSON string.
fn quotes(text: &str) -> usize {
    let (mut count, mut escaped) = (0, false);
    for byte in text.bytes() {
        match byte {
            b'\\' => escaped = !escaped,
            b'"' if !escaped => count += 1,
            _ => escaped = false,
        }
    }
    count
}

/// RFC 3986: what a path segment may hold, without what divides a query.
fn push_encoded(out: &mut String, text: &str) {
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~!$'()*,;=:@".contains(&byte);
        match is_plain {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

impl fmt::Debug for Braced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn braced(text: &str) -> Braced {
        let environment = [("KEY", r#"a"b{time_s}\"#)].into_iter().collect();
        Braced::parse(text, &environment).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn filled(text: &str) -> String {
        let message = Node::parse(br#"{"n":7,"s":"a\"b","o":{"x":[1]}}"#).unwrap();
        let value = |pointer: &Pointer| Some(message.find(&pointer.steps)?.text().to_owned());
        let sign = |now_us: i64| format!("<{now_us}>");
        braced(text).fill(&Filling {
            names: &[("symbol", "btc\"usd")],
            value: Some(&value),
            token: Some(r#"{"data":{"token":"t/1"},"q":"\"q\""}"#),
            now_us: 1_700_000_000_123_456,
            sign: Some(&sign),
            ..Filling::default()
        })
    }

    #[test]
    fn braces_of_json_are_text_and_those_with_something_in_them_are_filled() {
        for (text, expected) in [
            (r#"{"op":"sub","args":[{"s":"{symbol}"}]}"#, r#"{"op":"sub","args":[{"s":"btc\"usd"}]}"#),
            (r#"{"pong":{/n}}"#, r#"{"pong":7}"#),
            (r#"{"pong":{/s},"q":"{/s}"}"#, r#"{"pong":"a\"b","q":"a\"b"}"#),
            (r#"{"o":{/o}}"#, r#"{"o":{"x":[1]}}"#),
            ("pong {/s}", "pong a\"b"),
            ("{@token/data/token}", "t/1"),
            ("{@token/none}", ""),
            (r#"{"a":"{@token/q}"}"#, r#"{"a":"\"q\""}"#),
            (
                r#"{"t":{time_s},"m":{time_ms},"u":{time_us}}"#,
                r#"{"t":1700000000,"m":1700000000123,"u":1700000000123456}"#,
            ),
            (r#"{"key":"{env:KEY}"}"#, r#"{"key":"a\"b{time_s}\\"}"#),
            ("key {env:KEY}", r#"key a"b{time_s}\"#),
            ("{sign}", "<1700000000123456>"),
            ("{} {a b} {\"x\"} {", "{} {a b} {\"x\"} {"),
            ("", ""),
        ] {
            assert_eq!(filled(text), expected, "{text}");
        }
    }

    #[test]
    fn an_address_is_percent_encoded_where_it_is_filled() {
        let with = |token| Filling { names: &[("symbol", "币/A&b_c-d:e")], token, ..Filling::default() };
        assert_eq!(
            braced("https://h/a/{symbol}?s={symbol}").fill_url(&with(None)),
            "https://h/a/%E5%B8%81%2FA%26b_c-d:e?s=%E5%B8%81%2FA%26b_c-d:e"
        );
        assert_eq!(braced("https://h/?k={env:KEY}").fill_url(&with(None)), r#"https://h/?k=a"b{time_s}\"#);
        let token = Some(r#"{"url":"wss://h:1/a?b=1","t":"x+y=="}"#);
        assert_eq!(braced("{@token/url}&t={@token/t}").fill_url(&with(token)), "wss://h:1/a?b=1&t=x%2By==");
    }

    #[test]
    fn what_may_not_stand_there_is_told() {
        let wrong = |text: &str, may: May<'_>| braced(text).check(may).unwrap_err();
        assert!(
            wrong("{simbol}", May { names: &["symbol"], ..May::default() })
                .contains("there are {symbol}, {time_s}")
        );
        assert!(wrong("{/a}", May::default()).contains("no message"));
        assert!(wrong("{@/a}", May { values: true, ..May::default() }).contains("remembered"));
        assert!(wrong("{@token/a}", May::default()).contains("[source.token]"));
        assert!(wrong("{sign}", May::default()).contains("[source.sign]"));
        assert!(
            ["{@tokena}", "{/a~}"].iter().all(|text| Braced::parse(text, &Environment::default()).is_err())
        );
        assert_eq!(format!("{:?}", braced("secret")), "(6 bytes)");
        let hidden = Filling { hides_secrets: true, ..Filling::default() };
        assert_eq!(braced(r#"{"key":"{env:KEY}"}"#).fill(&hidden), r#"{"key":"(secret)"}"#);
    }
}
