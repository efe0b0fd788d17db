//! Compressing short messages: one block with the fixed codes (RFC 1951, 3.2.6).
//!
//! A general compressor empties its tables before each message, 128 KB and more, which takes longer than a message of
//! a kilobyte itself and leaves little else in the CPU's cache. This one has a small table that need not be emptied.

/// Of the table, as a power of two.
const TABLE_BITS: u32 = 12;
/// A shorter repetition is hardly shorter than its bytes.
const REPEAT_MIN: usize = 4;
const REPEAT_MAX: usize = 258;
/// Bytes that are read at once.
const WORD: usize = 8;
/// Beside a message and an eighth of it: 9 bits a byte, what ends it, and a word.
const ROOM_BYTES: usize = 32;

/// A compressor that is used for one message after another. It takes 16 KB, and as much as the longest message.
#[derive(Debug)]
pub(super) struct Short {
    /// By the hash of four bytes, where they stood last: in the message, beyond `base`. What is less is of an
    /// earlier message.
    table: Box<[u32; 1 << TABLE_BITS]>,
    base: u32,
    out: Vec<u8>,
}

impl Short {
    pub(super) fn new() -> Self {
        Self { table: Box::new([0; 1 << TABLE_BITS]), base: 1, out: Vec::new() }
    }

    /// The message as RFC 7692, 7.2.1 wants it, without the tail. Nothing refers back further than `window_bytes`.
    pub(super) fn deflate(&mut self, message: &[u8], window_bytes: usize) -> &[u8] {
        let len = u32::try_from(message.len()).expect("a short message");
        let base = self.base_for(len);
        let room = message.len() + message.len() / 8 + ROOM_BYTES;
        if self.out.len() < room {
            self.out.resize(room, 0);
        }
        // A block that is not the last one, with the fixed codes.
        let mut bits = Bits { out: &mut self.out, bytes: 0, waiting: 0b010, count: 3 };
        let mut at = 0;
        while let Some(word) = word(message, at) {
            let four = word as u32;
            let hash = four.wrapping_mul(0x9e37_79b1) >> (32 - TABLE_BITS);
            let found = std::mem::replace(&mut self.table[hash as usize], base + at as u32);
            if let Some(from) = found.checked_sub(base).map(|from| from as usize)
                && at - from <= window_bytes
                && word_at(message, from) as u32 == four
            {
                let repeated = repeated(message, from, at);
                bits.put(LENGTHS[repeated - 3]);
                bits.put(distance((at - from) as u32));
                at += repeated;
            } else {
                bits.put(LITERALS[usize::from(word as u8)]);
                at += 1;
            }
            bits.flush();
        }
        for byte in &message[at..] {
            bits.put(LITERALS[usize::from(*byte)]);
            bits.flush();
        }
        let bytes = bits.end();
        &self.out[..bytes]
    }

    /// Where the positions of a message of so many bytes begin.
    fn base_for(&mut self, len: u32) -> u32 {
        let base = match self.base.checked_add(len) {
            Some(_) => self.base,
            None => {
                self.table.fill(0);
                1
            }
        };
        self.base = base + len;
        base
    }
}

fn word(message: &[u8], at: usize) -> Option<u64> {
    message.get(at..)?.first_chunk::<WORD>().map(|word| u64::from_le_bytes(*word))
}

/// # Panics
/// Where fewer bytes follow.
fn word_at(message: &[u8], at: usize) -> u64 {
    word(message, at).expect("a word of the message")
}

/// How many bytes at `at` are those at `from`, where so many as [`REPEAT_MIN`] are.
fn repeated(message: &[u8], from: usize, at: usize) -> usize {
    let max = (message.len() - at).min(REPEAT_MAX);
    let mut same = REPEAT_MIN;
    while same + WORD <= max {
        let differs = word_at(message, from + same) ^ word_at(message, at + same);
        if differs != 0 {
            return same + (differs.trailing_zeros() / 8) as usize;
        }
        same += WORD;
    }
    while same < max && message[from + same] == message[at + same] {
        same += 1;
    }
    same
}

/// Bits as they follow each other, the first one lowest.
#[derive(Debug, Clone, Copy)]
struct Code {
    bits: u32,
    count: u32,
}

/// What is written, lowest bits first (RFC 1951, 3.1.1).
struct Bits<'a> {
    out: &'a mut [u8],
    bytes: usize,
    /// Not written yet, and how many.
    waiting: u64,
    count: u32,
}

