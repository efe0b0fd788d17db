//! What the sequencer promises the shards.
#![forbid(unsafe_code)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use engine::{
    sequencer::{Body, Grouping, NotPublished, Publication, Refused, Why},
    settings::Limits,
    shard::inbox::{Bound, Inbox, Message},
    topic::{
        epoch::Epoch,
        pattern::Pattern,
        policy::{Keyed, Mode, Policies, Policy},
    },
    update::{Op, TopicId, Update},
};
use gateway::{
    config::Config,
    intake::{clocked::ClockedSequencer, publisher::Publisher},
};

fn limits() -> Limits {
    Config::embedded_demo().limits
}

fn inbox(updates_max: usize) -> Arc<Inbox> {
    Inbox::new(updates_max, usize::MAX, net::Waker::unconnected())
}

fn sequencer(limits: &Limits, inboxes: &[Arc<Inbox>]) -> Arc<ClockedSequencer> {
    ClockedSequencer::new(Epoch::from(1), inboxes.to_vec(), limits, Policies::default(), Instant::now())
}

fn item(topic: &str, data: &str) -> Publication {
    let body = Body::Data(data.to_owned().into());
    Publication::new(topic, body, 7)
}

fn gone(topic: &str) -> Publication {
    Publication { body: Body::Gone, ..item(topic, "") }
}

fn batches(inbox: &Inbox) -> Vec<(u64, Vec<Op>)> {
    let mut batches = Vec::new();
    while let Some(message) = inbox.pop() {
        let Message::Updates(batch) = message else { panic!("only updates were pushed") };
        batches.push((batch.version, batch.ops.clone()));
    }
    batches
}

/// The updates of one inbox as (version, v, JSON).
fn updates(inbox: &Inbox) -> Vec<(u64, u64, String)> {
    let of = |u: &Update| (u.version, u.v, String::from_utf8(u.json.to_vec()).unwrap());
    let ops = batches(inbox).into_iter().flat_map(|(_, ops)| ops);
    ops.filter_map(|op| if let Op::Update(u) = op { Some(of(&u)) } else { None }).collect()
}

