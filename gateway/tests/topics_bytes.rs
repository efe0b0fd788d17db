//! `[limits] topics_bytes`: all last values and tables together have a bound, which what makes them smaller
//! always passes.
#![forbid(unsafe_code)]

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use engine::{
    json::pointer::Pointer,
    protocol::status::TopicState,
    sequencer::{
        Body, Grouping, NotPublished, Publication, Refused, UpstreamBatch, UpstreamUpdate, Why, seq::Feed,
    },
    settings::Limits,
    shard::inbox::Inbox,
    topic::{
        epoch::Epoch,
        pattern::Pattern,
        policy::{Behind, Deadband, Keyed, Mode, Policies, Policy, Stream},
    },
};
use gateway::{
    config::Config,
    intake::{clocked::ClockedSequencer, publish::parse_publication},
    state::{Ended, Restored, RestoredTopic},
};
use serde_json::{Map, Value, json};

/// What a topic counts as beside its name and its value, a table beside its keys, and a key beside itself and
/// its value.
const PLACE: usize = 512;
const TABLE: usize = 256;
const KEY_BYTES: usize = 40;

fn sequencer(topics_bytes: usize, table_bytes: usize) -> Arc<ClockedSequencer> {
    let inbox = Inbox::new(usize::MAX, usize::MAX, net::Waker::unconnected());
    let stream = Stream {
        snapshot_updates: 1,
        history_updates: 10,
        history_bytes: 1 << 20,
        history_age: None,
        behind: Behind::Gap,
    };
    let policy = |pattern, mode| Policy::new(Pattern::parse(pattern).unwrap(), mode);
    let at = Pointer::parse("").unwrap();
    let deadband = Some(Deadband { by: 1e9, at, max: Duration::from_secs(3600) });
    let policies = vec![
        policy("k.*", Mode::Keyed(Keyed { keys: 1000, key_tombstones: 10, table_bytes })),
        policy("s.*", Mode::Stream(stream)),
        Policy { deadband, ..policy("d.*", Mode::Latest) },
    ];
    let limits = Limits { topics_bytes, ..Config::embedded_demo().limits };
    ClockedSequencer::new(Epoch::from(1), vec![inbox], &limits, Policies::new(policies), Instant::now())
}