impl Bits<'_> {
    #[inline]
    fn put(&mut self, code: Code) {
        self.waiting |= u64::from(code.bits) << self.count;
        self.count += code.count;
    }

    /// Leaves 31 bits at most, so that another 33 fit.
    #[inline]
    fn flush(&mut self) {
        if self.count >= 32 {
            self.out[self.bytes..self.bytes + 4].copy_from_slice(&(self.waiting as u32).to_le_bytes());
            self.bytes += 4;
            self.waiting >>= 32;
            self.count -= 32;
        }
    }

    /// Ends the block, begins an empty one that is stored, and gives how many bytes that makes.
    fn end(mut self) -> usize {
        self.put(Code { bits: 0, count: 7 + 3 });
        self.out[self.bytes..self.bytes + WORD].copy_from_slice(&self.waiting.to_le_bytes());
        self.bytes + self.count.div_ceil(8) as usize
    }
}

/// Of a byte.
const LITERALS: [Code; 256] = {
    let mut codes = [Code { bits: 0, count: 0 }; 256];
    let mut byte = 0;
    while byte < 256 {
        codes[byte as usize] =
            if byte < 144 { huffman(0b0011_0000 + byte, 8) } else { huffman(0b1_1001_0000 + byte - 144, 9) };
        byte += 1;
    }
    codes
};

/// Of how many bytes are repeated, from 3 on, with its extra bits (RFC 1951, 3.2.5).
const LENGTHS: [Code; 256] = {
    let mut codes = [Code { bits: 0, count: 0 }; 256];
    let (mut symbol, mut at) = (257, 0);
    while at < 255 {
        let extra = if symbol < 265 { 0 } else { (symbol - 261) / 4 };
        let code =
            if symbol < 280 { huffman(symbol - 256, 7) } else { huffman(0b1100_0000 + symbol - 280, 8) };
        let mut bits = 0;
        while bits < 1 << extra && at < 255 {
            codes[at] = Code { bits: code.bits | bits << code.count, count: code.count + extra };
            (bits, at) = (bits + 1, at + 1);
        }
        symbol += 1;
    }
    // 258 has a code of its own.
    codes[255] = huffman(0b1100_0000 + 285 - 280, 8);
    codes
};

/// Of how far back what is repeated stands, with its extra bits (RFC 1951, 3.2.5).
fn distance(bytes: u32) -> Code {
    let beyond = bytes - 1;
    if beyond < 4 {
        return huffman(beyond, 5);
    }
    let extra = 30 - beyond.leading_zeros();
    let symbol = 2 * extra + 2 + (beyond >> extra & 1);
    Code { bits: huffman(symbol, 5).bits | (beyond & ((1 << extra) - 1)) << 5, count: 5 + extra }
}

/// Huffman codes are written from their highest bit on (RFC 1951, 3.1.1).
const fn huffman(code: u32, count: u32) -> Code {
    Code { bits: code.reverse_bits() >> (32 - count), count }
}

#[cfg(test)]
mod tests {
    use flate2::{Decompress, FlushDecompress};

    use super::*;

    fn inflated(deflated: &[u8]) -> Vec<u8> {
        let whole = [deflated, &crate::deflate::TAIL].concat();
        let mut out = Vec::with_capacity(1 << 20);
        Decompress::new(false).decompress_vec(&whole, &mut out, FlushDecompress::Sync).unwrap();
        out
    }

    #[test]
    fn every_message_is_read_again_whatever_came_before_it() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut short = Short::new();
        for round in 0..3000 {
            let (len, kinds) = (rng.usize(0..2000), rng.u8(1..=255));
            let message: Vec<u8> = (0..len).map(|_| rng.u8(..kinds)).collect();
            let deflated = short.deflate(&message, 1 << rng.u32(9..=15));
            assert_eq!(inflated(deflated), message, "message {round}");
        }
    }

    #[test]
    fn repetitions_of_every_length_and_distance_are_read_again() {
        let mut rng = fastrand::Rng::with_seed(2);
        let mut short = Short::new();
        for len in 3..300 {
            let between = rng.usize(0..20_000);
            let noise: Vec<u8> = (0..between).map(|_| rng.u8(..)).collect();
            let repeated: Vec<u8> = (0..len).map(|_| rng.u8(..)).collect();
            let message = [&repeated[..], &noise, &repeated, b"end"].concat();
            assert_eq!(inflated(short.deflate(&message, 1 << 15)), message, "{len} bytes, {between} between");
        }
    }

    #[test]
    fn nothing_refers_back_further_than_the_window() {
        let (far, near) = (b"0123456789abcdef", vec![b'x'; 600]);
        let message = [&far[..], &near, far].concat();
        let mut short = Short::new();
        let (narrow, wide) = (short.deflate(&message, 512).len(), short.deflate(&message, 1024).len());
        assert!(wide + 10 < narrow, "{wide} and {narrow} bytes");
    }

    #[test]
    fn positions_that_have_run_out_begin_anew() {
        let message = b"again and again and again";
        let mut short = Short::new();
        let before = short.deflate(message, 512).to_vec();
        short.base = u32::MAX - 10;
        for _ in 0..3 {
            assert_eq!(short.deflate(message, 512), before);
        }
    }
}