#[test]
fn every_shard_gets_the_same_updates_numbered_from_one() {
    let inboxes = [inbox(100), inbox(100)];
    let sequencer = sequencer(&limits(), &inboxes);
    let items = [item("a.b", "1"), item("a.c", r#"{ "x" : [1, 2] }"#), item("a.b", "null")];
    let published = sequencer.try_publish(&items, Grouping::Single).unwrap();
    assert_eq!((published.accepted, published.version), (3, 3));
    let expected = [
        (1, 1, r#"{"topic":"a.b","v":1,"ts":7,"data":1}"#.to_owned()),
        (2, 1, r#"{"topic":"a.c","v":1,"ts":7,"data":{ "x" : [1, 2] }}"#.to_owned()),
        (3, 2, r#"{"topic":"a.b","v":2,"ts":7,"data":null}"#.to_owned()),
    ];
    for inbox in &inboxes {
        assert_eq!(updates(inbox), expected);
    }
    assert_eq!(sequencer.get("a.b").unwrap(), expected[2].2.as_bytes());
}

#[test]
fn what_one_shard_has_got_was_announced_to_all_before() {
    let inboxes = [inbox(usize::MAX), inbox(usize::MAX)];
    let sequencer = sequencer(&limits(), &inboxes);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..2000 {
                sequencer.try_publish(&[item("a", &n.to_string())], Grouping::Single).unwrap();
            }
        });
        let mut got = 0;
        while got < 2000 {
            if let Some(Message::Updates(batch)) = inboxes[0].pop() {
                assert!(batch.version <= inboxes[1].announced(), "{}", batch.version);
                got = batch.version;
            }
            inboxes[1].pop();
        }
    });
}

#[test]
fn the_publishers_time_is_the_updates_time_and_due_stays() {
    let inboxes = [inbox(100)];
    let sequencer = sequencer(&limits(), &inboxes);
    sequencer.try_publish(&[Publication { ts_us: Some(5), ..item("t", "1") }], Grouping::Single).unwrap();
    let (_, ops) = batches(&inboxes[0]).remove(0);
    let Op::Update(update) = &ops[1] else { panic!("a birth, then its update: {ops:?}") };
    assert_eq!((update.ts_us, update.due_us), (5, 7));
}

#[test]
fn an_atomic_group_is_one_batch_with_one_version() {
    let inboxes = [inbox(100)];
    let sequencer = sequencer(&limits(), &inboxes);
    sequencer.try_publish(&[item("z", "0")], Grouping::Single).unwrap();
    sequencer.try_publish(&[item("a", "1"), item("b", "2"), item("z", "3")], Grouping::Atomic).unwrap();
    let batches = batches(&inboxes[0]);
    assert_eq!(batches.len(), 2);
    let (version, ops) = &batches[1];
    assert_eq!(*version, 2);
    assert!(ops.iter().all(|op| !matches!(op, Op::Update(u) if u.version != 2)), "{ops:?}");
}

#[test]
fn one_bad_item_refuses_the_whole_group_and_nothing_is_numbered() {
    let inboxes = [inbox(100)];
    let sequencer = sequencer(&Limits { topics: 2, ..limits() }, &inboxes);
    let refused = |result| match result {
        Err(NotPublished::Refused(Refused { index, why })) => (index, why),
        other => panic!("{other:?}"),
    };
    let bad = sequencer.try_publish(&[item("a", "1"), item("b..c", "2")], Grouping::Atomic);
    assert!(matches!(refused(bad), (1, Why::BadTopic(_))));
    let many = sequencer
        .try_publish(&[item("a", "1"), item("b", "1"), item("a", "2"), item("c", "1")], Grouping::Atomic);
    assert!(matches!(refused(many), (3, Why::TooMany { max: 2, .. })));
    assert_eq!(batches(&inboxes[0]).len(), 0);
    assert_eq!((sequencer.counters().version, sequencer.counters().topics), (0, 0));
}

#[tokio::test]
async fn singles_before_a_refused_item_are_published() {
    let inboxes = [inbox(100)];
    let sequencer = sequencer(&Limits { topics: 2, ..limits() }, &inboxes);
    let items = [item("a", "1"), item("b", "1"), item("c", "1"), item("a", "2")];
    let refused = Publisher::new(sequencer.clone()).publish(&items, Grouping::Single).await.unwrap_err();
    assert_eq!(refused.index, 2);
    assert_eq!(updates(&inboxes[0]).len(), 2);
}

#[test]
fn a_removed_topic_comes_back_with_its_count_going_on() {
    let inboxes = [inbox(100)];
    let sequencer = sequencer(&limits(), &inboxes);
    let items = [item("t", "1"), gone("t"), item("t", "2")];
    sequencer.try_publish(&items, Grouping::Single).unwrap();
    assert_eq!(
        updates(&inboxes[0])[1..],
        [
            (2, 2, r#"{"topic":"t","v":2,"ts":7,"gone":true}"#.to_owned()),
            (3, 3, r#"{"topic":"t","v":3,"ts":7,"data":2}"#.to_owned())
        ]
    );
    let counters = sequencer.counters();
    assert_eq!((counters.topics, counters.tombstones), (1, 0));
}

#[test]
fn a_removed_topic_is_neither_listed_nor_removed_twice() {
    let inboxes = [inbox(100)];
    let sequencer = sequencer(&limits(), &inboxes);
    sequencer.try_publish(&[item("t", "1"), item("u", "1"), gone("t")], Grouping::Single).unwrap();
    assert_eq!(sequencer.get("t"), None);
    assert_eq!(sequencer.list("", "", 10).iter().map(|r| &*r.topic).collect::<Vec<_>>(), ["u"]);
    let again = sequencer.try_publish(&[gone("t")], Grouping::Single).unwrap_err();
    assert!(matches!(again, NotPublished::Refused(Refused { why: Why::Unknown { .. }, .. })));
}

#[test]
fn tombstones_are_bounded_and_topics_born_later_start_above_what_was_dropped() {
    let inboxes = [inbox(1000)];
    let sequencer = sequencer(&Limits { tombstones: 2, ..limits() }, &inboxes);
    for topic in ["a", "b", "c"] {
        let mut items = vec![item(topic, "1"); if topic == "a" { 5 } else { 1 }];
        items.push(gone(topic));
        sequencer.try_publish(&items, Grouping::Single).unwrap();
    }
    let ops: Vec<Op> = batches(&inboxes[0]).into_iter().flat_map(|(_, ops)| ops).collect();
    let forgotten: Vec<TopicId> =
        ops.iter().filter_map(|op| if let Op::Forget { topic } = op { Some(*topic) } else { None }).collect();
    assert_eq!(forgotten, [TopicId(0)], "the oldest one, a");
    assert_eq!((sequencer.counters().tombstones, sequencer.counters().tombstones_dropped), (2, 1));

    // `a` had reached v 6; `b` is remembered and goes on at its own count.
    sequencer.try_publish(&[item("new", "1"), item("a", "1"), item("b", "1")], Grouping::Single).unwrap();
    assert_eq!(updates(&inboxes[0]).iter().map(|u| u.1).collect::<Vec<_>>(), [7, 7, 3]);
}

#[test]
fn an_id_is_given_out_again_only_after_forget() {
    let inboxes = [inbox(1000)];
    let sequencer = sequencer(&Limits { tombstones: 1, ..limits() }, &inboxes);
    let items = [item("a", "1"), item("b", "1"), gone("a"), item("c", "1"), gone("b"), item("d", "1")];
    sequencer.try_publish(&items, Grouping::Single).unwrap();
    let mut held = std::collections::HashSet::new();
    for (_, ops) in batches(&inboxes[0]) {
        for op in ops {
            match op {
                Op::Birth { topic, .. } => assert!(held.insert(topic), "{topic:?} given out twice"),
                Op::Forget { topic } => assert!(held.remove(&topic), "{topic:?} forgotten twice"),
                Op::Update(update) => assert!(held.contains(&update.topic), "{update:?} before its birth"),
            }
        }
    }
    assert_eq!(held.len(), 3, "b's tombstone, c and d");
}

#[test]
fn a_full_inbox_refuses_on_all_shards_alike() {
    let inboxes = [inbox(100), inbox(1)];
    let sequencer = sequencer(&limits(), &inboxes);
    sequencer.try_publish(&[item("a", "1")], Grouping::Single).unwrap();
    assert_eq!(sequencer.try_publish(&[item("a", "2")], Grouping::Single), Err(NotPublished::Full));
    assert_eq!((updates(&inboxes[0]).len(), updates(&inboxes[1]).len()), (1, 1));
}

#[test]
fn the_bytes_that_wait_for_a_shard_are_bounded_and_an_empty_inbox_takes_any_batch() {
    let inboxes = [Inbox::new(100, 1000, net::Waker::unconnected())];
    let sequencer = sequencer(&limits(), &inboxes);
    let long = |n: usize| item("a", &n.to_string().repeat(300));
    let published = (1..9).take_while(|n| sequencer.try_publish(&[long(*n)], Grouping::Single).is_ok());
    assert_eq!(
        published.count(),
        3,
        "three of more than 300 bytes are below 1000 bytes, and one fits beside them"
    );
    assert!((1000..1500).contains(&inboxes[0].bytes()), "{}", inboxes[0].bytes());
    assert_eq!(updates(&inboxes[0]).len(), 3);
    assert_eq!((inboxes[0].depth(), inboxes[0].bytes()), (0, 0));
    let group: Vec<Publication> = (0..9).map(long).collect();
    sequencer.try_publish(&group, Grouping::Atomic).unwrap();
    assert_eq!(sequencer.try_publish(&[item("a", "1")], Grouping::Single), Err(NotPublished::Full));
}

#[test]
fn each_bound_of_an_inbox_is_a_key_and_it_is_counted_how_often_it_was_met() {
    let limits = Limits { inbox_updates: 10, inbox_bytes: 1000, inbox_messages: 8, ..limits() };
    let inboxes = [Inbox::of(&limits, net::Waker::unconnected())];
    let sequencer = sequencer(&limits, &inboxes);
    let group = |n: usize| -> Vec<Publication> { (0..n).map(|n| item(&format!("t{n}"), "1")).collect() };
    let fill = |items: &[Publication]| {
        let mut batches = 0;
        while sequencer.try_publish(items, Grouping::Atomic).is_ok() {
            batches += 1;
        }
        // Who tries again meets it once.
        assert!(sequencer.try_publish(items, Grouping::Atomic).is_err());
        sequencer.publish_due();
        updates(&inboxes[0]);
        batches
    };
    let mut met = [0; 3];
    for _ in 0..2 {
        for (bound, items, batches) in [
            (Bound::Updates, group(5), 2),
            (Bound::Bytes, vec![item("long", &"1".repeat(600))], 2),
            // An eighth is left for other messages.
            (Bound::Messages, group(1), 7),
        ] {
            sequencer.try_publish(&group(5), Grouping::Atomic).unwrap();
            updates(&inboxes[0]);
            assert_eq!(fill(&items), batches, "{bound:?}");
            met[bound as usize] += 1;
            assert_eq!(sequencer.counters().full, met, "{bound:?}");
        }
    }
}

#[test]
fn a_value_over_its_bound_is_refused_with_its_topic_and_key() {
    let inboxes = [inbox(100)];
    let sequencer = sequencer(&Limits { value_bytes: 20, ..limits() }, &inboxes);
    let items = [item("a", &"1".repeat(20)), item("b", &"1".repeat(21))];
    let refused = sequencer.try_publish(&items, Grouping::Atomic).unwrap_err();
    let reason = "item 1: data of topic b has 21 bytes, [limits] value_bytes is 20: divide it or raise that";
    assert_eq!(refused.to_string(), reason);
    assert_eq!(sequencer.try_publish(&items, Grouping::Single).unwrap().accepted, 1);
    assert_eq!(sequencer.counters().refused, 1);
}

#[tokio::test(start_paused = true)]
async fn publish_waits_for_room_and_keeps_the_order_of_those_who_wait() {
    let inboxes = [inbox(1)];
    let publisher = Publisher::new(sequencer(&limits(), &inboxes));
    publisher.publish(&[item("a", "0")], Grouping::Single).await.unwrap();
    let waiting: Vec<_> = ["1", "2", "3"]
        .map(|data| {
            let publisher = publisher.clone();
            tokio::spawn(async move { publisher.publish(&[item("a", data)], Grouping::Single).await })
        })
        .into();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(waiting.iter().all(|task| !task.is_finished()));
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.extend(updates(&inboxes[0]).into_iter().map(|u| u.2));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let data: Vec<&str> = seen.iter().map(|json| &json[json.len() - 2..json.len() - 1]).collect();
    assert_eq!(data, ["0", "1", "2", "3"]);
    assert_eq!(publisher.counters().waits, 3);
    for task in waiting {
        task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_long_publish_goes_out_in_several_batches_and_an_atomic_one_in_one() {
    let inboxes = [inbox(100_000)];
    let publisher = Publisher::new(sequencer(&limits(), &inboxes));
    let items: Vec<Publication> = (0..10_000).map(|i| item(&format!("t{}", i % 10), "1")).collect();
    assert_eq!(publisher.publish(&items, Grouping::Single).await.unwrap(), 10_000);
    assert_eq!(batches(&inboxes[0]).iter().map(|b| b.0).collect::<Vec<_>>(), [4096, 8192, 10_000]);
    assert_eq!(publisher.publish(&items, Grouping::Atomic).await.unwrap(), 10_001);
    assert_eq!(batches(&inboxes[0]).len(), 1);
}

/// A whole table of so many keys.
fn table(topic: &str, keys: usize, value: u32) -> Publication {
    let members: Vec<String> = (0..keys).map(|key| format!("\"{key}\":{value}")).collect();
    item(topic, &format!("{{{}}}", members.join(",")))
}

fn keyed(limits: &Limits, inbox: &Arc<Inbox>) -> Arc<ClockedSequencer> {
    let mode = Mode::Keyed(Keyed { keys: 10_000, key_tombstones: 10, table_bytes: 1 << 20 });
    let policies = Policies::new(vec![Policy::new(Pattern::parse("k.*").unwrap(), mode)]);
    ClockedSequencer::new(Epoch::from(1), vec![inbox.clone()], limits, policies, Instant::now())
}

#[tokio::test]
async fn a_batch_takes_no_more_tables_once_enough_keys_changed() {
    let inbox = inbox(100_000);
    let sequencer = keyed(&limits(), &inbox);
    let tables = |keys, value| (0..8).map(|n| table(&format!("k.{n}"), keys, value)).collect::<Vec<_>>();
    // 8 tables that are new, others in their place, the same again, and none in theirs: of two thousand keys.
    for (items, together) in
        [(tables(2000, 1), 3), (tables(2000, 2), 2), (tables(2000, 2), 2), (tables(0, 0), 3)]
    {
        let began = sequencer.counters().version;
        Publisher::new(sequencer.clone()).publish(&items, Grouping::Single).await.unwrap();
        assert_eq!(sequencer.counters().version, began + 8);
        let updates = |ops: &[Op]| ops.iter().filter(|op| matches!(op, Op::Update(_))).count();
        for (_, ops) in batches(&inbox) {
            assert!((1..=together).contains(&updates(&ops)), "{}", updates(&ops));
        }
    }
}

#[test]
fn a_group_counts_the_keys_of_whole_tables_and_those_that_they_take_the_place_of() {
    let inbox = inbox(100_000);
    let sequencer = keyed(&Limits { atomic_updates: 20, ..limits() }, &inbox);
    let group = |items: &[Publication]| match sequencer.try_publish(items, Grouping::Atomic) {
        Ok(_) => None,
        Err(NotPublished::Refused(Refused { index, why: Why::TooManyChanges { max: 20 } })) => Some(index),
        Err(other) => panic!("{other}"),
    };
    let (a, b) = (|keys| table("k.a", keys, 1), |keys| table("k.b", keys, 1));
    assert_eq!(group(&[a(20)]), Some(0));
    assert_eq!(group(&[a(9), b(10)]), Some(1));
    assert_eq!(group(&[a(9), b(9)]), None);
    // What they hold goes, or has to be compared.
    assert_eq!(group(&[a(1), b(1)]), Some(1));
    assert_eq!(group(&[a(0), b(0)]), None);
    assert_eq!(group(&[a(9), a(1)]), Some(1), "those of an item before it count too");
    assert_eq!(group(&[a(9), gone("k.a")]), None);
    assert_eq!(group(&[item("x", "1"), item("x", r#"{"a":1,"b":2}"#), b(17)]), None);
    assert_eq!(sequencer.counters().refused, 4);
}

#[test]
fn topics_are_listed_in_order_by_prefix_after_and_limit() {
    let inboxes = [inbox(100)];
    let sequencer = sequencer(&limits(), &inboxes);
    let items = ["b.2", "a", "b.1", "c", "b.3"].map(|t| item(t, "1"));
    sequencer.try_publish(&items, Grouping::Single).unwrap();
    let list = |prefix, after, limit| -> Vec<String> {
        sequencer.list(prefix, after, limit).iter().map(|row| row.topic.to_string()).collect()
    };
    assert_eq!(list("", "", 10), ["a", "b.1", "b.2", "b.3", "c"]);
    assert_eq!(list("b.", "", 2), ["b.1", "b.2"]);
    assert_eq!(list("b.", "b.2", 10), ["b.3"]);
    assert_eq!(list("b.", "a", 10), ["b.1", "b.2", "b.3"]);
    assert_eq!(list("b.", "c", 10), Vec::<String>::new());
    assert_eq!(list("", "b", 1), ["b.1"]);
    assert_eq!(list("x", "", 10), Vec::<String>::new());
}

#[test]
fn epochs_are_sixteen_lower_case_hex_digits_and_differ() {
    let (a, b) = (Epoch::from(1), Epoch::from(2));
    assert_ne!(a, b);
    for epoch in [a, b] {
        let epoch = epoch.to_string();
        assert_eq!(epoch.len(), 16);
        assert!(epoch.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')), "{epoch}");
    }
}
