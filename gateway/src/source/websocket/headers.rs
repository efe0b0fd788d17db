//! `headers`: fields that a request shows beside its own.

use engine::topic::name::TOPIC_BYTES_MAX;
use hyper::header::{HeaderName, HeaderValue};

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
    section.read_hidden("headers", Headers::new(), |value| {
        let table = value.as_table().ok_or(HINT)?;
        if table.len() > HEADERS_MAX {
            return Err(format!("{} fields; the most is {HEADERS_MAX}", table.len()));
        }
        let header = |(name, value): (&toml::Spanned<_>, &toml::Spanned<toml::de::DeValue<'_>>)| {
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
            let is_value = HeaderValue::from_str(text).is_ok();
            if !is_value {
                return Err(format!(
                    "{name}: its value holds what no header field may hold, as a line break"
                ));
            }
            let value = Braced::parse(text)?;
            value.check(may).map_err(|wrong| format!("{name}: {wrong}"))?;
            Ok((name.clone().into_owned(), value))
        };
        table.iter().map(header).collect()
    })
}

/// With their values.
pub fn filled(headers: &Headers, with: &Filling<'_>) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.clone(), value.fill(with))).collect()
}

/// Only that there are some.
pub fn write(text: &mut Text, headers: &Headers) {
    if !headers.is_empty() {
        text.plain("# headers", "(secret)");
    }
}
