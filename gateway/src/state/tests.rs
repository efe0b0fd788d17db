mod damage;
mod passed_on;

use std::{os::unix::fs::PermissionsExt, path::PathBuf, time::Instant};

use bytes::Bytes;
use engine::topic::epoch::Epoch;
use engine::{sequencer::Body, topic::changes::Base};
use fastrand::Rng;

use super::*;
use crate::config::Config;
use crate::intake::clocked::ClockedSequencer;

fn checkpoint() -> Checkpoint {
    let saved = |mode, seq, json: &str, table: Option<&str>| SavedTopic {
        mode,
        seq,
        has_gap: seq.is_some(),
        refused: if mode == "stream" { 4 } else { 0 },
        json: Bytes::copy_from_slice(json.as_bytes()),
        table: table.map(|table| table.as_bytes().to_vec()),
    };
    Checkpoint {
        epoch: Epoch::parse("0123456789abcdef").unwrap(),
        version: 77,
        v_floor: 3,
        topics: vec![
            saved("latest", None, r#"{"topic":"a","v":1,"ts":5,"data":{ "x":1.50}}"#, None),
            saved("keyed", Some(9), r#"{"topic":"b","v":2,"ts":6,"#, Some(r#"{"k\"":1,"l":[2]}"#)),
            saved("stream", None, r#"{"topic":"c","v":3,"ts":7,"data":null}"#, None),
        ],
        ended: Ended { names: vec!["d".into()], are_more: true },
    }
}

fn file(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("fanwire-state-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory.join("state")
}

fn settings(path: &Path) -> config::StateSettings {
    config::StateSettings {
        path: Some(path.to_owned()),
        checkpoint: Duration::from_secs(1),
        state_bytes: 1 << 20,
    }
}

fn load(path: &Path) -> Option<Restored> {
    super::load(&settings(path), &StateCounters::default()).unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_written_is_read_again_and_is_clean_once() {
    let path = file("round");
    let (bytes, crc32) = write(&checkpoint(), &path, 1 << 20).unwrap();
    assert_eq!(bytes, fs::metadata(&path).unwrap().len());
    let restored = load(&path).unwrap();
    assert_eq!((restored.version, restored.v_floor, restored.is_clean), (77, 3, false));
    assert_eq!((restored.epoch, &restored.damage), (Epoch::parse("0123456789abcdef"), &None));
    assert_eq!(restored.ended, checkpoint().ended);
    let shown: Vec<String> = restored
        .topics
        .iter()
        .map(|t| {
            format!("{} {} {} {} {:?} {} {}", t.topic, t.mode, t.v, t.ts_us, t.seq, t.has_gap, t.refused)
        })
        .collect();
    assert_eq!(
        shown,
        ["a latest 1 5 None false 0", "b keyed 2 6 Some(9) true 0", "c stream 3 7 None false 4"]
    );
    let Body::Data(data) = &restored.topics[0].body else { panic!() };
    assert_eq!(data, r#"{ "x":1.50}"#);
    let Body::Changes(table) = &restored.topics[1].body else { panic!() };
    assert!(
        table.base == Base::Whole && table.iter().map(|c| c.key.to_vec()).eq([&br#""k\"""#[..], br#""l""#])
    );
    mark_clean(&path, crc32).unwrap();
    assert!(load(&path).unwrap().is_clean);
    assert!(!load(&path).unwrap().is_clean, "an epoch is continued once");
    mark_clean(&path, crc32 + 1).unwrap();
    assert!(!load(&path).unwrap().is_clean, "the mark of another file");
}

#[test]
fn a_file_of_the_format_before_is_read_with_line_breaks_in_its_values() {
    let path = file("format-1");
    let body = "{\"fanwire_state\":1,\"epoch\":\"0123456789abcdef\",\"version\":9,\"v_floor\":2}\n\
                {\"mode\":\"latest\",\"topic\":\"a\",\"v\":4,\"ts\":5,\"data\":{\n\"x\":1}}\n\
                {\"mode\":\"keyed\",\"seq\":7,\"topic\":\"b\",\"v\":1,\"ts\":6,\"set\":{\"k\":[\r\n1]}}\n";
    let crc32 = crc32fast::hash(body.as_bytes());
    let text = format!("{body}{{\"topics\":2,\"crc32\":{crc32}}}\n");
    fs::write(&path, &text).unwrap();
    mark_clean(&path, crc32).unwrap();
    let restored = load(&path).unwrap();
    assert_eq!((restored.version, restored.is_clean, restored.topics.len()), (9, true, 2));
    let Body::Data(data) = &restored.topics[0].body else { panic!() };
    assert_eq!(data, "{\n\"x\":1}");
    fs::write(&path, text.replace("\"x\":1", "\"x\":2")).unwrap();
    assert!(load(&path).is_none() && with_suffix(&path, "refused").exists());
}

#[test]
fn what_cannot_be_used_is_moved_aside() {
    for (name, text) in [("foreign", "hello\n"), ("empty", ""), ("long", &"x".repeat(2 << 20))] {
        let path = file(name);
        fs::write(&path, text).unwrap();
        assert!(load(&path).is_none());
        assert!(!path.exists() && with_suffix(&path, "refused").exists(), "{name}");
    }
    assert!(load(&file("none")).is_none());
    let path = file("newer");
    let mut newer = records::Writer::new(Vec::new());
    newer.record(br#"{"fanwire_state":3,"epoch":"0123456789abcdef","version":1,"v_floor":0}"#).unwrap();
    fs::write(&path, newer.end().0).unwrap();
    assert!(load(&path).is_none() && with_suffix(&path, "refused").exists());
}

#[test]
fn a_state_over_its_bound_or_without_a_place_is_told_with_the_key() {
    let path = file("bound");
    let long = checkpoint().topics.iter().map(|t| t.json.len() + t.table.as_ref().map_or(0, Vec::len)).sum();
    for bytes_max in [10, long] {
        let error = write(&checkpoint(), &path, bytes_max as u64).unwrap_err().to_string();
        assert!(error.contains(&format!("[state] state_bytes is {bytes_max}: raise that")), "{error}");
        assert!(names(path.parent().unwrap()).is_empty());
    }
    let error = write(&checkpoint(), Path::new("/proc/none/state"), 1 << 20).unwrap_err().to_string();
    assert!(error.contains("[state] path"), "{error}");
}

#[test]
fn files_are_private_and_no_link_is_followed() {
    let path = file("private");
    let directory = path.parent().unwrap();
    let victim = directory.join("victim");
    fs::write(&victim, "precious").unwrap();
    let suffixes = ["", ".tmp", ".clean"];
    let name = |suffix| PathBuf::from(format!("{}{suffix}", path.display()));
    for suffix in suffixes {
        std::os::unix::fs::symlink(&victim, name(suffix)).unwrap();
    }
    assert!(load(&path).is_none(), "the link is no state");
    assert!(fs::symlink_metadata(with_suffix(&path, "refused")).unwrap().is_symlink());
    let (_, crc32) = write(&checkpoint(), &path, 1 << 20).unwrap();
    mark_clean(&path, crc32).unwrap();
    for suffix in ["", ".clean"] {
        let found = fs::symlink_metadata(name(suffix)).unwrap();
        assert!(found.is_file() && found.permissions().mode() & 0o777 == 0o600, "{suffix}");
    }
    std::os::unix::fs::symlink(&victim, name(".tmp")).unwrap();
    write(&checkpoint(), &path, 1 << 20).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert_eq!(names(directory), ["state", "state.clean", "state.refused", "victim"]);
}

#[test]
fn what_is_no_regular_file_is_refused_at_the_start_by_name_and_stays() {
    use std::os::unix::{fs::FileTypeExt, net::UnixListener};
    let pipe = |name: &Path| {
        let made = std::process::Command::new("mkfifo").arg(name).status().unwrap();
        assert!(made.success());
    };
    let linked_pipe = |name: &Path| {
        let target = name.with_file_name("elsewhere");
        pipe(&target);
        std::os::unix::fs::symlink("elsewhere", name).unwrap();
    };
    let socket = |name: &Path| drop(UnixListener::bind(name).unwrap());
    let directory = |name: &Path| fs::create_dir(name).unwrap();
    type Make<'a> = &'a dyn Fn(&Path);
    let kinds: [(&str, Make); 4] = [
        ("is a pipe", &pipe),
        ("is a pipe", &linked_pipe),
        ("is a socket", &socket),
        ("is a directory", &directory),
    ];
    for (n, (is, make)) in kinds.into_iter().enumerate() {
        for suffix in ["", ".tmp", ".clean"] {
            let path = file(&format!("kind-{n}{suffix}"));
            let name = PathBuf::from(format!("{}{suffix}", path.display()));
            make(&name);
            let (before, kind) = (names(path.parent().unwrap()), fs::metadata(&name).unwrap().file_type());
            let error = super::load(&settings(&path), &StateCounters::default()).unwrap_err().to_string();
            assert!(error.contains(&format!("{} {is}", name.display())), "{error}");
            assert!(error.contains("[state] path"), "{error}");
            // It may also come to stand there later.
            let written = write(&checkpoint(), &path, 1 << 20).and_then(|(_, crc32)| {
                let path = path.display().to_string();
                mark_clean(Path::new(&path), crc32).map_err(|error| NotWritten::Io { path, error })
            });
            assert!(written.is_err(), "{suffix}");
            let found = fs::metadata(&name).unwrap().file_type();
            assert_eq!((found.is_fifo(), found.is_socket()), (kind.is_fifo(), kind.is_socket()));
            let after = names(path.parent().unwrap());
            assert!(
                before.iter().all(|name| after.contains(name))
                    && !after.iter().any(|n| n.contains("refused"))
            );
        }
    }
}

#[test]
fn a_part_file_stays_neither_after_a_failure_nor_after_the_next_start() {
    let path = file("parts");
    let directory = path.parent().unwrap();
    fs::create_dir(&path).unwrap();
    assert!(write(&checkpoint(), &path, 1 << 20).is_err(), "it cannot take a directory's place");
    assert_eq!(names(directory), ["state"]);
    fs::remove_dir(&path).unwrap();
    fs::write(with_suffix(&path, "tmp"), "of a run that was killed").unwrap();
    assert!(load(&path).is_none());
    assert!(names(directory).is_empty());
}

#[test]
fn a_record_that_could_not_be_restored_is_found_before_it_takes_the_place_of_one_that_can() {
    let path = file("verified");
    write(&checkpoint(), &path, 1 << 20).unwrap();
    let before = fs::read(&path).unwrap();
    for json in
        [r#"{"topic":"d","v":1,"ts":5,"data":}"#, "{\"topic\":\"d\",\"v\":1,\"ts\":5,\"data\":\"\x1e\"}"]
    {
        let mut broken = checkpoint();
        broken.topics[1] = SavedTopic {
            mode: "latest",
            seq: None,
            has_gap: false,
            refused: 0,
            json: json.into(),
            table: None,
        };
        let error = write(&broken, &path, 1 << 20).unwrap_err();
        assert!(matches!(error, NotWritten::NotReadBack { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(names(path.parent().unwrap()), ["state"]);
    }
}

fn sequencer(config: &Config) -> Arc<ClockedSequencer> {
    ClockedSequencer::new(Epoch::from(1), Vec::new(), &config.limits, config.topics.clone(), Instant::now())
}

#[test]
fn a_value_that_is_too_deep_now_is_left_out_by_name_and_the_epoch_is_a_new_one() {
    let config = Config::embedded_demo();
    let kept = |topic: &str, levels: usize| RestoredTopic {
        topic: topic.into(),
        mode: "latest".to_owned(),
        v: 1,
        ts_us: 0,
        by: None,
        seq: None,
        has_gap: false,
        refused: 0,
        body: Body::Data(format!("{}{}", "[".repeat(levels), "]".repeat(levels)).into()),
    };
    let topics = vec![kept("whole", 64), kept("deep", 65)];
    let epoch = Epoch::parse("0123456789abcdef");
    let restored = Restored {
        epoch,
        is_clean: true,
        version: 9,
        v_floor: 0,
        topics,
        ended: Ended::default(),
        damage: None,
    };
    let sequencer = sequencer(&config);
    let (taken, refused) = sequencer.restore(&restored);
    assert_eq!((taken, refused.len()), (vec!["whole".into()], 1));
    assert!(refused[0].to_string().starts_with("topic deep: a value has more than 64 "), "{refused:?}");
    assert_ne!(Some(sequencer.epoch()), restored.epoch);
}
