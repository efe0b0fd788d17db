//! What the count of a source's updates decides: which are repeats, and which whole books repair.
#![forbid(unsafe_code)]

use std::{
    cell::Cell,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use engine::{
    json::pointer::Pointer,
    protocol::status::TopicState,
    sequencer::{
        Body, Grouping, Publication, UpstreamBatch, UpstreamUpdate,
        seq::{Feed, Seq},
        topics::Doubter,
    },
    settings::Limits,
    shard::inbox::{Inbox, Message},
    topic::{
        epoch::Epoch,
        pattern::Pattern,
        policy::{Behind, Deadband, Keyed, Mode, Policies, Policy, Stream},
    },
    update::{Op, Update},
};
use gateway::{
    config::Config,
    intake::{clocked::ClockedSequencer, publish::parse_publication},
    state::{self, Damage, Ended, Restored, RestoredTopic},
};
use serde_json::{Value, json};

const A: Option<Feed> = Some(Feed { source: 1, connection: 1 });
const A_AGAIN: Option<Feed> = Some(Feed { source: 1, connection: 2 });
const B: Option<Feed> = Some(Feed { source: 2, connection: 1 });
const PUBLISHER: Option<Feed> = None;

struct Gateway {
    sequencer: Arc<ClockedSequencer>,
    inbox: Arc<Inbox>,
    version: Cell<u64>,
}

impl Gateway {
    fn new() -> Self {
        Self::with_tombstones(100)
    }

    fn with_tombstones(tombstones: usize) -> Self {
        let inbox = Inbox::new(usize::MAX, usize::MAX, net::Waker::unconnected());
        let keyed = Keyed { keys: 100, key_tombstones: 10, table_bytes: 1 << 20 };
        let stream = Stream {
            snapshot_updates: 1,
            history_updates: 10,
            history_bytes: 1 << 20,
            history_age: None,
            behind: Behind::Gap,
        };
        let policy = |pattern, mode| Policy::new(Pattern::parse(pattern).unwrap(), mode);
        let policies = vec![policy("book.*", Mode::Keyed(keyed)), policy("trade.*", Mode::Stream(stream))];
        let at = Pointer::parse("").unwrap();
        let deadband = Some(Deadband { by: 0.5, at, max: Duration::from_millis(50) });
        let band = Policy { deadband, ..policy("band.*", Mode::Latest) };
        let policies = Policies::new([policies, vec![band]].concat());
        let limits = Limits { value_bytes: 100, tombstones, ..Config::embedded_demo().limits };
        let sequencer =
            ClockedSequencer::new(Epoch::from(1), vec![inbox.clone()], &limits, policies, Instant::now());
        Self { sequencer, inbox, version: Cell::new(0) }
    }

    /// With a topic of an earlier run, whose count stands at `seq`.
    fn restored(topic: &str, body: Body, seq: u64) -> Self {
        Self::restored_with(topic, body, seq, false)
    }

    fn restored_with(topic: &str, body: Body, seq: u64, has_gap: bool) -> Self {
        Self::restored_damaged(topic, body, seq, has_gap, None)
    }

    fn restored_damaged(topic: &str, body: Body, seq: u64, has_gap: bool, damage: Option<Damage>) -> Self {
        let gateway = Self::new();
        let mode = gateway.mode(topic).to_owned();
        let kept = RestoredTopic {
            topic: topic.into(),
            mode,
            v: 7,
            ts_us: 0,
            by: None,
            seq: Some(seq),
            has_gap,
            refused: 0,
            body,
        };
        let epoch = Epoch::parse("0123456789abcdef");
        let restored = Restored {
            epoch,
            is_clean: true,
            version: 9,
            v_floor: 0,
            topics: vec![kept],
            ended: Ended::default(),
            damage,
        };
        gateway.sequencer.restore(&restored);
        gateway.version.set(9);
        gateway
    }

    fn mode(&self, topic: &str) -> &'static str {
        match topic.split('.').next() {
            Some("book") => "keyed",
            Some("trade") => "stream",
            _ => "latest",
        }
    }

    fn take(&self, item: &Publication) -> bool {
        self.sequencer.try_publish(std::slice::from_ref(item), Grouping::Single).unwrap();
        let version = self.sequencer.counters().version;
        self.version.replace(version) < version
    }

    /// Whether an update was numbered; `fields` as a publisher writes them.
    fn bring(&self, feed: Option<Feed>, topic: &str, fields: &str) -> bool {
        self.take(&Publication { feed, ..item(topic, fields) })
    }

    /// The same with the count that it goes on from.
    fn bring_after(&self, feed: Option<Feed>, topic: &str, first: u64, fields: &str) -> bool {
        let item = item(topic, fields);
        let seq = item.seq.map(|seq| Seq::span(first, seq.last));
        self.take(&Publication { feed, seq, ..item })
    }

    fn data(&self, topic: &str) -> Value {
        let update: Value = serde_json::from_slice(&self.sequencer.get(topic).unwrap()).unwrap();
        update["data"].clone()
    }

    /// States told since the last call.
    fn told(&self) -> Vec<(TopicState, String)> {
        self.sequencer.take_state_changes().into_iter().map(|event| (event.state, event.reason)).collect()
    }

    fn states(&self) -> Vec<TopicState> {
        self.told().into_iter().map(|told| told.0).collect()
    }

    fn updates(&self) -> Vec<Update> {
        let mut updates = Vec::new();
        while let Some(Message::Updates(batch) | Message::Restart { batch, .. }) = self.inbox.pop() {
            updates.extend(batch.ops.iter().filter_map(|op| match op {
                Op::Update(update) => Some(update.clone()),
                _ => None,
            }));
        }
        updates
    }
}

