//! Topics that hold the number of keys of others.

use super::*;

fn counted() -> Policy {
    keyed("room.*", Write::Any, KeyTerms { are_counted: true, linger: Some(LINGER), ..KeyTerms::default() })
}

#[test]
fn the_number_of_keys_changes_in_the_same_batch_and_version_as_the_keys() {
    let mut desk = Desk::new(counted());
    desk.write(by(1, None, json!({"set": {"a": 1, "b": 1}}))).unwrap();
    desk.write(by(1, None, json!({"del": ["a"]}))).unwrap();
    desk.left(1);
    desk.pass(5);
    let seen: Vec<Vec<(u64, u64, String)>> = desk
        .taken()
        .iter()
        .map(|batch| {
            batch.iter().map(|u| (u.version, u.v, String::from_utf8_lossy(&u.json).into())).collect()
        })
        .collect();
    let numbers: Vec<_> = seen.iter().map(|batch| (batch.len(), batch[1].clone())).collect();
    let count = |n: u64, ts: u64, keys: u64| {
        (2, (n, n, format!(r#"{{"topic":"room.a.count","v":{n},"ts":{ts},"data":{keys}}}"#)))
    };
    assert_eq!(numbers, [count(1, 7, 2), count(2, 7, 1), count(3, 9, 0)]);
    assert!(seen.iter().all(|batch| batch[0].0 == batch[1].0), "one version");
    assert_eq!(desk.data("room.a.count"), json!(0), "the last key went, the topic did not");
}

#[test]
fn a_change_that_leaves_the_number_as_it_is_tells_no_number() {
    let desk = Desk::new(counted());
    desk.write(by(1, None, json!({"set": {"a": 1}}))).unwrap();
    desk.taken();
    desk.write(by(1, None, json!({"set": {"a": 2}}))).unwrap();
    assert_eq!(desk.taken()[0].len(), 1);
}

#[test]
fn the_number_is_gone_when_the_topic_is_and_comes_back_with_it() {
    let desk = Desk::new(counted());
    desk.write(by(1, None, json!({"set": {"a": 1}}))).unwrap();
    desk.publish(&[gone("room.a")]).unwrap();
    assert_eq!(desk.data("room.a.count"), Value::Null);
    assert_eq!(desk.sequencer.counters().topics, 0);
    let last = desk.taken().pop().unwrap();
    assert!(last.iter().all(|update| update.gone && update.version == 2) && last.len() == 2);
    desk.write(by(1, None, json!({"set": {}}))).unwrap();
    assert_eq!(desk.data("room.a.count"), json!(0), "an empty table has a number too");
}

#[test]
fn nobody_else_publishes_a_number() {
    let desk = Desk::new(counted());
    assert_eq!(desk.code(by(1, None, json!({"topic": "room.a.count", "data": 1}))), 4403);
    desk.write(by(1, None, json!({"set": {"a": 1}}))).unwrap();
    assert_eq!(desk.code(by(1, None, json!({"topic": "room.a.count", "data": 1}))), 4403);
    for refused in [publisher(json!({"topic": "room.a.count", "data": 1})), gone("room.a.count")] {
        let refused = desk.publish(&[refused]).unwrap_err();
        assert_eq!(refused.why.limit(), "count");
        assert!(refused.why.to_string().contains("of room.a"), "{refused}");
    }
    assert_eq!(desk.data("room.a.count"), json!(1));
}

#[test]
fn of_a_group_the_number_is_that_after_all_of_it() {
    let desk = Desk::new(counted());
    let one = |key: &str| publisher(json!({"set": {key: 1}}));
    desk.publish(&[one("a"), one("b"), gone("room.a"), one("c")]).unwrap();
    assert_eq!(desk.data("room.a.count"), json!(1));
    let batch = desk.taken().remove(0);
    assert!(batch.iter().all(|update| update.version == 1), "one version");
    desk.publish(&[publisher(json!({"data": {"x": 1, "y": 1}})), one("z")]).unwrap();
    assert_eq!(desk.data("room.a.count"), json!(3));
}

#[test]
fn a_topic_whose_number_would_have_no_name_is_refused() {
    let desk = Desk::new(counted());
    let name = |bytes: usize| format!("room.{}", "x".repeat(bytes - 5));
    let why = desk.write(by(1, None, json!({"topic": name(250), "set": {"a": 1}}))).unwrap_err();
    assert_eq!((why.limit(), why.code()), ("count", 4000));
    assert!(why.to_string().contains("250 bytes, the most is 249"), "{why}");
    desk.write(by(1, None, json!({"topic": name(249), "set": {"a": 1}}))).unwrap();
    assert_eq!(desk.data(&format!("{}.count", name(249))), json!(1));
}

#[test]
fn a_number_takes_its_room_among_all_topics() {
    let desk = Desk::with(counted(), Limits { topics: 3, ..Limits::defaults() });
    desk.write(by(1, None, json!({"set": {"a": 1}}))).unwrap();
    let why = desk.write(by(1, None, json!({"topic": "room.b", "set": {"a": 1}}))).unwrap_err();
    assert_eq!(why.limit(), "topics", "it would make four");
    let desk = Desk::with(counted(), Limits { topics: 3, ..Limits::defaults() });
    let one = |topic: &str| publisher(json!({"topic": topic, "set": {"a": 1}}));
    assert_eq!(desk.publish(&[one("room.a"), one("room.b")]).unwrap_err().why.limit(), "topics");
    let bytes = 2 * 512 + 256 + 200;
    let desk = Desk::with(counted(), Limits { topics_bytes: bytes, ..Limits::defaults() });
    desk.write(by(1, None, json!({"set": {"a": 1}}))).unwrap();
    assert!(desk.sequencer.counters().topics_bytes <= bytes);
    let desk = Desk::with(counted(), Limits { topics_bytes: bytes - 200, ..Limits::defaults() });
    assert_eq!(desk.write(by(1, None, json!({"set": {"a": 1}}))).unwrap_err().limit(), "topics_bytes");
}

#[test]
fn a_restart_keeps_the_number_and_mends_one_that_is_wrong() {
    let before = Desk::new(counted());
    before.write(by(1, None, json!({"set": {"a": 1, "b": 1}}))).unwrap();
    let desk = before.restart(counted());
    assert_eq!((desk.data("room.a.count"), desk.sequencer.counters().version), (json!(2), 1));
    desk.taken();
    desk.write(by(1, None, json!({"set": {"a": 2}}))).unwrap();
    assert_eq!(desk.taken()[0].len(), 2, "table and number are of this run from now on");
    let listed = desk.sequencer.list("", "", 10);
    assert!(listed.iter().all(|row| !row.stale), "{listed:?}");

    let uncounted = keyed("room.*", Write::Any, KeyTerms::default());
    let before = Desk::new(uncounted.clone());
    before.write(by(1, None, json!({"set": {"a": 1, "b": 1}}))).unwrap();
    let desk = before.restart(counted());
    assert_eq!((desk.data("room.a.count"), desk.sequencer.counters().version), (json!(2), 2));
}
