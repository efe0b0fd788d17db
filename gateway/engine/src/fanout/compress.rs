//! Compression of frames, once for everyone who gets them.

use net::metric::{Kind, Metric, named};
use proto::{
    deflate::{Deflater, WINDOW_BITS},
    encode::{self, Opcode},
};

use crate::{
    protocol::{encoding::Wire, fragment::FRAGMENT_BYTES},
    settings::Compression,
};

/// The compressors of a shard, one for each window that clients ask for, made when it is first used.
#[derive(Debug)]
pub struct Compress {
    level: u8,
    bytes_min: usize,
    by_window: [Option<Box<Deflater>>; WINDOWS],
    /// Payload that this turn may still compress for few.
    catch_up_bytes_left: usize,
    catch_up_bytes: usize,
    has_passed_over: bool,
    /// Everything goes out as it is.
    pub is_off: bool,
    /// The longest payload of a frame as it is sent.
    pub fragment_bytes: usize,
    pub counters: CompressCounters,
}

const WINDOWS: usize = (*WINDOW_BITS.end() - *WINDOW_BITS.start() + 1) as usize;

#[derive(Debug, Default, Clone)]
pub struct CompressCounters {
    /// Frames compressed, and those that did not get smaller.
    pub compressed: u64,
    pub incompressible: u64,
    /// Payload of the former, before and after.
    pub bytes_before: u64,
    pub bytes_after: u64,
    /// Frames for few that were left as they are, since the turn had compressed enough of those.
    pub passed_over: u64,
}

impl CompressCounters {
    pub const METRICS: &[Metric<Self>] = &[
        Metric::by(
            Kind::Counter,
            "fanwire_compressed_frames",
            "Frames that were compressed, once each",
            "result",
            |c| named(["smaller", "not_smaller"], &[c.compressed, c.incompressible]),
        ),
        Metric::by(
            Kind::Counter,
            "fanwire_compressed_bytes",
            "Payload of those that got smaller",
            "side",
            |c| named(["before", "after"], &[c.bytes_before, c.bytes_after]),
        ),
        Metric::counter(
            "fanwire_compression_passed_over",
            "Snapshots and catch-up frames that were not compressed, since a turn compresses [compression] catch_up_bytes",
            |c| c.passed_over,
        ),
    ];
}

impl Compress {
    pub fn new(config: &Compression) -> Self {
        Self {
            level: config.level,
            bytes_min: config.bytes_min,
            by_window: Default::default(),
            catch_up_bytes_left: config.catch_up_bytes,
            catch_up_bytes: config.catch_up_bytes,
            has_passed_over: false,
            is_off: false,
            fragment_bytes: FRAGMENT_BYTES,
            counters: CompressCounters::default(),
        }
    }

    pub fn reload(&mut self, config: &Compression) {
        if self.level != config.level {
            (self.level, self.by_window) = (config.level, Default::default());
        }
        (self.bytes_min, self.catch_up_bytes) = (config.bytes_min, config.catch_up_bytes);
    }

    /// To be called once a turn of the shard. `true`: in the last one frames were passed over.
    pub fn begin_turn(&mut self) -> bool {
        self.catch_up_bytes_left = self.catch_up_bytes;
        std::mem::take(&mut self.has_passed_over)
    }

    /// How a payload goes that is not for a whole class: where many have to be caught up, compressing for
    /// each of them would keep all others waiting.
    pub fn for_few(&mut self, payload: &[u8], wire: Wire) -> Wire {
        if self.is_off || wire.window_bits.is_none() || payload.len() < self.bytes_min {
            return wire;
        }
        if self.catch_up_bytes_left == 0 {
            self.counters.passed_over += 1;
            self.has_passed_over = true;
            return Wire { window_bits: None, ..wire };
        }
        self.catch_up_bytes_left = self.catch_up_bytes_left.saturating_sub(payload.len());
        wire
    }

    /// Appends a whole message with this payload as it goes over `wire`, in fragments where it is long.
    pub fn frame(&mut self, out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], wire: Wire) {
        if let Some(bits) = wire.window_bits
            && !self.is_off
            && payload.len() >= self.bytes_min
        {
            let level = self.level;
            let deflater = self.by_window[usize::from(bits - WINDOW_BITS.start())]
                .get_or_insert_with(|| Box::new(Deflater::new(level, bits)));
            if let Some(deflated) = deflater.deflate(payload) {
                self.counters.compressed += 1;
                self.counters.bytes_before += payload.len() as u64;
                self.counters.bytes_after += deflated.len() as u64;
                encode::fragments(out, opcode as u8 | encode::DEFLATED, deflated, self.fragment_bytes);
                return;
            }
            self.counters.incompressible += 1;
        }
        encode::fragments(out, opcode as u8, payload, self.fragment_bytes);
    }
}
