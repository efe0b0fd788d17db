//! What a disk may do to a file.

use std::{collections::HashMap, ops::Range};

use super::{passed_on::Json, *};
use crate::state::{self, records::MARK};

/// The topics that are read, and what is said of the others.
fn read_bytes(bytes: &[u8]) -> Option<(Vec<String>, Option<Damage>)> {
    let (restored, crc32) = read(bytes).ok()?;
    assert_eq!(crc32, crc32fast::hash(bytes), "so that no mark of a clean end names another file");
    Some((restored.topics.iter().map(|kept| kept.topic.to_string()).collect(), restored.damage))
}

#[test]
fn damage_costs_the_topics_that_it_hits_and_is_told_with_their_number() {
    let path = file("damage");
    write(&checkpoint(), &path, 1 << 20).unwrap();
    let whole = fs::read(&path).unwrap();
    let (all, none) = read_bytes(&whole).unwrap();
    assert_eq!((all.len(), none), (3, None));
    for at in 0..whole.len() {
        for flip in [1, 0x1e ^ whole[at], b'\n' ^ whole[at], b'{' ^ whole[at], 0x80] {
            let mut changed = whole.clone();
            changed[at] ^= flip;
            let (topics, damage) = read_bytes(&changed).unwrap();
            assert!(topics.len() >= 2 && topics.iter().all(|topic| all.contains(topic)), "{at}: {topics:?}");
            assert_eq!(damage.map_or(0, |damage| damage.topics), 3 - topics.len() as u64, "{at} {flip}");
        }
    }
    for len in 1..whole.len() {
        let (topics, damage) = read_bytes(&whole[..len]).unwrap_or_default();
        assert_eq!(topics, all[..topics.len()]);
        let Some(damage) = damage else { continue };
        assert_eq!(damage.topics, 3 - topics.len() as u64, "{len}");
    }
    let records = records(&whole);
    for (n, record) in records.iter().enumerate() {
        let (topics, damage) = read_bytes(&[&whole[..record.start], &whole[record.end..]].concat()).unwrap();
        let is_head = n == 0 || n + 1 == records.len();
        let lost = u64::from(!is_head);
        assert_eq!((topics.len() as u64, damage.unwrap().topics), (3 - lost, lost), "without record {n}");
    }
    let (topics, damage) = read_bytes(&[b"{", &whole[..]].concat()).unwrap();
    assert_eq!((&topics, damage.unwrap().topics), (&all, 0));
    // From the middle of a file.
    let (topics, damage) = read_bytes(&whole[40..]).unwrap();
    assert_eq!((topics, damage.unwrap().topics), (all.clone(), 0));
    let twice = [&whole[..], &whole].concat();
    let (topics, damage) = read_bytes(&twice).unwrap();
    assert_eq!((topics, damage.unwrap().places), (all, 3), "a topic is there once");
}

#[test]
fn a_damaged_file_begins_a_new_epoch_and_is_kept() {
    let path = file("kept");
    let (_, crc32) = write(&checkpoint(), &path, 1 << 20).unwrap();
    mark_clean(&path, crc32).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(4).position(|four| four == b"1.50").unwrap();
    bytes[at] = b'2';
    fs::write(&path, &bytes).unwrap();
    let counters = StateCounters::default();
    for _ in 0..2 {
        let restored = state::load(&settings(&path), &counters).unwrap().unwrap();
        assert_eq!((restored.is_clean, restored.topics.len()), (false, 2));
        assert_eq!(counters.lost.load(Relaxed), 1);
    }
    write(&checkpoint(), &path, 1 << 20).unwrap();
    assert_eq!(fs::read(with_suffix(&path, "refused")).unwrap(), bytes);
    assert!(!with_suffix(&path, "refused.2").exists(), "one file has one such name");
}

/// Where each record of a whole file begins and ends.
fn records(file: &[u8]) -> Vec<Range<usize>> {
    let begins: Vec<usize> = (0..file.len()).filter(|at| file[*at] == MARK).collect();
    let ends = begins[1..].iter().copied().chain([file.len()]);
    begins.iter().zip(ends).map(|(begin, end)| *begin..end).collect()
}

#[test]
fn no_damage_brings_back_a_topic_changed_or_costs_one_that_it_does_not_touch() {
    let seed = 0xda3a6e;
    println!("seed {seed:#x}");
    let mut rng = Rng::with_seed(seed);
    let mut checkpoint = checkpoint();
    checkpoint.topics = (0..50)
        .map(|n| {
            let mut json = Json(&mut rng, String::new());
            json.value(3);
            let text = format!("{{\"topic\":\"t{n}\",\"v\":1,\"ts\":5,\"data\":{}}}", json.1.trim());
            SavedTopic {
                mode: "latest",
                seq: None,
                has_gap: false,
                refused: 0,
                json: text.into(),
                table: None,
            }
        })
        .collect();
    let path = file("arbitrary-damage");
    write(&checkpoint, &path, 1 << 30).unwrap();
    let whole = fs::read(&path).unwrap();
    let data = |kept: &RestoredTopic| match &kept.body {
        Body::Data(data) => data.clone(),
        _ => panic!("{kept:?}"),
    };
    let all: HashMap<Arc<str>, Bytes> =
        read(&whole[..]).unwrap().0.topics.iter().map(|kept| (kept.topic.clone(), data(kept))).collect();
    let records = records(&whole);
    assert_eq!((all.len(), records.len()), (50, 52));
    for _ in 0..3000 {
        let from = rng.usize(..whole.len());
        let most = [1, 8, 100, 1000][rng.usize(..4)];
        let to = (from + 1 + rng.usize(..most)).min(whole.len());
        let instead: Vec<u8> = match rng.u8(..6) {
            0 => vec![0; to - from],
            1 => (from..to).map(|_| rng.u8(..)).collect(),
            2 => (from..to).map(|_| [MARK, b'\n', b' ', b'1'][rng.usize(..4)]).collect(),
            3 => Vec::new(),
            4 => whole[from..to].repeat(2),
            _ => whole[rng.usize(..whole.len())..].iter().copied().take(to - from).collect(),
        };
        let damaged = [&whole[..from], &instead, &whole[to..]].concat();
        let Ok((restored, crc32)) = read(&damaged[..]) else { panic!("{from}..{to}: nothing is left") };
        for kept in &restored.topics {
            assert_eq!(all[&kept.topic], data(kept), "{from}..{to}");
        }
        // What was put in may hold a mark, which ends the record before it: its own line feed is gone then.
        let untouched = records.iter().filter(|record| record.end < from || record.start >= to);
        let heads = [&records[0], &records[51]];
        let least = untouched.filter(|record| !heads.contains(record)).count();
        assert!(restored.topics.len() >= least, "{from}..{to}: {} of {least}", restored.topics.len());
        let lost = 50 - restored.topics.len() as u64;
        match restored.damage {
            Some(damage) => assert_eq!(damage.topics, lost, "{from}..{to}"),
            None => assert_eq!(lost, 0, "{from}..{to}"),
        }
        assert!(damaged == whole || crc32 != crc32fast::hash(&whole));
    }
}
