//! The bodies of the fuzz targets over the committed seeds and random changes of them.
#![forbid(unsafe_code)]

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::{fs, panic, path::Path};

const MUTATIONS: usize = 20_000;

fn run(target: &str, body: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut paths: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(seeds.len() >= 8, "{} seeds in {}", seeds.len(), dir.display());
    for (path, seed) in paths.iter().zip(&seeds) {
        println!("{}", path.display());
        for read_bytes in 0..128 {
            let mut data = seed.clone();
            data[0] = data[0] & 0x80 | read_bytes;
            body(&data);
        }
    }
    let seed = 0x5eed_0002;
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..MUTATIONS {
        let data = mutated(&seeds, &mut random);
        if panic::catch_unwind(|| body(&data)).is_err() {
            panic!("seed {seed:#x}, round {round}: {data:?}");
        }
    }
}

fn mutated(seeds: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    const BYTES: [u8; 12] = [0, 0x80, 0x7e, 0x7f, 0xfe, 0xff, 0x81, 0x01, 0x88, b'\r', b'\n', b':'];
    let mut data = random.choice(seeds).unwrap().clone();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(0..=data.len());
        match random.u8(0..6) {
            0 if at < data.len() => data[at] ^= 1 << random.u8(0..8),
            1 if at < data.len() => data[at] = *random.choice(&BYTES).unwrap(),
            2 => data.insert(at, random.u8(..)),
            3 if at < data.len() => drop(data.remove(at)),
            4 => data.truncate(at.max(2)),
            _ => {
                // The first byte of a seed is no part of the stream.
                let other = random.choice(seeds).unwrap();
                let from = random.usize(1.min(other.len() - 1)..other.len());
                let to = random.usize(from..=other.len().min(from + 200));
                data.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
    if data.is_empty() { vec![0] } else { data }
}

#[test]
fn frames() {
    run("frames", bodies::frames);
}

#[test]
fn inflate() {
    run("inflate", bodies::inflate);
}

#[test]
fn context() {
    run("context", bodies::context);
}

#[test]
fn handshake() {
    run("handshake", bodies::handshake);
}
