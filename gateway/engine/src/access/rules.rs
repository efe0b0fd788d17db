//! What `[access]` says: who needs a token, what it has to say, and what is granted beside it.

use super::{grant::Grant, grants::Right};
use crate::json::{pointer::Pointer, wanted::Wanted};

/// Roles that are told apart: one bit of a connection each.
pub const ROLES_MAX: usize = 64;

/// Where a token is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `Authorization: Bearer TOKEN`.
    Authorization,
    /// An offered subprotocol `fanwire.token.TOKEN`.
    Subprotocol,
    /// The op `auth`.
    Op,
    /// A cookie of this name.
    Cookie(String),
    /// A parameter of the URL of this name.
    Query(String),
    /// The certificate that a client of TLS has.
    Certificate,
}

/// With a cookie: the URL has to carry the code of one, which no page of another site knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csrf {
    /// Whose code. `None`: the token's.
    pub cookie: Option<String>,
    /// The parameter of the URL.
    pub param: String,
}

/// What a table of the configuration grants.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Granted {
    pub subscribe: Vec<Grant>,
    pub publish: Vec<Grant>,
    pub auto: Vec<Grant>,
    pub interval_ms_min: Option<u64>,
}

impl Granted {
    pub fn of(&self, right: Right) -> &[Grant] {
        match right {
            Right::Subscribe => &self.subscribe,
            Right::Publish => &self.publish,
            Right::Auto => &self.auto,
        }
    }
}

/// What is granted to those whose token says something.
#[derive(Debug, Clone, PartialEq)]
pub struct Role {
    /// All must hold, from the payload of the token.
    pub when: Vec<(Pointer, Wanted)>,
    pub granted: Granted,
}

/// What `[access]` says of tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// `clients = "open"`: all may be read without a token.
    pub is_open: bool,
    /// In the order in which a token is looked for.
    pub from: Vec<Place>,
    pub csrf: Option<Csrf>,
    /// Where grants stand in a token: a JSON pointer.
    pub claim: String,
    /// Empty: not looked at.
    pub issuer: Vec<String>,
    pub audience: Vec<String>,
    pub leeway_us: i64,
    /// `None`: any.
    pub lifetime_max_us: Option<i64>,
    /// What a connection without a token may do. `None`: it is not let in, or may read all.
    pub anonymous: Option<Granted>,
    /// What every token may do besides its own grants.
    pub everyone: Granted,
    /// At most [`ROLES_MAX`].
    pub roles: Vec<Role>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            is_open: true,
            from: vec![Place::Authorization, Place::Subprotocol, Place::Op],
            csrf: None,
            claim: "/fanwire".to_owned(),
            issuer: Vec::new(),
            audience: Vec::new(),
            leeway_us: 30_000_000,
            lifetime_max_us: Some(86_400_000_000),
            anonymous: None,
            everyone: Granted::default(),
            roles: Vec::new(),
        }
    }
}

impl Rules {
    /// Which roles of others a token has that has these: those that ask the same of it. What others ask is not known of it.
    pub fn carried(&self, roles: u64, others: &Self) -> u64 {
        let held = self.roles.iter().enumerate().filter(|(i, _)| roles >> i & 1 == 1);
        let held: Vec<_> = held.map(|(_, role)| &role.when).collect();
        let same = others.roles.iter().enumerate().filter(|(_, role)| held.contains(&&role.when));
        same.fold(0, |roles, (i, _)| roles | 1 << i)
    }

    /// Whether a connection needs a token before it may do anything.
    pub fn wants_token(&self) -> bool {
        !self.is_open && self.anonymous.is_none()
    }
}

#[cfg(test)]
mod tests {
    use crate::access::rules::*;

    #[test]
    fn roles_are_carried_to_those_that_ask_the_same() {
        let rules = |wanted: &[&str]| {
            let role = |text: &&str| {
                let when = (Pointer::parse("/groups").unwrap(), Wanted::Text((*text).into()));
                Role { when: vec![when], granted: Granted::default() }
            };
            Rules { roles: wanted.iter().map(role).collect(), ..Rules::default() }
        };
        let (before, after) = (rules(&["x", "y"]), rules(&["y", "z", "x", "x"]));
        let carried = [0b00, 0b01, 0b10, 0b11].map(|roles| before.carried(roles, &after));
        assert_eq!(carried, [0b0000, 0b1100, 0b0001, 0b1101]);
        assert_eq!(after.carried(0b0010, &before), 0);
    }
}
