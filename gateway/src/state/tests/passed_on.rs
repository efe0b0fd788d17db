//! Whatever publishers may say comes back as they said it.

use std::collections::BTreeMap;

use engine::sequencer::Grouping;
use fastrand::Rng;
use serde_json::value::RawValue;

use super::*;
use crate::intake::publish::parse_publication;

/// JSON text with all that JSON allows between and in its tokens.
pub struct Json<'r>(pub &'r mut Rng, pub String);

impl Json<'_> {
    pub fn one_of(&mut self, texts: &[&str]) {
        let text = texts[self.0.usize(..texts.len())];
        self.1.push_str(text);
    }

    pub fn space(&mut self) {
        for _ in 0..self.0.usize(..3) {
            self.one_of(&[" ", "\n", "\r", "\t", "\r\n"]);
        }
    }

    pub fn string(&mut self, is_key: bool) {
        self.1.push('"');
        for _ in 0..self.0.usize(..6) {
            self.one_of(&[
                "a",
                "\u{2028}",
                "\u{2029}",
                "\u{7f}",
                "\u{85}",
                "\u{feff}",
                "é",
                "😀",
                "\\\"",
                "\\\\",
                "\\/",
                "\\n",
                "\\r",
                "\\u0000",
                "\\u001e",
                "\\u001E",
                "\\u2028",
                "\\ud83d\\ude00",
                "{",
                "}",
                "[",
                ",",
            ]);
            if !is_key && self.0.u8(..8) == 0 {
                self.one_of(&["\\ud800", "\\uDFFF"]);
            }
        }
        self.1.push('"');
    }

    pub fn members(&mut self, levels: usize, is_table: bool) {
        self.1.push('{');
        for i in 0..self.0.usize(..4) {
            if i > 0 {
                self.1.push(',');
            }
            self.space();
            self.string(is_table);
            self.space();
            self.1.push(':');
            self.value(levels);
        }
        self.space();
        self.1.push('}');
    }

    pub fn value(&mut self, levels: usize) {
        self.space();
        match self.0.u8(..if levels == 0 { 5 } else { 8 }) {
            0 => self.one_of(&["null", "true", "false"]),
            1 | 2 => self.one_of(&["0", "-0", "1.50", "1E+400", "-1e-7", "18446744073709551616", "100.0"]),
            3 | 4 => self.string(false),
            5 | 6 => self.members(levels - 1, false),
            _ => {
                self.1.push('[');
                for i in 0..self.0.usize(..4) {
                    if i > 0 {
                        self.1.push(',');
                    }
                    self.value(levels - 1);
                }
                self.space();
                self.1.push(']');
            }
        }
        self.space();
    }
}

type Members = BTreeMap<String, Box<RawValue>>;

/// What there is of each topic, byte for byte but for the order of a table's keys.
fn held(sequencer: &ClockedSequencer) -> BTreeMap<String, BTreeMap<String, String>> {
    let texts = |json: &[u8]| -> BTreeMap<String, String> {
        let members: Members = serde_json::from_slice(json).unwrap();
        members.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect()
    };
    let mut held = BTreeMap::new();
    for row in sequencer.list("", "", 10_000) {
        let mut update = texts(&sequencer.get(&row.topic).unwrap());
        update.remove("stale");
        if row.topic.starts_with('k') {
            let table = update.remove("data").unwrap();
            update.extend(
                texts(table.as_bytes()).into_iter().map(|(key, value)| (format!("key {key}"), value)),
            );
        }
        held.insert(row.topic.to_string(), update);
    }
    held
}

#[test]
fn whatever_is_passed_on_comes_back_byte_for_byte() {
    let seed = 0x57a7e;
    println!("seed {seed:#x}");
    let mut rng = Rng::with_seed(seed);
    let text =
        "[[topic]]\npattern = \"k.*\"\nmode = \"keyed\"\n[[topic]]\npattern = \"s.*\"\nmode = \"stream\"\n";
    let machine =
        crate::system::Machine { cpus: vec![0], cpus_busy: 1, nofile_hard: 1024, no_io_uring: None };
    let config = Config::parse(text, "test", Path::new("."), &machine).unwrap();
    let path = file("arbitrary");
    for _ in 0..30 {
        let first = sequencer(&config);
        for n in 0..40 {
            let mut json = Json(&mut rng, String::new());
            let table = n % 3 == 0;
            let topic = ["k.t", "s.t", "l.t"][n % 3];
            json.space();
            json.1 += &format!("{{\"topic\":\"{topic}{n}\",\"{}\":", if table { "set" } else { "data" });
            if table {
                json.members(4, true)
            } else {
                json.value(4)
            }
            json.1 += "}";
            let item =
                parse_publication(&json.1.clone().into(), 7).unwrap_or_else(|e| panic!("{e}: {:?}", json.1));
            first.try_publish(&[item], Grouping::Single).unwrap();
        }
        write(&first.checkpoint(), &path, 1 << 30).unwrap();
        let restored = load(&path).unwrap();
        assert_eq!(restored.damage, None);
        let second = sequencer(&config);
        let (taken, refused) = second.restore(&restored);
        assert_eq!((taken.len(), refused.len()), (40, 0));
        assert_eq!(held(&second), held(&first));
    }
}
