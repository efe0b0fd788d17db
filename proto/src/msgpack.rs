//! JSON as MessagePack and back, value for value and number for number.
//!
//! An integer of 64 bits goes as an integer, another number as a 64-bit float where that prints as the same
//! text, else as extension type 1 that holds the text: `1.50`, `1e2` and a number of 30 digits come back as
//! they were written. White space between tokens is not kept.
//!
//! ```
//! let mut packed = Vec::new();
//! proto::msgpack::from_json(br#"{"a": [1, 1.50, "x"]}"#, &mut packed).unwrap();
//! assert_eq!(packed, b"\x81\xa1a\x93\x01\xd6\x011.50\xa1x");
//! let mut json = Vec::new();
//! proto::msgpack::to_json(&packed, &mut json).unwrap();
//! assert_eq!(json, br#"{"a":[1,1.50,"x"]}"#);
//! ```

use rmp::{
    Marker,
    decode::{self, RmpRead},
    encode,
};
use thiserror::Error;

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

/// Appends what `json` says as MessagePack. Whatever a JSON parser accepts passes, however deep it is; half of a
/// surrogate pair becomes U+FFFD.
pub fn from_json(json: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let mut counts = counts(json)?.into_iter();
    let mut text = Text { text: json, at: 0 };
    // What ends the arrays and objects that are open.
    let mut open = Vec::new();
    loop {
        match text.peek()? {
            start @ (b'{' | b'[') => {
                text.at += 1;
                let (count, is_map) = (counts.next().ok_or(Error::NotJson)?, start == b'{');
                if is_map {
                    push(encode::write_map_len(out, count));
                } else {
                    push(encode::write_array_len(out, count));
                }
                open.push(if is_map { b'}' } else { b']' });
                if count > 0 {
                    if is_map {
                        text.key(out)?;
                    }
                    continue;
                }
            }
            b'"' => text.string(out)?,
            b't' => text.literal(out, b"true", 0xc3)?,
            b'f' => text.literal(out, b"false", 0xc2)?,
            b'n' => text.literal(out, b"null", 0xc0)?,
            _ => text.number(out)?,
        }
        // A value has ended, and with it what ends here.
        loop {
            let Some(end) = open.last().copied() else {
                text.space();
                return if text.at == json.len() { Ok(()) } else { Err(Error::NotJson) };
            };
            match text.peek()? {
                b',' => {
                    text.at += 1;
                    if end == b'}' {
                        text.key(out)?;
                    }
                    break;
                }
                byte if byte == end => {
                    text.at += 1;
                    open.pop();
                }
                _ => return Err(Error::NotJson),
            }
        }
    }
}

/// Of each array and object, in the order in which they begin, how many values or members it has.
fn counts(json: &[u8]) -> Result<Vec<u32>, Error> {
    let (mut counts, mut open, mut in_text) = (Vec::new(), Vec::new(), false);
    let mut bytes = json.iter().enumerate();
    // Whether the innermost has been empty so far.
    let mut is_empty = true;
    while let Some((_, byte)) = bytes.next() {
        match byte {
            b'"' => {
                in_text = !in_text;
                is_empty = false;
            }
            b'\\' if in_text => drop(bytes.next()),
            _ if in_text => {}
            b'{' | b'[' => {
                open.push(counts.len());
                counts.push(0);
                is_empty = true;
            }
            b',' => counts[*open.last().ok_or(Error::NotJson)?] += 1,
            b'}' | b']' => {
                counts[open.pop().ok_or(Error::NotJson)?] += u32::from(!is_empty);
                // It is a value of what it stands in.
                is_empty = false;
            }
            b' ' | b'\n' | b'\r' | b'\t' => {}
            _ => is_empty = false,
        }
    }
    Ok(counts)
}

struct Text<'a> {
    text: &'a [u8],
    at: usize,
}

