use rmp::{
    Marker,
    decode::{self, ExtMeta},
};

use super::{DEPTH_MAX, Error, NUMBER, is_number, push};

/// Whole numbers below it are exact as floats.
const WHOLE_MAX: f64 = (1u64 << 53) as f64;

/// Appends what one whole MessagePack value says as JSON.
pub fn to_json(packed: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let mut rest = packed;
    value(&mut rest, out, 0)?;
    if rest.is_empty() { Ok(()) } else { Err(Error::NotMsgpack) }
}

fn value(rest: &mut &[u8], out: &mut Vec<u8>, depth: usize) -> Result<(), Error> {
    use Marker::*;
    if depth > DEPTH_MAX {
        return Err(Error::TooDeep);
    }
    // Only looked at: rmp reads it again, with the length or number that follows it.
    let first = rest.first().ok_or(Error::NotMsgpack)?;
    match Marker::from_u8(*first) {
        Null => literal(rest, out, b"null"),
        True => literal(rest, out, b"true"),
        False => literal(rest, out, b"false"),
        FixPos(_) | U8 | U16 | U32 | U64 => print(out, read(decode::read_int::<u64, _>(rest))?),
        FixNeg(_) | I8 | I16 | I32 | I64 => print(out, read(decode::read_int::<i64, _>(rest))?),
        F32 => float(out, read(decode::read_f32(rest))?.into())?,
        F64 => float(out, read(decode::read_f64(rest))?)?,
        FixStr(_) | Str8 | Str16 | Str32 => string(rest, out)?,
        FixArray(_) | Array16 | Array32 => array(rest, out, depth)?,
        FixMap(_) | Map16 | Map32 => map(rest, out, depth)?,
        FixExt1 | FixExt2 | FixExt4 | FixExt8 | FixExt16 | Ext8 | Ext16 | Ext32 => number(rest, out)?,
        Bin8 | Bin16 | Bin32 => return Err(Error::NotSayable("bytes")),
        Reserved => return Err(Error::NotMsgpack),
    }
    Ok(())
}

/// The marker is known, so all that can be wrong is that the input ends.
fn read<T, E>(value: Result<T, E>) -> Result<T, Error> {
    value.map_err(|_| Error::NotMsgpack)
}

fn slice<'a>(rest: &mut &'a [u8], len: u32) -> Result<&'a [u8], Error> {
    let (taken, left) = rest.split_at_checked(len as usize).ok_or(Error::NotMsgpack)?;
    *rest = left;
    Ok(taken)
}

/// It is its marker.
fn literal(rest: &mut &[u8], out: &mut Vec<u8>, token: &[u8]) {
    *rest = &rest[1..];
    out.extend_from_slice(token);
}

fn print(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    use std::io::Write;
    push(write!(out, "{number}"));
}

fn float(out: &mut Vec<u8>, number: f64) -> Result<(), Error> {
    if !number.is_finite() {
        return Err(Error::NotSayable("a number that is not finite"));
    }
    // A peer that has one kind of number only writes whole ones like this too.
    if number.fract() == 0.0 && number.abs() < WHOLE_MAX && (number != 0.0 || number.is_sign_positive()) {
        print(out, number as i64);
    } else {
        push(serde_json::to_writer(out, &number));
    }
    Ok(())
}

fn string(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let len = read(decode::read_str_len(rest))?;
    let text = std::str::from_utf8(slice(rest, len)?).map_err(|_| Error::NotMsgpack)?;
    push(serde_json::to_writer(out, text));
    Ok(())
}

fn array(rest: &mut &[u8], out: &mut Vec<u8>, depth: usize) -> Result<(), Error> {
    let count = read(decode::read_array_len(rest))?;
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

fn map(rest: &mut &[u8], out: &mut Vec<u8>, depth: usize) -> Result<(), Error> {
    let count = read(decode::read_map_len(rest))?;
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

/// An extension.
fn number(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let ExtMeta { typeid, size } = read(decode::read_ext_meta(rest))?;
    let text = std::str::from_utf8(slice(rest, size)?).unwrap_or_default();
    if typeid != NUMBER || !is_number(text) {
        return Err(Error::NotSayable("an extension that is not a number"));
    }
    out.extend_from_slice(text.as_bytes());
    Ok(())
}
