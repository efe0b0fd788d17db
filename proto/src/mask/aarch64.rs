//! NEON, which every aarch64 has.

use std::arch::aarch64::*;

use super::portable;

pub fn apply(bytes: &mut [u8], key: [u8; 4]) {
    let (vectors, tail) = bytes.as_chunks_mut::<16>();
    // SAFETY: NEON is part of aarch64's baseline; the intrinsic touches no memory.
    let key_vector = unsafe { vreinterpretq_u8_u32(vdupq_n_u32(u32::from_ne_bytes(key))) };
    for vector in vectors {
        let at = vector.as_mut_ptr();
        // SAFETY: `at` points to the 16 bytes of `vector`, borrowed mutably; no alignment is asked for.
        unsafe { vst1q_u8(at, veorq_u8(vld1q_u8(at), key_vector)) };
    }
    // A vector is a multiple of four bytes, so the key needs no turning here.
    portable::apply(tail, key);
}