impl Text<'_> {
    fn space(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Result<u8, Error> {
        self.space();
        self.text.get(self.at).copied().ok_or(Error::NotJson)
    }

    fn skip(&mut self, token: &[u8]) -> Result<(), Error> {
        if !self.text[self.at..].starts_with(token) {
            return Err(Error::NotJson);
        }
        self.at += token.len();
        Ok(())
    }

    fn key(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        if self.peek()? != b'"' {
            return Err(Error::NotJson);
        }
        self.string(out)?;
        self.space();
        self.skip(b":")
    }

    fn literal(&mut self, out: &mut Vec<u8>, token: &[u8], packed: u8) -> Result<(), Error> {
        out.push(packed);
        self.skip(token)
    }

    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.at += 1;
        let start = self.at;
        let mut is_escaped = false;
        loop {
            match self.text.get(self.at) {
                None => return Err(Error::NotJson),
                Some(b'"') => break,
                Some(b'\\') => {
                    is_escaped = true;
                    self.at += 2;
                }
                Some(_) => self.at += 1,
            }
        }
        let text = std::str::from_utf8(&self.text[start..self.at]).map_err(|_| Error::NotJson)?;
        self.at += 1;
        if is_escaped {
            push(encode::write_str(out, &unescaped(text).ok_or(Error::NotJson)?));
        } else {
            push(encode::write_str(out, text));
        }
        Ok(())
    }

    fn number(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let rest = &self.text[self.at..];
        let of_number = |byte: &&u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let len = rest.iter().take_while(of_number).count();
        let token = std::str::from_utf8(&rest[..len]).unwrap_or_default();
        self.at += len;
        if !is_number(token) {
            return Err(Error::NotJson);
        }
        if let Ok(number) = token.parse::<u64>() {
            push(encode::write_uint(out, number));
        } else if let (Ok(number), true) = (token.parse::<i64>(), token != "-0") {
            push(encode::write_sint(out, number));
        } else if let Some(number) = token.parse::<f64>().ok().filter(|number| prints_as(*number, token)) {
            push(encode::write_f64(out, number));
        } else {
            push(encode::write_ext_meta(out, token.len() as u32, NUMBER));
            out.extend_from_slice(token.as_bytes());
        }
        Ok(())
    }
}

/// RFC 8259, 7.
fn unescaped(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        let mut chars = escape.chars();
        out.push(match chars.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let high = hex(chars.as_str())?;
                chars = chars.as_str()[4..].chars();
                let low = chars.as_str().strip_prefix("\\u").and_then(hex);
                match (high, low) {
                    (0xd800..0xdc00, Some(low @ 0xdc00..0xe000)) => {
                        chars = chars.as_str()[6..].chars();
                        char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))?
                    }
                    _ => char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER),
                }
            }
            other @ ('"' | '\\' | '/') => other,
            _ => return None,
        });
        rest = chars.as_str();
    }
    out.push_str(rest);
    Some(out)
}

fn hex(text: &str) -> Option<u32> {
    let digits = text.get(..4)?;
    let all = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, 16).ok().filter(|_| all)
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

fn prints_as(number: f64, token: &str) -> bool {
    number.is_finite() && serde_json::to_string(&number).is_ok_and(|text| text == token)
}

/// Appends what one whole MessagePack value says as JSON.
pub fn to_json(packed: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let mut rest = packed;
    value(&mut rest, out, 0)?;
    if rest.is_empty() { Ok(()) } else { Err(Error::NotMsgpack) }
}

