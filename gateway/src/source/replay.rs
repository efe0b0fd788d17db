//! Plays a feed file: one JSON object a line, `{"at_us":N,"topic":"…","data":…}`, plain or `.gz`.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use bytes::Bytes;
use engine::{
    json, keys,
    sequencer::{
        Body, Grouping, Publication, Refused,
        publication_json::{PublicationJson, Value},
        seq::Feed,
    },
    settings::{Group, Limits},
    topic::{name::check_topic, pattern::Pattern},
};
use flate2::bufread::MultiGzDecoder;
use tokio::sync::mpsc;

use super::{
    activity::Activity,
    kind::{Context, Declared, Given, Kind, Running},
    refusals::Refusals,
};
use crate::{
    document::{read::Section, write::Text},
    intake::publisher::Publisher,
};

/// Lines and bytes that the reader hands over at once, and how often ahead of what is played.
const CHUNK_LINES: usize = 1024;
const CHUNK_BYTES: usize = 256 * 1024;
const CHUNKS_AHEAD: usize = 4;
/// Due updates are published this often.
const TICK: Duration = Duration::from_millis(1);
/// What a pass over the file lasts at least, so that a file of one moment does not repeat without end in no time.
const PASS_US_MIN: u64 = 1_000;

keys! {
    /// of kind = "replay": a recorded feed, one update a line.
    pub(super) struct ReplayKeys in "source" {
        /// Relative to the configuration file. A `NAME.gz` is unpacked on the way.
        path: PathBuf = text_or("feed.ndjson");
        /// How many times as fast as recorded. 0: as fast as it is taken.
        speed: f64 = number(1.0, 0.0..=1e6);
        /// At the end the file begins again, with `v` going on. false: the last values stay.
        repeat: bool = flag(true);
    }
}

/// A feed file to play.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    pub path: PathBuf,
    /// 0: as fast as it is taken.
    pub speed: f64,
    pub repeat: bool,
}

impl Declared for Replay {
    const NAME: &'static str = "replay";
    const GROUPS: &'static [Group] = &[Group::of::<ReplayKeys>()];

    fn read(section: &mut Section, given: &Given) -> Option<Self> {
        let ReplayKeys { path, speed, repeat } = section.keys();
        let path = given.dir.join(&path);
        if !path.exists() {
            let line = section.named("path", ()).line.unwrap_or(section.line_of("kind"));
            let text =
                format!("path: there is no file {}; paths are relative to the config file", path.display());
            section.problem(line, text);
        }
        Some(Self { path, speed, repeat })
    }
}

impl Kind for Replay {
    fn write(&self, text: &mut Text) {
        let Self { path, speed, repeat } = self.clone();
        text.keys(&ReplayKeys { path, speed, repeat });
    }

    /// What a file holds is known when it was played.
    fn topics(&self) -> Vec<Pattern> {
        Vec::new()
    }

    fn run(self: Arc<Self>, with: Context) -> Running {
        Box::pin(async move { run(&self, &with.publisher, &with.limits, &with.activity).await })
    }
}

#[derive(Debug)]
struct FeedLine {
    at_us: u64,
    topic: Arc<str>,
    body: Body,
}

#[derive(Debug)]
enum Chunk {
    Lines(Vec<FeedLine>),
    /// The end of the file; it begins again where it repeats.
    End {
        last_at_us: u64,
    },
    Bad(String),
}

/// Plays the file, `speed` times as fast as it was written, again and again with `repeat`. Waits where an
/// inbox is full; due times stay as they are. `[limits] publish_bytes` holds for a line; what other limits
/// refuse is left out alone.
pub async fn run(
    source: &Replay,
    publisher: &Publisher,
    limits: &Limits,
    activity: &Activity,
) -> Result<(), String> {
    let Replay { ref path, speed, repeat } = *source;
    let (sender, mut chunks) = mpsc::channel(CHUNKS_AHEAD);
    let file = FeedFile { path: path.to_owned(), line_bytes_max: limits.publish_bytes };
    let reader = thread::Builder::new().name("replay".to_owned());
    reader
        .spawn(move || file.read_passes(repeat, &sender))
        .map_err(|e| format!("cannot start a thread to read {}: {e}", path.display()))?;
    let feed = Feed { source: publisher.enroll(), connection: 0 };
    let (refusals, pass_mono_us) = (Refusals::default(), publisher.now().mono_us as f64);
    let mut player = Player { publisher, activity, feed, refusals, speed, pass_mono_us };
    while let Some(chunk) = chunks.recv().await {
        match chunk {
            Chunk::Lines(lines) => player.play(&lines).await,
            Chunk::End { last_at_us } => player.end_pass(last_at_us),
            Chunk::Bad(error) => return Err(error),
        }
    }
    Ok(())
}

struct Player<'a> {
    publisher: &'a Publisher,
    activity: &'a Activity,
    feed: Feed,
    refusals: Refusals,
    speed: f64,
    /// When this pass began. µs, monotonic; a fraction would add up over passes.
    pass_mono_us: f64,
}

