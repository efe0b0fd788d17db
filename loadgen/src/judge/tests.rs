//! Literal frames against every rule.

use std::sync::Arc;

use super::{
    catalog::Catalog,
    faults::Faults,
    message::{Message, parse},
    row::Row,
    subscription::{Applied, Subscription},
    table::Members,
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

#[test]
fn continuous_batches_are_clean_and_bring_what_they_say() {
    let mut court = Court::live();
    court.take(&batch(10, 12, &format!("{},{}", update("a", 6), update("c", 1))));
    court.take(&batch(12, 13, &update("b", 3)));
    assert_eq!(court.counts(), CLEAN);
    assert_eq!((court.subscription.position(), court.conflated, court.fresh.len()), (13, 0, 3));
    assert_eq!((court.v("a"), court.v("c")), (Some((6, false)), Some((1, false))));
}

#[test]
fn steps_above_one_are_conflation_not_loss() {
    let mut court = Court::live();
    court.take(&batch(10, 20, &update("a", 9)));
    assert_eq!((court.counts(), court.conflated), (CLEAN, 3));
}

#[test]
fn a_batch_that_begins_above_the_position_is_lost_once() {
    let mut court = Court::live();
    court.take(&batch(11, 12, &update("a", 7)));
    court.take(&batch(12, 13, &update("a", 8)));
    assert_eq!(court.counts(), LOST);
    assert_eq!(court.conflated, 0, "what is missing through a loss is not conflated");
}

#[test]
fn a_heartbeat_moves_the_position_and_may_stand_below_it() {
    let mut court = Court::live();
    court.take(&batch(10, 15, ""));
    court.take(&batch(9, 9, ""));
    court.take(&batch(15, 16, &update("a", 6)));
    assert_eq!((court.counts(), court.subscription.position()), (CLEAN, 16));
}

#[test]
fn a_heartbeat_above_the_position_is_a_loss_too() {
    let mut court = Court::live();
    court.take(&batch(12, 15, ""));
    assert_eq!(court.counts(), LOST);
}

#[test]
fn a_batch_repeated_is_duplicated() {
    let mut court = Court::live();
    court.take(&batch(10, 12, &update("a", 6)));
    court.take(&batch(10, 12, &update("a", 6)));
    assert_eq!(court.counts(), DUPLICATED);
}

#[test]
fn overlap_is_normal_as_long_as_it_leads_further() {
    let mut court = Court::live();
    court.take(&batch(7, 12, &format!("{},{}", update("a", 5), update("b", 3))));
    assert_eq!((court.counts(), court.conflated, court.fresh.len()), (CLEAN, 0, 1));
    court.take(&batch(10, 13, &format!("{},{}", update("a", 4), update("b", 4))));
    assert_eq!(court.counts(), CLEAN, "an older v in an overlap is ignored");
    assert_eq!(court.v("a"), Some((5, false)));
}

#[test]
fn without_overlap_a_held_v_is_duplicated_and_a_lower_one_reordered() {
    let mut court = Court::live();
    court.take(&batch(10, 12, &update("a", 5)));
    assert_eq!(court.counts(), DUPLICATED);
    let mut court = Court::live();
    court.take(&batch(10, 12, &update("a", 4)));
    assert_eq!(court.counts(), REORDERED);
}

#[test]
fn two_batches_in_the_wrong_order_are_seen_as_such() {
    let mut court = Court::live();
    court.take(&batch(12, 14, &update("b", 3)));
    court.take(&batch(10, 12, &update("a", 6)));
    assert_eq!(court.counts(), REORDERED);
    court.take(&batch(10, 12, &update("a", 6)));
    assert_eq!(court.counts(), [0, 1, 1, 0, 0], "the hole is filled only once");
}

#[test]
fn what_stays_missing_is_lost_though_a_part_of_it_comes_late() {
    let mut court = Court::live();
    court.take(&batch(14, 16, &update("b", 3)));
    court.take(&batch(10, 12, &update("a", 6)));
    assert_eq!(court.counts(), [1, 0, 1, 0, 0], "12 to 14 is still missing");
    court.take(&batch(12, 14, &update("a", 7)));
    assert_eq!(court.counts(), [0, 0, 2, 0, 0], "all came after all");
    let mut court = Court::live();
    court.take(&batch(14, 16, &update("b", 3)));
    court.take(&batch(12, 14, &update("a", 7)));
    assert_eq!(court.counts(), [1, 0, 1, 0, 0], "10 to 12 is still missing");
    let mut court = Court::live();
    court.take(&batch(16, 18, &update("b", 3)));
    court.take(&batch(12, 14, &update("a", 7)));
    court.take(&batch(10, 12, &update("a", 6)));
    assert_eq!(court.counts(), [1, 0, 2, 0, 0], "14 to 16 is still missing");
}

#[test]
fn parts_are_one_batch_applied_at_the_last() {
    let part = |more, topic, v| {
        let last = if more { r#""more":true"# } else { r#""oldest":100"# };
        let update = update(topic, v);
        format!(r#"{{"op":"batch","class":3,"ts":1,"from":10,"version":12,{last},"updates":[{update}]}}"#)
    };
    let mut court = Court::live();
    court.take(&part(true, "a", 6));
    assert_eq!((court.v("a"), court.subscription.position()), (Some((5, false)), 10));
    court.take(&part(false, "b", 3));
    assert_eq!((court.v("a"), court.v("b")), (Some((6, false)), Some((3, false))));
    assert_eq!((court.counts(), court.subscription.position()), (CLEAN, 12));
}

#[test]
fn a_frame_between_parts_breaks_them() {
    let mut court = Court::live();
    let part = batch(10, 12, &update("a", 6)).replace(r#""oldest":100"#, r#""more":true"#);
    court.take(&part);
    court.take(&batch(12, 13, &update("b", 3)));
    assert_eq!(court.counts(), [1, 0, 0, 0, 1]);
    assert_eq!(court.v("a"), Some((5, false)), "the part that was given up is not applied");
}

#[test]
fn subscribed_in_parts_is_one_answer() {
    let mut court = Court::new();
    let answer = r#"{"op":"subscribed","id":1,"sub":"","class":3,"topics":["*"],"interval_ms":100,"epoch":""#;
    court.take(&format!(r#"{answer}{EPOCH}","version":10,"more":true}}"#));
    court.subscribed(10);
    court.take(&snapshot(10, &update("a", 1)));
    assert_eq!((court.v("a"), court.counts()), (Some((1, false)), CLEAN));
}

#[test]
fn a_snapshot_in_parts_replaces_only_when_it_is_whole() {
    let mut court = Court::new();
    court.subscribed(10);
    court.take(&snapshot(10, &update("a", 1)).replace(r#""version""#, r#""more":true,"version""#));
    assert!(!court.subscription.is_live() || court.v("a").is_none());
    court.take(&snapshot(10, &update("b", 1)));
    assert_eq!((court.v("a"), court.v("b"), court.counts()), (Some((1, false)), Some((1, false)), CLEAN));
}

#[test]
fn a_later_snapshot_replaces_everything_and_never_goes_back() {
    let mut court = Court::live();
    court.take(&snapshot(20, &update("a", 9)));
    assert_eq!((court.v("a"), court.v("b"), court.counts()), (Some((9, false)), None, CLEAN));
    court.take(&batch(20, 21, &update("b", 4)));
    assert_eq!(court.counts(), CLEAN);
    court.take(&snapshot(19, &update("a", 9)));
    assert_eq!(court.counts(), REORDERED);
    court.take(&snapshot(30, &update("a", 8)));
    assert_eq!(court.counts(), [0, 0, 2, 0, 0], "v went back");
}

#[test]
fn a_removed_topic_holds_its_number() {
    let mut court = Court::live();
    court.take(&batch(10, 11, r#"{"topic":"a","v":6,"ts":150,"gone":true}"#));
    assert_eq!(court.v("a"), Some((6, true)));
    court.take(&batch(11, 12, &update("a", 7)));
    assert_eq!((court.v("a"), court.counts(), court.conflated), (Some((7, false)), CLEAN, 0));
    court.take(&batch(12, 13, r#"{"topic":"a","v":7,"ts":150,"gone":true}"#));
    assert_eq!(court.counts(), [0, 1, 0, 0, 1], "v 7 is held, and it was a value");
}

#[test]
fn a_stream_counts_every_update() {
    let mut court = Court::live();
    court.take(&batch(10, 11, &update("trade.x", 1)));
    court.take(&batch(11, 13, &format!("{},{}", update("trade.x", 2), update("trade.x", 3))));
    assert_eq!((court.counts(), court.conflated), (CLEAN, 0));
    court.take(&batch(13, 15, &update("trade.x", 5)));
    assert_eq!(court.counts(), LOST);
    court.take(&batch(15, 20, r#"{"topic":"trade.x","v":9,"ts":150,"gap":3,"data":1}"#));
    assert_eq!((court.counts(), court.conflated), (LOST, 3));
    court.take(&batch(20, 25, r#"{"topic":"trade.x","v":12,"ts":150,"gap":1,"data":1}"#));
    assert_eq!(court.counts(), [2, 0, 0, 0, 0]);
    court.take(&batch(25, 26, r#"{"topic":"trade.x","v":13,"ts":150,"gap":9,"data":1}"#));
    assert_eq!(court.counts(), [2, 0, 0, 0, 0], "a gap may cover what the client holds");
}

#[test]
fn since_goes_on_where_it_stopped() {
    let mut court = Court::live();
    court.subscription.disconnected(true);
    assert_eq!(court.subscription.since(), Some((u64::from_str_radix(EPOCH, 16).unwrap(), 10)));
    court.subscribed(10);
    let answer = batch(10, 14, &update("a", 6)).replace(r#""oldest":100,"#, "");
    court.take(&answer);
    court.take(&batch(14, 15, &update("a", 7)));
    assert_eq!((court.counts(), court.v("b")), (CLEAN, Some((2, false))));
}

#[test]
fn since_may_be_answered_with_nothing_or_a_snapshot() {
    let mut court = Court::live();
    court.subscription.disconnected(true);
    court.subscribed(10);
    court.take(&batch(10, 10, ""));
    court.take(&batch(10, 11, &update("a", 6)));
    assert_eq!(court.counts(), CLEAN);
    court.subscription.disconnected(true);
    court.subscribed(30);
    court.take(&snapshot(30, &update("a", 8)));
    assert_eq!((court.counts(), court.v("b")), (CLEAN, None));
}

#[test]
fn since_that_skips_is_lost_and_one_that_goes_back_is_a_violation() {
    let resumed = |from| {
        let mut court = Court::live();
        court.subscription.disconnected(true);
        court.subscribed(10);
        court.take(&batch(from, 14, &update("a", 6)));
        court.counts()
    };
    assert_eq!((resumed(12), resumed(9)), (LOST, VIOLATION));
}

#[test]
fn another_epoch_ends_what_was_held() {
    let mut court = Court::live();
    court.subscription.disconnected(true);
    court.take(
        r#"{"op":"subscribed","class":3,"topics":["*"],"interval_ms":100,"epoch":"0000000000000001","version":2}"#,
    );
    court.take(&snapshot(2, &update("a", 1)));
    court.take(&batch(2, 3, &update("a", 2)));
    assert_eq!((court.counts(), court.v("a"), court.v("b")), (CLEAN, Some((2, false)), None));
    court.take(
        r#"{"op":"snapshot","class":3,"ts":1,"version":1,"epoch":"0000000000000002","updates":[{"topic":"a","v":1,"ts":1}]}"#,
    );
    assert_eq!((court.counts(), court.v("a"), court.subscription.epoch()), (CLEAN, Some((1, false)), 2));
}

#[test]
fn members_of_a_group_must_agree_after_every_whole_batch() {
    let member = |m, v, g| format!(r#"{{"topic":"loadgen.g1.{m}","v":{v},"ts":150,"data":{{"g":{g}}}}}"#);
    let mut court = Court::live();
    court.take(&batch(10, 12, &format!("{},{}", member(0, 1, 70), member(1, 1, 70))));
    court.take(&batch(12, 14, &format!("{},{}", member(0, 3, 72), member(1, 3, 72))));
    assert_eq!(court.counts(), CLEAN);
    court.take(&batch(14, 16, &member(0, 4, 73)));
    assert_eq!(court.counts(), TORN);
    court.take(&batch(16, 18, &member(1, 4, 73)));
    assert_eq!(court.counts(), TORN, "whole again");
    let parts = batch(18, 20, &member(0, 5, 74)).replace(r#""oldest":100"#, r#""more":true"#);
    court.take(&parts);
    court.take(&batch(18, 20, &member(1, 5, 74)));
    assert_eq!(court.counts(), TORN, "parts are judged together");
    court.take(&snapshot(25, &member(0, 6, 75)));
    assert_eq!(court.counts(), [0, 0, 0, 2, 0], "a member is missing from the snapshot");
}

#[test]
fn what_comes_out_of_turn_is_a_violation() {
    let mut court = Court::new();
    court.take(&batch(1, 2, &update("a", 1)));
    assert_eq!(court.counts(), VIOLATION, "before subscribed");
    let mut court = Court::new();
    court.subscribed(10);
    court.take(&batch(0, 10, &update("a", 1)));
    assert!(court.faults.violations.contains_key("batch before the snapshot"));
    let mut court = Court::new();
    court.subscribed(10);
    court.take(&batch(10, 11, &update("a", 1)));
    assert_eq!(court.counts(), VIOLATION, "nothing before `subscribed` was promised, so nothing is lost");
    let mut court = Court::live();
    court.take(&batch(10, 11, &update("a", 6)).replace(r#""class":3"#, r#""class":4"#));
    assert_eq!((court.counts(), court.v("a")), (VIOLATION, Some((5, false))), "another class");
}

#[test]
fn what_a_frame_says_must_be_true() {
    let broken = |text: &str| {
        let mut court = Court::live();
        court.take(text);
        court.faults.violations.into_keys().collect::<Vec<_>>()
    };
    assert_eq!(
        broken(&batch(10, 11, &update("a", 6)).replace(r#""oldest":100,"#, "")),
        ["batch with updates without oldest"]
    );
    assert_eq!(
        broken(&batch(10, 11, &update("a", 6)).replace(r#""oldest":100"#, r#""oldest":151"#)),
        ["oldest later than an update's ts"]
    );
    assert_eq!(
        broken(&snapshot(11, &format!("{},{}", update("a", 6), update("a", 7)))),
        ["a topic twice in one snapshot"]
    );
    let mut court = Court::new();
    court.catalog = Catalog::new(&["a".to_owned()], &[], Arc::default());
    court.subscribed(10);
    court.take(&snapshot(10, &update("b", 1)));
    assert!(court.faults.violations.contains_key("update of a topic that was not subscribed"));
}

#[test]
fn another_value_under_a_known_v_is_a_violation() {
    let valued = |v, data| format!(r#"{{"topic":"a","v":{v},"ts":150,"data":{data}}}"#);
    let mut court = Court::live();
    court.take(&batch(10, 12, &valued(6, "1")));
    court.take(&batch(10, 12, &valued(6, "1")));
    assert_eq!(court.counts(), DUPLICATED, "the same value again is no more than that");
    court.take(&batch(9, 13, &valued(6, "2")));
    assert_eq!(court.faults.violations.keys().collect::<Vec<_>>(), [&"two values under one v"]);
    court.take(&batch(13, 14, &valued(7, "1")));
    court.take(&batch(9, 15, &valued(6, "3")));
    assert_eq!(court.counts()[4], 1, "only the newest value is known");
}

#[test]
fn topics_of_ones_own_are_judged_like_all_topics() {
    let mut court = Court::new();
    // The catalog knows many; this client holds three of them, out of the order of their words.
    let many: Vec<String> = (0..100).map(|n| format!("s{n:02}")).collect();
    court.catalog = Catalog::new(&many, &["s99".to_owned()], Arc::default());
    court.catalog.number(&many);
    court.subscription = Subscription::of_few();
    court.subscribed(10);
    court.take(&snapshot(10, &format!("{},{}", update("s70", 5), update("s99", 1))));
    court.take(&batch(10, 14, &format!("{},{}", update("s70", 8), update("s03", 1))));
    assert_eq!((court.counts(), court.conflated), (CLEAN, 2));
    court.take(&batch(14, 15, r#"{"topic":"s03","v":2,"ts":150,"gone":true}"#));
    court.take(&batch(15, 17, &update("s99", 3)));
    assert_eq!((court.counts(), court.v("s03")), (LOST, Some((2, true))), "a stream misses v 2");
    court.take(&batch(17, 18, &update("s70", 8)));
    assert_eq!(court.counts(), [1, 1, 0, 0, 0]);
    court.subscription.disconnected(true);
    court.subscribed(18);
    court.take(&batch(18, 18, ""));
    assert_eq!(court.v("s70"), Some((8, false)), "kept for since");
    court.take(&snapshot(30, &update("s99", 4)));
    assert_eq!((court.v("s70"), court.v("s99")), (None, Some((4, false))));
    let Row::Sparse(entries) = court.subscription.held() else { panic!("dense after a snapshot") };
    assert_eq!(entries.len(), 1);
}

fn book(v: u64, members: &str) -> String {
    format!(r#"{{"topic":"book","v":{v},"ts":150,{members}}}"#)
}

#[test]
fn tables_are_held_key_by_key_over_snapshots_batches_resets_and_repeats() {
    let mut court = Court::new();
    court.subscribed(10);
    court.take(&snapshot(10, &book(3, r#""reset":true,"set":{"a":1,"b":2}"#)));
    court.take(&batch(10, 12, &book(5, r#""set":{"b":3,"c":4},"del":["a"]"#)));
    // A repeat after an overlap changes nothing.
    court.take(&batch(9, 13, &book(5, r#""set":{"b":9}"#)));
    let sum = |json: &str| serde_json::from_str::<Members>(json).unwrap().sum();
    let tables = court.subscription.tables();
    assert_eq!((tables[0].1, tables[0].2), (5, sum(r#"{"c":4,"b":3}"#)));
    court.take(&batch(13, 14, &book(6, r#""reset":true,"set":{"z":1}"#)));
    assert_eq!(court.subscription.tables()[0].2, sum(r#"{"z":1}"#));
    court.subscription.disconnected(true);
    assert_eq!(court.subscription.tables().len(), 1, "what is held is resumed from");
    assert_eq!(court.counts(), [0, 0, 0, 0, 0]);
}

#[test]
fn a_table_in_a_snapshot_is_whole_and_a_streams_history_is_in_order() {
    let mut court = Court::new();
    court.subscribed(10);
    let trade = |v: u64| format!(r#"{{"topic":"trade.x","v":{v},"ts":150,"data":1}}"#);
    let updates = [book(3, r#""set":{"a":1}"#), trade(4), trade(5), trade(5)].join(",");
    court.take(&snapshot(10, &updates));
    let told: Vec<_> = court.faults.violations.keys().copied().collect();
    assert_eq!(told, ["a stream's history out of order", "a table in a snapshot without reset"]);
}
