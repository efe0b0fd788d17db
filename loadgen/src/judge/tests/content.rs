//! What stands in a frame: groups, values, tables, and what must not be there.

use super::*;
use crate::judge::{row::Row, table::Members};

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
