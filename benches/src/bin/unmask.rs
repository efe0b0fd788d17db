//! Throughput of `proto`'s unmasking against the plain byte loop, by payload length.
#![forbid(unsafe_code)]

use benches::timed::best_ns;
use proto::mask;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
/// Bytes that each measured round goes through, whatever the payload's length.
const ROUND_BYTES: usize = 16 << 20;

fn byte_loop(bytes: &mut [u8], key: [u8; 4], phase: usize) {
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte ^= key[(at + phase) & 3];
    }
}

fn main() {
    println!("{:>9} {:>12} {:>12} {:>7}", "bytes", "proto GB/s", "loop GB/s", "ratio");
    for bytes in [16, 64, 125, 512, 4096, 65536, 1 << 20] {
        // One byte in: payloads do not begin at aligned addresses.
        let mut buffer: Vec<u8> = (0..=bytes).map(|n| (n * 7) as u8).collect();
        let mut twin = buffer.clone();
        for phase in 0..4 {
            mask::apply(&mut buffer[1..], KEY, phase);
            byte_loop(&mut twin[1..], KEY, phase);
            assert_eq!(buffer, twin, "{bytes} bytes, phase {phase}");
        }
        let repeats = ROUND_BYTES / bytes;
        let proto_ns = best_ns(repeats, || mask::apply(&mut buffer[1..], KEY, 0));
        let loop_ns = best_ns(repeats, || byte_loop(&mut twin[1..], KEY, 0));
        let [proto, plain] = [proto_ns, loop_ns].map(|ns| bytes as f64 / ns);
        println!("{bytes:>9} {proto:>12.1} {plain:>12.1} {:>7.1}", proto / plain);
    }
}
