//! Framing of a state file: records that are found again behind damage.
//!
//! A record is a [`MARK`], the CRC-32 of its JSON text in 8 hex digits, a space, the text's length in bytes,
//! a space, the text, and a line feed. No JSON text holds the mark, whatever is published: what follows a
//! damaged record is found by it.

use std::io::{self, BufRead, Write};

/// Record separator (RFC 7464, 2.1). In JSON it stands only escaped.
pub(super) const MARK: u8 = 0x1e;

/// Writes records; counts and sums all bytes.
pub(super) struct Writer<W> {
    out: W,
    crc: crc32fast::Hasher,
    bytes: u64,
}

impl<W: Write> Writer<W> {
    pub fn new(out: W) -> Self {
        Self { out, crc: crc32fast::Hasher::new(), bytes: 0 }
    }

    pub fn record(&mut self, json: &[u8]) -> io::Result<()> {
        let head = format!("{}{:08x} {} ", char::from(MARK), crc32fast::hash(json), json.len());
        for part in [head.as_bytes(), json, b"\n"] {
            self.out.write_all(part)?;
            self.crc.update(part);
            self.bytes += part.len() as u64;
        }
        Ok(())
    }

    /// Gives the output back, its length in bytes, and the checksum of all of it.
    pub fn end(self) -> (W, u64, u32) {
        (self.out, self.bytes, self.crc.finalize())
    }
}

/// Reads records one after the other, and skips what is none.
pub(super) struct Reader<R> {
    input: R,
    crc: crc32fast::Hasher,
    /// Bytes read.
    bytes: u64,
    chunk: Vec<u8>,
    /// Begins what the next call tells before it reads on.
    damaged_at: Option<u64>,
}

/// What stands next in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// The JSON text of an intact record, and the byte it begins at.
    Record(&'a [u8], u64),
    /// Something that is no record begins at this byte.
    Damage(u64),
}

impl<R: BufRead> Reader<R> {
    pub fn new(input: R) -> Self {
        Self { input, crc: crc32fast::Hasher::new(), bytes: 0, chunk: Vec::new(), damaged_at: None }
    }

    /// `None` at the end, and where the input cannot be read any further.
    pub fn next(&mut self) -> Option<Found<'_>> {
        loop {
            if let Some(at) = self.damaged_at.take() {
                return Some(Found::Damage(at));
            }
            let at = self.bytes;
            // Up to the next record's mark, which is read with this one. The file's first mark stands alone.
            self.chunk.clear();
            let read = self.input.read_until(MARK, &mut self.chunk);
            self.crc.update(&self.chunk);
            self.bytes += self.chunk.len() as u64;
            if read.is_err() {
                return Some(Found::Damage(at));
            }
            if self.chunk.is_empty() {
                return None;
            }
            if self.chunk.last() == Some(&MARK) {
                self.chunk.pop();
            }
            if at == 0 && self.chunk.is_empty() {
                continue;
            }
            let Some((from, to)) = intact(&self.chunk) else { return Some(Found::Damage(at)) };
            if self.chunk[to..] != *b"\n" {
                self.damaged_at = Some(at + to as u64);
            }
            return Some(Found::Record(&self.chunk[from..to], at));
        }
    }

    /// The checksum of all that was read.
    pub fn crc32(&self) -> u32 {
        self.crc.clone().finalize()
    }
}

/// Where a record's JSON text begins and ends.
fn intact(chunk: &[u8]) -> Option<(usize, usize)> {
    let mut parts = chunk.splitn(3, |byte| *byte == b' ');
    let (crc, len, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let crc = u32::from_str_radix(std::str::from_utf8(crc).ok()?, 16).ok()?;
    let len: usize = std::str::from_utf8(len).ok()?.parse().ok()?;
    let json = rest.get(..len)?;
    let from = chunk.len() - rest.len();
    (crc32fast::hash(json) == crc).then_some((from, from + len))
}

#[cfg(test)]
mod tests {
    use crate::state::records::*;

    fn file(texts: &[&str]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        texts.iter().for_each(|text| writer.record(text.as_bytes()).unwrap());
        let (file, bytes, crc32) = writer.end();
        assert_eq!((bytes, crc32), (file.len() as u64, crc32fast::hash(&file)));
        file
    }

    /// The records found, and the number of damaged places.
    fn read(file: &[u8]) -> (Vec<String>, usize) {
        let (mut records, mut damaged) = (Vec::new(), 0);
        let mut reader = Reader::new(file);
        while let Some(found) = reader.next() {
            match found {
                Found::Record(json, _) => records.push(String::from_utf8(json.to_vec()).unwrap()),
                Found::Damage(_) => damaged += 1,
            }
        }
        assert_eq!(reader.crc32(), crc32fast::hash(file));
        (records, damaged)
    }

    #[test]
    fn a_changed_byte_costs_the_record_that_it_stands_in_and_no_other() {
        let texts = [r#"{"a":1}"#, "{\"b\":\n \"2\u{2028}\"}", "[]", r#"{"c":[3,4]}"#];
        let file = file(&texts);
        assert_eq!(read(&file), (texts.map(str::to_owned).to_vec(), 0));
        for at in 0..file.len() {
            for flip in [1, 0x20, 0x80, file[at] ^ MARK, file[at] ^ b'\n'] {
                let mut changed = file.clone();
                changed[at] ^= flip;
                if flip == 0 {
                    continue;
                }
                let (records, damaged) = read(&changed);
                assert!(records.len() >= texts.len() - 1, "{at} {flip}: {records:?}");
                assert!(records.iter().all(|record| texts.contains(&&**record)), "{at} {flip}: {records:?}");
                assert!(damaged >= 1 || crc32fast::hash(&changed) != crc32fast::hash(&file));
            }
        }
    }

    #[test]
    fn of_a_torn_file_all_whole_records_are_found() {
        let texts = [r#"{"a":1}"#, r#"{"b":2}"#, r#"{"c":3}"#];
        let file = file(&texts);
        for len in 0..file.len() {
            let (records, _) = read(&file[..len]);
            let whole = file[..len].split(|byte| *byte == b'}').count() - 1;
            assert_eq!(records, texts[..whole], "{len}");
        }
    }
}
