//! Which key a request shows, and whether that is enough.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};

use super::reply::refuse;
use crate::admin_key::{AdminKey, Permission, find};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const SCHEME: &[u8] = b"bearer";

/// What a route wants of those who ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    /// Any key: there is nothing to find out here without one.
    AnyKey,
    Key(Permission),
}

/// The key that a request shows, where there are any and the route wants one; else the refusal.
pub fn pass<'k>(
    keys: &'k [AdminKey],
    headers: &HeaderMap,
    needs: Needs,
) -> Result<Option<&'k AdminKey>, Box<Response>> {
    if keys.is_empty() || needs == Needs::Nothing {
        return Ok(None);
    }
    let shown = shown(headers).ok_or_else(|| {
        let reason = "show a key of [[admin.key]]: Authorization: Bearer KEY, or X-API-Key: KEY";
        unauthorized("Bearer", reason)
    })?;
    let key = find(keys, shown).ok_or_else(|| {
        unauthorized(
            "Bearer error=\"invalid_token\"",
            "the key is none of [[admin.key]]; look at what was sent",
        )
    })?;
    match needs {
        Needs::Key(wanted) if !key.may(wanted) => {
            let reason = format!(
                "the key {:?} may not do this; add {:?} to allow of its [[admin.key]]",
                key.name,
                wanted.name()
            );
            Err(refuse(StatusCode::FORBIDDEN, reason).into())
        }
        _ => Ok(Some(key)),
    }
}

/// `Authorization` of another scheme is none.
fn shown(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get_all(header::AUTHORIZATION).iter().find_map(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(SCHEME.len())?;
        let is_bearer = scheme.eq_ignore_ascii_case(SCHEME) && key.first().is_none_or(|byte| *byte == b' ');
        is_bearer.then(|| key.trim_ascii())
    });
    bearer.or_else(|| headers.get(X_API_KEY).map(|value| value.as_bytes().trim_ascii()))
}

fn unauthorized(challenge: &'static str, reason: &str) -> Box<Response> {
    let mut response = refuse(StatusCode::UNAUTHORIZED, reason);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(HeaderName, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_key_comes_as_a_bearer_or_in_a_field_of_its_own() {
        let (authorization, basic) = (header::AUTHORIZATION, "Basic Zm9vOmJhcg==");
        for (fields, expected) in [
            (vec![], None),
            (vec![(authorization.clone(), "Bearer abc")], Some("abc")),
            (vec![(authorization.clone(), "bearer   abc ")], Some("abc")),
            (vec![(authorization.clone(), "BEARER abc")], Some("abc")),
            (vec![(authorization.clone(), "Bearer")], Some("")),
            (vec![(authorization.clone(), "Bearerabc")], None),
            (vec![(authorization.clone(), basic)], None),
            (vec![(X_API_KEY, "abc")], Some("abc")),
            (vec![(authorization.clone(), basic), (X_API_KEY, "abc")], Some("abc")),
            (vec![(X_API_KEY, "abc"), (authorization.clone(), "Bearer def")], Some("def")),
        ] {
            assert_eq!(shown(&headers(&fields)), expected.map(str::as_bytes), "{fields:?}");
        }
    }
}
