//! SSE2, AVX2 and AVX-512.
//!
//! Loads and stores are unaligned. The tail of AVX2 and SSE2 goes to the portable twin; a vector
//! is a multiple of four bytes, so the key needs no turning there. AVX-512 masks its tail.

use std::arch::x86_64::*;

use super::{Tier, portable};

/// The widest tier there is. The detection is a cached load and a test.
pub fn apply(bytes: &mut [u8], key: [u8; 4]) {
    if has_avx512() {
        avx512(bytes, key);
    } else if is_x86_feature_detected!("avx2") {
        avx2(bytes, key);
    } else {
        sse2(bytes, key);
    }
}

/// Those that this machine can run.
pub fn tiers() -> impl Iterator<Item = (&'static str, Tier)> {
    let avx2: (bool, &str, Tier) = (is_x86_feature_detected!("avx2"), "avx2", avx2);
    [(true, "sse2", sse2 as Tier), avx2, (has_avx512(), "avx512", avx512)]
        .into_iter()
        .filter_map(|(available, name, tier)| available.then_some((name, tier)))
}

fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
}

fn sse2(bytes: &mut [u8], key: [u8; 4]) {
    #[target_feature(enable = "sse2")]
    fn apply(bytes: &mut [u8], key: [u8; 4]) {
        let (vectors, tail) = bytes.as_chunks_mut::<16>();
        let key_vector = _mm_set1_epi32(i32::from_ne_bytes(key));
        for vector in vectors {
            let at = vector.as_mut_ptr().cast::<__m128i>();
            // SAFETY: `at` points to the 16 bytes of `vector`, borrowed mutably; no alignment is asked for.
            unsafe { _mm_storeu_si128(at, _mm_xor_si128(_mm_loadu_si128(at), key_vector)) };
        }
        portable::apply(tail, key);
    }
    // SAFETY: SSE2 is part of x86_64.
    unsafe { apply(bytes, key) }
}

fn avx2(bytes: &mut [u8], key: [u8; 4]) {
    #[target_feature(enable = "avx2")]
    fn apply(bytes: &mut [u8], key: [u8; 4]) {
        let (vectors, tail) = bytes.as_chunks_mut::<32>();
        let key_vector = _mm256_set1_epi32(i32::from_ne_bytes(key));
        for vector in vectors {
            let at = vector.as_mut_ptr().cast::<__m256i>();
            // SAFETY: `at` points to the 32 bytes of `vector`, borrowed mutably; no alignment is asked for.
            unsafe { _mm256_storeu_si256(at, _mm256_xor_si256(_mm256_loadu_si256(at), key_vector)) };
        }
        portable::apply(tail, key);
    }
    debug_assert!(is_x86_feature_detected!("avx2"));
    // SAFETY: only called, and only listed in `tiers`, where AVX2 was detected.
    unsafe { apply(bytes, key) }
}

fn avx512(bytes: &mut [u8], key: [u8; 4]) {
    #[target_feature(enable = "avx512f,avx512bw")]
    fn apply(bytes: &mut [u8], key: [u8; 4]) {
        let (vectors, tail) = bytes.as_chunks_mut::<64>();
        let key_vector = _mm512_set1_epi32(i32::from_ne_bytes(key));
        for vector in vectors {
            let at = vector.as_mut_ptr().cast::<__m512i>();
            // SAFETY: `at` points to the 64 bytes of `vector`, borrowed mutably; no alignment is asked for.
            unsafe { _mm512_storeu_si512(at, _mm512_xor_si512(_mm512_loadu_si512(at), key_vector)) };
        }
        let lanes: __mmask64 = (1 << tail.len()) - 1;
        let at = tail.as_mut_ptr().cast::<i8>();
        // SAFETY: only the lanes below `tail.len()` (at most 63) are read and written, and those lie
        // in `tail`, borrowed mutably; masked-off lanes touch no memory.
        unsafe {
            let masked = _mm512_xor_si512(_mm512_maskz_loadu_epi8(lanes, at), key_vector);
            _mm512_mask_storeu_epi8(at, lanes, masked);
        }
    }
    debug_assert!(has_avx512());
    // SAFETY: only called, and only listed in `tiers`, where both features were detected.
    unsafe { apply(bytes, key) }
}
