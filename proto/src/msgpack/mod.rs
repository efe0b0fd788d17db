//! JSON as MessagePack and back, value for value and number for number.
//!
//! An integer of 64 bits goes as an integer. Another number from 0.0001 to below 10¹⁶ goes as a 64-bit float
//! where it is written with the fewest digits that tell that float, a point among them and no `.0` at the end;
//! any other as extension type 1 that holds the text: `1.50`, `1.0`, `1e2` and a number of 30 digits come back
//! as they were written. White space between tokens is not kept.
//!
//! ```
//! let mut packed = Vec::new();
//! proto::msgpack::from_json(br#"{"a": [1, 1.50, "x"]}"#, &mut packed).unwrap();
//! assert_eq!(packed, b"\x81\xa1a\x93\x01\xd6\x011.50\xa1x");
//! let mut json = Vec::new();
//! proto::msgpack::to_json(&packed, &mut json).unwrap();
//! assert_eq!(json, br#"{"a":[1,1.50,"x"]}"#);
//! ```

mod decode;
mod encode;

use thiserror::Error;

pub use decode::to_json;
pub use encode::{begin_array, from_json};

/// Of a number as text.
pub const NUMBER: i8 = 1;

/// Arrays and maps within each other.
const DEPTH_MAX: usize = 128;

/// Why something is not the one or the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// Not JSON (RFC 8259).
    #[error("not JSON")]
    NotJson,
    /// MessagePack with more than 128 arrays and maps within each other.
    #[error("more than {DEPTH_MAX} arrays and maps within each other")]
    TooDeep,
    /// Not MessagePack, or not all of it.
    #[error("not one whole MessagePack value")]
    NotMsgpack,
    /// MessagePack that no JSON says: bytes, a map's key that is not text, NaN, another extension.
    #[error("MessagePack that JSON has no word for: {0}")]
    NotSayable(&'static str),
}

/// RFC 8259, 6.
fn is_number(token: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = token.strip_prefix('-').unwrap_or(token);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(digits)
}

/// Writing into a Vec cannot fail.
fn push<T, E: std::fmt::Debug>(written: Result<T, E>) {
    drop(written.expect("writing into a Vec cannot fail"));
}
