//! `[source.token]`: a document that is asked for before each connect, parts of which the url and texts hold.

use std::{fmt, path::Path, sync::Arc};

use super::{
    braced::{Braced, Filling, May},
    headers::{self, Headers},
};
use crate::{
    document::{read::Section, value::json, write::Text},
    fetch::{self, Failed, HttpUrl, Wanted},
    tls,
};
use hyper::Method;

const METHODS: &[&str] = &["GET", "POST"];
/// Of the answer.
const BYTES_MAX: usize = 64 << 10;

#[derive(Clone, PartialEq)]
pub struct Token {
    pub url: HttpUrl,
    method: &'static str,
    pub headers: Headers,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.method, self.url)
    }
}

impl Token {
    /// The answer, which is JSON. The error shows nothing of it.
    pub async fn ask(&self, headers: &[(String, String)], ca: Option<&Path>) -> Result<Arc<str>, Failed> {
        let method = if self.method == "POST" { Method::POST } else { Method::GET };
        let tls = if self.url.is_tls { Some(tls::client::client(ca)?) } else { None };
        let wanted = Wanted { method, headers, ..Wanted::get(&self.url, "application/json", BYTES_MAX) };
        let answer = fetch::within(fetch::PATIENCE, &wanted, tls.as_ref()).await?;
        let text = String::from_utf8(answer).map_err(|_| "its answer is not UTF-8")?;
        match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
            Ok(_) => Ok(text.into()),
            Err(_) => Err("its answer is not JSON".into()),
        }
    }
}

/// Reads `[source.token]` of a source; `None`: there is none, or its problems were reported. And whether there is one.
pub fn token(source: &mut Section, may: May<'_>) -> (Option<Token>, bool) {
    let Some(table) = source.subtable("token", "source.token") else { return (None, false) };
    let mut section = source.open("source.token", table);
    let url = section
        .read("url", None, |value| HttpUrl::parse(value.as_str().ok_or("write text in quotes")?).map(Some));
    let method = section.choice("method", METHODS);
    let headers = headers::headers(&mut section, May { token: false, ..may });
    if url.line.is_none() {
        let text = "url is missing; write whom to ask, like url = \"https://HOST/token\"";
        section.problem(section.line(), text);
    }
    section.finish();
    let token = url.value.map(|url| Token { url, method, headers: headers.value });
    (token, true)
}

pub fn write(text: &mut Text, token: &Token) {
    text.section("[source.token]");
    text.plain("url", json(&token.url.text));
    text.quoted("method", token.method);
    headers::write(text, &token.headers);
}

/// A url that holds parts of the answer, with something in their place.
pub fn sample(url: &Braced) -> String {
    let begins = url.as_str().starts_with('{');
    let rest = url.fill_url(&Filling::default());
    if begins { format!("wss://token{rest}") } else { rest }
}
