//! Where a request for a WebSocket shows its token.

use std::borrow::Cow;

use proto::Request;

use super::{
    bad::Bad,
    rules::{Csrf, Place, Rules},
    verify::Verify,
};
use crate::http::query;

/// What an offered subprotocol begins with that is a token.
const SUBPROTOCOL: &str = "fanwire.token.";

/// What is wrong with how a token is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// 401.
    Token(Bad),
    /// 403: the code beside a cookie is not its own. With the parameter's name.
    Code(String),
}

/// What is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<'a> {
    Token(Cow<'a, str>),
    Certificate,
}

/// The first that is found, in the order of `[access] token_from`. `protocols`: those offered; `verifier`: `None` where
/// tokens are not looked for.
pub fn shown<'a>(
    request: &Request<'a>,
    mut protocols: impl Iterator<Item = &'a str>,
    rules: &Rules,
    verifier: Option<&dyn Verify>,
    has_certificate: bool,
) -> Result<Option<Found<'a>>, Wrong> {
    for place in &rules.from {
        if *place == Place::Certificate && has_certificate {
            return Ok(Some(Found::Certificate));
        }
        let Some(verifier) = verifier else { continue };
        let found = match place {
            Place::Op | Place::Certificate => None,
            Place::Authorization => bearer(request)?.map(Cow::Borrowed),
            Place::Subprotocol => {
                protocols.find_map(|offered| offered.strip_prefix(SUBPROTOCOL)).map(Cow::Borrowed)
            }
            Place::Query(name) => parameter(request, name)?,
            Place::Cookie(name) => match cookie(request, name) {
                Some(token) => {
                    if let Some(csrf) = &rules.csrf {
                        check_code(request, csrf, token, verifier)?;
                    }
                    Some(Cow::Borrowed(token))
                }
                None => None,
            },
        };
        match found {
            Some(token) if token.is_empty() => return Err(Wrong::Token(Bad::Empty)),
            Some(token) => return Ok(Some(Found::Token(token))),
            None => {}
        }
    }
    Ok(None)
}

/// Of the first `Authorization: Bearer`; another scheme is no token.
fn bearer<'a>(request: &Request<'a>) -> Result<Option<&'a str>, Wrong> {
    let mut values = request.header_values("authorization").peekable();
    if values.peek().is_none() && request.has_field(|name| name.eq_ignore_ascii_case("authorization")) {
        return Err(Wrong::Token(Bad::Unreadable));
    }
    Ok(values.find_map(|value| {
        let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }))
}

fn parameter<'a>(request: &Request<'a>, name: &str) -> Result<Option<Cow<'a, str>>, Wrong> {
    let mut pairs = query::pairs(request.query().unwrap_or(""));
    let Some((_, value)) = pairs.find(|(found, _)| found == name) else { return Ok(None) };
    query::decode(value).map(Some).ok_or(Wrong::Token(Bad::Unreadable))
}

/// The first of that name (RFC 6265, section 4.2).
fn cookie<'a>(request: &Request<'a>, name: &str) -> Option<&'a str> {
    let mut pairs = request.header_values("cookie").flat_map(|value| value.split(';'));
    pairs.find_map(|pair| {
        let (found, value) = pair.split_once('=')?;
        (found.trim() == name).then(|| value.trim())
    })
}

fn check_code(request: &Request<'_>, csrf: &Csrf, token: &str, verifier: &dyn Verify) -> Result<(), Wrong> {
    let wrong = || Wrong::Code(csrf.param.clone());
    let cookie = match &csrf.cookie {
        Some(name) => cookie(request, name).ok_or_else(wrong)?,
        None => token,
    };
    let code = parameter(request, &csrf.param).ok().flatten().ok_or_else(wrong)?;
    if verifier.is_code_of(cookie, &code) { Ok(()) } else { Err(wrong()) }
}
