//! Frames as they stand on the wire, beneath the messages that a client joins them to.

/// Looks at the header of each frame that one client is sent.
#[derive(Debug, Default)]
pub struct Fragments {
    /// Of a header that came in part.
    header: Vec<u8>,
    payload_bytes_left: usize,
    /// A message is under way.
    pub within: bool,
    /// Frames that go on with a message, and control frames between those of one.
    pub continued: u64,
    pub passed: u64,
}

impl Fragments {
    /// Takes what was read, from the first frame on. `bytes_max`: the longest payload of a frame.
    pub fn take(&mut self, mut bytes: &[u8], bytes_max: usize) {
        while !bytes.is_empty() {
            let skipped = self.payload_bytes_left.min(bytes.len());
            (self.payload_bytes_left, bytes) = (self.payload_bytes_left - skipped, &bytes[skipped..]);
            let Some((first, later)) = bytes.split_first() else { return };
            self.header.push(*first);
            bytes = later;
            self.end_header(bytes_max);
        }
    }

    fn end_header(&mut self, bytes_max: usize) {
        let len = match *self.header {
            [_, len] if len < 126 => usize::from(len),
            [_, 126, a, b] => usize::from(u16::from_be_bytes([a, b])),
            [_, 127, .., a, b, c, d] if self.header.len() == 10 => u32::from_be_bytes([a, b, c, d]) as usize,
            _ => return,
        };
        let (is_last, is_control) = (self.header[0] & 0x80 != 0, self.header[0] & 8 != 0);
        assert!(len <= if is_control { 125 } else { bytes_max }, "a frame of {len} bytes");
        self.continued += u64::from(self.header[0] & 15 == 0);
        self.passed += u64::from(is_control && self.within);
        self.within = if is_control { self.within } else { !is_last };
        // All but the last are as long as they may be.
        assert!(is_last || len == bytes_max, "a fragment of {len} bytes, it may have {bytes_max}");
        self.payload_bytes_left = len;
        self.header.clear();
    }
}
