//! What the built-in sources promise.
#![forbid(unsafe_code)]

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use engine::{
    protocol::status::TopicState,
    sequencer::{Body, Publication},
    settings::Limits,
    shard::inbox::{Inbox, Message},
    topic::{
        epoch::Epoch,
        pattern::Pattern,
        policy::{Behind, Keyed, Mode, Policies, Policy, Stream},
    },
    update::{Op, Update},
};
use flate2::{Compression, write::GzEncoder};
use gateway::{
    config::Config,
    health::Health,
    intake::{clocked::ClockedSequencer, publisher::Publisher},
    names::Names,
    source::{
        Source,
        activity::Activity,
        freshness::Freshness,
        host::HostFigures,
        replay::{self, Replay},
        running::{Runner, SourceCounters},
        synthetic::{self, Synthetic, Walk},
    },
};
use serde_json::Value;

const LINE_BYTES_MAX: usize = 10_000;
const VALUE_BYTES_MAX: usize = 1_000;

fn limits() -> Limits {
    Limits { publish_bytes: LINE_BYTES_MAX, value_bytes: VALUE_BYTES_MAX, ..Config::embedded_demo().limits }
}

fn sequencer(updates_max: usize) -> (Arc<ClockedSequencer>, Arc<Inbox>) {
    let inbox = Inbox::new(updates_max, usize::MAX, net::Waker::unconnected());
    let limits = Config::embedded_demo().limits;
    (
        ClockedSequencer::new(
            Epoch::from(1),
            vec![inbox.clone()],
            &limits,
            Policies::default(),
            Instant::now(),
        ),
        inbox,
    )
}

fn updates(inbox: &Inbox) -> Vec<Update> {
    let mut updates = Vec::new();
    while let Some(message) = inbox.pop() {
        let Message::Updates(batch) = message else { panic!("{message:?}") };
        updates.extend(
            batch.ops.iter().filter_map(|op| if let Op::Update(u) = op { Some(u.clone()) } else { None }),
        );
    }
    updates
}

fn value(update: &Update) -> Value {
    serde_json::from_slice(&update.json).unwrap()
}

/// A file that goes when the test ends.
struct Feed(PathBuf);

