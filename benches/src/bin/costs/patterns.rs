//! Patterns: what those cost that a topic does not match, and what it costs to come back to one.

use std::{sync::Arc, time::Duration};

use engine::{
    clock::Now,
    sequencer::{Body, Grouping, Publication},
};
use net::ConnId;

use super::{
    cost::{Cost, Meter},
    plane::{EPOCH, Plane},
};

pub const COSTS: &[Cost] = &[
    Cost {
        name: "update-starred",
        what: "a shard takes 1,000 updates in, which 10 patterns match; patterns held, with * in the middle",
        sizes: [10, 100_000],
        ratio_max: 2.0,
        ms_max: None,
        is_counted: true,
        run: update,
    },
    Cost {
        name: "birth-starred",
        what: "a shard takes 1,000 new topics in, which 10 patterns match; patterns held, with * in the middle",
        sizes: [10, 100_000],
        ratio_max: 2.0,
        ms_max: None,
        is_counted: true,
        run: birth,
    },
    Cost {
        name: "subscribe-starred",
        what: "a client subscribes to host.*.net, which selects 100 topics; topics of the same hosts",
        sizes: [1_000, 200_000],
        ratio_max: 3.0,
        ms_max: None,
        is_counted: true,
        run: subscribe,
    },
    Cost {
        name: "toggle",
        what: "a client subscribes to feed.* with since, and unsubscribes; topics (2 ms of 100 messages/s: 10 % of a core)",
        sizes: [2_000, 200_000],
        ratio_max: 2.0,
        ms_max: Some(2.0),
        is_counted: true,
        run: toggle,
    },
];

/// What matches `dc.HOST.cpu.user` for every host.
const MATCHING: [&str; 10] = [
    "dc.*.cpu.user",
    "*.*.cpu.user",
    "dc.*.*.user",
    "*.*.*.user",
    "dc.*.cpu.*",
    "*.*.cpu.*",
    "dc.*.*.*",
    "*.*.*.*",
    "dc.*.*",
    "*.*.*",
];
/// Patterns of a connection, and updates of a sample.
const PATTERNS: usize = 1_000;
const UPDATES: usize = 1_000;
const DATA: &str = r#"{"value":0.25}"#;

fn plane(clients: usize) -> Plane {
    Plane::new(clients, |config| {
        config.fanout.interval = Duration::from_secs(60);
        config.limits.messages_per_s = 1_000_000;
    })
}

fn ask(plane: &mut Plane, conn: ConnId, op: &str, patterns: &[String], more: &str) {
    let topics = patterns.iter().map(|pattern| format!("{pattern:?}")).collect::<Vec<_>>().join(",");
    plane.ask(conn, &format!(r#"{{"op":"{op}","topics":[{topics}]{more}}}"#));
    plane.settle();
}

/// A gateway whose clients hold so many patterns, 10 of which match `dc.HOST.cpu.user`. Some of the others begin
/// as those do, others end so.
fn holding(size: usize) -> Plane {
    let mut plane = plane(size / PATTERNS + 1);
    let other = |n: usize| match n % 3 {
        0 => format!("dc.*.cpu.c{n}"),
        1 => format!("dc.*.m{n}.user"),
        _ => format!("dc{n}.*.cpu.user"),
    };
    let patterns: Vec<String> =
        MATCHING.map(str::to_owned).into_iter().chain((MATCHING.len()..size).map(other)).collect();
    for held in patterns.chunks(PATTERNS) {
        let conn = plane.join("");
        plane.settle();
        ask(&mut plane, conn, "subscribe", held, "");
    }
    assert_eq!(plane.shard.stats().patterns as usize, size);
    plane
}

/// Numbers an update of each topic; the shard has not seen them yet.
fn number(plane: &mut Plane, topics: &[Arc<str>]) {
    let Now { wall_us, .. } = plane.now;
    let updates: Vec<Publication> = topics
        .iter()
        .map(|topic| Publication::new(topic.clone(), Body::Data(DATA.into()), wall_us))
        .collect();
    let published = plane.sequencer.try_publish(&updates, Grouping::Single, plane.now);
    assert_eq!(published.expect("the inbox is empty").accepted, topics.len());
}

fn hosts(sample: usize) -> Vec<Arc<str>> {
    (0..UPDATES).map(|n| format!("dc.h{}.cpu.user", sample * UPDATES + n).into()).collect()
}

fn update(size: usize, meter: &mut Meter) {
    let mut plane = holding(size);
    let topics = hosts(0);
    plane.publish(&topics, DATA);
    for _ in meter.samples() {
        number(&mut plane, &topics);
        meter.sample(|| plane.settle());
    }
}

fn birth(size: usize, meter: &mut Meter) {
    let mut plane = holding(size);
    for sample in meter.samples() {
        number(&mut plane, &hosts(sample));
        meter.sample(|| plane.settle());
    }
}

fn subscribe(size: usize, meter: &mut Meter) {
    const HOSTS: usize = 100;
    let mut plane = Plane::new(8, |config| config.fanout.pattern_keep = Duration::ZERO);
    let name = |n: usize| match n / HOSTS {
        0 => format!("host.h{n:02}.net").into(),
        disk => format!("host.h{:02}.disk.{disk}", n % HOSTS).into(),
    };
    let topics: Vec<Arc<str>> = (0..size).map(name).collect();
    plane.publish(&topics, DATA);
    for _ in meter.samples() {
        let sends = plane.wire.sends;
        let mut conn = None;
        meter.sample(|| {
            conn = Some(plane.join("topics=host.*.net"));
            plane.settle();
        });
        assert!(plane.wire.sends > sends, "a client that joins is sent something");
        conn.into_iter().for_each(|conn| plane.leave(conn));
        plane.settle();
    }
}

fn toggle(size: usize, meter: &mut Meter) {
    let mut plane = plane(8);
    let topics: Vec<Arc<str>> = (0..size).map(|n| format!("feed.s{n:06}").into()).collect();
    plane.publish(&topics, DATA);
    let conn = plane.join("topics=other");
    plane.settle();
    let feed = ["feed.*".to_owned()];
    let more = format!(r#","since":"{EPOCH}:{}""#, plane.shard.stats().version);
    let pair = |plane: &mut Plane| {
        ask(plane, conn, "subscribe", &feed, &more);
        ask(plane, conn, "unsubscribe", &feed, "");
    };
    pair(&mut plane);
    for _ in meter.samples() {
        meter.sample(|| pair(&mut plane));
    }
}
