//! The messages of a feed of one keyed topic, `loadgen.book`, whose `v` is the version until [`LAST`].
//!
//! At each version a key of its own is set, and one more in place of the version's before.

use super::{
    fault::Fault,
    messages::{batch_of, heartbeat, now_us, snapshot_of},
};

/// From here on nothing changes, so that all clients can be compared at the end.
const LAST: u64 = 60;

pub fn snapshot(fault: Fault, version: u64) -> String {
    let at = version.min(LAST);
    let whole = (1..=at).map(own).chain([passing(at)]);
    let reset = if fault == Fault::TableBare { "" } else { r#""reset":true,"# };
    snapshot_of(version, &[update(at, &format!("{reset}{}", set(whole)))])
}

/// With that fault.
pub fn batch_but(fault: Fault, from: u64, to: u64) -> String {
    let (before, at) = (from.min(LAST), to.min(LAST));
    if before == at {
        return heartbeat(from, to);
    }
    let del = format!(r#","del":["at{before}"]"#);
    let changes = match fault {
        Fault::KeyLeftOut => set([passing(at)]) + &del,
        Fault::KeyStale => {
            set((before..at).map(|v| format!(r#""v{}":{v}"#, v + 1)).chain([passing(at)])) + &del
        }
        Fault::DelLeftOut => set((before + 1..=at).map(own).chain([passing(at)])),
        Fault::ResetTorn => format!(r#""reset":true,{}"#, set([own(at), passing(at)])),
        _ => set((before + 1..=at).map(own).chain([passing(at)])) + &del,
    };
    batch_of(from, to, &[update(at, &changes)])
}

fn own(v: u64) -> String {
    format!(r#""v{v}":{v}"#)
}

fn passing(v: u64) -> String {
    format!(r#""at{v}":true"#)
}

fn set(members: impl IntoIterator<Item = String>) -> String {
    format!(r#""set":{{{}}}"#, members.into_iter().collect::<Vec<_>>().join(","))
}

fn update(v: u64, changes: &str) -> String {
    format!(r#"{{"topic":"loadgen.book","v":{v},"ts":{},{changes}}}"#, now_us())
}
