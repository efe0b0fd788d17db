//! Names that come from elsewhere as parts of topics: bytes that no topic may hold are told by their hex digits.

use std::fmt::Write;

use super::name::is_topic_char;

/// Bytes of a subject.
pub const SUB_BYTES_MAX: usize = 128;

/// Of an encoded byte.
const ESCAPE_BYTES: usize = "@xE5".len();

/// A name that is one segment, so that a dot or a slash in it divides nothing.
pub fn segment(name: &str) -> String {
    let mut segment = String::with_capacity(name.len());
    let fits = |c: char| !matches!(c, '.' | '/') && is_topic_char(c);
    encode(&mut segment, name.bytes().map(|byte| (byte, false)), name.len(), fits);
    segment
}

/// Whether a text could be what [`segment`] gives: of a subject of 128 bytes at most.
pub fn is_segment(text: &str) -> bool {
    (1..=SUB_BYTES_MAX * ESCAPE_BYTES).contains(&text.len())
        && text.chars().all(|c| !matches!(c, '.' | '/') && is_topic_char(c))
}

/// Appends bytes, each with whether it is ours and stays as it is; of them `room` at most, which may become more
/// characters. Also encodes the `@` of an `@x` that two upper-case hex digits follow, wherever each of them comes from,
/// or two names could be
/// written alike; unless all are ours.
pub fn encode(
    topic: &mut String,
    raw: impl Iterator<Item = (u8, bool)>,
    room: usize,
    fits: impl Fn(char) -> bool,
) {
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'A'..=b'F');
    // A byte becomes a character at least.
    let raw: Vec<(u8, bool)> = raw.take(room + ESCAPE_BYTES - 1).collect();
    for (i, (byte, is_ours)) in raw.iter().enumerate().take(room) {
        let next = &raw[i..raw.len().min(i + ESCAPE_BYTES)];
        let looks_escaped =
            matches!(next, [(b'@', _), (b'x', _), (high, _), (low, _)] if is_hex(high) && is_hex(low));
        let is_escape = looks_escaped && !next.iter().all(|(_, is_ours)| *is_ours);
        let is_plain = *is_ours || byte.is_ascii() && fits(char::from(*byte));
        if is_plain && !is_escape {
            topic.push(char::from(*byte));
        } else {
            let _ = write!(topic, "@x{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::topic::encoded::*;

    #[test]
    fn subjects_of_identity_providers_become_one_segment() {
        for (subject, encoded) in [
            ("alice", "alice"),
            ("auth0|5f7c", "auth0@x7C5f7c"),
            ("alice@example.com", "alice@example@x2Ecom"),
            ("cn=Alice,ou=desk/fx", "cn@x3DAlice@x2Cou@x3Ddesk@x2Ffx"),
            ("@x2E", "@x40x2E"),
            ("@xe5", "@xe5"),
            ("*", "@x2A"),
            ("å", "@xC3@xA5"),
        ] {
            assert_eq!(segment(subject), encoded, "{subject}");
        }
    }
}
