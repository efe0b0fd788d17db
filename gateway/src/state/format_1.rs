//! The format before: JSON texts, a head, one topic each, and an end with their number and a CRC-32 of all
//! before it, each on lines of its own.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    Restored, RestoredTopic,
    texts::{Head, HeadText, restored_topic},
};

const FORMAT: u64 = 1;

#[derive(Deserialize)]
struct End {
    topics: u64,
    crc32: u32,
}

/// Reads such a file; the error says what is wrong with it. Values may hold line breaks.
pub(super) fn parse(bytes: &[u8]) -> Result<(Restored, u32), String> {
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
    let mut texts = serde_json::Deserializer::from_slice(body).into_iter::<&RawValue>();
    let head = texts.next().ok_or("it has no head")?.map_err(|e| format!("its head: {e}"))?;
    let head: HeadText = serde_json::from_str(head.get()).map_err(|e| format!("its head: {e}"))?;
    if head.fanwire_state != FORMAT {
        return Err(format!("it has format {} in the form of {FORMAT}", head.fanwire_state));
    }
    let Head { epoch, version, v_floor, ended, .. } = head.checked()?;
    let topic = |text: Result<&RawValue, serde_json::Error>| {
        text.map_err(|e| e.to_string()).and_then(|text| restored_topic(text.get().as_bytes()))
    };
    let topics: Vec<RestoredTopic> = texts
        .enumerate()
        .map(|(i, text)| topic(text).map_err(|e| format!("topic {}: {e}", i + 1)))
        .collect::<Result<_, _>>()?;
    if topics.len() as u64 != end.topics {
        return Err(format!("it has {} topics, its end says {}", topics.len(), end.topics));
    }
    Ok((Restored { epoch, is_clean: false, version, v_floor, topics, ended, damage: None }, crc32))
}
