//! A pattern of the configuration, which names whoever it is for.

use crate::topic::pattern::Pattern;

const SUB: &str = "{sub}";
const CONN: &str = "{conn}";

/// A pattern in which `{sub}` stands for the encoded subject, and `{conn}` for the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant(Box<str>);

/// Whom a grant is for.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// Its subject, encoded as one segment.
    pub sub: Option<&'a str>,
    /// Of the connection.
    pub conn: u64,
}

impl Grant {
    /// The error says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let filled = text.replace(SUB, "x").replace(CONN, "x");
        if filled.contains(['{', '}']) {
            return Err(format!("{text:?}: write only {SUB} or {CONN} in braces"));
        }
        Pattern::parse(&filled).map_err(|bad| format!("{text:?}: {}", bad.reason()))?;
        Ok(Self(text.into()))
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The pattern that it is for somebody. `None`: it gives nothing, as one for a subject where there is none, or one
    /// that would be too long.
    pub fn pattern(&self, who: Who<'_>) -> Option<Pattern> {
        if !self.0.contains('{') {
            return Pattern::parse(&self.0).ok();
        }
        let mut text = self.0.to_string();
        if text.contains(SUB) {
            text = text.replace(SUB, who.sub?);
        }
        if text.contains(CONN) {
            text = text.replace(CONN, &conn_text(who.conn));
        }
        Pattern::parse(&text).ok()
    }
}

/// A connection's id as clients are told it.
pub fn conn_text(conn: u64) -> String {
    format!("{conn:016x}")
}

#[cfg(test)]
mod tests {
    use crate::access::grant::*;

    #[test]
    fn a_grant_is_for_whoever_it_is() {
        let of = |text: &str, sub| {
            let pattern = Grant::parse(text).unwrap().pattern(Who { sub, conn: 7 });
            pattern.map(|pattern| pattern.to_string())
        };
        assert_eq!(of("fx.*", None).as_deref(), Some("fx.*"));
        assert_eq!(of("user.{sub}.*", Some("a@x2Eb")).as_deref(), Some("user.a@x2Eb.*"));
        assert_eq!(of("user.{sub}.*", None), None);
        assert_eq!(of("conn.{conn}", None).as_deref(), Some("conn.0000000000000007"));
        assert_eq!(of("user.{sub}", Some(&"x".repeat(251))), None, "too long");
        for bad in ["", "a.{x}", "a.{sub", "a..b", "a b", "a*"] {
            assert!(Grant::parse(bad).is_err(), "{bad}");
        }
    }
}
