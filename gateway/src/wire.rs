//! How frames reach a client, as was agreed in its handshake.

/// Clients that differ in it share no frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Wire {
    /// permessage-deflate with a window of 2 to this power; `None`: frames are sent as they are.
    pub window_bits: Option<u8>,
}
