//! What topics count as (`[limits] topics_bytes`) beside what they hold of the control plane's memory.
#![forbid(unsafe_code)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use allocation_counter::measure;
use bytes::Bytes;
use engine::{
    json::pointer::Pointer,
    sequencer::Grouping,
    topic::{
        epoch::Epoch,
        pattern::Pattern,
        policy::{Behind, Deadband, Keyed, Mode, Policies, Policy, Stream},
    },
};
use gateway::{
    config::Config,
    intake::{clocked::ClockedSequencer, publish::parse_publication},
};

const TOPICS: u64 = 20_000;

fn sequencer() -> Arc<ClockedSequencer> {
    let stream = Stream {
        snapshot_updates: 1,
        history_updates: 10,
        history_bytes: 1 << 20,
        history_age: None,
        behind: Behind::Gap,
    };
    let policy = |pattern, mode| Policy::new(Pattern::parse(pattern).unwrap(), mode);
    let hour = Duration::from_secs(3600);
    let deadband = Deadband { by: 1e9, at: Pointer::parse("").unwrap(), max: hour };
    let policies = vec![
        policy("k.*", Mode::Keyed(Keyed { keys: 1000, key_tombstones: 10, table_bytes: 1 << 20 })),
        policy("s.*", Mode::Stream(stream)),
        Policy { deadband: Some(deadband), ..policy("d.*", Mode::Latest) },
    ];
    let limits = Config::embedded_demo().limits;
    ClockedSequencer::new(Epoch::from(1), vec![], &limits, Policies::new(policies), Instant::now())
}

fn publish(sequencer: &ClockedSequencer, json: String) {
    let item = parse_publication(&Bytes::from(json), 7).unwrap();
    sequencer.try_publish(&[item], Grouping::Single).unwrap();
}

/// Bytes that one topic of many holds, and what it counts as.
fn held_and_counted(names: &[String], values: &[&str]) -> (u64, u64) {
    let sequencer = sequencer();
    let held = measure(|| {
        for name in names {
            for value in values {
                publish(&sequencer, format!(r#"{{"topic":"{name}",{value}}}"#));
            }
        }
    });
    (held.bytes_current as u64 / TOPICS, sequencer.counters().topics_bytes as u64 / TOPICS)
}

#[test]
fn a_tiny_topic_of_any_mode_counts_as_what_it_holds() {
    for (prefix, values) in [
        ("a", &[r#""data":1"#][..]),
        ("s", &[r#""data":1"#]),
        ("k", &[r#""set":{"k":1}"#]),
        ("d", &[r#""data":1"#]),
        ("d", &[r#""data":1"#, r#""data":2"#]),
    ] {
        // Names in order leave most of the tree of topics half empty.
        let ordered: Vec<String> = (0..TOPICS).map(|n| format!("{prefix}.{n:010}")).collect();
        let mut mixed = ordered.clone();
        fastrand::Rng::with_seed(1).shuffle(&mut mixed);
        for names in [ordered, mixed] {
            let (held, counted) = held_and_counted(&names, values);
            assert!(held <= counted && counted < 2 * held, "{values:?}: {held} held, {counted} counted");
        }
    }
}

#[test]
fn a_value_that_is_held_back_does_not_hold_what_it_came_in_with() {
    let sequencer = sequencer();
    let held = measure(|| {
        publish(&sequencer, r#"{"topic":"d.a","data":1}"#.to_owned());
        publish(&sequencer, format!(r#"{{"topic":"d.a","data":2{}}}"#, " ".repeat(1 << 20)));
    });
    assert_eq!(sequencer.counters().held_back, 1);
    assert!(held.bytes_current < 100 << 10, "{held:?}");
}
