//! Masking (RFC 6455, 5.3): XOR with a key of four bytes, over and over.
//!
//! One tier per instruction set behind run-time detection, and a portable twin that short
//! payloads take anyway. The only `unsafe` of the crate is in here.

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod portable;
mod tier;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use tier::Tier;

/// Below it the call of a tier costs more than it saves (measured: about even at 256 bytes).
const VECTOR_BYTES_MIN: usize = 256;

/// Masks or unmasks `bytes` in place. `phase` is the position of `bytes[0]` in the payload.
#[inline]
pub fn apply(bytes: &mut [u8], key: [u8; 4], phase: usize) {
    let key = rotated(key, phase);
    if bytes.len() < VECTOR_BYTES_MIN {
        portable::apply(bytes, key);
    } else {
        apply_long(bytes, key);
    }
}

fn rotated(mut key: [u8; 4], phase: usize) -> [u8; 4] {
    key.rotate_left(phase % 4);
    key
}

#[cfg(target_arch = "x86_64")]
fn apply_long(bytes: &mut [u8], key: [u8; 4]) {
    x86_64::apply(bytes, key);
}

#[cfg(target_arch = "aarch64")]
fn apply_long(bytes: &mut [u8], key: [u8; 4]) {
    aarch64::apply(bytes, key);
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn apply_long(bytes: &mut [u8], key: [u8; 4]) {
    portable::apply(bytes, key);
}

/// The tiers that this machine can run, by name, the portable one first. For tests and benches.
pub fn tiers() -> Vec<(&'static str, Tier)> {
    let mut tiers: Vec<(&'static str, Tier)> = vec![("portable", portable::apply)];
    #[cfg(target_arch = "x86_64")]
    tiers.extend(x86_64::tiers());
    #[cfg(target_arch = "aarch64")]
    tiers.push(("neon", aarch64::apply));
    tiers
}
