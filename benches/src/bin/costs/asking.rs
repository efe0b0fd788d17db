//! Clients that ask for everything: what they cost the others, and what they hold.

use std::sync::Arc;

use net::Events;

use super::{
    cost::{Cost, Meter},
    plane::Plane,
};

pub const COSTS: &[Cost] = &[Cost {
    name: "ask-for-all",
    what: "the longest turn while clients that read slowly ask for * and a name of their own at 100,000 topics; clients",
    sizes: [20, 200],
    ratio_max: 2.0,
    ms_max: Some(20.0),
    is_counted: false,
    run: ask,
}];

const TOPICS: usize = 100_000;
const DATA: &str = r#"{"bid":1.0841,"ask":1.0843}"#;
/// Of an update in a snapshot, at least.
const UPDATE_BYTES: usize = 90;
/// Goal: memory at its highest, beside that of the topics. MiB.
const MIB_MAX: f64 = 300.0;
/// Events of one turn.
const EVENTS: usize = 1024;

/// One storm, whatever number of samples is wanted: it takes some seconds.
fn ask(clients: usize, meter: &mut Meter) {
    let mut plane = Plane::new(clients, |_| {});
    let names: Vec<Arc<str>> = (0..TOPICS).map(|n| format!("venue{}.quote.s{n:06}", n % 7).into()).collect();
    plane.publish(&names, DATA);
    let before_mib = memory_mib();
    plane.wire.holds_sends = true;
    for n in 0..clients {
        plane.join(&format!("topics=*,own.client{n}&interval_ms=1000"));
    }
    let bytes = (clients * TOPICS * UPDATE_BYTES) as u64;
    let (mut highest_mib, mut turns) = (before_mib, 0_u64);
    while plane.wire.bytes < bytes {
        let mut is_busy = false;
        meter.longest(|| is_busy = turn(&mut plane));
        turns += 1;
        if turns.is_multiple_of(16) {
            highest_mib = highest_mib.max(memory_mib());
        }
        plane.now.mono_us += 100;
        plane.now.wall_us += 100;
        // Whoever was sent something longest ago has read it.
        if !is_busy || turns.is_multiple_of(64) {
            plane.wire.release();
        }
        assert!(turns < 10_000_000, "nobody is sent any more: {} of {bytes} bytes", plane.wire.bytes);
    }
    meter.note_mib(highest_mib - before_mib, MIB_MAX);
}

fn turn(plane: &mut Plane) -> bool {
    let mut is_busy = plane.shard.take_inbox(plane.now);
    for _ in 0..EVENTS {
        let Some(event) = plane.wire.next() else { break };
        is_busy = true;
        plane.shard.on_event(event, &mut plane.wire, plane.now);
    }
    plane.shard.run(&mut plane.wire, plane.now) || is_busy
}

/// The process's own memory that is in use.
fn memory_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux says so");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("since Linux 4.5");
    let kib = line.trim().trim_end_matches(" kB").parse::<f64>();
    kib.expect("a number of KiB") / 1024.0
}