impl Feed {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fanwire-{}-{name}", std::process::id()));
        let mut file = File::create(&path).unwrap();
        if name.ends_with(".gz") {
            let mut packed = GzEncoder::new(file, Compression::fast());
            packed.write_all(text.as_bytes()).unwrap();
            packed.finish().unwrap();
        } else {
            file.write_all(text.as_bytes()).unwrap();
        }
        Self(path)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

fn replay(path: &Path, speed: f64, repeat: bool) -> Replay {
    Replay { path: path.to_owned(), speed, repeat }
}

fn synthetic(symbols: usize, updates_per_s: f64) -> Synthetic {
    Synthetic { symbols, updates_per_s, seed: 1 }
}

async fn play(path: &Path, speed: f64) -> (Result<(), String>, Vec<Update>) {
    let (sequencer, inbox) = sequencer(1_000_000);
    let outcome = replay::run(
        &replay(path, speed, false),
        &Publisher::new(sequencer.clone()),
        &limits(),
        &Activity::default(),
    )
    .await;
    (outcome, updates(&inbox))
}

#[tokio::test]
async fn a_feed_is_played_in_order_at_its_due_times_packed_or_not() {
    let lines = "{\"at_us\":0,\"topic\":\"a\",\"data\":{\"p\": 1.50}}\n\n\
                 {\"topic\":\"b\",\"data\":null,\"at_us\":40000}\n{\"at_us\":40000,\"topic\":\"a\",\"data\":2}";
    for name in ["plain.ndjson", "packed.ndjson.gz"] {
        let feed = Feed::new(name, lines);
        let begun = Instant::now();
        let (outcome, updates) = play(&feed.0, 2.0).await;
        outcome.unwrap();
        let elapsed = begun.elapsed();
        assert!(elapsed >= Duration::from_millis(20), "twice as fast as written: {elapsed:?}");
        let json: Vec<String> = updates.iter().map(|u| String::from_utf8(u.json.to_vec()).unwrap()).collect();
        assert!(
            json[0].ends_with(r#""data":{"p": 1.50}}"#) && json[1].ends_with(r#""data":null}"#),
            "{json:?}"
        );
        assert_eq!(updates.iter().map(|u| (u.version, u.v)).collect::<Vec<_>>(), [(1, 1), (2, 1), (3, 2)]);
        let due: Vec<i64> = updates.iter().map(|u| u.due_us - updates[0].due_us).collect();
        // A correction of the clock may move wall time a little.
        assert!((due[1] - 20_000).abs() < 5_000 && due[1] == due[2], "{due:?}");
        assert!(updates.iter().all(|u| u.ts_us == u.due_us));
    }
}

#[tokio::test]
async fn a_repeated_feed_goes_on_counting() {
    let feed = Feed::new(
        "repeat.ndjson",
        "{\"at_us\":0,\"topic\":\"a\",\"data\":1}\n{\"at_us\":2000,\"topic\":\"a\",\"data\":2}\n",
    );
    let (sequencer, inbox) = sequencer(1_000_000);
    let limits = limits();
    let activity = Activity::default();
    let publisher = Publisher::new(sequencer.clone());
    let source = replay(&feed.0, 1.0, true);
    let playing = replay::run(&source, &publisher, &limits, &activity);
    assert!(tokio::time::timeout(Duration::from_millis(100), playing).await.is_err(), "it does not end");
    let updates = updates(&inbox);
    assert!(updates.len() > 6, "{}", updates.len());
    for (i, update) in updates.iter().enumerate() {
        assert_eq!((update.v, value(update)["data"].as_u64()), (i as u64 + 1, Some(i as u64 % 2 + 1)));
    }
    assert!(updates.windows(2).all(|pair| pair[0].due_us <= pair[1].due_us));
}

#[tokio::test]
async fn a_long_feed_waits_for_room_and_loses_nothing() {
    let lines: String =
        (0..20_000).map(|n| format!("{{\"at_us\":{n},\"topic\":\"t{}\",\"data\":{n}}}\n", n % 7)).collect();
    let feed = Feed::new("long.ndjson.gz", &lines);
    let (sequencer, inbox) = sequencer(1_000);
    let playing = async {
        replay::run(
            &replay(&feed.0, 0.0, false),
            &Publisher::new(sequencer.clone()),
            &limits(),
            &Activity::default(),
        )
        .await
        .unwrap();
        true
    };
    let taking = async {
        let mut seen = Vec::new();
        while seen.len() < 20_000 {
            seen.extend(updates(&inbox).iter().map(|u| value(u)["data"].as_u64().unwrap()));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        seen
    };
    let (_, seen) = tokio::join!(playing, taking);
    assert!(seen.into_iter().eq(0..20_000));
    assert!(sequencer.counters().waits > 0);
}

#[tokio::test]
async fn a_bad_line_stops_the_feed_with_its_number() {
    let good = "{\"at_us\":5,\"topic\":\"a\",\"data\":1}\n";
    for (line, reason) in [
        ("nonsense", "not a JSON object"),
        ("{\"at_us\":4,\"topic\":\"a\",\"data\":1}", "at_us = 4 goes back, the line before has 5"),
        ("{\"topic\":\"a\",\"data\":1}", "at_us is missing"),
        ("{\"at_us\":6,\"topic\":\"a b\",\"data\":1}", "bad topic: a b"),
        (
            "{\"at_us\":6,\"topic\":\"a\",\"set\":{\"k\":1},\"del\":[\"k\"]}",
            "key \"k\" stands in set and in del",
        ),
        (
            "{\"at_us\":6,\"topic\":\"a\",\"data\":1,\"seq\":9007199254740992}",
            "seq = 9007199254740992: write a whole number from 0 to 9007199254740991",
        ),
        (
            &format!("{{\"at_us\":6,\"topic\":\"a\",\"data\":\"{}\"}}", "x".repeat(LINE_BYTES_MAX)),
            "longer than",
        ),
    ] {
        let feed = Feed::new("bad.ndjson", &format!("{good}{good}{line}\n{good}"));
        let error = play(&feed.0, 0.0).await.0.unwrap_err();
        assert!(error.contains(":3: ") && error.contains(reason), "{error}");
    }
    let empty = Feed::new("empty.ndjson", "\n");
    assert!(play(&empty.0, 1.0).await.0.unwrap_err().ends_with("holds no updates"));
    let broken = Feed::new("broken.gz.ndjson", "");
    let packed = broken.0.with_extension("gz");
    std::fs::write(&packed, b"not gzip").unwrap();
    assert!(play(&packed, 1.0).await.0.unwrap_err().contains("cannot be read"));
    std::fs::remove_file(packed).unwrap();
}

#[tokio::test]
async fn an_update_that_is_refused_is_left_out_and_the_feed_goes_on() {
    let inbox = Inbox::new(1_000_000, usize::MAX, net::Waker::unconnected());
    let limits = Limits { topics: 1, ..limits() };
    let sequencer = ClockedSequencer::new(
        Epoch::from(1),
        vec![inbox.clone()],
        &limits,
        Policies::default(),
        Instant::now(),
    );
    let line = |topic: &str, n: u64| format!("{{\"at_us\":{n},\"topic\":\"{topic}\",\"data\":{n}}}\n");
    let feed =
        Feed::new("refused.ndjson", &[line("a", 1), line("b", 2), line("c", 3), line("a", 4)].concat());
    replay::run(
        &replay(&feed.0, 0.0, false),
        &Publisher::new(sequencer.clone()),
        &limits,
        &Activity::default(),
    )
    .await
    .unwrap();
    let seen: Vec<Value> = updates(&inbox).iter().map(|update| value(update)["data"].clone()).collect();
    assert_eq!((seen, sequencer.counters().refused), (vec![1.into(), 4.into()], 2));

    let activity = Activity::default();
    let source = synthetic(3, 1000.0);
    let ticking = synthetic::run(&source, &sequencer, &activity);
    assert!(tokio::time::timeout(Duration::from_millis(100), ticking).await.is_err(), "it goes on");
    assert!(sequencer.counters().refused > 10);
}

#[tokio::test]
async fn an_update_of_a_feed_that_is_too_long_or_too_deep_is_a_hole_of_its_topic() {
    let inbox = Inbox::new(1_000_000, usize::MAX, net::Waker::unconnected());
    let policy = |pattern, mode| Policy::new(Pattern::parse(pattern).unwrap(), mode);
    let keyed = Keyed { keys: 10, key_tombstones: 10, table_bytes: 10_000 };
    let stream = Stream {
        snapshot_updates: 1,
        history_updates: 10,
        history_bytes: 1 << 20,
        history_age: None,
        behind: Behind::Gap,
    };
    let policies = vec![policy("k.*", Mode::Keyed(keyed)), policy("s.*", Mode::Stream(stream))];
    let sequencer = ClockedSequencer::new(
        Epoch::from(1),
        vec![inbox.clone()],
        &limits(),
        Policies::new(policies),
        Instant::now(),
    );
    let line = |topic: &str, value: &str| format!("{{\"at_us\":0,\"topic\":\"{topic}\",{value}}}\n");
    let long = format!("\"{}\"", "x".repeat(VALUE_BYTES_MAX));
    let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
    let mut lines = vec![line("k.a", r#""reset":true,"set":{"a":1}"#), line("s.a", r#""data":1"#)];
    lines.push(line("k.a", &format!(r#""set":{{"b":{long}}}"#)));
    lines.push(line("s.a", &format!(r#""data":{long}"#)));
    lines.push(line("s.a", &format!(r#""data":{deep}"#)));
    lines.push(line("k.b", &format!(r#""set":{{"{}":1}}"#, "k".repeat(300))));
    lines.extend([line("k.b", r#""set":{"b":1}"#), line("s.a", r#""data":2"#), line("o", r#""data":1"#)]);
    let feed = Feed::new("holes.ndjson", &lines.concat());
    replay::run(
        &replay(&feed.0, 0.0, false),
        &Publisher::new(sequencer.clone()),
        &limits(),
        &Activity::default(),
    )
    .await
    .unwrap();
    let updates = updates(&inbox);
    let skipped: Vec<u32> = updates.iter().map(|update| update.skipped).collect();
    assert_eq!((skipped, sequencer.counters().refused), (vec![0, 0, 0, 2, 0], 4));
    let gaps = sequencer.take_state_changes().into_iter().filter(|event| event.state == TopicState::Gap);
    let gaps: Vec<String> = gaps.map(|event| event.topic.to_string()).collect();
    assert_eq!(gaps, ["k.a", "s.a", "k.b", "s.a"]);
}

#[tokio::test]
async fn a_source_that_fails_is_counted_and_the_others_go_on() {
    let (sequencer, inbox) = sequencer(100_000);
    let mut config = Config::embedded_demo();
    config.sources = vec![
        Source::Replay(replay(Path::new("/nowhere.ndjson"), 1.0, true).into()),
        Source::Synthetic(synthetic(3, 1000.0).into()),
        Source::Host(HostFigures { interval: Duration::from_millis(100), names: Names::Encode }.into()),
    ];
    let fresh = |name: &str| Freshness { name: name.to_owned(), stale_after: None, topics: Vec::new() };
    config.freshness = ["a", "b", "c"].map(fresh).to_vec();
    let counters = SourceCounters::new(&config.sources, &config.freshness);
    let (publisher, health) = (Publisher::new(sequencer.clone()), Health::new(&[], 1, 1 << 20));
    Runner { counters: counters.clone(), publisher, health }.start_all(&config.limits);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((counters.errors.load(Ordering::Relaxed), counters.running.load(Ordering::Relaxed)), (1, 2));
    let topics: Vec<Value> = updates(&inbox).iter().map(|u| value(u)["topic"].clone()).collect();
    assert!(topics.contains(&"tick.S0002".into()) && topics.contains(&"host.cpu".into()), "{topics:?}");
}

#[test]
fn the_same_seed_walks_the_same_way() {
    let walk = |seed| {
        let mut walk = Walk::new(10, seed);
        (0..1000).map(|_| walk.next(0)).map(|item| (item.topic.clone(), data(&item))).collect::<Vec<_>>()
    };
    assert_eq!(walk(1), walk(1));
    assert_ne!(walk(1), walk(2));
}

#[test]
fn ticks_have_the_promised_fields_and_a_sane_spread() {
    let mut walk = Walk::new(3, 42);
    let mut counts = [0u64; 3];
    for _ in 0..1000 {
        let item = walk.next(7);
        let symbol: usize = item.topic["tick.S".len()..].parse().unwrap();
        let tick: Value = serde_json::from_slice(&data(&item)).unwrap();
        counts[symbol] += 1;
        assert_eq!(&*item.topic, format!("tick.S{symbol:04}"));
        assert_eq!((item.ts_us, item.due_us, tick["n"].as_u64()), (Some(7), 7, Some(counts[symbol])));
        let [bid, ask, last] = ["bid", "ask", "last"].map(|field| tick[field].as_f64().unwrap());
        assert!(bid > 0.0 && bid < ask && (bid..=ask).contains(&last), "{tick}");
        assert!(tick["size"].as_u64().unwrap() > 0);
    }
}

#[tokio::test]
async fn the_ticker_begins_with_every_symbol_and_keeps_its_rate() {
    let (sequencer, inbox) = sequencer(1_000_000);
    let activity = Activity::default();
    let source = synthetic(50, 2_000.0);
    let ticking = synthetic::run(&source, &sequencer, &activity);
    assert!(tokio::time::timeout(Duration::from_millis(500), ticking).await.is_err());
    let updates = updates(&inbox);
    let rate = (updates.len() - 50) * 2;
    assert!((1_000..=2_100).contains(&rate), "{rate} a second of 2000");
    let first: std::collections::HashSet<u32> = updates[..50].iter().map(|u| u.topic.0).collect();
    assert_eq!(first.len(), 50);
    assert_eq!(sequencer.counters().conflated, 0, "there was room");
}

#[tokio::test]
async fn a_full_inbox_conflates_the_ticker_to_the_newest_and_counts_it() {
    let (sequencer, inbox) = sequencer(10);
    let activity = Activity::default();
    let source = synthetic(5, 10_000.0);
    let ticking = synthetic::run(&source, &sequencer, &activity);
    assert!(tokio::time::timeout(Duration::from_millis(200), ticking).await.is_err());
    let before = updates(&inbox);
    let conflated = sequencer.counters().conflated;
    assert!(conflated > 500, "{conflated}");
    assert!(before.len() < 100, "{}", before.len());

    // With room again the newest of each comes, due since its oldest.
    let (sequencer, inbox) = self::sequencer(5);
    let activity = Activity::default();
    let source = synthetic(5, 10_000.0);
    let ticking = synthetic::run(&source, &sequencer, &activity);
    let draining = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        updates(&inbox);
        tokio::time::sleep(Duration::from_millis(20)).await;
        updates(&inbox)
    };
    let after = tokio::select! { _ = ticking => panic!("it does not end"), after = draining => after };
    let newest = after.iter().filter(|u| value(u)["data"]["n"].as_u64().unwrap() > 100).collect::<Vec<_>>();
    assert!(!newest.is_empty(), "{after:?}");
    assert!(newest[0].ts_us - newest[0].due_us > 50_000, "the wait is not hidden: {:?}", newest[0]);
}

fn data(item: &Publication) -> Bytes {
    let Body::Data(data) = &item.body else { panic!("{item:?}") };
    data.clone()
}
