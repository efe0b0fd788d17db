//! Literal frames against every rule.

mod content;
mod order;
mod since;

use std::sync::Arc;

use super::{
    catalog::Catalog,
    faults::Faults,
    message::{Message, parse},
    subscription::{Applied, Subscription},
};

const EPOCH: &str = "8f0c2a77d1e94b02";

/// One client before the judge, fed with the gateway's own JSON.
struct Court {
    catalog: Catalog,
    subscription: Subscription,
    faults: Faults,
    conflated: u64,
    fresh: Vec<u64>,
}

impl Court {
    fn new() -> Self {
        Self {
            catalog: Catalog::new(&["*".to_owned()], &["trade.*".to_owned()], Arc::default()),
            subscription: Subscription::default(),
            faults: Faults::default(),
            conflated: 0,
            fresh: Vec::new(),
        }
    }

    /// Subscribed at version 10, holding a at v 5 and b at v 2.
    fn live() -> Self {
        let mut court = Self::new();
        court.subscribed(10);
        court.take(&snapshot(
            10,
            r#"{"topic":"a","v":5,"ts":100,"data":{}},{"topic":"b","v":2,"ts":100,"data":{}}"#,
        ));
        assert_eq!(court.faults, Faults::default());
        court
    }

    fn subscribed(&mut self, version: u64) {
        self.take(&format!(
            r#"{{"op":"subscribed","id":1,"sub":"","class":3,"topics":["*"],"interval_ms":100,"epoch":"{EPOCH}","version":{version}}}"#
        ));
    }

    fn take(&mut self, text: &str) {
        match parse(text.as_bytes(), &mut self.catalog, self.subscription.epoch()) {
            Message::Subscribed(answer) => self.subscription.subscribed(&answer, Some(100), &mut self.faults),
            Message::Frame(frame) => {
                let (fresh, faults) = (&mut self.fresh, &mut self.faults);
                let mut tell = |ts| fresh.push(ts);
                if let Applied::Whole(whole) =
                    self.subscription.apply(&frame, &self.catalog, faults, &mut tell)
                {
                    self.conflated += whole.conflated;
                }
            }
            Message::Other => {}
            other => panic!("{text}: {other:?}"),
        }
    }

    fn counts(&self) -> [u64; 5] {
        let faults = &self.faults;
        [faults.lost, faults.duplicated, faults.reordered, faults.torn, faults.violations.values().sum()]
    }

    fn v(&mut self, topic: &str) -> Option<(u64, bool)> {
        let word = self.catalog.place(topic).unwrap().word;
        self.subscription.held().get(word)
    }
}

const CLEAN: [u64; 5] = [0; 5];
const LOST: [u64; 5] = [1, 0, 0, 0, 0];
const DUPLICATED: [u64; 5] = [0, 1, 0, 0, 0];
const REORDERED: [u64; 5] = [0, 0, 1, 0, 0];
const TORN: [u64; 5] = [0, 0, 0, 1, 0];
const VIOLATION: [u64; 5] = [0, 0, 0, 0, 1];

fn snapshot(version: u64, updates: &str) -> String {
    format!(r#"{{"op":"snapshot","class":3,"ts":200,"version":{version},"updates":[{updates}]}}"#)
}

fn batch(from: u64, version: u64, updates: &str) -> String {
    let oldest = if updates.is_empty() { "" } else { r#""oldest":100,"# };
    format!(
        r#"{{"op":"batch","class":3,"ts":200,"from":{from},"version":{version},{oldest}"updates":[{updates}]}}"#
    )
}

fn update(topic: &str, v: u64) -> String {
    format!(r#"{{"topic":"{topic}","v":{v},"ts":150,"data":{{}}}}"#)
}
