//! A key of a table, as it stands in JSON.

use std::io::Write;

/// Appends a key as a JSON string, escaped in one way only, so that equal keys are equal bytes.
pub fn write_key(out: &mut Vec<u8>, key: &str) {
    out.push(b'"');
    for byte in key.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 => write!(out, "\\u{byte:04x}").expect("writing to memory does not fail"),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
