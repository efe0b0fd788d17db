//! Binary frames that are compressed, each by itself.

use std::io::{self, Read};

use engine::settings::{Field, Value};
use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};

/// How a venue packs its binary frames. Text frames are as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Plain,
    Gzip,
    /// RFC 1951, also within RFC 1950.
    Deflate,
}

impl Encoding {
    pub const NAMES: &'static [&'static str] = &["none", "gzip", "deflate"];
    const ALL: [Encoding; 3] = [Encoding::Plain, Encoding::Gzip, Encoding::Deflate];

    /// Puts the message that a frame holds into `out`; one of more than `bytes_max` is an error.
    pub fn unpack(self, frame: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), String> {
        out.clear();
        // RFC 1950, 2.2: the method in the lower half of the first byte, and a check over both.
        let is_zlib =
            matches!(frame, [a, b, ..] if a & 15 == 8 && (u16::from(*a) << 8 | u16::from(*b)) % 31 == 0);
        let read = match self {
            Encoding::Plain => copy(frame, bytes_max, out),
            Encoding::Gzip => copy(GzDecoder::new(frame), bytes_max, out),
            Encoding::Deflate if is_zlib => copy(ZlibDecoder::new(frame), bytes_max, out),
            Encoding::Deflate => copy(DeflateDecoder::new(frame), bytes_max, out),
        };
        match read {
            Ok(()) if out.len() > bytes_max => {
                Err(format!("a frame holds more than message_bytes = {bytes_max} bytes; raise that"))
            }
            Ok(()) => Ok(()),
            Err(error) => Err(format!("a binary frame is not {}: {error}", Self::NAMES[self as usize])),
        }
    }
}

fn copy(from: impl Read, bytes_max: usize, out: &mut Vec<u8>) -> io::Result<()> {
    from.take(bytes_max as u64 + 1).read_to_end(out).map(drop)
}

impl Field for Encoding {
    fn from_value(value: Value) -> Self {
        let name = String::from_value(value);
        let nth = Self::NAMES.iter().position(|known| *known == name);
        nth.map(|nth| Self::ALL[nth]).expect("its key has the same choice")
    }

    fn to_value(&self) -> Value {
        Value::Text(Self::NAMES[*self as usize].to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{
        Compression,
        write::{DeflateEncoder, GzEncoder, ZlibEncoder},
    };

    use super::*;

    #[test]
    fn a_frame_is_unpacked_up_to_the_longest_message() {
        let text = br#"{"ch":"market.btcusdt.depth.step0"}"#.repeat(10);
        let level = Compression::default();
        let mut gzip = GzEncoder::new(Vec::new(), level);
        gzip.write_all(&text).unwrap();
        let mut raw = DeflateEncoder::new(Vec::new(), level);
        raw.write_all(&text).unwrap();
        let mut zlib = ZlibEncoder::new(Vec::new(), level);
        zlib.write_all(&text).unwrap();
        let frames = [
            (Encoding::Gzip, gzip.finish().unwrap()),
            (Encoding::Deflate, raw.finish().unwrap()),
            (Encoding::Deflate, zlib.finish().unwrap()),
            (Encoding::Plain, text.clone()),
        ];
        let mut out = Vec::new();
        for (encoding, frame) in frames {
            encoding.unpack(&frame, text.len(), &mut out).unwrap();
            assert_eq!(out, text, "{encoding:?}");
            let error = encoding.unpack(&frame, text.len() - 1, &mut out).unwrap_err();
            assert!(error.contains("raise that") && out.len() <= text.len(), "{error}");
        }
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            assert!(encoding.unpack(b"\xff{}", 100, &mut out).is_err());
        }
    }
}
