use rmp::encode;

use super::{Error, NUMBER, is_number, push};

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

/// Appends the beginning of an array, which so many values follow.
///
/// # Panics
/// Where they are more than MessagePack can count, 2³² - 1.
pub fn begin_array(out: &mut Vec<u8>, values: usize) {
    let values = u32::try_from(values).expect("MessagePack counts up to 2^32 - 1 values");
    push(encode::write_array_len(out, values));
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

/// Whether everybody writes the number like that who writes the fewest digits that tell it. Whole numbers,
/// very small and very large ones are written in one way here and in another there.
fn prints_as(number: f64, token: &str) -> bool {
    let is_plain = (1e-4..1e16).contains(&number.abs()) && !token.ends_with(".0");
    is_plain && serde_json::to_string(&number).is_ok_and(|text| text == token)
}
