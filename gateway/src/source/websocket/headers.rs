//! `headers`: fields that a request shows beside its own.

use engine::topic::name::TOPIC_BYTES_MAX;
use hyper::header::{HeaderName, HeaderValue};
use toml::de::DeValue;

use super::braced::{Braced, Filling, May};
use crate::document::{
    read::{Named, Section},
    write::Text,
};

/// Fields of one request.
const HEADERS_MAX: usize = 32;
/// Those that a handshake or a request has by itself.
const OWN: &[&str] = &[
    "host",
    "connection",
    "upgrade",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "content-length",
    "transfer-encoding",
];

/// Names and values. Values may be secrets.
pub type Headers = Vec<(String, Braced)>;

/// `headers = { Authorization = "Bearer {env:TOKEN}" }`.
pub fn headers(section: &mut Section, may: May<'_>) -> Named<Headers> {
    const HINT: &str = "write names and texts, like { Authorization = \"Bearer {env:FEED_TOKEN}\" }";
    let (unfilled, environment) = (section.unfilled("headers"), section.environment());
    section.read_hidden("headers", Headers::new(), |_| {
        let table = unfilled.as_ref().and_then(DeValue::as_table).ok_or(HINT)?;
        if table.len() > HEADERS_MAX {
            return Err(format!("{} fields; the most is {HEADERS_MAX}", table.len()));
        }
        let header = |(name, value): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let name: &std::borrow::Cow<'_, str> = name.get_ref();
            let is_name = name.len() <= TOPIC_BYTES_MAX && HeaderName::from_bytes(name.as_bytes()).is_ok();
            if !is_name {
                return Err(format!("{name:?} is no name of a header field"));
            }
            if OWN.iter().any(|own| name.eq_ignore_ascii_case(own)) {
                return Err(format!(
                    "{name}: the request has it by itself; leave it out, for Host write host"
                ));
            }
            let text = value.get_ref().as_str().ok_or_else(|| format!("{name}: {HINT}"))?;
            let value = Braced::parse(text, environment)?;
            value.check(may).map_err(|wrong| format!("{name}: {wrong}"))?;
            // The environment is known already.
            check(name, &value.fill(&Filling::default()))?;
            Ok((name.clone().into_owned(), value))
        };
        table.iter().map(header).collect()
    })
}

/// With their values. The error tells none of them.
pub fn filled(headers: &Headers, with: &Filling<'_>) -> Result<Vec<(String, String)>, String> {
    let filled = |(name, value): &(String, Braced)| {
        let value = value.fill(with);
        check(name, &value).map(|()| (name.clone(), value))
    };
    headers.iter().map(filled).collect()
}

/// A line break in a value would begin another header field.
fn check(name: &str, value: &str) -> Result<(), String> {
    let refused = "what it is filled with holds what no header field may hold, as a line break";
    HeaderValue::from_str(value).map(drop).map_err(|_| format!("{name}: {refused}; take it out"))
}

/// Only that there are some.
pub fn write(text: &mut Text, headers: &Headers) {
    if !headers.is_empty() {
        text.plain("# headers", "(secret)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::environment::Environment;

    #[test]
    fn a_value_that_would_begin_another_field_is_refused_and_not_shown() {
        let value = Braced::parse("Bearer {@token/t}", &Environment::default()).unwrap();
        let headers = vec![("Authorization".to_owned(), value)];
        let filled = |token| filled(&headers, &Filling { token: Some(token), ..Filling::default() });
        assert_eq!(filled(r#"{"t":"abc"}"#), Ok(vec![("Authorization".to_owned(), "Bearer abc".to_owned())]));
        for token in [r#"{"t":"abc\r\nX-Admin: 1"}"#, r#"{"t":"abc\nX: 1"}"#, r#"{"t":"abc\u0000"}"#] {
            let error = filled(token).unwrap_err();
            assert!(error.starts_with("Authorization: ") && !error.contains("abc"), "{error}");
        }
    }
}
