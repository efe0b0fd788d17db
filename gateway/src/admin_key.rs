//! Keys of the admin listener: what those who show one may do.

use std::fmt::{self, Debug, Display, Formatter};

use engine::topic::pattern::Pattern;
use ring::{
    digest,
    rand::{SecureRandom, SystemRandom},
};
use subtle::ConstantTimeEq;

/// What keys begin with, so that a secret that leaked is found.
const PREFIX: &str = "fw_";
/// Random bytes of a key.
const RANDOM_BYTES: usize = 24;
/// A shorter one could be guessed.
pub const KEY_BYTES_MIN: usize = 16;

/// What a route may want of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// To write topics and what is said of them.
    Publish,
    Metrics,
    /// To look at topics and statuses.
    Read,
    /// Everything.
    Admin,
}

impl Permission {
    pub const NAMES: [&str; 4] = ["publish", "metrics", "read", "admin"];
    const ALL: [Self; 4] = [Self::Publish, Self::Metrics, Self::Read, Self::Admin];

    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.name() == name)
    }
}

/// The SHA-256 of a key, in place of the key itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of(key: &[u8]) -> Self {
        let digest = digest::digest(&digest::SHA256, key);
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }

    /// Of 64 hexadecimal digits.
    pub fn parse(hex: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if hex.len() != 2 * bytes.len() {
            return None;
        }
        for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            *byte = (digit(digits[0])? * 16 + digit(digits[1])?) as u8;
        }
        Some(Self(bytes))
    }

    /// How long it takes does not depend on where they differ.
    fn is(&self, other: &Self) -> bool {
        self.0[..].ct_eq(&other.0[..]).into()
    }
}

impl Display for Digest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Debug for Digest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

/// A key as a configuration has it.
#[derive(Debug, Clone, PartialEq)]
pub struct AdminKey {
    /// What logs and refusals call it.
    pub name: String,
    pub digest: Digest,
    pub allow: Vec<Permission>,
    /// What it may write; never empty.
    pub topics: Vec<Pattern>,
}

impl AdminKey {
    pub fn may(&self, wanted: Permission) -> bool {
        self.allow.iter().any(|allowed| [wanted, Permission::Admin].contains(allowed))
    }

    pub fn writes(&self, topic: &str) -> bool {
        self.topics.iter().any(|pattern| pattern.matches(topic))
    }

    /// Whether it may write all topics of a pattern.
    pub fn writes_all(&self, wanted: &Pattern) -> bool {
        self.topics.iter().any(|pattern| pattern.covers(wanted))
    }

    /// Why it may not write a topic, or topics of a pattern.
    pub fn denied(&self, topics: &str) -> String {
        format!("the key {:?} may not write {topics}; name it in topics of its [[admin.key]]", self.name)
    }
}

/// The one of `keys` that was shown. Each is looked at, whichever it is.
pub fn find<'k>(keys: &'k [AdminKey], shown: &[u8]) -> Option<&'k AdminKey> {
    let shown = Digest::of(shown);
    keys.iter().fold(None, |found, key| if key.digest.is(&shown) { Some(key) } else { found })
}

/// A new random key.
///
/// # Panics
/// Where the operating system has no random bytes.
pub fn generate() -> String {
    let mut random = [0; RANDOM_BYTES];
    SystemRandom::new().fill(&mut random).expect("the operating system has random bytes");
    random.iter().fold(PREFIX.to_owned(), |key, byte| format!("{key}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, allow: &[Permission], topics: &[&str]) -> AdminKey {
        let topics = topics.iter().map(|topic| Pattern::parse(topic).unwrap()).collect();
        AdminKey { name: name.to_owned(), digest: Digest::of(name.as_bytes()), allow: allow.to_vec(), topics }
    }

    #[test]
    fn a_digest_is_sha_256_as_others_print_it() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), known);
        assert_eq!(Digest::parse(known), Some(Digest::of(b"abc")));
        assert_eq!(Digest::parse(&known.to_uppercase()), Some(Digest::of(b"abc")));
        for bad in ["", &known[1..], &format!("{known}0"), &known.replace('f', "g"), &"é".repeat(32)] {
            assert_eq!(Digest::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn keys_are_long_and_never_the_same() {
        let (one, other) = (generate(), generate());
        assert!(one.starts_with(PREFIX) && one.len() == PREFIX.len() + 2 * RANDOM_BYTES, "{one}");
        assert_ne!(one, other);
    }

    #[test]
    fn the_key_that_was_shown_is_found_wherever_it_stands() {
        let keys = ["a", "b", "c"].map(|name| key(name, &[], &["*"]));
        for name in ["a", "b", "c"] {
            assert_eq!(find(&keys, name.as_bytes()).unwrap().name, name);
        }
        assert_eq!(find(&keys, b"d"), None);
        assert_eq!(find(&[], b"a"), None);
    }

    #[test]
    fn admin_may_everything_and_the_others_only_what_they_are_allowed() {
        use Permission::*;
        for allowed in Permission::ALL {
            for wanted in Permission::ALL {
                let may = key("a", &[allowed], &["*"]).may(wanted);
                assert_eq!(may, allowed == wanted || allowed == Admin, "{allowed:?} {wanted:?}");
            }
        }
        let both = key("a", &[Publish, Metrics], &["desk.*"]);
        assert!(both.may(Publish) && both.may(Metrics) && !both.may(Read));
        assert!(both.writes("desk.a.b") && !both.writes("desk") && !both.writes("other"));
        let all = |pattern: &str| both.writes_all(&Pattern::parse(pattern).unwrap());
        assert!(all("desk.*") && all("desk.a") && all("desk.*.x") && !all("*") && !all("other.*"));
    }
}