impl Player<'_> {
    async fn play(&mut self, lines: &[FeedLine]) {
        let mut played = 0;
        while played < lines.len() {
            let now = self.publisher.now();
            let due = |line: &FeedLine| self.due_mono_us(line, now.mono_us);
            let ready = lines[played..].partition_point(|line| due(line) <= now.mono_us);
            if ready == 0 {
                let wait = Duration::from_micros(due(&lines[played]) - now.mono_us);
                tokio::time::sleep(wait.max(TICK)).await;
                continue;
            }
            let feed = Some(self.feed);
            let publication = |line: &FeedLine| {
                let due_us = now.wall_us - now.mono_us as i64 + due(line) as i64;
                let (topic, body) = (line.topic.clone(), line.body.clone());
                Publication { feed, ts_us: Some(due_us), ..Publication::new(topic, body, due_us) }
            };
            let publications: Vec<Publication> =
                lines[played..played + ready].iter().map(publication).collect();
            let mut done = 0;
            while let Err(Refused { index, why }) =
                self.publisher.publish(&publications[done..], Grouping::Single).await
            {
                done += index + 1;
                self.refusals.tell(&self.activity.name, &why, self.publisher);
            }
            self.activity.touch(now.mono_us);
            played += ready;
        }
    }

    fn due_mono_us(&self, line: &FeedLine, now_us: u64) -> u64 {
        if self.speed == 0.0 { now_us } else { (self.pass_mono_us + line.at_us as f64 / self.speed) as u64 }
    }

    fn end_pass(&mut self, last_at_us: u64) {
        if self.speed > 0.0 {
            self.pass_mono_us += last_at_us.max(PASS_US_MIN) as f64 / self.speed;
        }
    }
}

/// The file, read on a thread of its own.
struct FeedFile {
    path: PathBuf,
    line_bytes_max: usize,
}

impl FeedFile {
    fn read_passes(&self, repeat: bool, out: &mpsc::Sender<Chunk>) {
        loop {
            match self.read_pass(out) {
                Ok(true) if repeat => {}
                Ok(_) => return,
                // The player may have gone; then nobody needs to know.
                Err(error) => return drop(out.blocking_send(Chunk::Bad(error))),
            }
        }
    }

    /// `false`: nobody listens any more.
    fn read_pass(&self, out: &mpsc::Sender<Chunk>) -> Result<bool, String> {
        let (name, line_bytes_max) = (self.path.display(), self.line_bytes_max);
        let mut lines = self.open().map_err(|e| format!("cannot open {name}: {e}"))?;
        let (mut chunk, mut chunk_bytes) = (Vec::new(), 0);
        let (mut number, mut last_at_us, mut any) = (0u64, 0, false);
        let mut line = Vec::new();
        loop {
            line.clear();
            number += 1;
            let longest = line_bytes_max as u64 + 1;
            let read = (&mut lines).take(longest).read_until(b'\n', &mut line);
            let read = read.map_err(|e| format!("{name}:{number}: cannot be read: {e}"))?;
            if read as u64 == longest && line.last() != Some(&b'\n') {
                return Err(format!(
                    "{name}:{number}: longer than [limits] publish_bytes = {line_bytes_max}"
                ));
            }
            // Files that were joined have marks within.
            let text = json::skip_byte_order_mark(&line);
            if !text.trim_ascii().is_empty() {
                let parsed =
                    self.parse(text, last_at_us).map_err(|reason| format!("{name}:{number}: {reason}"))?;
                last_at_us = parsed.at_us;
                any = true;
                chunk_bytes += line.len();
                chunk.push(parsed);
            }
            if (read == 0 && !chunk.is_empty()) || chunk.len() == CHUNK_LINES || chunk_bytes >= CHUNK_BYTES {
                chunk_bytes = 0;
                if out.blocking_send(Chunk::Lines(std::mem::take(&mut chunk))).is_err() {
                    return Ok(false);
                }
            }
            if read == 0 {
                if !any {
                    return Err(format!("{name}: holds no updates"));
                }
                return Ok(out.blocking_send(Chunk::End { last_at_us }).is_ok());
            }
        }
    }

    fn open(&self) -> io::Result<Box<dyn BufRead>> {
        let file = BufReader::new(File::open(&self.path)?);
        let packed = self.path.extension().is_some_and(|end| end == "gz");
        Ok(if packed { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) })
    }

    fn parse(&self, json: &[u8], last_at_us: u64) -> Result<FeedLine, String> {
        let line = PublicationJson::parse(json)?;
        let at_us = line.at_us.ok_or("at_us is missing: microseconds from the start of the file")?;
        if at_us < last_at_us {
            return Err(format!(
                "at_us = {at_us} goes back, the line before has {last_at_us}; sort the file"
            ));
        }
        check_topic(&line.topic).map_err(|bad| bad.to_string())?;
        let body = match line.value {
            Value::Data(data) => Body::Data(Bytes::copy_from_slice(data.as_bytes())),
            Value::Changes(changes) => Body::Changes(changes.into()),
        };
        Ok(FeedLine { at_us, topic: line.topic.as_ref().into(), body })
    }
}
