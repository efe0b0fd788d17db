//! Which keys a client may write.

use super::*;

fn desk(write: Write) -> Desk {
    Desk::new(keyed("room.*", write, KeyTerms::default()))
}

#[test]
fn under_own_key_a_client_writes_its_subject_and_what_is_below_it_alone() {
    let desk = desk(Write::OwnKey);
    desk.write(by(1, "al", json!({"set": {"al": 1, "al/tab2": 2}}))).unwrap();
    desk.write(by(1, "al", json!({"set": {"al/": 3}, "del": ["al/tab2"]}))).unwrap();
    for refused in [
        json!({"set": {"bob": 1}}),
        json!({"set": {"alice": 1}}),
        json!({"set": {"al": 2, "bob/1": 1}}),
        json!({"set": {"": 1}}),
        json!({"del": ["bob"]}),
        json!({"set": {"al": 2}, "del": ["bob"]}),
    ] {
        assert_eq!(desk.code(by(1, "al", refused.clone())), 4403, "{refused}");
    }
    assert_eq!(desk.data("room.a"), json!({"al": 1, "al/": 3}), "what is refused changes nothing");
    let why = desk.write(by(1, "al", json!({"set": {"bob": 1}}))).unwrap_err().to_string();
    assert!(why.contains("room.a") && why.contains("al, al/…"), "{why}");
}

#[test]
fn under_own_key_who_has_no_subject_writes_nothing() {
    let desk = desk(Write::OwnKey);
    assert_eq!(desk.code(by(1, None, json!({"set": {"": 1}}))), 4403);
    assert_eq!(desk.code(by(1, None, json!({"set": {}}))), 4403);
    assert_eq!(desk.data("room.a"), Value::Null);
}

#[test]
fn of_a_topic_that_is_for_no_client_publishers_write_all() {
    for write in [Write::None, Write::OwnKey] {
        let desk = desk(write);
        desk.publish(&[publisher(json!({"set": {"bob": 1}}))]).unwrap();
        desk.publish(&[publisher(json!({"data": {"eve": 1}}))]).unwrap();
        assert_eq!(desk.keys(), ["eve"]);
        assert_eq!(desk.code(by(1, "al", json!({"set": {"bob": 1}}))), 4403);
    }
    let policy = Policy { write: Write::None, ..Policy::new(Pattern::all(), Mode::Latest) };
    let desk = Desk::new(policy);
    assert_eq!(desk.code(by(1, "al", json!({"data": 1}))), 4403);
    desk.publish(&[publisher(json!({"data": 1}))]).unwrap();
}

#[test]
fn a_client_writes_a_table_key_by_key() {
    let desk = desk(Write::Any);
    desk.publish(&[publisher(json!({"set": {"bob": 1}}))]).unwrap();
    assert_eq!(desk.code(by(1, "al", json!({"data": {"al": 1}}))), 4000);
    assert_eq!(desk.code(by(1, "al", json!({"set": {"al": 1}, "reset": true}))), 4000);
    desk.write(by(1, None, json!({"set": {"any": 1}}))).unwrap();
    assert_eq!(desk.keys(), ["any", "bob"]);
}

#[test]
fn a_refusal_says_which_error_it_is() {
    let desk = Desk::with(
        keyed("room.*", Write::Any, KeyTerms::default()),
        Limits { topics: 1, value_bytes: 100, ..Limits::defaults() },
    );
    desk.write(by(1, None, json!({"set": {"a": 1}}))).unwrap();
    assert_eq!(desk.code(by(1, None, json!({"topic": "room.b", "set": {"a": 1}}))), 4008, "a topic too many");
    assert_eq!(desk.code(by(1, None, json!({"set": {"a": "x".repeat(100)}}))), 4000, "a long value");
    assert_eq!(desk.code(by(1, None, json!({"topic": "..", "set": {"a": 1}}))), 4000, "no topic");
    let full = Desk::with(
        keyed("room.*", Write::Any, KeyTerms::default()),
        Limits { topics_bytes: 1000, ..Limits::defaults() },
    );
    assert_eq!(full.code(by(1, None, json!({"set": {"a": "x".repeat(1000)}}))), 4008, "no room");
}
