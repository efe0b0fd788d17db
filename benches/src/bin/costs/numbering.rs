//! The sequencer: what it costs to number an update.

use std::sync::Arc;

use engine::sequencer::{Body, Grouping, Publication, seq::Seq};

use super::{
    cost::{Cost, Meter},
    plane::Plane,
};

pub const COSTS: &[Cost] = &[
    Cost {
        name: "number",
        what: "the sequencer numbers 1,000 updates with a seq, each by itself; topics",
        sizes: [1_000, 100_000],
        ratio_max: 1.5,
        ms_max: None,
        is_counted: true,
        run: each,
    },
    Cost {
        name: "number-atomic",
        what: "the sequencer numbers an atomic publish of 1,000 updates; topics",
        sizes: [1_000, 100_000],
        ratio_max: 1.5,
        ms_max: None,
        is_counted: true,
        run: atomic,
    },
];

/// Of a sample.
const UPDATES: usize = 1_000;
/// Coprime to the numbers of topics: a walk in such steps comes by all of them.
const STRIDE: usize = 7_919;
const DATA: &str = r#"{"bid":1.0841,"ask":1.0843}"#;

fn each(topics: usize, meter: &mut Meter) {
    number(topics, Grouping::Single, meter);
}

fn atomic(topics: usize, meter: &mut Meter) {
    number(topics, Grouping::Atomic, meter);
}

fn number(topics: usize, grouping: Grouping, meter: &mut Meter) {
    let mut plane = Plane::new(1, |_| {});
    let names: Vec<Arc<str>> = (0..topics).map(|n| format!("venue{}.quote.s{n:06}", n % 7).into()).collect();
    plane.publish(&names, DATA);
    for n in meter.samples() {
        let update = |i: usize| Publication {
            seq: Some(Seq::one((n * UPDATES + i) as u64)),
            ..Publication::new(
                names[(n * UPDATES + i) * STRIDE % topics].clone(),
                Body::Data(DATA.into()),
                plane.now.wall_us,
            )
        };
        let updates: Vec<Publication> = (0..UPDATES).map(update).collect();
        meter.sample(|| {
            let published = plane.sequencer.try_publish(&updates, grouping, plane.now);
            assert_eq!(published.expect("the inbox is empty").accepted, UPDATES);
        });
        plane.settle();
    }
}
