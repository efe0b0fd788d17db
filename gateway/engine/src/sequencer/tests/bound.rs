//! Keys that go by themselves.

use super::*;

fn bound() -> KeyTerms {
    KeyTerms { linger: Some(LINGER), ..KeyTerms::default() }
}

fn presence() -> Policy {
    keyed("room.*", Write::OwnKey, bound())
}

fn typing() -> Policy {
    keyed("room.*", Write::Any, KeyTerms { expiry: Some(LINGER), ..KeyTerms::default() })
}

fn set(key: &str) -> Value {
    json!({"set": {key: 1}})
}

#[test]
fn a_bound_key_goes_linger_after_the_last_connection_that_wrote_it() {
    let mut desk = Desk::new(presence());
    desk.write(by(1, "al", set("al"))).unwrap();
    desk.write(by(2, "bob", set("bob"))).unwrap();
    desk.pass(1000);
    desk.left(1);
    desk.pass(4);
    assert_eq!(desk.keys(), ["al", "bob"]);
    desk.pass(1);
    assert_eq!(desk.keys(), ["bob"]);
    assert_eq!(desk.sequencer.counters().by_topics.keys_expired, 1);
}

#[test]
fn a_key_that_two_connections_wrote_is_bound_to_both_whatever_they_wrote() {
    let mut desk = Desk::new(presence());
    let first = desk.write(by(1, "al", set("al"))).unwrap();
    // The same value changes nothing, and is a write all the same.
    assert_eq!(desk.write(by(2, "al", set("al"))).unwrap(), first);
    desk.left(1);
    desk.pass(100);
    assert_eq!(desk.keys(), ["al"], "the other tab is open");
    desk.left(2);
    desk.pass(5);
    assert_eq!(desk.keys(), [""; 0]);
}

#[test]
fn who_comes_back_in_time_was_never_away() {
    let mut desk = Desk::new(presence());
    desk.write(by(1, "al", set("al"))).unwrap();
    desk.taken();
    desk.left(1);
    desk.pass(4);
    desk.write(by(2, "al", set("al"))).unwrap();
    desk.pass(100);
    assert_eq!(desk.keys(), ["al"]);
    assert!(desk.taken().is_empty(), "nobody was told anything");
}

#[test]
fn a_deletion_is_at_once_and_takes_every_binding_along() {
    let mut desk = Desk::new(presence());
    desk.write(by(1, "al", set("al"))).unwrap();
    desk.write(by(2, "al", set("al"))).unwrap();
    desk.write(by(1, "al", json!({"del": ["al"]}))).unwrap();
    assert_eq!((desk.keys(), desk.sequencer.counters().timed_keys), (vec![], 0));
    desk.write(by(3, "al", set("al"))).unwrap();
    desk.left(1);
    desk.left(2);
    desk.pass(100);
    assert_eq!(desk.keys(), ["al"]);
}

#[test]
fn what_a_publisher_writes_is_bound_to_nobody() {
    for publish in [set("al"), json!({"data": {"al": 1}}), json!({"set": {"al": 2}, "reset": true})] {
        let mut desk = Desk::new(presence());
        desk.write(by(1, "al", set("al"))).unwrap();
        desk.publish(&[publisher(publish)]).unwrap();
        desk.left(1);
        desk.pass(100);
        assert_eq!(desk.keys(), ["al"]);
        assert_eq!(desk.sequencer.counters().timed_keys, 0);
    }
}

#[test]
fn a_table_that_is_emptied_or_removed_binds_nothing_any_more() {
    for end in [publisher(json!({"data": {}})), publisher(json!({"reset": true})), gone("room.a")] {
        let mut desk = Desk::new(presence());
        desk.write(by(1, "al", set("al"))).unwrap();
        desk.publish(&[end]).unwrap();
        assert_eq!(desk.sequencer.counters().timed_keys, 0);
        desk.publish(&[publisher(set("al"))]).unwrap();
        desk.left(1);
        desk.pass(100);
        assert_eq!(desk.keys(), ["al"], "the publisher's");
    }
}

#[test]
fn after_a_restart_keys_that_nobody_writes_again_go_after_a_minute() {
    let before = Desk::new(presence());
    before.write(by(1, "al", set("al"))).unwrap();
    before.write(by(2, "bob", set("bob"))).unwrap();
    before.publish(&[publisher(set("eve"))]).unwrap();
    let mut desk = before.restart(presence());
    desk.pass(50);
    desk.write(by(1, "al", set("al"))).unwrap();
    desk.publish(&[publisher(set("eve"))]).unwrap();
    desk.pass(9);
    assert_eq!(desk.keys(), ["al", "bob", "eve"]);
    desk.pass(1);
    assert_eq!(desk.keys(), ["al", "eve"]);
    desk.left(1);
    desk.pass(5);
    assert_eq!(desk.keys(), ["eve"]);
    let long = keyed("room.*", Write::Any, KeyTerms { linger: Some(20 * LINGER), ..bound() });
    let mut desk = before.restart(long);
    desk.pass(99);
    assert_eq!(desk.keys().len(), 3);
    desk.pass(1);
    assert_eq!(desk.keys().len(), 0);
}

