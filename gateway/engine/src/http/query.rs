//! The query of a URL: `name=value&name=value`.

use std::borrow::Cow;

/// Names and values, these as they were written. Browsers pass on what is no percent-encoding, so nothing is
/// decoded but what somebody looks at: names, which stay as they are where that fails, and values by [`decode`].
pub fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name).unwrap_or(Cow::Borrowed(name)), value)
    })
}

/// Percent-decoding (RFC 3986, section 2.1). `None`: a broken escape, or not UTF-8 behind the escapes.
pub fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut hex = || char::from(rest.next()?).to_digit(16);
        bytes.push(if byte == b'%' { (hex()? * 16 + hex()?) as u8 } else { byte });
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use crate::http::query::*;

    #[test]
    fn escapes_are_decoded_and_broken_ones_told() {
        assert_eq!(decode("a%2Eb%c3%A9+").as_deref(), Some("a.bé+"));
        for broken in ["%", "%4", "%zz", "%u2603", "%E9", "100%"] {
            assert_eq!(decode(broken), None, "{broken}");
        }
    }

    #[test]
    fn names_are_found_however_they_are_written() {
        let found: Vec<_> = pairs("&%74opics=a%2Cb&%zz=1&flag&x=1=2&").collect();
        let expected = [("topics", "a%2Cb"), ("%zz", "1"), ("flag", ""), ("x", "1=2")];
        assert_eq!(found, expected.map(|(name, value)| (Cow::Borrowed(name), value)));
    }
}
