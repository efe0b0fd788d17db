//! What a state file says: lines of JSON, a head, one topic a line, and an end with their number and a
//! CRC-32 of all before it.

use std::{
    io::{self, Write},
    sync::Arc,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    changes::{Base, Changes},
    control::{
        line::{Members, present},
        seq::check_count,
        sequencer::Body,
    },
};

const FORMAT: u64 = 1;

/// A topic as it is written.
#[derive(Debug)]
pub struct Saved {
    /// `latest`, `keyed` or `stream`.
    pub mode: &'static str,
    pub seq: Option<u64>,
    /// Its last update, of a keyed topic only the head before `table`.
    pub json: Bytes,
    /// A JSON object.
    pub table: Option<Vec<u8>>,
}

/// All that is written.
#[derive(Debug)]
pub struct Checkpoint {
    pub epoch: Arc<str>,
    pub version: u64,
    /// A topic that is born starts above it.
    pub v_floor: u64,
    pub topics: Vec<Saved>,
}

/// A topic as it was read.
#[derive(Debug)]
pub struct Kept {
    pub topic: Arc<str>,
    pub mode: String,
    pub v: u64,
    pub ts_us: i64,
    pub seq: Option<u64>,
    pub body: Body,
}

/// All that was read.
#[derive(Debug)]
pub struct Restored {
    /// Of the run that wrote it.
    pub epoch: String,
    /// That run ended cleanly: its epoch may go on.
    pub is_clean: bool,
    pub version: u64,
    pub v_floor: u64,
    pub topics: Vec<Kept>,
}

#[derive(Serialize, Deserialize)]
struct Head<'a> {
    fanwire_state: u64,
    epoch: &'a str,
    version: u64,
    v_floor: u64,
}

#[derive(Serialize, Deserialize)]
struct End {
    topics: u64,
    crc32: u32,
}

#[derive(Deserialize)]
struct Line<'a> {
    mode: &'a str,
    seq: Option<u64>,
    topic: &'a str,
    v: u64,
    ts: i64,
    #[serde(default, borrow, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    set: Option<Members<'a>>,
}

impl Checkpoint {
    /// Gives `out` back, the length in bytes, and the checksum that names it.
    pub(super) fn encode<W: Write>(&self, out: W) -> io::Result<(W, u64, u32)> {
        let mut out = Summed { out, crc: Default::default(), bytes: 0 };
        self.write_lines(&mut out)?;
        let crc32 = out.crc.clone().finalize();
        write_json(&mut out, &End { topics: self.topics.len() as u64, crc32 })?;
        Ok((out.out, out.bytes, crc32))
    }

    fn write_lines(&self, out: &mut impl Write) -> io::Result<()> {
        let head =
            Head { fanwire_state: FORMAT, epoch: &self.epoch, version: self.version, v_floor: self.v_floor };
        write_json(&mut *out, &head)?;
        for topic in &self.topics {
            write!(out, r#"{{"mode":"{}","#, topic.mode)?;
            if let Some(seq) = topic.seq {
                write!(out, r#""seq":{seq},"#)?;
            }
            out.write_all(&topic.json[1..])?;
            if let Some(table) = &topic.table {
                out.write_all(br#""set":"#)?;
                out.write_all(table)?;
                out.write_all(b"}")?;
            }
            out.write_all(b"\n")?;
        }
        Ok(())
    }
}

/// Counts and sums what is written.
struct Summed<W> {
    out: W,
    crc: crc32fast::Hasher,
    bytes: u64,
}

impl<W: Write> Write for Summed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write_all(bytes)?;
        self.crc.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// One line.
pub(super) fn write_json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Reads what a state file says. The error says what is wrong with it.
pub fn parse(bytes: &[u8]) -> Result<(Restored, u32), String> {
    let text = bytes.strip_suffix(b"\n").ok_or("it does not end with its last line: it was cut off")?;
    let end_at =
        text.iter().rposition(|byte| *byte == b'\n').ok_or("it has one line only: it was cut off")?;
    let end: End = serde_json::from_slice(&text[end_at + 1..])
        .map_err(|_| "its last line is not that of a state file: it was cut off, or is another file")?;
    let body = &bytes[..=end_at];
    let crc32 = crc32fast::hash(body);
    if crc32 != end.crc32 {
        return Err(format!("its checksum is {crc32:08x}, not {:08x}: it was changed or damaged", end.crc32));
    }
    let mut lines = body[..end_at].split(|byte| *byte == b'\n');
    let head = lines.next().unwrap_or_default();
    let head: Head = serde_json::from_slice(head).map_err(|e| format!("its first line is no head: {e}"))?;
    if head.fanwire_state != FORMAT {
        let found = head.fanwire_state;
        return Err(format!(
            "it has format {found}, this gateway reads {FORMAT}: use the version that wrote it"
        ));
    }
    if head.epoch.len() != 16 || !head.epoch.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
    {
        return Err(format!("epoch {:?} is not 16 lower-case hex digits", head.epoch));
    }
    check_count("version", 0, head.version)?;
    check_count("v_floor", 0, head.v_floor)?;
    let topics: Vec<Kept> = lines
        .enumerate()
        .map(|(i, line)| kept(line).map_err(|e| format!("line {}: {e}", i + 2)))
        .collect::<Result<_, _>>()?;
    if topics.len() as u64 != end.topics {
        return Err(format!("it has {} topics, its end says {}", topics.len(), end.topics));
    }
    let Head { epoch, version, v_floor, .. } = head;
    Ok((Restored { epoch: epoch.to_owned(), is_clean: false, version, v_floor, topics }, crc32))
}

fn kept(line: &[u8]) -> Result<Kept, String> {
    let line: Line = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    let body = match (line.data, line.set) {
        (Some(data), None) => Body::Data(Bytes::copy_from_slice(data.get().as_bytes())),
        (None, Some(set)) => {
            let mut changes = Changes::new(Base::Whole);
            for (key, value) in &set.0 {
                changes.set(key, value.get().as_bytes()).map_err(|long| long.to_string())?;
            }
            Body::Changes(changes.into())
        }
        _ => return Err("a topic has data or set".to_owned()),
    };
    check_count("v", 1, line.v)?;
    check_count("seq", 0, line.seq.unwrap_or(0))?;
    let (mode, seq) = (line.mode.to_owned(), line.seq);
    Ok(Kept { topic: line.topic.into(), mode, v: line.v, ts_us: line.ts, seq, body })
}
