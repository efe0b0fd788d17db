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
    /// More than 128 arrays and objects within each other.
    #[error("more than {DEPTH_MAX} arrays and maps within each other")]
    TooDeep,
    /// Not MessagePack, or not all of it.
    #[error("not one whole MessagePack value")]
    NotMsgpack,
    /// MessagePack that no JSON says: bytes, a map's key that is not text, NaN, another extension.
    #[error("MessagePack that JSON has no word for: {0}")]
    NotSayable(&'static str),
}

/// Appends what `json` says as MessagePack. Checks no more than it needs: what a JSON parser has accepted
/// passes.
pub fn from_json(json: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let mut text = Text { text: json, at: 0 };
    text.value(out, 0)?;
    text.space();
    if text.at == json.len() { Ok(()) } else { Err(Error::NotJson) }
}

struct Text<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Text<'a> {
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

    fn value(&mut self, out: &mut Vec<u8>, depth: usize) -> Result<(), Error> {
        if depth > DEPTH_MAX {
            return Err(Error::TooDeep);
        }
        match self.peek()? {
            b'{' => self.members(out, depth, b'}', 0x80, Marker::Map16, Marker::Map32),
            b'[' => self.members(out, depth, b']', 0x90, Marker::Array16, Marker::Array32),
            b'"' => self.string(out),
            b't' => self.literal(out, b"true", 0xc3),
            b'f' => self.literal(out, b"false", 0xc2),
            b'n' => self.literal(out, b"null", 0xc0),
            _ => self.number(out),
        }
    }

    fn literal(&mut self, out: &mut Vec<u8>, token: &[u8], packed: u8) -> Result<(), Error> {
        out.push(packed);
        self.skip(token)
    }

    /// An object's or an array's. How many there are stands before them, in one byte where that does.
    fn members(
        &mut self,
        out: &mut Vec<u8>,
        depth: usize,
        end: u8,
        few: u8,
        more: Marker,
        many: Marker,
    ) -> Result<(), Error> {
        self.at += 1;
        let head = out.len();
        out.push(few);
        let mut count: u32 = 0;
        while self.peek()? != end {
            if count > 0 {
                self.skip(b",")?;
            }
            if end == b'}' {
                if self.peek()? != b'"' {
                    return Err(Error::NotJson);
                }
                self.string(out)?;
                self.space();
                self.skip(b":")?;
            }
            self.value(out, depth + 1)?;
            count += 1;
        }
        self.at += 1;
        match (u8::try_from(count), u16::try_from(count)) {
            (Ok(count @ 0..16), _) => out[head] = few | count,
            (_, Ok(count)) => {
                out[head] = more.to_u8();
                out.splice(head + 1..head + 1, count.to_be_bytes());
            }
            _ => {
                out[head] = many.to_u8();
                out.splice(head + 1..head + 1, count.to_be_bytes());
            }
        }
        Ok(())
    }

    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += 1;
            match self.text.get(self.at) {
                None => return Err(Error::NotJson),
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 1;
                }
                Some(_) => {}
            }
        }
        self.at += 1;
        let token = &self.text[start..self.at];
        if escaped {
            let text: String = serde_json::from_slice(token).map_err(|_| Error::NotJson)?;
            push(encode::write_str(out, &text));
        } else {
            let text = std::str::from_utf8(&token[1..token.len() - 1]).map_err(|_| Error::NotJson)?;
            push(encode::write_str(out, text));
        }
        Ok(())
    }

    fn number(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let rest = &self.text[self.at..];
        let of_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let len = rest.iter().take_while(|byte| of_number(byte)).count();
        let token = std::str::from_utf8(&rest[..len]).unwrap_or_default();
        self.at += len;
        let digits = token.strip_prefix('-').unwrap_or(token);
        let is_plain = digits.starts_with(|first| matches!(first, '1'..='9')) || token == "0";
        if let (true, Ok(number)) = (is_plain, token.parse::<u64>()) {
            push(encode::write_uint(out, number));
        } else if let (true, Ok(number)) = (is_plain, token.parse::<i64>()) {
            push(encode::write_sint(out, number));
        } else if !is_number(token) {
            return Err(Error::NotJson);
        } else if let Some(number) = token.parse::<f64>().ok().filter(|number| prints_as(*number, token)) {
            push(encode::write_f64(out, number));
        } else {
            push(encode::write_ext_meta(out, token.len() as u32, NUMBER));
            out.extend_from_slice(token.as_bytes());
        }
        Ok(())
    }
}

/// Writing into a Vec cannot fail.
fn push<T, E: std::fmt::Debug>(written: Result<T, E>) {
    drop(written.expect("writing into a Vec cannot fail"));
}

fn is_number(token: &str) -> bool {
    token.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        && serde_json::from_str::<serde::de::IgnoredAny>(token).is_ok()
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
        let deep = [&b"["[..]; 200].concat();
        assert_eq!(from_json(&deep, &mut Vec::new()), Err(Error::TooDeep));
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