fn value(rest: &mut &[u8], out: &mut Vec<u8>, depth: usize) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(Error::TooDeep);
    }
    let marker = decode::read_marker(rest).map_err(|_| Error::NotMsgpack)?;
    match marker {
        Marker::Null => out.extend_from_slice(b"null"),
        Marker::True => out.extend_from_slice(b"true"),
        Marker::False => out.extend_from_slice(b"false"),
        Marker::FixPos(number) => print(out, number),
        Marker::FixNeg(number) => print(out, number),
        Marker::U8 => print(out, u8::from_be_bytes(take(rest)?)),
        Marker::U16 => print(out, u16::from_be_bytes(take(rest)?)),
        Marker::U32 => print(out, u32::from_be_bytes(take(rest)?)),
        Marker::U64 => print(out, u64::from_be_bytes(take(rest)?)),
        Marker::I8 => print(out, i8::from_be_bytes(take(rest)?)),
        Marker::I16 => print(out, i16::from_be_bytes(take(rest)?)),
        Marker::I32 => print(out, i32::from_be_bytes(take(rest)?)),
        Marker::I64 => print(out, i64::from_be_bytes(take(rest)?)),
        Marker::F32 => float(out, f32::from_be_bytes(take(rest)?).into())?,
        Marker::F64 => float(out, f64::from_be_bytes(take(rest)?))?,
        Marker::FixStr(len) => string(rest, out, len.into())?,
        Marker::Str8 => string8(rest, out)?,
        Marker::Str16 => {
            let len = u16::from_be_bytes(take(rest)?);
            string(rest, out, len.into())?;
        }
        Marker::Str32 => {
            let len = u32::from_be_bytes(take(rest)?);
            string(rest, out, len as usize)?;
        }
        Marker::FixArray(count) => array(rest, out, count.into(), depth)?,
        Marker::Array16 => {
            let count = u16::from_be_bytes(take(rest)?);
            array(rest, out, count.into(), depth)?;
        }
        Marker::Array32 => {
            let count = u32::from_be_bytes(take(rest)?);
            array(rest, out, count, depth)?;
        }
        Marker::FixMap(count) => map(rest, out, count.into(), depth)?,
        Marker::Map16 => {
            let count = u16::from_be_bytes(take(rest)?);
            map(rest, out, count.into(), depth)?;
        }
        Marker::Map32 => {
            let count = u32::from_be_bytes(take(rest)?);
            map(rest, out, count, depth)?;
        }
        Marker::FixExt1 => number(rest, out, 1)?,
        Marker::FixExt2 => number(rest, out, 2)?,
        Marker::FixExt4 => number(rest, out, 4)?,
        Marker::FixExt8 => number(rest, out, 8)?,
        Marker::FixExt16 => number(rest, out, 16)?,
        Marker::Ext8 => {
            let len = u8::from_be_bytes(take(rest)?);
            number(rest, out, len.into())?;
        }
        Marker::Ext16 => {
            let len = u16::from_be_bytes(take(rest)?);
            number(rest, out, len.into())?;
        }
        Marker::Ext32 => {
            let len = u32::from_be_bytes(take(rest)?);
            number(rest, out, len as usize)?;
        }
        Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => return Err(Error::NotSayable("bytes")),
        Marker::Reserved => return Err(Error::NotMsgpack),
    }
    Ok(())
}

fn string8(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let len = u8::from_be_bytes(take(rest)?);
    string(rest, out, len.into())
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    rest.read_exact_buf(&mut bytes).map_err(|_| Error::NotMsgpack)?;
    Ok(bytes)
}

fn slice<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], Error> {
    let (taken, left) = rest.split_at_checked(len).ok_or(Error::NotMsgpack)?;
    *rest = left;
    Ok(taken)
}

fn print(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    use std::io::Write;
    push(write!(out, "{number}"));
}

fn float(out: &mut Vec<u8>, number: f64) -> Result<(), Error> {
    if !number.is_finite() {
        return Err(Error::NotSayable("a number that is not finite"));
    }
    push(serde_json::to_writer(out, &number));
    Ok(())
}

fn string(rest: &mut &[u8], out: &mut Vec<u8>, len: usize) -> Result<(), Error> {
    let text = std::str::from_utf8(slice(rest, len)?).map_err(|_| Error::NotMsgpack)?;
    push(serde_json::to_writer(out, text));
    Ok(())
}

