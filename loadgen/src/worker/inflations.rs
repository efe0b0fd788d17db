//! Compressed and packed messages, made text once for all connections of a thread that get the same bytes.

use std::rc::Rc;

use proto::{
    Error, Event,
    deflate::{Deflated, InflateLimits, Inflater},
    msgpack,
};

use super::wire;

/// Whatever a server makes of its own messages is its own affair.
const LIMITS: InflateLimits = InflateLimits { message_bytes: wire::LIMITS.message_bytes, ratio: 1100 };
const ENTRIES: usize = 64;

/// Messages decompressed lately.
#[derive(Debug)]
pub struct Inflations {
    inflater: Inflater,
    inflated: [Option<KeptMessage>; ENTRIES],
    unpacked: [Option<KeptMessage>; ENTRIES],
}

#[derive(Debug)]
struct KeptMessage {
    is_text: bool,
    bytes: Box<[u8]>,
    message: Rc<[u8]>,
}

impl KeptMessage {
    fn is(&self, is_text: bool, bytes: &[u8]) -> bool {
        self.is_text == is_text && *self.bytes == *bytes
    }
}

impl Inflations {
    pub fn new() -> Self {
        let empty = || [const { None }; ENTRIES];
        Self { inflater: Inflater::new(), inflated: empty(), unpacked: empty() }
    }

    /// Whether a message event is text, and its bytes, which lie in `inflated` where it came compressed.
    pub fn open<'a>(
        &mut self,
        event: Event<'a>,
        inflated: &'a mut Option<Rc<[u8]>>,
    ) -> Result<(bool, &'a [u8]), Error> {
        Ok(match event {
            Event::Deflated(deflated) => (deflated.is_text, inflated.insert(self.inflate(&deflated)?)),
            Event::Text(text) => (true, text.as_bytes()),
            Event::Binary(bytes) => (false, bytes),
            other => unreachable!("{other:?} is no message"),
        })
    }

    /// The message; of text it was checked that it is UTF-8.
    pub fn inflate(&mut self, deflated: &Deflated<'_>) -> Result<Rc<[u8]>, Error> {
        let entry = &mut self.inflated[place(deflated.bytes)];
        if let Some(known) = entry.as_ref().filter(|known| known.is(deflated.is_text, deflated.bytes)) {
            return Ok(known.message.clone());
        }
        let message: Rc<[u8]> = match self.inflater.inflate(deflated, LIMITS)? {
            Event::Text(text) => text.as_bytes().into(),
            Event::Binary(bytes) => bytes.into(),
            other => unreachable!("{other:?} is no message"),
        };
        let kept = KeptMessage { is_text: deflated.is_text, bytes: deflated.bytes.into(), message };
        Ok(entry.insert(kept).message.clone())
    }

    /// A MessagePack message as JSON.
    pub fn unpack(&mut self, packed: &[u8]) -> Result<Rc<[u8]>, msgpack::Error> {
        let entry = &mut self.unpacked[place(packed)];
        if let Some(known) = entry.as_ref().filter(|known| known.is(false, packed)) {
            return Ok(known.message.clone());
        }
        let mut json = Vec::with_capacity(packed.len() * 5 / 4);
        msgpack::to_json(packed, &mut json)?;
        let kept = KeptMessage { is_text: false, bytes: packed.into(), message: json.into() };
        Ok(entry.insert(kept).message.clone())
    }
}

/// By the last bytes, where two messages that were compressed apart are sure to differ.
fn place(bytes: &[u8]) -> usize {
    let end = bytes.last_chunk::<8>().map_or(0, |end| u64::from_le_bytes(*end));
    let mixed = (end ^ (bytes.len() as u64) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 58) as usize % ENTRIES
}

#[cfg(test)]
mod tests {
    use proto::deflate::Deflater;

    use super::*;

    #[test]
    fn the_same_bytes_are_decompressed_once() {
        let mut inflations = Inflations::new();
        let deflated = |text: &str| Deflater::new(1, 15).deflate(text.as_bytes()).unwrap().to_vec();
        let (a, b) = (deflated(&"a".repeat(500)), deflated(&"b".repeat(500)));
        let mut text = |bytes: &[u8]| {
            inflations.inflate(&Deflated { is_text: true, bytes, context_bits: None }).unwrap()
        };
        let first = text(&a);
        assert_eq!(*first, *"a".repeat(500).as_bytes());
        assert!(Rc::ptr_eq(&first, &text(&a)));
        assert_eq!(*text(&b), *"b".repeat(500).as_bytes());
        assert_eq!(*text(&a), *first);
    }
}
