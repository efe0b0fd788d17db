//! permessage-deflate (RFC 7692). What is sent is without context takeover: each message stands for
//! itself, so one compressor serves any number of connections, and one compressed message any number of
//! receivers. What is received may refer back to earlier messages of its sender: whoever reads it keeps
//! what that needs, [`Inflated::window`], so one decompressor serves any number of connections too.
//!
//! ```
//! use proto::{Event, deflate::{Deflated, Deflater, InflateLimits, Inflater}};
//!
//! let mut deflater = Deflater::new(1, 15);
//! let bytes = deflater.deflate(&[b'a'; 1000]).expect("it gets smaller").to_vec();
//! let limits = InflateLimits { message_bytes: 64 << 10, ratio: 1000 };
//! match Inflater::new().inflate(&Deflated { is_text: true, bytes: &bytes, context_bits: None }, limits) {
//!     Ok(Event::Text(text)) => assert_eq!(text, "a".repeat(1000)),
//!     other => panic!("{other:?}"),
//! }
//! ```

mod agreement;
mod deflated;
mod deflater;
mod inflater;
mod short;

pub use agreement::{Agreement, OFFER};
pub use deflated::Deflated;
pub use deflater::Deflater;
pub use inflater::{InflateLimits, Inflated, Inflater};

/// What every message ends with and none is sent with (RFC 7692, 7.2.1): an empty stored block.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The smallest and the largest window, as a power of two. RFC 7692 has 8 too, which zlib cannot do.
pub const WINDOW_BITS: std::ops::RangeInclusive<u8> = 9..=15;