fn array(rest: &mut &[u8], out: &mut Vec<u8>, count: u32, depth: usize) -> Result<(), Error> {
    out.push(b'[');
    for at in 0..count {
        if at > 0 {
            out.push(b',');
        }
        value(rest, out, depth + 1)?;
    }
    out.push(b']');
    Ok(())
}

fn map(rest: &mut &[u8], out: &mut Vec<u8>, count: u32, depth: usize) -> Result<(), Error> {
    out.push(b'{');
    for at in 0..count {
        if at > 0 {
            out.push(b',');
        }
        let is_text = matches!(rest.first(), Some(0xa0..=0xbf | 0xd9..=0xdb));
        if !is_text && !rest.is_empty() {
            return Err(Error::NotSayable("a key that is not text"));
        }
        value(rest, out, depth + 1)?;
        out.push(b':');
        value(rest, out, depth + 1)?;
    }
    out.push(b'}');
    Ok(())
}

/// The rest of an extension.
fn number(rest: &mut &[u8], out: &mut Vec<u8>, len: usize) -> Result<(), Error> {
    let [kind] = take(rest)?;
    let text = std::str::from_utf8(slice(rest, len)?).unwrap_or_default();
    if kind as i8 != NUMBER || !is_number(text) {
        return Err(Error::NotSayable("an extension that is not a number"));
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(json: &str) -> Vec<u8> {
        let mut out = Vec::new();
        from_json(json.as_bytes(), &mut out).unwrap_or_else(|error| panic!("{json}: {error}"));
        out
    }

    fn back(packed: &[u8]) -> Result<String, Error> {
        let mut out = Vec::new();
        to_json(packed, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn numbers_come_back_as_they_were_written() {
        for (json, head) in [
            ("0", &[0][..]),
            ("127", &[127]),
            ("128", &[0xcc, 128]),
            ("-1", &[0xff]),
            ("-32", &[0xe0]),
            ("-33", &[0xd0, 0xdf]),
            ("65536", &[0xce, 0, 1, 0, 0]),
            ("1626916403864", &[0xcf]),
            ("18446744073709551615", &[0xcf, 0xff]),
            ("-9223372036854775808", &[0xd3, 0x80]),
            ("1.5", &[0xcb]),
            ("-0.25", &[0xcb]),
            ("1.0", &[0xcb]),
            ("18446744073709551616", &[0xc7, 20, 1, b'1']),
            ("1.50", &[0xd6, 1, b'1', b'.', b'5', b'0']),
            ("1e2", &[0xc7, 3, 1]),
            ("-0", &[0xd5, 1, b'-', b'0']),
            ("-0.0", &[0xcb, 0x80]),
            ("0.1000", &[0xc7, 6, 1]),
            ("123456789012345678901234567890.5", &[0xc7, 32, 1]),
            ("1e999", &[0xc7, 5, 1]),
            ("1E+0000000000000000000000000001", &[0xc7, 31, 1]),
        ] {
            let packed = packed(json);
            assert!(packed.starts_with(head), "{json}: {packed:x?}");
            assert_eq!(back(&packed).as_deref(), Ok(json));
        }
    }

    #[test]
    fn values_of_every_length_come_back() {
        let mut rng = fastrand::Rng::with_seed(3);
        for count in [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536] {
            let array: Vec<String> = (0..count).map(|_| rng.u16(..).to_string()).collect();
            let object: Vec<String> = (0..count).map(|n| format!("\"k{n}\":[{n}]")).collect();
            for json in [
                format!("[{}]", array.join(",")),
                format!("{{{}}}", object.join(",")),
                format!("\"{}\"", "é".repeat(count)),
                format!("[\"{}\",null,true,false]", "a".repeat(count)),
            ] {
                assert_eq!(back(&packed(&json)).as_deref(), Ok(&*json), "{count}");
            }
        }
        assert_eq!(back(&packed(" { \"a\" : [ 1 , 2 ] } \n")).as_deref(), Ok(r#"{"a":[1,2]}"#));
        // Escapes are read and written again where they are needed.
        assert_eq!(back(&packed(r#""\u00e9\n\"\\\/""#)).as_deref(), Ok("\"é\\n\\\"\\\\/\""));
        let halves = r#"["\ud83d\ude00","\ud83d","\ude00x","\ud83d\u0041"]"#;
        assert_eq!(back(&packed(halves)).as_deref(), Ok("[\"😀\",\"\u{fffd}\",\"\u{fffd}x\",\"\u{fffd}A\"]"));
    }

    #[test]
    fn what_is_not_one_or_the_other_has_an_error() {
        for json in [
            "",
            "{",
            "[1",
            "[1 2]",
            "{1:2}",
            "{\"a\" 1}",
            "tru",
            "1.",
            "01x",
            "\"a",
            "1 2",
            "--1",
            "+1",
            "01.5",
        ] {
            assert_eq!(from_json(json.as_bytes(), &mut Vec::new()), Err(Error::NotJson), "{json}");
        }
        let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(packed(&deep).len(), 200_001);
        assert_eq!(back(&[0x91; 200]), Err(Error::TooDeep));
        for (packed, error) in [
            (&[][..], Error::NotMsgpack),
            (&[0xc1], Error::NotMsgpack),
            (&[0x92, 1], Error::NotMsgpack),
            (&[1, 2], Error::NotMsgpack),
            (&[0xdd, 0xff, 0xff, 0xff, 0xff], Error::NotMsgpack),
            (&[0xdb, 0xff, 0xff, 0xff, 0xff, b'a'], Error::NotMsgpack),
            (&[0xa1, 0xff], Error::NotMsgpack),
            (&[0xc4, 1, 1], Error::NotSayable("bytes")),
            (&[0x81, 1, 1], Error::NotSayable("a key that is not text")),
            (&[0xca, 0x7f, 0x80, 0, 0], Error::NotSayable("a number that is not finite")),
            (&[0xd4, 2, b'1'], Error::NotSayable("an extension that is not a number")),
            (&[0xd4, 1, b'x'], Error::NotSayable("an extension that is not a number")),
        ] {
            assert_eq!(back(packed), Err(error), "{packed:x?}");
        }
    }

    #[test]
    fn random_values_come_back() {
        let mut rng = fastrand::Rng::with_seed(4);
        for _ in 0..3000 {
            let mut json = String::new();
            random(&mut rng, &mut json, 0);
            let again = back(&packed(&json)).unwrap();
            assert_eq!(again, json);
        }
        for _ in 0..20_000 {
            // Whatever it is, it does not panic, and what it says comes back as it is said.
            let bytes: Vec<u8> = (0..rng.usize(0..40)).map(|_| rng.u8(..)).collect();
            if let Ok(json) = back(&bytes) {
                assert_eq!(back(&packed(&json)).as_deref(), Ok(&*json));
            }
        }
    }

    fn random(rng: &mut fastrand::Rng, out: &mut String, depth: usize) {
        match rng.u8(..if depth < 4 { 9 } else { 6 }) {
            0 => out.push_str("null"),
            1 => out.push_str("true"),
            2 => out.push_str(&rng.i64(..).to_string()),
            3 => out.push_str(&format!("{}.{}", rng.i32(..), rng.u32(..))),
            4 => out.push_str(&serde_json::to_string(&rng.f64()).unwrap()),
            5 => {
                let text: String = (0..rng.usize(..20)).map(|_| rng.char('\u{1}'..'\u{2fff}')).collect();
                out.push_str(&serde_json::to_string(&text).unwrap());
            }
            kind => {
                let (open, close) = if kind == 6 { ('[', ']') } else { ('{', '}') };
                out.push(open);
                for n in 0..rng.usize(..20) {
                    if n > 0 {
                        out.push(',');
                    }
                    if kind != 6 {
                        out.push_str(&format!("\"k{n}\":"));
                    }
                    random(rng, out, depth + 1);
                }
                out.push(close);
            }
        }
    }
}
