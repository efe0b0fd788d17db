//! What a state file says: records of JSON, a head, one topic each, and the head once more, so that damage
//! of either is harmless and a torn end is known as one.

use std::{
    collections::HashSet,
    io::{self, BufRead, Write},
};

use engine::sequencer::checkpoint::{Checkpoint, Damage, Ended, Restored, RestoredTopic, SavedTopic};

use super::{
    format_1,
    records::{Found, Reader, Writer},
    texts::{Head, HeadText, restored_topic},
};

const FORMAT: u64 = 2;

/// Gives `out` back, the length in bytes, and the checksum that names it.
pub(super) fn encode<W: Write>(checkpoint: &Checkpoint, out: W) -> io::Result<(W, u64, u32)> {
    let head = serde_json::to_vec(&head(checkpoint))?;
    let mut out = Writer::new(out);
    out.record(&head)?;
    let mut json = Vec::new();
    for topic in &checkpoint.topics {
        encode_topic(topic, &mut json)?;
        out.record(&json)?;
    }
    out.record(&head)?;
    Ok(out.end())
}

fn head(checkpoint: &Checkpoint) -> HeadText {
    let Checkpoint { epoch, version, v_floor, topics, ended } = checkpoint;
    HeadText {
        fanwire_state: FORMAT,
        epoch: epoch.to_string(),
        version: *version,
        v_floor: *v_floor,
        topics: topics.len() as u64,
        ended: ended.clone(),
    }
}

fn encode_topic(topic: &SavedTopic, out: &mut Vec<u8>) -> io::Result<()> {
    out.clear();
    write!(out, r#"{{"mode":"{}","#, topic.mode)?;
    if let Some(seq) = topic.seq {
        write!(out, r#""seq":{seq},"#)?;
    }
    if topic.has_gap {
        out.extend_from_slice(br#""gap":true,"#);
    }
    if topic.refused > 0 {
        write!(out, r#""refused":{},"#, topic.refused)?;
    }
    out.extend_from_slice(&topic.json[1..]);
    if let Some(table) = &topic.table {
        out.extend_from_slice(br#""set":"#);
        out.extend_from_slice(table);
        out.push(b'}');
    }
    Ok(())
}

/// Reads what a state file says, and the checksum that names it. What is damaged is left out; the error says
/// why nothing can be used.
pub fn read(mut input: impl BufRead) -> Result<(Restored, u32), String> {
    if input.fill_buf().map_err(|e| e.to_string())?.first() == Some(&b'{') {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        // One of records may have a first byte that only looks like that of the format before.
        return format_1::parse(&bytes).or_else(|why| read_records(&bytes[..]).map_err(|_| why));
    }
    read_records(input)
}

fn read_records(input: impl BufRead) -> Result<(Restored, u32), String> {
    let mut reader = Reader::new(input);
    let (mut heads, mut topics, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
    let (mut places, mut first) = (0, String::new());
    while let Some(found) = reader.next() {
        let damage = match found {
            Found::Record(json, at) => match record(json)? {
                Ok(Record::Head(head)) => {
                    heads.push(head);
                    continue;
                }
                Ok(Record::Topic(kept)) if seen.insert(kept.topic.clone()) => {
                    topics.push(kept);
                    continue;
                }
                Ok(Record::Topic(kept)) => format!("byte {at}: topic {} is there twice", kept.topic),
                Err(why) => format!("byte {at}: {why}"),
            },
            Found::Damage(at) => format!("byte {at}: no record begins here, or its checksum is another"),
        };
        if places == 0 {
            first = damage;
        }
        places += 1;
    }
    let Some(head) = heads.first().cloned().or_else(|| lost_head(&topics)) else {
        return Err("it holds nothing of a state: it is another file, or damaged throughout".to_owned());
    };
    if places == 0 && heads.len() < 2 {
        (places, first) = (1, "its first or its last record is missing: it was cut off".to_owned());
    }
    let missing = head.topics.saturating_sub(topics.len() as u64);
    if places == 0 && missing > 0 {
        (places, first) = (1, "records are missing as a whole".to_owned());
    }
    let lost = if heads.is_empty() { places } else { missing };
    let damage = (places > 0).then_some(Damage { topics: lost, places, first });
    let Head { epoch, version, v_floor, ended, .. } = head;
    Ok((Restored { epoch, is_clean: false, version, v_floor, topics, ended, damage }, reader.crc32()))
}

/// Stands in where both heads are damaged: the epoch will be a new one, so any position will do.
fn lost_head(topics: &[RestoredTopic]) -> Option<Head> {
    let head = Head { epoch: None, version: 1, v_floor: 0, topics: 0, ended: Ended::default() };
    (!topics.is_empty()).then_some(head)
}

enum Record {
    Head(Head),
    Topic(RestoredTopic),
}

/// What an intact record says. The outer error: the file is of a format that is not read.
fn record(json: &[u8]) -> Result<Result<Record, String>, String> {
    if !json.starts_with(br#"{"fanwire_state":"#) {
        return Ok(restored_topic(json).map(Record::Topic));
    }
    let head: HeadText = match serde_json::from_slice(json) {
        Ok(head) => head,
        Err(e) => return Ok(Err(e.to_string())),
    };
    if head.fanwire_state != FORMAT {
        let found = head.fanwire_state;
        return Err(format!(
            "it has format {found}, this gateway reads 1 and {FORMAT}: use the version that wrote it"
        ));
    }
    Ok(head.checked().map(Record::Head))
}

/// Whether a file reads back as one with so many topics and that checksum. Holds one record at a time.
pub(super) fn verify(input: impl BufRead, topics: usize, crc32: u32) -> Result<(), String> {
    let (mut heads, mut kept) = (0, 0);
    let mut reader = Reader::new(input);
    while let Some(found) = reader.next() {
        match found {
            Found::Record(json, at) => match record(json)?.map_err(|why| format!("byte {at}: {why}"))? {
                Record::Head(_) => heads += 1,
                Record::Topic(_) => kept += 1,
            },
            Found::Damage(at) => return Err(format!("byte {at}: no record begins here")),
        }
    }
    if (heads, kept, reader.crc32()) != (2, topics, crc32) {
        return Err(format!("{kept} of {topics} topics, checksum {:08x}, not {crc32:08x}", reader.crc32()));
    }
    Ok(())
}
