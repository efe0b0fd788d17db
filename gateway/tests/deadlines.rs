//! What `[[topic]]` deadband and expiry promise.
#![forbid(unsafe_code)]

use std::time::Duration;

use engine::{
    json::pointer::Pointer,
    sequencer::{
        Body, Publication,
        topics::{Admitted, Group, Topics},
    },
    topic::{
        pattern::Pattern,
        policy::{Deadband, Mode, Policies, Policy},
    },
    update::{Op, Update},
};
use gateway::config::Config;

/// Times are in ms.
struct Numbering {
    topics: Topics,
    version: u64,
}

impl Numbering {
    fn new(policy: impl Fn(Policy) -> Policy) -> Self {
        let plain = Policy::new(Pattern::parse("*").unwrap(), Mode::Latest);
        let limits = Config::embedded_demo().limits;
        Self { topics: Topics::new(&limits, Policies::new(vec![policy(plain)])), version: 0 }
    }

    /// `None`: it is held back.
    fn publish(&mut self, topic: &str, data: &str, ms: u64) -> Option<Update> {
        let body = Body::Data(data.to_owned().into());
        let item = Publication::new(topic, body, ms as i64 * 1000);
        let at = self.topics.find(topic);
        self.topics.admit(&item, at, &mut Group::of(1)).unwrap();
        if self.topics.hold(&item, at, ms * 1000) { None } else { Some(self.apply(&item, ms)) }
    }

    fn due(&mut self, ms: u64) -> Vec<Update> {
        let mut updates = Vec::new();
        while let Some(item) = self.topics.due(ms * 1000) {
            updates.push(self.apply(&item, ms));
        }
        updates
    }

    fn apply(&mut self, item: &Publication, ms: u64) -> Update {
        self.version += 1;
        let mut ops = Vec::new();
        let admitted = Admitted { at: self.topics.find(&item.topic), changes: None };
        self.topics.apply(item, admitted, self.version, ms * 1000, &mut ops);
        let updates =
            ops.into_iter().filter_map(|op| if let Op::Update(update) = op { Some(update) } else { None });
        updates.last().unwrap()
    }
}

fn with_deadband(policy: Policy) -> Policy {
    let at = Pointer::parse("/p").unwrap();
    Policy { deadband: Some(Deadband { by: 0.5, at, max: Duration::from_millis(1000) }), ..policy }
}

fn data(update: &Update) -> serde_json::Value {
    serde_json::from_slice::<serde_json::Value>(&update.json).unwrap()["data"]["p"].clone()
}

#[test]
fn a_value_goes_out_when_it_moved_by_more_than_the_deadband_or_its_time_has_passed() {
    let mut numbering = Numbering::new(with_deadband);
    assert!(numbering.publish("a", r#"{"p":100}"#, 0).is_some(), "the first");
    assert!(numbering.publish("a", r#"{"p":100.5}"#, 10).is_none(), "not more than 0.5");
    assert!(numbering.publish("a", r#"{"p":100.6}"#, 20).is_some());
    assert!(numbering.publish("a", r#"{"p":"100.2"}"#, 30).is_none(), "numbers may be text");
    assert!(numbering.publish("b", r#"{"p":100.2}"#, 30).is_some(), "another topic");
    assert!(numbering.publish("a", r#"{"p":100.6}"#, 1020).is_some(), "1 s after the one before");
    assert!(numbering.due(5000).is_empty(), "what was held back is older");
    assert_eq!(numbering.topics.counters().held_back, 2);
}

#[test]
fn the_newest_held_back_value_is_released_in_time_and_takes_its_version_then() {
    let mut numbering = Numbering::new(with_deadband);
    numbering.publish("a", r#"{"p":100}"#, 0);
    assert!(numbering.publish("a", r#"{"p":100.1}"#, 100).is_none());
    assert!(numbering.publish("a", r#"{"p":100.2}"#, 200).is_none());
    assert_eq!((numbering.topics.held_back(), numbering.version), (1, 1));
    let shown = numbering.topics.get("a").unwrap();
    assert!(shown.ends_with(br#""data":{"p":100}}"#), "{shown:?}");
    assert!(numbering.due(999).is_empty());
    let released = numbering.due(1000);
    assert_eq!(released.len(), 1);
    let update = &released[0];
    assert_eq!((data(update), update.v, update.version), (100.2.into(), 2, 2));
    assert_eq!(update.due_us, 100_000, "since when there was something newer");
    assert!(numbering.publish("a", r#"{"p":100.6}"#, 1500).is_none(), "counted from what was released");
    assert!(numbering.publish("a", r#"{"p":101}"#, 1600).is_some());
    assert_eq!((numbering.topics.held_back(), numbering.due(9000).len()), (0, 0));
}

#[test]
fn what_is_no_number_passes() {
    let mut numbering = Numbering::new(with_deadband);
    for (ms, text) in [r#"{"p":1}"#, r#"{"p":null}"#, r#"{"q":1}"#, "7", r#"{"p":"x"}"#].iter().enumerate() {
        assert!(numbering.publish("a", text, ms as u64).is_some(), "{text}");
    }
}

#[test]
fn a_topic_without_an_update_for_its_expiry_is_gone_and_may_come_back() {
    let expiry = Some(Duration::from_millis(500));
    let mut numbering = Numbering::new(|policy| Policy { expiry, ..policy });
    numbering.publish("a", "1", 0);
    numbering.publish("b", "1", 100);
    numbering.publish("a", "2", 400);
    assert!(numbering.due(599).is_empty());
    let gone = numbering.due(600);
    assert!(
        gone.len() == 1 && gone[0].gone && gone[0].json.starts_with(br#"{"topic":"b","v":2"#),
        "{gone:?}"
    );
    assert!(numbering.due(899).is_empty());
    assert_eq!(numbering.due(900).len(), 1);
    assert_eq!((numbering.topics.count(), numbering.topics.counters().expired), ((0, 2), 2));
    assert_eq!(numbering.publish("b", "3", 1000).unwrap().v, 3);
    assert!(numbering.due(1499).is_empty());
    assert_eq!(numbering.due(1500).len(), 1);
    assert!(numbering.due(100_000).is_empty());
}

#[test]
fn an_atomic_publish_is_not_held_back_and_ends_what_was() {
    let mut numbering = Numbering::new(with_deadband);
    numbering.publish("a", r#"{"p":1}"#, 0);
    assert!(numbering.publish("a", r#"{"p":1.1}"#, 1).is_none());
    let body = Body::Data(r#"{"p":1.2}"#.into());
    let member = Publication::new("a", body, 0);
    assert_eq!(data(&numbering.apply(&member, 2)), 1.2);
    assert!(numbering.due(10_000).is_empty());
}
