//! The bodies of the fuzz targets over the committed seeds and random changes of them.
#![forbid(unsafe_code)]

#[path = "../fuzz/bodies.rs"]
mod bodies;
#[path = "../fuzz/connection.rs"]
mod connection;
#[path = "../fuzz/proxy.rs"]
mod proxy;
#[path = "../fuzz/tls.rs"]
mod tls;

use std::{fs, panic, path::Path};

const MUTATIONS: usize = 10_000;
const SEED: u64 = 0x5eed_0003;

#[test]
fn client_messages() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/client_messages");
    let mut paths: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(seeds.len() >= 8, "{} seeds in {}", seeds.len(), dir.display());
    for (path, seed) in paths.iter().zip(&seeds) {
        println!("{}", path.display());
        for cut in 0..16 {
            let mut data = seed.clone();
            data[0] = data[0] & 0xf0 | cut;
            bodies::client_messages(&data);
        }
    }
    let mut random = fastrand::Rng::with_seed(SEED);
    for round in 0..MUTATIONS {
        let data = mutated(&seeds, &mut random);
        if panic::catch_unwind(|| bodies::client_messages(&data)).is_err() {
            panic!("seed {SEED:#x}, round {round}: {:?}", data.escape_ascii().to_string());
        }
    }
}

#[test]
fn connection() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/connection");
    let mut paths: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(seeds.len() >= 5, "{} seeds in {}", seeds.len(), dir.display());
    seeds.iter().for_each(|seed| connection::connection(seed));
    let mut random = fastrand::Rng::with_seed(SEED);
    for round in 0..MUTATIONS {
        let data = mutated(&seeds, &mut random);
        if panic::catch_unwind(|| connection::connection(&data)).is_err() {
            panic!("seed {SEED:#x}, round {round}: {:?}", data.escape_ascii().to_string());
        }
    }
}

#[test]
fn proxy_headers() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/proxy_headers");
    let mut paths: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(seeds.len() >= 8, "{} seeds in {}", seeds.len(), dir.display());
    seeds.iter().for_each(|seed| proxy::proxy_headers(seed));
    let mut random = fastrand::Rng::with_seed(SEED);
    for round in 0..MUTATIONS {
        let data = mutated(&seeds, &mut random);
        if panic::catch_unwind(|| proxy::proxy_headers(&data)).is_err() {
            panic!("seed {SEED:#x}, round {round}: {:?}", data.escape_ascii().to_string());
        }
    }
}

#[test]
fn tls_records() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/tls_records");
    let seeds: Vec<Vec<u8>> =
        fs::read_dir(dir).unwrap().map(|e| fs::read(e.unwrap().path()).unwrap()).collect();
    seeds.iter().for_each(|seed| tls::tls_records(seed));
    let mut random = fastrand::Rng::with_seed(SEED);
    for round in 0..1_500 {
        let data = mutated(&seeds, &mut random);
        if panic::catch_unwind(|| tls::tls_records(&data)).is_err() {
            panic!("seed {SEED:#x}, round {round}: {:?}", data.escape_ascii().to_string());
        }
    }
}

fn mutated(seeds: &[Vec<u8>], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut data = random.choice(seeds).unwrap().clone();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(0..=data.len());
        match random.u8(0..5) {
            0 if at < data.len() => data[at] ^= 1 << random.u8(0..8),
            1 => data.insert(at, *random.choice(b"\"{}[]:,.*0a\n\xff\x00\x81").unwrap()),
            2 if at < data.len() => drop(data.remove(at)),
            3 => data.truncate(at.max(2)),
            _ => {
                let other = random.choice(seeds).unwrap();
                let from = random.usize(1..other.len());
                let to = random.usize(from..=other.len().min(from + 200));
                data.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
    if data.is_empty() { vec![0] } else { data }
}
