//! One update, as it stands in batches and in `GET /topics/NAME`: written once when it is numbered, and shared.
//!
//! ```text
//! {"topic":"a.b","v":7,"ts":1761800000000000,"data":…}
//! {"topic":"a.b","v":8,"ts":1761800000000000,"by":"alice","data":…}                      a client's, of its subject
//! {"topic":"a.b","v":8,"ts":1761800000000000,"gone":true}
//! {"topic":"a.b","v":9,"ts":1761800000000000,"reset":true,"set":{"k":1},"del":["l"]}     a keyed topic's
//! {"gap":3,"topic":"a.b","v":9,"ts":1761800000000000,"data":…}                           after updates are missing
//! ```

use std::io::Write;

/// What telling a gap adds to an update at most, bytes.
pub const GAP_BYTES_MAX: usize = 32;

/// The beginning of an update. A topic's characters need no escaping.
pub fn write_head(out: &mut Vec<u8>, topic: &str, v: u64, ts_us: i64) {
    write!(out, r#"{{"topic":"{topic}","v":{v},"ts":{ts_us},"#).expect("writing to memory does not fail");
}

/// Who wrote it: a segment of a topic, which needs no escaping either.
pub fn write_by(out: &mut Vec<u8>, by: &str) {
    write!(out, r#""by":"{by}","#).expect("writing to memory does not fail");
}

/// The rest of an update with a whole value, which is JSON.
pub fn write_data(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(br#""data":"#);
    out.extend_from_slice(data);
    out.push(b'}');
}

/// The rest of an update that removes its topic.
pub fn write_gone(out: &mut Vec<u8>) {
    out.extend_from_slice(br#""gone":true}"#);
}

/// The rest of a keyed topic's update. `set`: members `"key":value`; `deleted`: keys in quotes. `reset`: nothing
/// of the table before holds.
pub fn write_table<'a>(
    out: &mut Vec<u8>,
    reset: bool,
    set: impl Iterator<Item = &'a [u8]>,
    deleted: impl Iterator<Item = &'a [u8]>,
) {
    if reset {
        out.extend_from_slice(br#""reset":true,"#);
    }
    out.extend_from_slice(br#""set":{"#);
    write_list(set, out);
    out.push(b'}');
    let mut deleted = deleted.peekable();
    if deleted.peek().is_some() {
        out.extend_from_slice(br#","del":["#);
        write_list(deleted, out);
        out.push(b']');
    }
    out.push(b'}');
}

/// Appends the beginning of an update that tells that `missing` updates before it are missing, and gives the rest.
pub fn write_gap<'a>(out: &mut Vec<u8>, missing: u64, update: &'a [u8]) -> &'a [u8] {
    let rest = update.strip_prefix(b"{").expect("an update is an object");
    write!(out, r#"{{"gap":{missing},"#).expect("writing to memory does not fail");
    rest
}

/// An update that was restored from a state and is not confirmed yet.
pub fn stale(update: &[u8]) -> Vec<u8> {
    let open = update.strip_suffix(b"}").expect("an update is an object");
    [open, br#","stale":true}"#].concat()
}

fn write_list<'a>(members: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    for (i, member) in members.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(member);
    }
}
