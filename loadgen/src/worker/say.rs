//! What is said to a server of another protocol.

use proto::encode;

use super::wire::key;
use crate::args::template::{Fill, Template};

/// What may wait for a server that does not read before texts are left out.
pub const OUTBOX_BYTES: usize = 64 << 10;

/// Queues texts of another protocol.
pub fn say<'t>(outbox: &mut Vec<u8>, texts: impl IntoIterator<Item = &'t Template>, fill: &Fill<'_>) {
    let texts = texts.into_iter().flat_map(|text| text.texts(fill));
    texts.for_each(|text| encode::masked_frame(outbox, encode::Opcode::Text, text.as_bytes(), key()));
}
