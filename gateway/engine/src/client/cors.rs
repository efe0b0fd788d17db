//! What tells a browser that a page of another host may read an answer (WHATWG Fetch, section 3.3). WebSockets do
//! without.

use proto::Request;

use crate::access::rules::{Place, Rules};

/// A field of a head: name and value.
pub type Field<'a> = (&'a str, &'a str);

/// Fields of a request that a page may set beside the usual ones.
const FIELDS: &str = "authorization, last-event-id";
/// Seconds for which a browser need not ask again.
const MAX_AGE_S: &str = "600";

/// For the page of an origin that may connect; without an origin there is nothing to tell.
#[derive(Debug, Default, Clone)]
pub struct Cors {
    origin: Option<Box<str>>,
    /// Cookies count.
    credentials: bool,
}

impl Cors {
    /// Of a request whose origin may connect.
    pub(super) fn of(request: &Request<'_>, rules: &Rules) -> Self {
        let credentials = rules.from.iter().any(|place| matches!(place, Place::Cookie(_)));
        Self { origin: request.header("origin").map(Into::into), credentials }
    }

    /// Of every answer.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        let origin = self.origin.as_deref();
        let credentials = origin.filter(|_| self.credentials);
        [
            origin.map(|origin| ("Access-Control-Allow-Origin", origin)),
            origin.map(|_| ("Vary", "Origin")),
            credentials.map(|_| ("Access-Control-Allow-Credentials", "true")),
        ]
        .into_iter()
        .flatten()
    }

    /// Of the answer to OPTIONS.
    pub(super) fn preflight(&self) -> impl Iterator<Item = Field<'_>> {
        let allowed = [
            ("Access-Control-Allow-Methods", "GET, HEAD"),
            ("Access-Control-Allow-Headers", FIELDS),
            ("Access-Control-Max-Age", MAX_AGE_S),
        ];
        self.fields().chain(allowed.into_iter().filter(|_| self.origin.is_some()))
    }
}