#[test]
fn the_first_write_after_a_restart_says_that_the_table_holds() {
    let before = Desk::new(presence());
    let first = before.write(by(1, "al", set("al"))).unwrap();
    let desk = before.restart(presence());
    let again = desk.write(by(1, "al", set("al"))).unwrap();
    assert_eq!(again.v, first.v + 1, "it was told to be stale, and is not any more");
    assert_eq!(desk.write(by(1, "al", set("al"))).unwrap(), again);
}

#[test]
fn a_key_that_was_not_written_for_so_long_goes_whoever_wrote_it() {
    let mut desk = Desk::new(typing());
    desk.write(by(1, "al", set("al"))).unwrap();
    desk.publish(&[publisher(json!({"set": {"eve": 1, "zoe": 1}}))]).unwrap();
    desk.left(1);
    desk.pass(4);
    desk.write(by(2, None, set("al"))).unwrap();
    desk.publish(&[publisher(json!({"set": {"zoe": 1}}))]).unwrap();
    desk.pass(1);
    assert_eq!(desk.keys(), ["al", "zoe"]);
    desk.pass(4);
    assert_eq!(desk.keys(), [""; 0]);
    assert_eq!(desk.sequencer.counters().timed_keys, 0);
}

#[test]
fn a_whole_table_of_a_publisher_writes_all_its_keys() {
    let mut desk = Desk::new(typing());
    desk.publish(&[publisher(json!({"data": {"a": 1, "b": 1}}))]).unwrap();
    desk.pass(4);
    desk.publish(&[publisher(json!({"data": {"a": 1, "b": 1}}))]).unwrap();
    desk.pass(4);
    assert_eq!(desk.keys(), ["a", "b"]);
    desk.pass(1);
    assert_eq!(desk.keys(), [""; 0]);
}

#[test]
fn a_restored_key_that_expires_counts_from_the_restart() {
    let before = Desk::new(typing());
    before.publish(&[publisher(set("a"))]).unwrap();
    let mut desk = before.restart(typing());
    desk.pass(4);
    assert_eq!(desk.keys(), ["a"]);
    desk.pass(1);
    assert_eq!(desk.keys(), [""; 0]);
}

#[test]
fn a_join_and_a_leave_cost_one_key_however_many_there_are() {
    let mut desk = Desk::new(keyed("room.*", Write::Any, KeyTerms { are_counted: true, ..bound() }));
    for writer in 0..1000 {
        desk.write(by(writer, None, set(&format!("k{writer}")))).unwrap();
    }
    desk.taken();
    let one_key = |desk: &Desk| {
        let batches = desk.taken();
        let changed: Vec<usize> =
            batches[0].iter().map(|u| u.changes.as_ref().map_or(0, |c| c.len())).collect();
        assert_eq!((batches.len(), changed), (1, vec![1, 0]), "the key, and the count");
        assert!(batches[0].iter().map(|u| u.json.len()).sum::<usize>() < 200);
    };
    desk.write(by(1000, None, set("new"))).unwrap();
    one_key(&desk);
    desk.left(1000);
    desk.pass(5);
    one_key(&desk);
}

#[test]
fn what_is_remembered_is_bounded_and_a_refusal_says_so() {
    let limits = Limits { timed_keys: 5, timed_keys_per_connection: 2, ..Limits::defaults() };
    let desk = Desk::with(keyed("room.*", Write::Any, bound()), limits);
    desk.write(by(1, None, set("a"))).unwrap();
    desk.write(by(1, None, set("b"))).unwrap();
    let why = desk.write(by(1, None, set("c"))).unwrap_err();
    assert_eq!((why.limit(), why.code()), ("timed_keys_per_connection", 4008));
    desk.write(by(1, None, set("a"))).unwrap();
    assert_eq!(desk.sequencer.counters().timed_keys, 4);
    let why = desk.write(by(2, None, set("c"))).unwrap_err();
    assert_eq!((why.limit(), why.code()), ("timed_keys", 4008));
    assert!(why.to_string().contains("raise [limits] timed_keys"), "{why}");
    desk.write(by(2, None, set("a"))).unwrap();
    desk.publish(&[publisher(set("z"))]).unwrap();
    assert_eq!(desk.keys(), ["a", "b", "z"], "a publisher's key is bound to nobody, and takes no room");
    assert_eq!(desk.sequencer.counters().timed_keys_refused, 2);
    desk.write(by(1, None, json!({"del": ["b"]}))).unwrap();
    desk.write(by(1, None, set("c"))).unwrap();
}

#[test]
fn an_atomic_group_is_held_against_the_bound_as_a_whole() {
    let desk = Desk::with(typing(), Limits { timed_keys: 2, ..Limits::defaults() });
    let refused =
        desk.publish(&[publisher(json!({"set": {"a": 1, "b": 1}})), publisher(set("c"))]).unwrap_err();
    assert_eq!((refused.index, refused.why.limit()), (1, "timed_keys"));
    assert_eq!(desk.keys(), [""; 0]);
    desk.publish(&[publisher(set("a")), publisher(set("b"))]).unwrap();
}
