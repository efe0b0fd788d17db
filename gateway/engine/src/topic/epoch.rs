//! The epoch: which count of positions a position belongs to.

use std::fmt;

/// Positions compare within one epoch only. In text 16 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

/// Of a random number, for a new one.
impl From<u64> for Epoch {
    fn from(random: u64) -> Self {
        Self(random)
    }
}

impl Epoch {
    const DIGITS: usize = 16;

    /// `None`: `text` is not 16 lower-case hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != Self::DIGITS || !text.bytes().all(is_digit) {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_16_lower_case_hex_digits_and_keeps_its_text() {
        for text in ["0000000000000000", "00000000000000ff", "8f0c2a77d1e94b02", "ffffffffffffffff"] {
            assert_eq!(Epoch::parse(text).unwrap().to_string(), text);
        }
        for other in [
            "",
            "8f0c2a77d1e94b0",
            "8f0c2a77d1e94b022",
            "8F0C2A77D1E94B02",
            "+f0c2a77d1e94b02",
            "8f0c2a77d1e94b0 ",
        ] {
            assert_eq!(Epoch::parse(other), None, "{other}");
        }
        assert_eq!(Epoch::from(255), Epoch::parse("00000000000000ff").unwrap());
    }
}
