//! After a warm restart: topics of an earlier run are stale until an update of theirs comes.

use std::sync::Arc;

use engine::sequencer::{
    Body,
    checkpoint::{Ended, Restored, RestoredTopic},
};
use gateway::health::Health;

use super::{
    cost::{Cost, Meter},
    plane::Plane,
};

pub const COSTS: &[Cost] = &[
    Cost {
        name: "join-restored",
        what: "a client joins with 5 topics; restored topics, at 0 its 5 are live",
        sizes: [0, 100_000],
        ratio_max: 3.0,
        ms_max: None,
        is_counted: true,
        run: join,
    },
    Cost {
        name: "confirm-tick",
        what: "a tick confirms 200 topics, 100 of which 500 clients with 5 each watch; restored topics",
        sizes: [10_000, 100_000],
        ratio_max: 2.0,
        ms_max: Some(2.0),
        is_counted: false,
        run: confirm,
    },
];

/// Topics where none is restored.
const LIVE: usize = 1000;
/// Topics of a client, and clients beside a tick.
const WATCHED: usize = 5;
const CLIENTS: usize = 500;
/// Topics that a tick confirms, as many that somebody watches as others.
const CONFIRMED: usize = 200;
/// Coprime to the numbers of topics: a walk in such steps comes by all of them.
const STRIDE: usize = 7_919;

fn names(count: usize) -> Vec<Arc<str>> {
    (0..count).map(|n| format!("venue{}.quote.s{n:06}", n % 7).into()).collect()
}

/// A gateway that was started anew with these topics.
fn restored(plane: &mut Plane, names: &[Arc<str>]) -> Arc<Health> {
    let topic = |name: &Arc<str>| RestoredTopic {
        topic: name.clone(),
        mode: "latest".into(),
        v: 1,
        ts_us: plane.now.wall_us,
        by: None,
        seq: None,
        has_gap: false,
        refused: 0,
        body: Body::Data(r#"{"bid":1.0841,"ask":1.0843}"#.into()),
    };
    let topics = names.iter().map(topic).collect();
    let restored = Restored {
        epoch: None,
        is_clean: true,
        version: names.len() as u64,
        v_floor: 1,
        topics,
        ended: Ended::default(),
        damage: None,
    };
    let (taken, refused) = plane.sequencer.restore(&restored, plane.now);
    assert!(refused.is_empty(), "{refused:?}");
    let health = Health::new(std::slice::from_ref(&plane.inbox), 1_000, 16 << 20);
    health.restored(&taken, plane.now.wall_us);
    plane.settle();
    health
}

/// The `n`-th watchlist, spread over all topics.
fn watchlist(names: &[Arc<str>], n: usize) -> String {
    let topics: Vec<&str> = (0..WATCHED).map(|i| &*names[(n * WATCHED + i) * STRIDE % names.len()]).collect();
    format!("topics={}", topics.join(","))
}

fn join(size: usize, meter: &mut Meter) {
    let mut plane = Plane::new(64, |_| {});
    let names = names(size.max(LIVE));
    let _health = match size {
        0 => {
            plane.publish(&names, r#"{"bid":1.0841,"ask":1.0843}"#);
            None
        }
        _ => Some(restored(&mut plane, &names)),
    };
    // The first one pays for what the allocator has to tidy after all these topics.
    let first = watchlist(&names, meter.samples().end);
    let conn = plane.join(&first);
    plane.settle();
    plane.leave(conn);
    plane.settle();
    for n in meter.samples() {
        let query = watchlist(&names, n);
        let (mut conn, sends) = (None, plane.wire.sends);
        meter.sample(|| {
            conn = Some(plane.join(&query));
            plane.settle();
        });
        assert!(plane.wire.sends > sends, "a client that joins is sent something");
        conn.into_iter().for_each(|conn| plane.leave(conn));
        plane.settle();
    }
}

fn confirm(size: usize, meter: &mut Meter) {
    let mut plane = Plane::new(CLIENTS, |_| {});
    let names = names(size);
    let health = restored(&mut plane, &names);
    for n in 0..CLIENTS {
        let query = watchlist(&names, n);
        plane.join(&query);
        plane.settle();
    }
    let (watched, each) = (CLIENTS * WATCHED, CONFIRMED / 2);
    for n in meter.samples() {
        let next = n * each..(n + 1) * each;
        let of_walk = next.clone().map(|i| i % watched).chain(next.map(|i| watched + i));
        let confirmed: Vec<&Arc<str>> = of_walk.map(|i| &names[i * STRIDE % names.len()]).collect();
        let sends = plane.wire.sends;
        meter.sample(|| {
            health.confirm(confirmed.iter().copied(), plane.now.wall_us);
            plane.settle();
        });
        assert!(plane.wire.sends > sends, "some clients watch what is confirmed");
    }
}
