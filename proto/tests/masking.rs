//! RFC 6455, 5.3: masking, every tier against the definition.
#![forbid(unsafe_code)]
mod support;

use proto::{Error, encode::Opcode, mask};
use support::*;

fn by_definition(bytes: &mut [u8], key: [u8; 4], phase: usize) {
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte ^= key[(i + phase) % 4];
    }
}

fn lengths() -> impl Iterator<Item = usize> {
    (0..=300).chain([1000, 4095, 4096, 65_537])
}

/// Runs `masked` on a slice at every alignment, with guards on both sides.
fn check(name: &str, bytes: usize, phase: usize, masked: impl Fn(&mut [u8])) {
    let original: Vec<u8> = (0..bytes + 128).map(|i| (i * 7 + i / 256) as u8).collect();
    // Guards and payload move together over a buffer whose start is aligned to 64.
    let mut space = vec![0; original.len() + 128];
    let aligned = space.as_ptr().align_offset(64);
    for alignment in 0..64 {
        let buffer = &mut space[aligned + alignment..][..original.len()];
        buffer.copy_from_slice(&original);
        masked(&mut buffer[64..64 + bytes]);
        let mut expected = original.clone();
        by_definition(&mut expected[64..64 + bytes], KEY, phase);
        assert!(buffer == expected, "{name}: {bytes} bytes at alignment {alignment}, phase {phase}");
    }
}

#[test]
fn apply_is_the_byte_loop_at_every_length_alignment_and_phase() {
    for bytes in lengths() {
        for phase in 0..4 {
            check("apply", bytes, phase, |slice| mask::apply(slice, KEY, phase));
        }
    }
}

#[test]
fn every_tier_is_the_byte_loop() {
    let tiers = mask::tiers();
    println!("tiers: {:?}", tiers.iter().map(|(name, _)| name).collect::<Vec<_>>());
    assert_eq!(tiers[0].0, "portable");
    for (name, tier) in tiers {
        for bytes in lengths() {
            check(name, bytes, 0, |slice| tier(slice, KEY));
        }
    }
}

#[test]
fn phase_counts_over_any_number_of_pieces() {
    let original: Vec<u8> = (0..=255).collect();
    let mut expected = original.clone();
    by_definition(&mut expected, KEY, 0);
    for piece in 1..=original.len() {
        let mut bytes = original.clone();
        for (i, part) in bytes.chunks_mut(piece).enumerate() {
            mask::apply(part, KEY, i * piece);
        }
        assert_eq!(bytes, expected, "pieces of {piece}");
    }
}

#[test]
fn clients_must_mask_and_servers_must_not() {
    let mut unmasked = Vec::new();
    proto::encode::frame(&mut unmasked, Opcode::Text, b"x");
    assert_eq!(server_fails_at(&unmasked, &LIMITS), Some((1, Error::Unmasked)));
    let seen = feed(&mut open_client(), &masked(Opcode::Text, b"x"), &LIMITS);
    assert_eq!(seen, [Seen::Fail(Error::Masked)]);
    assert_eq!(feed(&mut open_client(), &unmasked, &LIMITS), [text("x")]);
}
