//! Messages parsed lately. Clients of one class receive identical bytes, mostly in one go.

use super::{
    catalog::Catalog,
    message::{Message, parse},
};

/// By their bytes and the list of patterns that they were parsed for.
#[derive(Debug)]
pub struct MessageCache {
    entries: Vec<Option<ParsedMessage>>,
}

#[derive(Debug)]
struct ParsedMessage {
    /// Which catalog the message was parsed for.
    group: u16,
    bytes: Box<[u8]>,
    message: Message,
}

/// With frames of the usual 256 KiB at most 16 MiB a thread.
const ENTRIES: usize = 64;
/// Class, position and the first topic lie there.
const FINGERPRINT_BYTES: usize = 160;

impl MessageCache {
    pub fn new() -> Self {
        Self { entries: std::iter::repeat_with(|| None).take(ENTRIES).collect() }
    }

    /// `text` parsed, from the cache where the same bytes came lately to a client of the same `group`.
    pub fn parse(&mut self, text: &[u8], group: u16, catalog: &mut Catalog, epoch: u64) -> Message {
        let entry = &mut self.entries[place(text, group) % ENTRIES];
        if let Some(known) = entry
            && known.group == group
            && *known.bytes == *text
        {
            return known.message.clone();
        }
        let message = parse(text, catalog, epoch);
        *entry = Some(ParsedMessage { group, bytes: text.into(), message: message.clone() });
        message
    }
}

/// FNV-1a over the head, the length and the group; equality is decided by the bytes.
fn place(text: &[u8], group: u16) -> usize {
    let seed = 0xcbf2_9ce4_8422_2325 ^ (text.len() as u64) << 16 ^ u64::from(group);
    let hash = text
        .iter()
        .take(FINGERPRINT_BYTES)
        .fold(seed, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (hash >> 32) as usize
}
