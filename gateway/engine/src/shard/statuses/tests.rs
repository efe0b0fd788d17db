use crate::http::{origin::Origins, proxies::Proxies};
use crate::settings::{Compression, Fanout, Keys, Limits, Overload, Refusing};
use crate::shard::statuses::*;
use crate::topic::policy::Policies;

fn statuses(set: impl FnOnce(&mut Limits)) -> Statuses {
    let (fanout, mut limits, compression) = (Fanout::defaults(), Limits::defaults(), Compression::defaults());
    let overload = Overload::defaults();
    set(&mut limits);
    Statuses::new(&Settings {
        fanout: &fanout,
        limits: &limits,
        compression: &compression,
        overload: &overload,
        shards: 1,
        loopbacks: [true; 2],
        admin_tls: false,
        hosts: &[],
        origins: &Origins::default(),
        refusing: Refusing::Auto,
        proxies: &Proxies::default(),
        rules: &std::sync::Arc::default(),
        is_chained: false,
        topics: &Policies::default(),
        raw_paths: &[],
    })
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

fn status(topics: &[&str], state: TopicState) -> Status {
    let mut topics: Vec<Pattern> = topics.iter().map(|topic| pattern(topic)).collect();
    topics.sort_unstable();
    Status { topics: topics.into(), state, since_us: 0, reason: "".into() }
}

/// Topics of frames in a row, each shorter than 64 KiB.
fn topics(frames: &Bytes) -> Vec<String> {
    let (mut topics, mut rest) = (Vec::new(), &frames[..]);
    while !rest.is_empty() {
        let (start, len) = match rest[1] {
            126 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
            len => (2, len.into()),
        };
        let frame: serde_json::Value = serde_json::from_slice(&rest[start..start + len]).unwrap();
        let named = frame["topics"].as_array().unwrap();
        topics.extend(named.iter().map(|topic| topic.as_str().unwrap().to_owned()));
        rest = &rest[start + len..];
    }
    topics
}

fn hearer(is_answer: bool) -> Hearer {
    Hearer { encoding: Encoding::Json, is_answer }
}

/// All that is told of these patterns, one status after the other.
fn told(statuses: &Statuses, asked: &[&str], after: u64, is_answer: bool) -> Vec<Vec<String>> {
    let asked: Vec<Pattern> = asked.iter().map(|text| pattern(text)).collect();
    let (mut all, mut after) = (Vec::new(), after);
    while after < statuses.changes {
        let next =
            statuses.next(&asked.iter().collect::<Vec<_>>(), after + 1..=statuses.changes, hearer(is_answer));
        assert!(next.until > after);
        after = next.until;
        all.extend(next.frames.as_ref().map(topics));
    }
    all
}

#[test]
fn what_is_told_of_patterns_is_what_overlaps_them() {
    let names = [
        "*", "a", "a.*", "a.-41", "a.b", "a.b.*", "a.b.c", "a.bc", "ab.*", "ab.c", "b", "*.c", "a.*.c",
        "a.*.*", "*.b.*", "*.*",
    ];
    let mut statuses = statuses(|_| {});
    for (id, name) in (0..).zip(names) {
        let state = [TopicState::Stale, TopicState::Live][id as usize % 2];
        statuses.take(Change::part(id / 5, status(&[name], state)));
    }
    for (x, y) in names.iter().flat_map(|x| names.iter().map(move |y| (*x, *y))) {
        for is_answer in [false, true] {
            let overlaps = |name: &&str| [x, y].iter().any(|asked| pattern(asked).overlaps(&pattern(name)));
            let lasts = |at: &usize| !is_answer || at.is_multiple_of(2);
            let expected = names.iter().enumerate().filter(|(at, name)| lasts(at) && overlaps(name));
            let mut expected: Vec<&str> = expected.map(|(_, name)| *name).collect();
            let mut found = told(&statuses, &[x, y, "none"], 0, is_answer).concat();
            expected.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, expected, "{x} {y} {is_answer}");
        }
    }
}

#[test]
fn a_topic_stands_in_its_newest_change_alone() {
    let mut statuses = statuses(|_| {});
    statuses.take(Change::part(1, status(&["a", "b", "c", "d"], TopicState::Stale)));
    statuses.take(Change::whole(2, status(&["a"], TopicState::Gap)));
    statuses.take(Change::part(1, status(&["b", "d"], TopicState::Live)));
    statuses.take(Change::part(1, status(&["c"], TopicState::Live)));
    assert_eq!(told(&statuses, &["*"], 0, true), [["a"], ["a"]]);
    assert_eq!(
        told(&statuses, &["*"], 1, false),
        [vec!["a"], vec!["b", "c", "d"]],
        "what goes on is one status"
    );
    assert_eq!(told(&statuses, &["b", "c"], 3, false), [["c"]]);
    statuses.take(Change::whole(1, status(&["a"], TopicState::Live)));
    assert_eq!(told(&statuses, &["*"], 2, false), [["a"]], "a whole one takes the place of all");
    statuses.take(Change::whole(2, status(&[], TopicState::Live)));
    assert_eq!(told(&statuses, &["*"], 0, true).len(), 0);
    assert!(!statuses.is_any_held());
}

#[test]
fn a_look_costs_nothing_for_topics_that_others_ask_for() {
    let mut statuses = statuses(|_| {});
    let names: Vec<String> = (0..100_000).map(|i| format!("theirs.t{i:05}")).collect();
    for some in names.chunks(1000) {
        let some: Vec<&str> = some.iter().map(String::as_str).collect();
        statuses.take(Change::part(1, status(&some, TopicState::Stale)));
    }
    let [own, narrow] = ["own.*", "theirs.t00007"].map(pattern);
    let next = statuses.next(&[&own, &narrow], 1..=statuses.changes, hearer(true));
    assert_eq!(next.frames.as_ref().map(topics), Some(vec!["theirs.t00007".to_owned()]));
    // Two patterns, a look at each change, and one topic.
    assert_eq!(next.cost, 2 * PATTERN_COST + 100 + 1);
    assert_eq!(statuses.next(&[&narrow], 1..=statuses.changes, hearer(true)).cost, PATTERN_COST + 2);
}

#[test]
fn what_is_live_again_is_kept_within_its_bytes_and_the_oldest_goes() {
    let mut statuses = statuses(|limits| limits.status_bytes = 10_000);
    let names: Vec<String> = (0..1000).map(|i| format!("t{i:04}")).collect();
    statuses.take(Change::part(
        1,
        status(&names.iter().map(String::as_str).collect::<Vec<_>>(), TopicState::Stale),
    ));
    for name in &names[..900] {
        statuses.take(Change::part(1, status(&[name], TopicState::Live)));
        assert!(statuses.passing_bytes <= 10_000);
    }
    let kept = told(&statuses, &["*"], 1, false).concat();
    assert_eq!(kept, names[900 - kept.len()..900], "the newest");
    assert!(kept.len() > 20);
    assert_eq!(told(&statuses, &["*"], 0, true).concat(), names[900..], "what is not live stays");
    statuses.take(Change::whole(1, status(&[], TopicState::Live)));
    assert_eq!((statuses.passing_bytes, statuses.held.len(), statuses.by_id.len()), (0, 0, 0));
}
