//! `clients/vectors/simulated.json`: what a shard tells a client that comes and goes, and what that must hold then.
//! The file is what this makes: `WRITE_VECTORS=1 cargo test -p gateway --test vectors` writes it anew.
#![forbid(unsafe_code)]

mod support;

use std::{collections::BTreeMap, fmt::Write as _, path::Path, time::Duration};

use engine::topic::{
    pattern::Pattern,
    policy::{Behind, Keyed, Mode, Policies, Policy, Stream},
};
use serde_json::{Value, json};

use support::{World, config};

const STORIES: u64 = 8;
const ROUNDS: u64 = 30;
const TOPICS: [&str; 1] = ["a.*"];

/// Numbers that are the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// One client's story, and the world in which it happens.
struct Story {
    world: World,
    dice: Dice,
    steps: Vec<Value>,
    peer: usize,
    /// Of the peer's messages so many are in the story.
    told: usize,
    connections: u64,
    /// Epoch and version, once a whole frame came.
    position: Option<(String, u64)>,
    epoch: String,
    /// Newest `data` by topic.
    data: BTreeMap<String, Value>,
    numbers: u64,
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut config = config();
        config.fanout.interval = Duration::from_millis(100);
        // Small ones, so that frames come in parts and positions become too old.
        config.fanout.frame_bytes_max = 700;
        config.limits.tombstones = 3;
        let keyed = Mode::Keyed(Keyed { keys: 64, key_tombstones: 4, table_bytes: 1 << 20 });
        let stream = Mode::Stream(Stream {
            snapshot_updates: 3,
            history_updates: 1000,
            history_bytes: 1 << 20,
            history_age: None,
            behind: Behind::Gap,
        });
        let policy = |pattern, mode| Policy::new(Pattern::parse(pattern).expect("a pattern"), mode);
        config.topics = Policies::new(vec![policy("a.book.*", keyed), policy("a.trade.*", stream)]);
        let mut story = Self {
            world: World::new(config, 64, seed),
            dice: Dice(seed),
            steps: vec![json!({"connects":{}}), json!({"subscribe":{"as":"one","topics":TOPICS}})],
            peer: 0,
            told: 0,
            connections: 0,
            position: None,
            epoch: String::new(),
            data: BTreeMap::new(),
            numbers: 0,
        };
        story.open();
        story
    }

    fn open(&mut self) {
        self.connections += 1;
        self.peer = self.world.connect();
        self.told = self.world.peers[self.peer].texts.len();
        let since = self.position.clone();
        let asked = since.as_ref().map(|(epoch, version)| format!("{epoch}:{version}"));
        let id = format!("$id{}", self.connections);
        self.steps.push(json!({"opened":{}}));
        self.steps
            .push(json!({"sent":{"op":"subscribe","id":id,"sub":"$sub","topics":TOPICS,"since":asked}}));
        let since = since.as_ref().map(|(epoch, version)| (&**epoch, *version));
        self.world.subscribe_since(self.peer, "", &TOPICS, None, since);
        self.listen();
    }

    /// What came since is told.
    fn listen(&mut self) {
        let texts = self.world.peers[self.peer].texts[self.told..].to_vec();
        self.told += texts.len();
        for text in texts {
            let mut message: Value = serde_json::from_str(&text).expect("messages are JSON");
            let op = message["op"].as_str().expect("messages have an op").to_owned();
            if op == "subscribed" {
                self.epoch = message["epoch"].as_str().expect("subscribed has an epoch").to_owned();
                message["id"] = format!("$id{}", self.connections).into();
                message["sub"] = "$sub".into();
            }
            self.steps.push(json!({ "received": message }));
            if !["snapshot", "batch"].contains(&&*op) || message["more"] == true {
                continue;
            }
            if op == "snapshot" && self.position.is_some() {
                self.steps.push(json!({"told":{"of":"one","event":"gap"}}));
            }
            let version = message["version"].as_u64().expect("frames have a version");
            let before = self.position.as_ref().map_or(0, |(_, version)| *version);
            self.position = Some((self.epoch.clone(), version.max(before)));
        }
    }

    fn publish(&mut self) {
        self.numbers += 1;
        let (n, which) = (self.numbers, self.dice.below(5));
        match self.dice.below(10) {
            0..=3 => {
                self.write(&format!("a.x{which}"), json!({"n": n, "text": "x".repeat(which as usize * 30)}))
            }
            4..=5 => self.write(&format!("a.trade.t{}", which % 2), json!(n)),
            6..=8 => {
                let (key, other) = (self.dice.below(9), 10 + self.dice.below(9));
                let reset = if which == 0 { r#","reset":true"# } else { "" };
                let change =
                    format!(r#""set":{{"k{key}":{n}}},"del":["k{other}","k{}"]{reset}"#, (key + 1) % 9);
                self.world.change(&format!("a.book.b{}", which % 2), &change);
            }
            _ => self.remove(&format!("a.x{which}")),
        }
    }

    fn write(&mut self, topic: &str, data: Value) {
        self.world.publish(topic, &data.to_string());
        self.data.insert(topic.to_owned(), data);
    }

    fn remove(&mut self, topic: &str) {
        if self.data.remove(topic).is_some() {
            self.world.remove(topic);
        }
    }

    fn cut(&mut self) {
        self.world.reset(self.peer);
        self.world.settle();
        self.steps.push(json!({"closed":{"code":1006}}));
        for _ in 0..self.dice.below(12) {
            self.publish();
        }
        // More topics go than are remembered, so that the position is too old.
        let gone = if self.dice.below(3) == 0 { 5 } else { 0 };
        for n in 0..gone {
            self.write(&format!("a.gone{n}"), json!(n));
            self.remove(&format!("a.gone{n}"));
        }
        self.world.advance(Duration::from_millis(100 * self.dice.below(4)));
        self.steps.push(json!({"time_ms":0}));
        self.steps.push(json!({"connects":{}}));
        self.open();
    }

    /// When everything has come, exactly what was published is held.
    fn settle(&mut self) {
        self.world.advance(Duration::from_millis(300));
        self.listen();
        let held: BTreeMap<String, Value> = self
            .world
            .publisher
            .current()
            .topics
            .iter()
            .filter_map(|topic| {
                let newest = topic.entries.last().filter(|entry| !entry.gone)?;
                let parsed = |text: &String| serde_json::from_str::<Value>(text).expect("values are JSON");
                let table: BTreeMap<_, _> =
                    newest.table.iter().map(|(key, value)| (key, parsed(value))).collect();
                let value = match self.data.get(&*topic.name) {
                    Some(data) => json!({"v": newest.v, "data": data}),
                    None => json!({"v": newest.v, "table": table}),
                };
                Some((topic.name.to_string(), value))
            })
            .collect();
        self.steps.push(json!({"held": {"one": held}}));
    }

    fn run(mut self) -> Vec<Value> {
        for round in 0..ROUNDS {
            for _ in 0..self.dice.below(6) {
                self.publish();
            }
            self.world.advance(Duration::from_millis(50 * (1 + self.dice.below(3))));
            self.listen();
            if self.dice.below(4) == 0 {
                self.cut();
            }
            if round % 10 == 9 {
                self.settle();
            }
        }
        self.steps
    }
}

/// All stories, a step a line.
fn written() -> String {
    let stories = (1..=STORIES).map(|seed| {
        let steps: Vec<String> = Story::new(seed).run().iter().map(|step| format!("      {step}")).collect();
        format!(
            "  {{\n    \"name\": \"story {seed}\",\n    \"why\": \"What a shard tells a client that comes and goes.\",\n    \
             \"options\": {{\"backoff\": {{\"min\": 0, \"max\": 0}}}},\n    \"steps\": [\n{}\n    ]\n  }}",
            steps.join(",\n")
        )
    });
    let mut text = String::from("[\n");
    write!(text, "{}\n]\n", stories.collect::<Vec<_>>().join(",\n")).expect("a text takes everything");
    text
}

#[test]
fn the_simulated_vectors_are_what_a_shard_tells() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/vectors/simulated.json");
    let text = written();
    for wanted in [
        r#""op":"snapshot""#,
        r#""op":"batch""#,
        r#""more":true"#,
        r#""gone":true"#,
        r#""event":"gap""#,
        r#""del":["#,
    ] {
        assert!(text.contains(wanted), "no story has {wanted}");
    }
    if std::env::var_os("WRITE_VECTORS").is_some() {
        std::fs::write(&path, &text).expect("the file can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "{} is not what a shard tells by now: WRITE_VECTORS=1 writes it anew",
        path.display()
    );
}