fn item(topic: &str, fields: &str) -> Publication {
    parse_publication(&Bytes::from(format!(r#"{{"topic":"{topic}",{fields}}}"#)), 7).unwrap()
}

fn parsed(pattern: &str) -> Pattern {
    Pattern::parse(pattern).unwrap()
}

#[test]
fn a_sources_whole_book_is_news_where_its_own_count_went_back_or_it_is_the_first_since_it_connected() {
    for whole in [r#""reset":true,"set":{"w":1}"#, r#""data":{"w":1}"#] {
        let gateway = Gateway::new();
        assert!(gateway.bring(A, "book.a", r#""reset":true,"set":{"a":1},"seq":100"#));
        assert!(gateway.bring(A, "book.a", r#""set":{"b":2},"seq":101"#));
        assert!(!gateway.bring(A, "book.a", &format!(r#"{whole},"seq":101"#)), "it was sent again");
        assert!(gateway.bring(A, "book.a", &format!(r#"{whole},"seq":1"#)), "the venue counts anew");
        assert_eq!(gateway.data("book.a"), json!({"w": 1}));
        assert!(gateway.bring(A, "book.a", r#""set":{"c":3},"seq":2"#), "and goes on from there");
        assert!(!gateway.bring(A, "book.a", r#""set":{"c":4},"seq":2"#));
        // In a market without changes a new connection begins with the count that is held.
        assert!(gateway.bring(A_AGAIN, "book.a", &format!(r#"{whole},"seq":2"#)));
        assert_eq!(gateway.data("book.a"), json!({"w": 1}));
        assert!(!gateway.bring(A_AGAIN, "book.a", &format!(r#"{whole},"seq":2"#)));
        assert_eq!(gateway.states(), [], "nothing was missing");
    }
}

#[test]
fn of_two_sources_with_the_same_books_and_of_a_publisher_that_tries_again_the_late_are_repeats() {
    let gateway = Gateway::new();
    let whole = |seq: u64| format!(r#""reset":true,"set":{{"w":{seq}}},"seq":{seq}"#);
    for seq in [3, 4, 5] {
        assert!(gateway.bring(A, "book.a", &whole(seq)));
        assert!(!gateway.bring(B, "book.a", &whole(seq)), "the same");
        assert!(!gateway.bring(B, "book.a", &whole(seq - 1)), "older");
        assert!(!gateway.bring(PUBLISHER, "book.a", &whole(seq)));
        assert!(!gateway.bring(PUBLISHER, "book.a", &whole(1)), "a publisher says when it counts anew");
    }
    // One that came as a repeat was the first of its connection all the same.
    assert!(gateway.bring(B, "book.a", r#""set":{"x":1},"seq":6"#));
    assert!(!gateway.bring(B, "book.a", &whole(6)));
    assert!(!gateway.bring(A_AGAIN, "book.a", &whole(6)), "what another brought last needs no repair");
    assert_eq!(gateway.data("book.a"), json!({"w": 5, "x": 1}));
}

#[test]
fn a_gap_ends_with_whichever_whole_book_comes_and_its_count_holds() {
    for (whole, feed) in [(r#""reset":true,"set":{"w":1},"seq":4"#, A), (r#""data":{"w":1},"seq":3"#, B)] {
        let gateway = Gateway::new();
        gateway.bring(A, "book.a", r#""reset":true,"set":{"a":1},"seq":1"#);
        gateway.bring(A, "book.a", r#""set":{"b":1},"seq":4"#);
        assert_eq!(
            gateway.told(),
            [(TopicState::Gap, "seq stepped from 1 to 4: 2 updates are missing".into())]
        );
        assert!(gateway.bring(A, "book.a", r#""set":{"b":2},"seq":5"#));
        assert_eq!(gateway.states(), [], "it lasts");
        assert!(gateway.bring(feed, "book.a", whole));
        assert_eq!((gateway.states(), gateway.data("book.a")), (vec![TopicState::Live], json!({"w": 1})));
        let next = item("book.a", whole).seq.unwrap().last + 1;
        assert!(gateway.bring(feed, "book.a", &format!(r#""set":{{"c":1}},"seq":{next}"#)));
        assert_eq!(gateway.states(), []);
    }
    let gateway = Gateway::new();
    gateway.bring(PUBLISHER, "book.a", r#""set":{"a":1},"seq":1"#);
    gateway.bring(PUBLISHER, "book.a", r#""set":{"a":1},"seq":3"#);
    assert!(!gateway.bring(PUBLISHER, "book.a", r#""data":{"a":2},"seq":3"#));
    assert_eq!(gateway.states(), [TopicState::Gap]);
}

#[test]
fn a_value_is_the_whole_of_its_topic_and_a_source_that_counts_anew_is_not_frozen() {
    let gateway = Gateway::new();
    let value = |seq: u64| format!(r#""data":{seq},"seq":{seq}"#);
    assert!(gateway.bring(A, "quote.a", &value(500)));
    assert!(!gateway.bring(A, "quote.a", &value(500)));
    assert!(!gateway.bring(B, "quote.a", &value(499)));
    assert!(gateway.bring(A, "quote.a", &value(1)));
    assert!(gateway.bring(A_AGAIN, "quote.a", &value(1)));
    assert!(gateway.bring(A_AGAIN, "quote.a", &value(5)));
    assert_eq!(gateway.states(), [TopicState::Gap]);
    assert!(!gateway.bring(B, "quote.a", &value(4)), "an older value makes up for nothing");
    assert!(gateway.bring(A_AGAIN, "quote.a", &value(5)), "its source confirms the newest");
    assert_eq!(gateway.states(), [TopicState::Live]);
}

#[test]
fn of_a_stream_what_came_before_stays_a_repeat_after_a_reconnect() {
    let gateway = Gateway::new();
    for seq in [8, 9, 10] {
        assert!(gateway.bring(A, "trade.a", &format!(r#""data":1,"seq":{seq}"#)));
    }
    for seq in [8, 9, 10] {
        assert!(!gateway.bring(A_AGAIN, "trade.a", &format!(r#""data":1,"seq":{seq}"#)));
    }
    assert!(gateway.bring(A_AGAIN, "trade.a", r#""data":1,"seq":11"#));
}

#[test]
fn an_update_that_names_the_last_count_goes_on_from_it_up_or_down() {
    let gateway = Gateway::new();
    gateway.bring(A, "book.a", r#""reset":true,"set":{"a":1},"seq":9"#);
    assert!(gateway.bring_after(A, "book.a", 9, r#""set":{"b":1},"seq":10"#));
    assert!(gateway.bring_after(A, "book.a", 10, r#""set":{"c":1},"seq":3"#));
    assert!(gateway.bring_after(A, "book.a", 3, r#""set":{"d":1},"seq":5"#));
    assert!(!gateway.bring_after(A, "book.a", 5, r#""set":{"e":1},"seq":5"#), "nothing changed");
    assert!(!gateway.bring_after(A, "book.a", 4, r#""set":{"e":1},"seq":2"#), "it goes on from another");
    assert!(gateway.bring_after(PUBLISHER, "book.a", 5, r#""set":{"f":1},"seq":6"#));
    assert_eq!(gateway.data("book.a"), json!({"a": 1, "b": 1, "c": 1, "d": 1, "f": 1}));
    assert_eq!(gateway.states(), []);
}

#[test]
fn a_whole_book_without_a_count_forgets_it_where_a_source_brings_it() {
    for (feed, forgets) in [(A, true), (PUBLISHER, false)] {
        let gateway = Gateway::new();
        gateway.bring(feed, "book.a", r#""reset":true,"set":{"a":1},"seq":50"#);
        assert!(gateway.bring(feed, "book.a", r#""set":{"b":1}"#));
        assert!(!gateway.bring(feed, "book.a", r#""set":{"c":1},"seq":50"#), "a change forgets nothing");
        assert!(gateway.bring(feed, "book.a", r#""reset":true,"set":{"a":2}"#));
        assert_eq!(gateway.bring(feed, "book.a", r#""set":{"b":2},"seq":4"#), forgets);
        assert_eq!(gateway.bring(feed, "book.a", r#""set":{"b":3},"seq":5"#), forgets);
        assert_eq!(gateway.states(), []);
    }
}

#[test]
fn by_http_a_count_begins_anew_where_the_publisher_says_so() {
    for topic in ["book.a", "trade.a", "quote.a"] {
        let gateway = Gateway::new();
        let value = |seq: u64, more: &str| format!(r#""data":{{"n":{seq}}},"seq":{seq}{more}"#);
        assert!(gateway.bring(PUBLISHER, topic, &value(900, "")));
        assert!(!gateway.bring(PUBLISHER, topic, &value(1, r#","seq_reset":false"#)));
        assert!(gateway.bring(PUBLISHER, topic, &value(1, r#","seq_reset":true"#)));
        assert!(!gateway.bring(PUBLISHER, topic, &value(1, "")));
        assert!(gateway.bring(PUBLISHER, topic, &value(2, "")));
        // Upwards too, and without a count: the next one begins it.
        assert!(gateway.bring(PUBLISHER, topic, &value(90, r#","seq_reset":true"#)));
        assert!(gateway.bring(PUBLISHER, topic, r#""data":{},"seq_reset":true"#));
        assert!(gateway.bring(PUBLISHER, topic, &value(30, "")));
        assert_eq!(gateway.states(), [], "{topic}");
        assert_eq!(gateway.updates().last().unwrap().v, 6, "nothing is missing");
    }
    let bad = parse_publication(&Bytes::from_static(br#"{"topic":"a","data":1,"seq":1,"seq_reset":1}"#), 7);
    assert!(bad.unwrap_err().contains("expected a boolean"));
}

#[test]
fn the_first_update_that_a_source_brings_to_a_restored_topic_is_taken_whatever_its_count() {
    let book = || Body::Data(Bytes::from_static(br#"{"old":1}"#));
    for seq in [4, 100] {
        let gateway = Gateway::restored("book.a", book(), 100);
        assert!(!gateway.bring(PUBLISHER, "book.a", &format!(r#""data":{{"w":1}},"seq":{seq}"#)));
        assert!(gateway.bring(A, "book.a", &format!(r#""data":{{"w":1}},"seq":{seq}"#)));
        assert_eq!((gateway.states(), gateway.data("book.a")), (vec![TopicState::Live], json!({"w": 1})));
        assert!(gateway.bring(A, "book.a", &format!(r#""set":{{"x":1}},"seq":{}"#, seq + 1)));
        assert!(!gateway.bring(B, "book.a", &format!(r#""data":{{"w":1}},"seq":{seq}"#)), "only the first");
        assert_eq!(gateway.states(), []);
    }
    for topic in ["trade.a", "quote.a"] {
        let gateway = Gateway::restored(topic, Body::Data(Bytes::from_static(b"1")), 100);
        assert!(gateway.bring(A, topic, r#""data":2,"seq":7"#));
        assert!(!gateway.bring(B, topic, r#""data":2,"seq":7"#));
        assert_eq!(gateway.states(), [TopicState::Live]);
    }
    // What a source counted while the gateway was away is missing all the same.
    let gateway = Gateway::restored("trade.a", Body::Data(Bytes::from_static(b"1")), 100);
    gateway.updates();
    assert!(gateway.bring(A, "trade.a", r#""data":2,"seq":104"#));
    assert_eq!((gateway.updates()[0].skipped, gateway.states()), (3, vec![TopicState::Gap]));
}

#[test]
fn a_change_of_a_restored_table_is_told_as_a_gap_unless_it_goes_on_from_it() {
    let book = || Body::Data(Bytes::from_static(br#"{"old":1}"#));
    for (fields, state) in [
        (r#""set":{"x":1},"seq":4"#, TopicState::Gap),
        (r#""set":{"x":1},"seq":100"#, TopicState::Gap),
        (r#""set":{"x":1},"seq":101"#, TopicState::Live),
        (r#""set":{"x":1},"seq":103"#, TopicState::Gap),
        (r#""set":{"x":1}"#, TopicState::Gap),
    ] {
        let gateway = Gateway::restored("book.a", book(), 100);
        assert!(gateway.bring(A, "book.a", fields), "{fields}");
        assert_eq!(gateway.states(), [state], "{fields}");
    }
    let seq =
        |first: Option<u64>, last| Some(first.map_or(Seq::sparse(last), |first| Seq::span(first, last)));
    for (seq, state) in [
        // A count that leaves numbers out tells no hole.
        (seq(None, 101), TopicState::Gap),
        (seq(None, 150), TopicState::Gap),
        (seq(Some(101), 150), TopicState::Live),
        (seq(Some(100), 150), TopicState::Live),
        (seq(Some(100), 3), TopicState::Live),
        (seq(Some(102), 150), TopicState::Gap),
        (seq(Some(7), 150), TopicState::Gap),
    ] {
        let gateway = Gateway::restored("book.a", book(), 100);
        let change = item("book.a", r#""set":{"x":1}"#);
        assert!(gateway.take(&Publication { feed: A, seq, ..change }), "{seq:?}");
        assert_eq!(gateway.states(), [state], "{seq:?}");
        if state == TopicState::Gap {
            assert!(gateway.bring(A, "book.a", r#""data":{"w":1},"seq":151"#));
            assert_eq!(gateway.states(), [TopicState::Live]);
        }
    }
}

#[test]
fn a_table_that_was_removed_or_lost_and_comes_again_by_a_sources_change_lacks_what_it_had() {
    let gone = || Publication::new("book.a", Body::Gone, 7);
    for tombstones in [100, 0] {
        for (feed, before) in [
            (A, vec![r#""data":{"w":1},"seq":1"#]),
            (PUBLISHER, vec![r#""reset":true,"set":{"w":1}"#, r#""set":{"x":1},"seq":2"#]),
            (A, vec![r#""set":{"x":1},"seq":1"#, r#""set":{"x":1},"seq":5"#]),
        ] {
            let gateway = Gateway::with_tombstones(tombstones);
            for fields in &before {
                gateway.bring(feed, "book.a", fields);
            }
            for _ in 0..2 {
                gateway.take(&gone());
                gateway.told();
                assert!(gateway.bring(A, "book.a", r#""set":{"y":1},"seq":6"#));
                let reason = "it was removed before and did not come whole since".to_owned();
                assert_eq!(gateway.told(), [(TopicState::Gap, reason)], "{before:?}");
                gateway.bring(A, "book.a", r#""set":{"z":1},"seq":7"#);
                assert_eq!(gateway.states(), [], "it lasts");
            }
            gateway.bring(A, "book.a", r#""data":{"w":1},"seq":8"#);
            assert_eq!(gateway.states(), [TopicState::Live]);
            gateway.take(&gone());
            gateway.bring(PUBLISHER, "book.a", r#""set":{"y":1}"#);
            assert_eq!(gateway.states(), [], "a publisher may begin with anything");
            gateway.bring(PUBLISHER, "book.a", r#""set":{"x":1},"del":["y"]"#);
            assert_eq!(gateway.states(), []);
            gateway.bring(A, "book.a", r#""set":{"z":1},"seq":6"#);
            assert_eq!(
                gateway.states(),
                [TopicState::Gap],
                "what a source's changes go on from is not all of it"
            );
            gateway.bring(A, "book.a", r#""data":{"w":1},"seq":7"#);
            assert_eq!(gateway.states(), [TopicState::Live]);
            gateway.take(&gone());
            gateway.bring(PUBLISHER, "book.a", r#""data":{"y":1}"#);
            gateway.told();
            gateway.bring(A, "book.a", r#""set":{"z":1},"seq":8"#);
            assert_eq!(gateway.states(), [], "a publisher's whole table is all of it");
        }
        // There are tables that never come whole.
        let gateway = Gateway::with_tombstones(tombstones);
        for _ in 0..2 {
            gateway.bring(A, "book.a", r#""set":{"y":1},"seq":6"#);
            gateway.take(&gone());
        }
        assert_eq!(gateway.states(), []);
    }
}

/// Another run that takes over what `gateway` has saved.
fn run_again(gateway: &Gateway, name: &str) -> Gateway {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.state", std::process::id()));
    state::write(&gateway.sequencer.checkpoint(), &path, 1 << 24).unwrap();
    let (restored, _) = state::read(&fs::read(&path).unwrap()[..]).unwrap();
    fs::remove_file(path).unwrap();
    let again = Gateway::new();
    again.sequencer.restore(&restored);
    again.version.set(restored.version);
    again
}

#[test]
fn a_table_that_was_removed_or_refused_lacks_what_it_had_in_the_runs_after_too() {
    for tombstones in [100, 0] {
        let mut gateway = Gateway::with_tombstones(tombstones);
        for topic in ["book.a", "book.b"] {
            gateway.bring(A, topic, r#""data":{"w":1},"seq":1"#);
        }
        gateway.bring(A, "book.c", r#""set":{"w":1},"seq":1"#);
        for topic in ["book.a", "book.b", "book.c"] {
            gateway.take(&Publication::new(topic, Body::Gone, 7));
        }
        let before = gateway.sequencer.generation();
        let refused = Publication { feed: A, ..item("book.d", r#""data":[]"#) };
        gateway.sequencer.try_publish(&[refused], Grouping::Single).unwrap_err();
        assert_ne!(gateway.sequencer.generation(), before, "there is something new to write");
        for run in 0..2 {
            gateway = run_again(&gateway, &format!("removed-{tombstones}-{run}"));
        }
        for (topic, states) in
            [("book.b", &[TopicState::Gap][..]), ("book.c", &[]), ("book.d", &[TopicState::Gap])]
        {
            assert!(gateway.bring(A, topic, r#""set":{"x":1},"seq":2"#));
            assert_eq!(gateway.states(), states, "{topic}");
        }
        gateway.bring(PUBLISHER, "book.a", r#""set":{"x":1}"#);
        assert_eq!(gateway.states(), []);
    }
    // Where the names were too many, or lost before.
    let gateway = Gateway::new();
    gateway.sequencer.lose_names();
    let again = run_again(&run_again(&gateway, "names-0"), "names-1");
    assert!(again.bring(A, "book.a", r#""set":{"x":1},"seq":2"#));
    assert_eq!(again.states(), [TopicState::Gap]);
}

#[test]
fn after_a_loss_of_names_or_where_a_topic_is_left_out_a_sources_change_begins_with_a_gap() {
    let book = |json: &'static [u8]| Body::Data(Bytes::from_static(json));
    let damage = |topics| Some(Damage { topics, places: 1, first: String::new() });
    let told = |gateway: &Gateway, topic, feed, fields| {
        assert!(gateway.bring(feed, topic, fields));
        gateway.states()
    };
    let change = r#""set":{"x":1},"seq":1"#;
    for (damage, states) in [(None, vec![]), (damage(0), vec![]), (damage(1), vec![TopicState::Gap])] {
        let gateway = Gateway::restored_damaged("book.b", book(b"{}"), 100, false, damage);
        assert_eq!(told(&gateway, "book.a", A, change), states);
        assert_eq!(told(&gateway, "book.c", PUBLISHER, change), []);
        assert_eq!(told(&gateway, "book.d", A, r#""data":{},"seq":1"#), []);
        assert_eq!(told(&gateway, "quote.a", A, r#""data":{},"seq":1"#), []);
    }
    let gateway = Gateway::restored("book.a", book(b"[]"), 100);
    assert_eq!(told(&gateway, "book.a", A, change), [TopicState::Gap]);
    assert_eq!(told(&gateway, "book.b", A, change), []);
    gateway.sequencer.lose_names();
    assert_eq!(told(&gateway, "book.c", A, change), [TopicState::Gap]);
    // So many names are not remembered.
    let gateway = Gateway::new();
    for n in 0..10_001 {
        let item = Publication { feed: A, ..item(&format!("book.r{n}"), r#""data":[]"#) };
        gateway.sequencer.try_publish(&[item], Grouping::Single).unwrap_err();
    }
    for topic in ["book.r0", "book.r10000"] {
        assert_eq!(told(&gateway, topic, A, change), [TopicState::Gap]);
    }
}

#[test]
fn a_gap_outlives_the_process() {
    for (has_gap, state) in [(true, TopicState::Gap), (false, TopicState::Live)] {
        let book = Body::Data(Bytes::from_static(br#"{"old":1}"#));
        let gateway = Gateway::restored_with("book.a", book, 100, has_gap);
        assert!(gateway.bring(PUBLISHER, "book.a", r#""set":{"x":1},"seq":101"#));
        assert_eq!(gateway.states(), [state]);
        let saved = gateway.sequencer.checkpoint().topics;
        assert_eq!(saved[0].has_gap, has_gap);
        gateway.bring(PUBLISHER, "book.a", r#""data":{"x":1},"seq":102"#);
        assert!(!gateway.sequencer.checkpoint().topics[0].has_gap);
    }
}

#[test]
fn what_a_stream_was_refused_is_told_by_its_next_update_also_after_a_restart() {
    let first = Gateway::new();
    assert!(first.bring(A, "trade.a", r#""data":1"#));
    for _ in 0..2 {
        let long = Publication { feed: A, ..item("trade.a", &format!(r#""data":"{}""#, "x".repeat(100))) };
        first.sequencer.try_publish(&[long], Grouping::Single).unwrap_err();
    }
    let saved = first.sequencer.checkpoint().topics;
    assert_eq!(saved[0].refused, 2);
    let gateway = Gateway::new();
    let kept = RestoredTopic {
        topic: "trade.a".into(),
        mode: "stream".to_owned(),
        v: 1,
        ts_us: 0,
        by: None,
        seq: None,
        has_gap: false,
        refused: saved[0].refused,
        body: Body::Data(Bytes::from_static(b"1")),
    };
    let epoch = Epoch::parse("0123456789abcdef");
    let restored = Restored {
        epoch,
        is_clean: true,
        version: 9,
        v_floor: 0,
        topics: vec![kept],
        ended: Ended::default(),
        damage: None,
    };
    gateway.sequencer.restore(&restored);
    gateway.updates();
    gateway.version.set(9);
    for (v, skipped, state) in [(4, 2, TopicState::Gap), (5, 0, TopicState::Live)] {
        assert!(gateway.bring(A, "trade.a", r#""data":2"#));
        let update = gateway.updates().pop().unwrap();
        assert_eq!((update.v, update.skipped, gateway.states()), (v, skipped, vec![state]));
    }
}

#[test]
fn a_value_that_a_deadband_held_back_counts_once_and_is_its_sources() {
    let gateway = Gateway::new();
    let value = |n: f64, seq: u64| format!(r#""data":{n},"seq":{seq}"#);
    assert!(gateway.bring(A, "band.a", &value(10.0, 100)));
    assert!(!gateway.bring(A, "band.a", &value(10.1, 101)), "it is held back");
    std::thread::sleep(Duration::from_millis(60));
    gateway.sequencer.publish_due();
    assert_eq!(gateway.data("band.a"), json!(10.1));
    gateway.version.set(2);
    for seq in [100, 101] {
        assert!(!gateway.bring(B, "band.a", &value(99.0, seq)), "{seq} is known");
    }
    assert!(gateway.bring(A, "band.a", &value(50.0, 3)), "its source counts anew");
    assert_eq!((gateway.sequencer.counters().repeats, gateway.states()), (2, vec![]));
}

#[test]
fn no_hole_that_a_venue_claims_brings_v_to_its_end() {
    let gateway = Gateway::new();
    let topic = "trade.a";
    gateway.bring(A, topic, r#""data":1,"seq":1"#);
    let mut v = 1;
    for seq in 1..=200u64 {
        // Down and up again, each time over as much as one step may miss.
        let up = seq + (1 << 40);
        assert!(gateway.bring(A, topic, &format!(r#""data":1,"seq":{up}"#)));
        assert!(gateway.bring_after(A, topic, up, &format!(r#""data":1,"seq":{seq}"#)));
        v = gateway.updates().last().unwrap().v;
    }
    assert!(v > 100 << 32, "holes count: {v}");
    let half = 1 << 52;
    let following = |v| UpstreamBatch {
        epoch: None,
        is_whole: false,
        version: 5000,
        updates: vec![UpstreamUpdate { publication: item(topic, r#""data":1"#), v }],
    };
    gateway.sequencer.try_follow(&following(half - 10)).unwrap();
    gateway.updates();
    for (seq, v) in [(1u64 << 50, half), (1 << 51, half + 1), ((1 << 52) + 1, half + 2)] {
        assert!(gateway.bring(A, topic, &format!(r#""data":1,"seq":{seq}"#)));
        assert_eq!(gateway.updates()[0].v, v);
    }
}

#[test]
fn holes_that_publishers_claim_without_end_are_counted_to_the_highest_number_and_no_further() {
    const MAX: u64 = (1 << 53) - 1;
    for feed in [A, PUBLISHER] {
        let gateway = Gateway::new();
        for (topic, change) in [("book.a", r#""set":{"a":1}"#), ("trade.a", r#""data":{}"#)] {
            let mut v = 0;
            for _ in 0..2_100 {
                gateway.bring(feed, topic, r#""data":{},"seq":0,"seq_reset":true"#);
                assert!(gateway.bring(feed, topic, &format!(r#"{change},"seq":{MAX}"#)));
                let now = gateway.updates().last().unwrap().v;
                assert!((v + 1..=MAX).contains(&now), "{now} after {v}");
                v = now;
            }
        }
        let counters = gateway.sequencer.counters().by_topics;
        assert_eq!((counters.skipped, counters.gaps), (u64::MAX, 2 * 2_100));
    }
    // Of one that waits each takes the place of the one before it.
    let mut seq = Seq::one(MAX);
    for _ in 0..2_100 {
        let down = Seq::span(seq.last, 0).in_place_of(seq);
        seq = Seq::one(MAX).in_place_of(down);
    }
    let gateway = Gateway::new();
    assert!(gateway.bring(A, "quote.a", r#""data":1,"seq":1"#));
    assert!(gateway.take(&Publication { feed: A, seq: Some(seq), ..item("quote.a", r#""data":3"#) }));
    assert_eq!(gateway.states(), [TopicState::Gap]);
}

#[test]
fn of_a_stream_v_counts_what_was_lost_and_what_was_refused_each_once() {
    let mut rng = fastrand::Rng::with_seed(8);
    let long = format!(r#""data":"{}""#, "x".repeat(100));
    let (mut lost, mut refused, mut told) = (0, 0, 0);
    for round in 0..100 {
        let gateway = Gateway::new();
        // With a count what is lost on the way is known, without one only what is refused.
        let is_counted = round % 2 == 0;
        let mut made = 0;
        for n in 1..=100 {
            let fate = if n == 1 { 2 } else { rng.u8(..4) };
            made += u64::from(is_counted || fate > 0);
            let count = if is_counted { format!(r#","seq":{n}"#) } else { String::new() };
            match fate {
                0 => lost += 1,
                1 => {
                    refused += 1;
                    let item = Publication { feed: A, ..item("trade.a", &format!("{long}{count}")) };
                    gateway.sequencer.try_publish(&[item], Grouping::Single).unwrap_err();
                }
                _ => {
                    assert!(gateway.bring(A, "trade.a", &format!(r#""data":{n}{count}"#)));
                    let updates = gateway.updates();
                    assert_eq!((updates.len(), updates[0].v), (1, made), "update {n}");
                    told += u64::from(updates[0].skipped);
                }
            }
        }
    }
    assert!(lost > 1000 && refused > 1000 && told > refused, "{lost} {refused} {told}");
}

/// A state file of one topic, in its older form.
fn state_file(version: u64, v_floor: u64, v: u64, seq: u64) -> Vec<u8> {
    let head =
        json!({"fanwire_state": 1, "epoch": "0123456789abcdef", "version": version, "v_floor": v_floor});
    let topic = json!({"mode": "latest", "seq": seq, "topic": "a", "v": v, "ts": 1, "data": 1});
    let body = format!("{head}\n{topic}\n");
    let end = json!({"topics": 1, "crc32": crc32fast::hash(body.as_bytes())});
    format!("{body}{end}\n").into()
}

#[test]
fn a_state_whose_counts_are_beyond_what_json_tells_exactly_is_refused() {
    const MAX: u64 = (1 << 53) - 1;
    let (restored, _) = state::read(&state_file(MAX, MAX, MAX, MAX)[..]).unwrap();
    assert_eq!((restored.version, restored.topics[0].v), (MAX, MAX));
    for (file, reason) in [
        (state_file(MAX + 1, 0, 1, 1), "version = 9007199254740992"),
        (state_file(1, MAX + 1, 1, 1), "v_floor = 9007199254740992"),
        (state_file(1, 0, MAX + 1, 1), "v = 9007199254740992"),
        (state_file(1, 0, 0, 1), "v = 0"),
        (state_file(1, 0, 1, MAX + 1), "seq = 9007199254740992"),
    ] {
        let why = state::read(&file[..]).unwrap_err();
        assert!(why.contains(reason) && why.contains("is not a whole number from"), "{why}");
    }
}

/// The rule, as the contract says it.
#[derive(Default)]
struct Model {
    last: Option<u64>,
    has_gap: bool,
    /// Who brought the last update.
    source: Option<u32>,
    /// Connections that have brought a whole book.
    wholes: Vec<Feed>,
}

impl Model {
    fn takes(&mut self, seq: Option<u64>, first: Option<u64>, is_whole: bool, feed: Option<Feed>) -> bool {
        let is_first = feed.is_some_and(|feed| !self.wholes.contains(&feed));
        if let (true, Some(feed)) = (is_whole, feed) {
            self.wholes.push(feed);
        }
        let (mut taken, mut anew) = (true, false);
        if let (Some(seq), Some(last)) = (seq, self.last)
            && seq <= last
            && !(first == Some(last) && seq != last)
        {
            let own = feed.is_some() && self.source == feed.map(|feed| feed.source);
            anew = feed.is_some() && is_whole && (self.has_gap || (own && (is_first || seq < last)));
            taken = anew;
        }
        if !taken {
            return false;
        }
        if is_whole {
            self.has_gap = false;
        } else if let (Some(seq), Some(last), false) = (seq, self.last, anew) {
            self.has_gap |= first.unwrap_or(seq) > last + 1;
        }
        self.source = feed.map(|feed| feed.source);
        if seq.is_some() || (is_whole && feed.is_some()) {
            self.last = seq;
        }
        true
    }
}

#[test]
fn whatever_two_sources_and_a_publisher_bring_the_rule_decides() {
    let mut rng = fastrand::Rng::with_seed(11);
    let (mut anew, mut repeats, mut gaps) = (0, 0, 0);
    for _ in 0..200 {
        let (gateway, mut model) = (Gateway::new(), Model::default());
        let mut connections = [1, 1];
        let mut told = TopicState::Live;
        for _ in 0..100 {
            let source = rng.usize(..3);
            if source < 2 && rng.u8(..8) == 0 {
                connections[source] += 1;
            }
            let feed = (source < 2)
                .then(|| Feed { source: source as u32 + 1, connection: connections[source.min(1)] });
            let seq = (rng.u8(..8) > 0).then(|| match model.last {
                Some(last) if rng.u8(..3) > 0 => last + rng.u64(..3),
                _ => rng.u64(..12),
            });
            let first = seq.map(|seq| if rng.bool() { seq } else { model.last.unwrap_or(rng.u64(..12)) });
            let is_whole = rng.u8(..3) == 0;
            let fields = if is_whole { r#""reset":true"# } else { r#""set":{"a":1}"# };
            let item = Publication {
                feed,
                seq: seq.map(|last| first.map_or(Seq::sparse(last), |first| Seq::span(first, last))),
                ..item("book.a", fields)
            };
            let held = model.last;
            let expected = model.takes(seq, first, is_whole, feed);
            assert_eq!(gateway.take(&item), expected, "{item:?} after {held:?}");
            told = gateway.states().last().copied().unwrap_or(told);
            assert_eq!(told == TopicState::Gap, model.has_gap, "{item:?} after {held:?}");
            anew += u32::from(expected && seq.is_some() && seq < held);
            repeats += u32::from(!expected);
            gaps += u32::from(model.has_gap);
        }
    }
    assert!(anew > 100 && repeats > 1000 && gaps > 1000, "{anew} {repeats} {gaps}");
}

#[test]
fn a_gap_that_others_tell_of_a_topic_is_one_for_its_whole_books_too() {
    for (by, pattern) in [(Doubter::Source(1), "book.a"), (Doubter::Publisher, "book.*")] {
        let gateway = Gateway::new();
        let whole = |n: u32| format!(r#""reset":true,"set":{{"w":{n}}},"seq":5"#);
        assert!(gateway.bring(A, "book.a", &whole(1)));
        assert!(gateway.bring(A, "quote.a", r#""data":1,"seq":5"#));
        gateway.sequencer.doubt(by, vec![parsed(pattern), parsed("quote.a")], true);
        assert!(!gateway.bring(A, "book.a", r#""set":{"x":1},"seq":5"#), "a change makes up for nothing");
        assert!(!gateway.bring(PUBLISHER, "book.a", &whole(2)));
        assert!(gateway.bring(B, "book.a", &whole(3)));
        assert!(!gateway.bring(B, "quote.a", r#""data":2,"seq":5"#));
        assert!(gateway.bring(A, "quote.a", r#""data":2,"seq":5"#));
        assert_eq!(gateway.data("book.a"), json!({"w": 3}));
        gateway.sequencer.doubt(by, vec![parsed("quote.a"), parsed(pattern)], false);
        assert!(!gateway.bring(B, "book.a", &whole(4)));
        assert!(!gateway.bring(A, "quote.a", r#""data":3,"seq":5"#));
        gateway.sequencer.doubt(by, vec![parsed("*")], true);
        assert!(gateway.bring(B, "book.a", &whole(6)));
        gateway.sequencer.end_doubts(by);
        assert!(!gateway.bring(B, "book.a", &whole(7)));
        assert_eq!(gateway.states(), [], "they speak for themselves");
    }
}

#[test]
fn a_gap_that_others_tell_is_none_for_a_table_that_came_whole_since() {
    let whole = |n: u32, seq: u32| format!(r#""reset":true,"set":{{"w":{n}}},"seq":{seq}"#);
    for (by, told) in
        [(Doubter::Source(1), "book.*"), (Doubter::Publisher, "*"), (Doubter::Source(2), "book.a")]
    {
        for (feed, seq) in [(A, 10), (B, 5), (PUBLISHER, 11)] {
            let gateway = Gateway::new();
            let told = || vec![parsed(told), parsed("other")];
            for topic in ["book.a", "book.b"] {
                assert!(gateway.bring(A, topic, &whole(1, 8)));
            }
            gateway.sequencer.doubt(by, told(), true);
            assert!(gateway.bring(A, "book.a", r#""set":{"x":1},"seq":9"#));
            assert!(gateway.bring(feed, "book.a", &whole(2, seq)));
            let older = if feed == A { B } else { A_AGAIN };
            assert!(
                feed == PUBLISHER || !gateway.bring(older, "book.a", &whole(3, seq - 1)),
                "{by:?} {feed:?}"
            );
            assert!(!gateway.bring(Some(Feed { source: 3, connection: 1 }), "book.a", &whole(3, seq - 1)));
            assert_eq!(gateway.data("book.a"), json!({"w": 2}));
            assert_eq!(gateway.bring(B, "book.b", &whole(4, 7)), by != Doubter::Source(2), "it came not");
            // Told again it holds again, whether it was ended meanwhile or not.
            for ended in [true, false] {
                if ended {
                    gateway.sequencer.doubt(by, told(), false);
                }
                gateway.sequencer.doubt(by, told(), true);
                let seq = if ended { seq - 1 } else { seq - 2 };
                assert!(gateway.bring(B, "book.a", &whole(5, seq)), "{by:?} {feed:?}");
                assert!(!gateway.bring(Some(Feed { source: 3, connection: 1 }), "book.a", &whole(6, 0)));
            }
        }
    }
}