fn item(topic: &str, fields: &str) -> Publication {
    parse_publication(&Bytes::from(format!(r#"{{"topic":"{topic}",{fields}}}"#)), 7).unwrap()
}

fn value(topic: &str, bytes: usize) -> Publication {
    Publication::new(topic, Body::Data("1".repeat(bytes).into()), 7)
}

fn gone(topic: &str) -> Publication {
    Publication::new(topic, Body::Gone, 7)
}

fn single(sequencer: &ClockedSequencer, item: Publication) -> Result<(), Why> {
    match sequencer.try_publish(&[item], Grouping::Single) {
        Ok(_) => Ok(()),
        Err(NotPublished::Refused(refused)) => Err(refused.why),
        Err(full) => panic!("{full}"),
    }
}

fn group(sequencer: &ClockedSequencer, items: &[Publication]) -> Result<(), Refused> {
    match sequencer.try_publish(items, Grouping::Atomic) {
        Ok(_) => Ok(()),
        Err(NotPublished::Refused(refused)) => Err(refused),
        Err(full) => panic!("{full}"),
    }
}

fn bytes(sequencer: &ClockedSequencer) -> usize {
    sequencer.counters().topics_bytes
}

#[test]
fn what_adds_beyond_the_bound_is_refused_with_its_remedy_and_what_makes_smaller_passes() {
    // Two topics of 50 bytes.
    const MAX: usize = 2 * (PLACE + 50);
    let sequencer = sequencer(MAX, 1 << 20);
    single(&sequencer, value("a", 49)).unwrap();
    single(&sequencer, value("b", 49)).unwrap();
    assert_eq!(bytes(&sequencer), MAX);
    for one_more in [value("a", 50), value("c", 1), value("s.c", 1), item("k.c", r#""set":{"k":1}"#)] {
        let topic = one_more.topic.clone();
        let why = single(&sequencer, one_more).unwrap_err();
        let remedy = "[limits] topics_bytes is 1124: DELETE topics or raise that";
        assert!(
            why.to_string().starts_with(&format!("topic {topic} would bring all last values to 1")),
            "{why}"
        );
        assert!(why.to_string().ends_with(remedy), "{why}");
    }
    let counters = sequencer.counters();
    assert_eq!((counters.refused, counters.topics_bytes_refused, counters.topics), (4, 4, 2));
    single(&sequencer, value("a", 49)).unwrap();
    single(&sequencer, value("a", 48)).unwrap();
    single(&sequencer, value("b", 50)).unwrap();
    single(&sequencer, gone("a")).unwrap();
    assert_eq!(bytes(&sequencer), PLACE + 51);
    single(&sequencer, value("c", 48)).unwrap();
}

#[test]
fn a_group_is_held_against_the_bound_as_a_whole() {
    const MAX: usize = 3 * PLACE + 100;
    let sequencer = sequencer(MAX, 1 << 20);
    single(&sequencer, value("a", 2 * PLACE + 99)).unwrap();
    // What comes after makes room for what comes before.
    group(&sequencer, &[value("b", 49), value("a", PLACE + 49)]).unwrap();
    assert_eq!(bytes(&sequencer), MAX);
    group(&sequencer, &[value("c", 9), gone("a"), value("a", 39)]).unwrap();
    assert_eq!(bytes(&sequencer), MAX);
    let refused = group(&sequencer, &[gone("b"), value("d", 15), value("e", 40), value("f", 1)]);
    let refused = refused.unwrap_err();
    assert_eq!((refused.index, bytes(&sequencer)), (2, MAX), "{refused}");
    assert!(matches!(refused.why, Why::NoRoom { max: MAX, .. }));
    // A topic that stands in it twice counts once, and so does a table.
    group(&sequencer, &[gone("c"), value("a", 38), value("x", 9), value("x", 10)]).unwrap();
    group(&sequencer, &[gone("a"), gone("b"), gone("x")]).unwrap();
    assert_eq!(bytes(&sequencer), 0);
    let set = |n: u32| item("k.t", &format!(r#""set":{{"k":{n}}}"#));
    group(&sequencer, &[set(1), set(22), set(3)]).unwrap();
    assert_eq!(bytes(&sequencer), PLACE + TABLE + "k.t".len() + r#""k":3"#.len() + KEY_BYTES);
}

#[test]
fn topics_of_next_to_nothing_fill_the_room_by_their_places() {
    const TOPICS: usize = 3;
    for (prefix, fields, each) in [
        ("a", r#""data":1"#, PLACE + "a.0".len() + 1),
        ("s", r#""data":1"#, PLACE + "s.0".len() + 1),
        ("k", r#""data":{}"#, PLACE + TABLE + "k.0".len()),
        ("k", r#""set":{"k":1}"#, PLACE + TABLE + "k.0".len() + r#""k":1"#.len() + KEY_BYTES),
    ] {
        let sequencer = sequencer(TOPICS * each + each - 1, 1 << 20);
        for n in 0..TOPICS {
            single(&sequencer, item(&format!("{prefix}.{n}"), fields)).unwrap();
        }
        assert_eq!(bytes(&sequencer), TOPICS * each);
        let why = single(&sequencer, item(&format!("{prefix}.9"), fields)).unwrap_err();
        assert!(matches!(why, Why::NoRoom { .. }), "{fields}: {why}");
        single(&sequencer, gone(&format!("{prefix}.0"))).unwrap();
        assert_eq!(bytes(&sequencer), (TOPICS - 1) * each);
        single(&sequencer, item(&format!("{prefix}.9"), fields)).unwrap();
    }
}

#[test]
fn a_tables_own_bounds_too_refuse_only_what_adds_to_it() {
    let sequencer = sequencer(1 << 20, 20);
    let change = |fields: &str| single(&sequencer, item("k.t", fields));
    change(r#""set":{"a":11,"b":22,"c":33}"#).unwrap();
    change(r#""set":{"b":22222}"#).unwrap_err();
    for fields in [
        r#""set":{"a":222,"b":33}"#,
        r#""del":["nobody"],"set":{"c":44}"#,
        r#""del":["a","c"]"#,
        r#""set":{"b":333},"del":["x"]"#,
        r#""reset":true,"set":{"d":1234567890123456}"#,
        r#""data":{"d":1234567890123457}"#,
    ] {
        change(fields).unwrap_or_else(|why| panic!("{fields}: {why}"));
    }
    let why = change(r#""data":{"d":12345678901234567}"#).unwrap_err().to_string();
    assert_eq!(
        why,
        "the table of topic k.t would have 21 bytes, [[topic]] table_bytes is 20: delete keys or raise that"
    );
    assert_eq!(bytes(&sequencer), PLACE + TABLE + "k.t".len() + 20 + KEY_BYTES);
}

#[test]
fn a_value_that_a_deadband_would_hold_back_goes_out_where_there_is_no_room_for_two() {
    const MAX: usize = 3 * PLACE + 100;
    let sequencer = sequencer(MAX, 1 << 20);
    let held = || sequencer.counters().held_back;
    // As one more topic.
    let both = |sent: usize, held: usize| 2 * (PLACE + "d.a".len()) + sent + held;
    single(&sequencer, value("d.a", 9)).unwrap();
    single(&sequencer, value("d.a", 7)).unwrap();
    assert_eq!((held(), bytes(&sequencer)), (1, both(9, 7)));
    single(&sequencer, value("d.a", 5)).unwrap();
    assert_eq!((held(), bytes(&sequencer)), (1, both(9, 5)));
    single(&sequencer, value("b", 79)).unwrap();
    single(&sequencer, value("d.a", 5)).unwrap();
    assert_eq!((held(), bytes(&sequencer)), (1, MAX), "it takes the place of the one before");
    single(&sequencer, value("d.a", 6)).unwrap();
    let one = 2 * PLACE + "b".len() + 79 + "d.a".len() + 6;
    assert_eq!((held(), bytes(&sequencer)), (0, one));
    sequencer.freeze();
    assert_eq!(bytes(&sequencer), one);
}

#[test]
fn what_another_gateway_numbered_and_what_an_earlier_run_left_keep_it_too() {
    const MAX: usize = PLACE + 100;
    let sequencer = sequencer(MAX, 1 << 20);
    let followed = |publication: Publication, v| UpstreamUpdate { publication, v };
    let follow = |epoch: Option<Epoch>, version, updates| {
        let is_whole = epoch.is_some();
        let following = UpstreamBatch { epoch, is_whole, version, updates };
        sequencer.try_follow(&following).unwrap()
    };
    let refused =
        follow(Some(Epoch::from(1)), 5, vec![followed(value("a", 49), 1), followed(value("b", 99), 1)]);
    assert!(matches!(refused[..], [Why::NoRoom { .. }]), "{refused:?}");
    assert_eq!((bytes(&sequencer), sequencer.counters().topics_bytes_refused), (PLACE + 50, 1));
    // An update of a topic that is held is a hole.
    assert_eq!(follow(None, 6, vec![followed(value("a", 100), 2)]).len(), 1);
    let events = sequencer.take_state_changes();
    assert_eq!((events.len(), &*events[0].topic, events[0].state), (1, "a", TopicState::Gap));
    assert!(events[0].reason.contains("[limits] topics_bytes is 612"));
    follow(None, 7, vec![followed(value("a", 60), 3)]);
    assert_eq!(sequencer.take_state_changes()[0].state, TopicState::Live);
    // What a snapshot ends makes room for what it brings.
    let whole =
        UpstreamBatch { is_whole: true, version: 8, updates: vec![followed(value("c", 90), 1)], epoch: None };
    assert_eq!(sequencer.try_follow(&whole).unwrap(), []);
    assert_eq!(bytes(&sequencer), PLACE + 91);
    follow(Some(Epoch::from(1)), 1, vec![]);
    assert_eq!(bytes(&sequencer), 0);

    let kept = |topic: &str, bytes: usize| RestoredTopic {
        topic: topic.into(),
        mode: "latest".to_owned(),
        v: 1,
        ts_us: 0,
        by: None,
        seq: None,
        has_gap: false,
        refused: 0,
        body: Body::Data("1".repeat(bytes).into()),
    };
    // Two have less than 100 bytes beside the place of one.
    let sequencer = self::sequencer(MAX + PLACE, 1 << 20);
    let topics = vec![kept("a", 60), kept("b", 60), kept("c", 30)];
    let epoch = Epoch::parse("0123456789abcdef");
    let (taken, refused) = sequencer.restore(&Restored {
        epoch,
        is_clean: true,
        version: 9,
        v_floor: 0,
        topics,
        ended: Ended::default(),
        damage: None,
    });
    assert_eq!((taken.len(), bytes(&sequencer)), (2, 2 * PLACE + 61 + 31));
    assert!(matches!(&refused[..], [Why::NoRoom { topic, .. }] if &**topic == "b"), "{refused:?}");
}

/// Topics as they should be: values, and tables.
type Model = BTreeMap<String, (Value, bool)>;

fn model_bytes(model: &Model) -> usize {
    let of = |(topic, (value, is_table)): (&String, &(Value, bool))| {
        let object = value.as_object().filter(|_| *is_table);
        let members = |object: &Map<String, Value>| {
            object
                .iter()
                .map(|(key, value)| key.len() + 3 + value.to_string().len() + KEY_BYTES)
                .sum::<usize>()
        };
        let table = |object| TABLE + members(object);
        PLACE + topic.len() + object.map_or_else(|| value.to_string().len(), table)
    };
    model.iter().map(of).sum()
}

fn apply(model: &mut Model, line: &Value) {
    let topic = line["topic"].as_str().unwrap();
    let is_table = topic.starts_with("k.");
    if line["gone"] == true {
        model.remove(topic);
    } else if !line["data"].is_null() {
        model.insert(topic.to_owned(), (line["data"].clone(), is_table));
    } else {
        let table = &mut model.entry(topic.to_owned()).or_insert((json!({}), true)).0;
        if line["reset"] == true {
            *table = json!({});
        }
        let table = table.as_object_mut().unwrap();
        table.extend(line["set"].as_object().unwrap().clone());
        line["del"].as_array().unwrap().iter().for_each(|key| drop(table.remove(key.as_str().unwrap())));
    }
}

fn random_line(rng: &mut fastrand::Rng, model: &Model) -> Value {
    let topic = rng.choice(["a", "b.c", "s.a", "k.a", "k.b"]).unwrap();
    let value = |rng: &mut fastrand::Rng| json!("x".repeat(rng.usize(..60)));
    if rng.u8(..8) == 0 && model.contains_key(topic) {
        return json!({"topic": topic, "gone": true});
    }
    if !topic.starts_with("k.") {
        return json!({"topic": topic, "data": value(rng)});
    }
    let keys: Vec<String> = (0..6).filter(|_| rng.bool()).map(|key| format!("k{key}")).collect();
    let (del, set): (Vec<String>, Vec<String>) = keys.into_iter().partition(|_| rng.u8(..3) == 0);
    let set: Map<String, Value> = set.into_iter().map(|key| (key, value(rng))).collect();
    match rng.u8(..4) {
        0 => json!({"topic": topic, "data": set}),
        1 => json!({"topic": topic, "set": set, "del": del, "reset": true}),
        _ => json!({"topic": topic, "set": set, "del": del}),
    }
}

fn item_of(line: &Value) -> Publication {
    if line["gone"] == true {
        return gone(line["topic"].as_str().unwrap());
    }
    parse_publication(&Bytes::from(line.to_string()), 7).unwrap()
}

#[test]
fn whatever_is_published_the_bound_holds_exactly_and_the_gauge_is_right() {
    // Of all topics there are, and of what is in them, less than there might be.
    const MAX: usize = 4 * PLACE + TABLE + 300;
    let mut rng = fastrand::Rng::with_seed(3);
    let (mut taken, mut refused, mut over) = (0, 0, 0);
    for _ in 0..20 {
        let sequencer = sequencer(MAX, 1 << 20);
        let mut model = Model::new();
        for _ in 0..500 {
            let atomic = rng.u8(..3) == 0;
            let mut after = model.clone();
            let mut lines = Vec::new();
            for _ in 0..if atomic { rng.usize(1..5) } else { 1 } {
                let line = random_line(&mut rng, &after);
                apply(&mut after, &line);
                lines.push(line);
            }
            let items: Vec<Publication> = lines.iter().map(item_of).collect();
            let feed = Some(Feed { source: 1, connection: 0 }).filter(|_| rng.bool() && !atomic);
            let items: Vec<Publication> =
                items.into_iter().map(|item| Publication { feed, ..item }).collect();
            let (before, size) = (model_bytes(&model), model_bytes(&after));
            let fits = size <= MAX.max(before);
            let grouping = if atomic { Grouping::Atomic } else { Grouping::Single };
            let published = sequencer.try_publish(&items, grouping);
            assert_eq!(published.is_ok(), fits, "{before} to {size}: {lines:?} on {model:?}: {published:?}");
            if fits {
                model = after;
                taken += 1;
            } else {
                refused += 1;
            }
            assert_eq!(bytes(&sequencer), model_bytes(&model));
            over += u32::from(bytes(&sequencer) > MAX - 50);
        }
    }
    assert!(taken > 5000 && refused > 1000 && over > 1000, "{taken} {refused} {over}");
}
