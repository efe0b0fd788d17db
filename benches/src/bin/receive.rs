//! What one masked client message costs in `Conn::receive`: header, unmasking, UTF-8, event.
#![forbid(unsafe_code)]

use benches::timed::best_ns;
use proto::{Conn, Event, Limits, encode};

const LIMITS: Limits = Limits { head_bytes: 16 << 10, headers: 64, message_bytes: 1 << 20 };
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const MESSAGES: usize = 256;

/// Receives everything in `input`; text messages and their bytes.
fn receive_all(conn: &mut Conn, input: &mut [u8]) -> (usize, usize) {
    let (mut messages, mut bytes, mut at) = (0, 0, 0);
    while at < input.len() {
        let step = conn.receive(&mut input[at..], &LIMITS);
        at += step.used;
        if let Some(Event::Text(text)) = step.event {
            messages += 1;
            bytes += text.len();
        }
    }
    (messages, bytes)
}

fn main() {
    println!("{:>9} {:>14} {:>14}", "bytes", "whole ns", "our header ns");
    for payload_bytes in [0, 16, 80, 125, 126, 1024, 16384] {
        let mut stream = Vec::new();
        for _ in 0..MESSAGES {
            encode::masked_frame(&mut stream, encode::Opcode::Text, &vec![b'a'; payload_bytes], KEY);
        }
        let mut conn = Conn::server();
        conn.upgraded(None);
        // Receiving unmasks in place, so each run needs the masked bytes again; their copy is timed apart.
        let mut input = stream.clone();
        assert_eq!(receive_all(&mut conn, &mut input), (MESSAGES, MESSAGES * payload_bytes));
        let whole = best_ns(200, || {
            input.copy_from_slice(&stream);
            receive_all(&mut conn, &mut input)
        });
        let copy = best_ns(200, || input.copy_from_slice(&stream));
        let header = best_ns(200, || {
            (0..MESSAGES)
                .map(|_| {
                    encode::header(encode::Opcode::Text, true, std::hint::black_box(payload_bytes)).len()
                })
                .sum::<usize>()
        });
        let [whole, header] = [whole - copy, header].map(|ns| ns / MESSAGES as f64);
        println!("{payload_bytes:>9} {whole:>14.1} {header:>14.1}");
    }
}
