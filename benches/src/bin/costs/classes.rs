//! When classes are looked at: those with interval 0 as soon as something of theirs is taken in, all where
//! `flush_updates` is set as soon as so much is.

use std::sync::Arc;

use super::{
    cost::{Cost, Meter},
    plane::Plane,
};

pub const COSTS: &[Cost] = &[
    Cost {
        name: "update-nobody",
        what: "an update of a topic that nobody wants; classes with interval 0",
        sizes: [10, 50_000],
        ratio_max: 1.5,
        ms_max: None,
        is_counted: true,
        run: update_nobody,
    },
    Cost {
        name: "update-one",
        what: "an update of a topic that one class of one client wants; classes with interval 0",
        sizes: [10, 50_000],
        ratio_max: 1.5,
        ms_max: None,
        is_counted: true,
        run: update_one,
    },
    Cost {
        name: "counted-nobody",
        what: "an update of a topic that nobody wants, with `flush_updates`; classes with an interval",
        sizes: [10, 50_000],
        ratio_max: 1.5,
        ms_max: None,
        is_counted: true,
        run: counted_nobody,
    },
    Cost {
        name: "counted-all",
        what: "an update of a topic that all classes want, with `flush_updates`; classes with an interval",
        sizes: [5_000, 50_000],
        ratio_max: 12.0,
        ms_max: None,
        is_counted: true,
        run: counted_all,
    },
    Cost {
        name: "classes-leave",
        what: "the clients of all classes with interval 0 leave; those classes",
        sizes: [5_000, 50_000],
        ratio_max: 12.0,
        ms_max: None,
        is_counted: false,
        run: leave,
    },
];

const DATA: &str = r#"{"bid":1.0841,"ask":1.0843}"#;

/// Wanted by all with an interval, which does not pass.
const SHARED: &str = "shared";
const INTERVAL_MS: u64 = 3_600_000;

/// Clients of one class each, whose topics all exist.
fn classes(count: usize, flush_updates: u64) -> (Plane, Vec<Arc<str>>) {
    let mut plane = Plane::new(count, |config| config.fanout.flush_updates = flush_updates);
    let names: Vec<Arc<str>> = (0..count).map(|n| format!("own.s{n:06}").into()).collect();
    plane.publish(&names, DATA);
    (plane, names)
}

/// `others`: topics that each wants beside its own.
fn join_all(plane: &mut Plane, names: &[Arc<str>], others: &str, interval_ms: u64) -> Vec<net::ConnId> {
    let join = |name| {
        let conn = plane.join(&format!("topics={name}{others}&interval_ms={interval_ms}"));
        plane.settle();
        conn
    };
    let conns = names.iter().map(join).collect();
    assert_eq!(plane.shard.stats().classes, names.len() as u64, "each has a class of its own");
    conns
}

fn update(size: usize, meter: &mut Meter, topic: impl Fn(&[Arc<str>]) -> Arc<str>, sent: u64) {
    let (mut plane, names) = classes(size, 0);
    join_all(&mut plane, &names, "", 0);
    let topic = [topic(&names)];
    measure(&mut plane, &topic, meter, sent);
}

/// Where so many updates would have to wait that none is sent.
fn counted(size: usize, meter: &mut Meter, topic: &str) {
    let (mut plane, names) = classes(size, 1_000_000);
    join_all(&mut plane, &names, &format!(",{SHARED}"), INTERVAL_MS);
    measure(&mut plane, &[topic.into()], meter, 0);
}

/// Updates of a topic, each of which is sent to so many.
fn measure(plane: &mut Plane, topic: &[Arc<str>], meter: &mut Meter, sent: u64) {
    plane.publish(topic, DATA);
    for _ in meter.samples() {
        let sends = plane.wire.sends;
        meter.sample(|| plane.publish(topic, DATA));
        assert_eq!(plane.wire.sends - sends, sent);
    }
}

fn update_nobody(size: usize, meter: &mut Meter) {
    update(size, meter, |_| "nobody".into(), 0);
}

fn update_one(size: usize, meter: &mut Meter) {
    update(size, meter, |names| names[names.len() / 2].clone(), 1);
}

fn counted_nobody(size: usize, meter: &mut Meter) {
    counted(size, meter, "nobody");
}

fn counted_all(size: usize, meter: &mut Meter) {
    counted(size, meter, SHARED);
}

fn leave(size: usize, meter: &mut Meter) {
    let (mut plane, names) = classes(size, 0);
    for _ in meter.samples() {
        let conns = join_all(&mut plane, &names, "", 0);
        meter.sample(|| {
            conns.iter().for_each(|conn| plane.leave(*conn));
            plane.settle();
        });
        assert_eq!(plane.shard.stats().classes, 0, "with its last client a class ends");
    }
}
