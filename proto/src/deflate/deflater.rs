//! Compressing messages.

use flate2::{Compress, Compression, FlushCompress, Status};

use super::{TAIL, WINDOW_BITS, short::Short};

/// Headers of blocks, the flush, and what is left over.
const ROOM_BYTES: usize = 256;

/// A longer message has repetitions that are worth a larger table.
const SHORT_BYTES: usize = 8192;
/// At which a short message is as long as of [`Short`].
const FAST: u8 = 1;

/// A compressor that is used for one message after another. It takes 140 to 290 KB.
#[derive(Debug)]
pub struct Deflater {
    compress: Compress,
    out: Vec<u8>,
    /// For messages of up to [`SHORT_BYTES`], where it is as good.
    short: Option<Short>,
    window_bytes: usize,
}

impl Deflater {
    /// `level` 1 (fast) to 9 (small).
    ///
    /// # Panics
    /// Where `window_bits` is not in [`WINDOW_BITS`], or `level` above 9.
    pub fn new(level: u8, window_bits: u8) -> Deflater {
        assert!(WINDOW_BITS.contains(&window_bits), "a window of 2^{window_bits} bytes");
        assert!(level <= 9, "level {level}");
        let short = (level == FAST).then(Short::new);
        let level = Compression::new(level.into());
        let compress = Compress::new_with_window_bits(level, false, window_bits);
        Deflater { compress, out: Vec::new(), short, window_bytes: 1 << window_bits }
    }

    /// The payload of a frame with RSV1 that holds `message`; `None` where that is not shorter.
    pub fn deflate(&mut self, message: &[u8]) -> Option<&[u8]> {
        if let (Some(short), ..=SHORT_BYTES) = (&mut self.short, message.len()) {
            let payload = short.deflate(message, self.window_bytes);
            return (payload.len() < message.len()).then_some(payload);
        }
        self.compress.reset();
        // Room for the worst: at level 1 a byte may take 9 bits. zlib-rs 0.6.8 panics where there is less.
        let room = message.len() + message.len() / 8 + ROOM_BYTES;
        self.out.resize(room, 0);
        let status = self.compress.compress(message, &mut self.out, FlushCompress::Sync);
        let (taken, made) = (self.compress.total_in() as usize, self.compress.total_out() as usize);
        // All of it, and the flush, came out only where room was left.
        let whole = matches!(status, Ok(Status::Ok)) && taken == message.len() && made < room;
        debug_assert!(whole, "{taken} of {} bytes taken, {made} of {room} made", message.len());
        let payload = self.out[..made].strip_suffix(&TAIL)?;
        (whole && payload.len() < message.len()).then_some(payload)
    }
}
