//! Another gateway as the source of everything: its topics, `v`, versions and epoch are taken over, so
//! that clients may move between the two.
//!
//! Only whole batches are applied, each at the version of the frame that ended it. So a position of
//! this gateway is one of the upstream's, at which all its topics are complete.

mod frame;
pub mod keys;

use std::{collections::VecDeque, convert::Infallible, sync::Arc};

use engine::{
    protocol::status::TopicState,
    sequencer::UpstreamBatch,
    topic::{epoch::Epoch, pattern::Pattern},
};

use super::{
    kind::{Context, Kind, Running},
    refusals::Refusals,
    websocket::{
        counters::{Bad, WebsocketCounters, add},
        ended::Ended,
        inlet::{Intake, Quit},
        opening::{Opening, Opens, Target},
        reconnecting::Reconnecting,
        script::Script,
        terms::Terms,
    },
};
use crate::{
    document::write::Text,
    health::{Health, Origin},
    intake::clocked::ClockedSequencer,
    source::link::Link,
};
use frame::UpstreamFrame;
use keys::{Fanwire, FanwireKeys};

/// Whole batches that wait for room before receiving stops.
const WAITING_MAX: usize = 16;

impl Kind for Fanwire {
    fn write(&self, text: &mut Text) {
        self.link.write(text);
        text.keys(&FanwireKeys { interval_ms: self.interval_ms, batch_bytes: self.batch_bytes });
    }

    /// Those that it takes over.
    fn topics(&self) -> Vec<Pattern> {
        self.topics.clone()
    }

    fn link(&self) -> Option<&Link> {
        Some(&self.link)
    }

    fn run(self: Arc<Self>, with: Context) -> Running {
        Box::pin(async move { match run(&self, &with).await {} })
    }
}

/// Runs for good.
async fn run(source: &Fanwire, with: &Context) -> Infallible {
    let (sequencer, counters) = (&with.publisher, with.connections());
    counters.activity.begin(sequencer.now().mono_us);
    let mut chain = Chain::new(sequencer, source, counters, &with.health);
    let terms = Terms { link: &source.link, stale_after: with.stale_after, renew: None };
    let mut link = Reconnecting::new(terms, counters);
    loop {
        let text = chain.subscribe();
        link.serve(&mut Subscribing { source, text }, &mut chain).await;
    }
}

/// What a connection to the upstream begins with.
struct Subscribing<'a> {
    source: &'a Fanwire,
    text: String,
}

impl Opens for Subscribing<'_> {
    async fn open(&mut self) -> Result<Opening, Ended> {
        Ok(Opening { target: Target::of(&self.source.link), script: Script::of(self.text.clone()) })
    }
}

struct Chain<'a> {
    sequencer: &'a ClockedSequencer,
    source: &'a Fanwire,
    counters: &'a WebsocketCounters,
    health: &'a Health,
    /// The upstream's, and the version up to which its batches were read whole.
    epoch: Option<Epoch>,
    version: u64,
    /// `epoch` is another than before, and nothing of it was passed on yet.
    begins: bool,
    /// Something was refused, so the next connection asks for all there is.
    has_holes: bool,
    /// Of the present connection's subscription.
    class: Option<u64>,
    /// Parts of a batch that has not ended.
    parts: UpstreamBatch,
    parts_bytes: usize,
    /// Whole batches that found no room.
    waiting: VecDeque<UpstreamBatch>,
    refusals: Refusals,
    /// A batch came whole since the last publish, if only to say that nothing is missing.
    is_fresh: bool,
}

impl<'a> Chain<'a> {
    fn new(
        sequencer: &'a ClockedSequencer,
        source: &'a Fanwire,
        counters: &'a WebsocketCounters,
        health: &'a Health,
    ) -> Self {
        Self {
            sequencer,
            source,
            counters,
            health,
            epoch: None,
            version: 0,
            begins: true,
            has_holes: false,
            class: None,
            parts: UpstreamBatch::default(),
            parts_bytes: 0,
            waiting: VecDeque::new(),
            refusals: Refusals::default(),
            is_fresh: false,
        }
    }

    /// A connection begins: what to ask for.
    fn subscribe(&mut self) -> String {
        self.class = None;
        self.drop_parts();
        // What it said while it was connected is said again if it still holds.
        self.health.end_all(Origin::Upstream, self.sequencer.now().wall_us);
        let mut op = serde_json::json!({
            "op": "subscribe", "topics": self.source.topics, "interval_ms": self.source.interval_ms,
        });
        let is_whole = self.begins || std::mem::take(&mut self.has_holes);
        if let (Some(epoch), false) = (&self.epoch, is_whole) {
            op["since"] = format!("{epoch}:{}", self.version).into();
        }
        op.to_string()
    }

    fn drop_parts(&mut self) {
        (self.parts, self.parts_bytes) = (UpstreamBatch::default(), 0);
    }

    fn on_subscribed(&mut self, frame: &UpstreamFrame<'_>) -> Result<(), String> {
        self.class = Some(frame.class.ok_or("subscribed without class")?);
        self.drop_parts();
        self.enter(frame.epoch.as_deref().ok_or("subscribed without epoch")?)
    }

    fn enter(&mut self, epoch: &str) -> Result<(), String> {
        let wrong = || format!("epoch {epoch:?} is not 16 lower-case hex digits");
        let epoch = Epoch::parse(epoch).ok_or_else(wrong)?;
        if self.epoch != Some(epoch) {
            (self.epoch, self.begins, self.version) = (Some(epoch), true, 0);
        }
        Ok(())
    }

    /// What the upstream says of topics is passed on.
    fn on_status(&self, frame: &UpstreamFrame<'_>, now_us: i64) -> Result<(), String> {
        let name = frame.state.as_deref().unwrap_or_default();
        let state = TopicState::parse(name).ok_or_else(|| format!("a status with state {name:?}"))?;
        let parse = |topic: &std::borrow::Cow<'_, str>| {
            Pattern::parse(topic).map_err(|bad| format!("a status of {topic:?}: {bad}"))
        };
        let topics = frame.topics.iter().map(parse).collect::<Result<_, _>>()?;
        if frame.topics.is_empty() {
            return Err("a status of no topics".to_owned());
        }
        let reason = frame.reason.as_deref().unwrap_or_default();
        // What finds no room was counted and told.
        let _ = self.health.set(Origin::Upstream, topics, state, reason, now_us);
        Ok(())
    }

    /// A snapshot or a batch, or a part of one.
    fn on_updates(&mut self, frame: &UpstreamFrame<'_>, due_us: i64) -> Result<(), String> {
        if self.class.is_none() || frame.class != self.class {
            return Ok(());
        }
        let version = frame.version.ok_or("a frame without version")?;
        let is_snapshot = frame.op == "snapshot";
        if let (Some(epoch), true) = (&frame.epoch, is_snapshot) {
            self.enter(epoch)?;
        }
        match frame.from {
            _ if is_snapshot => {}
            None => return Err("a batch without from".to_owned()),
            Some(from) if from > self.version => {
                return Err(format!("a batch from {from}, but only {} was reached", self.version));
            }
            Some(from) if from > version => return Err(format!("a batch from {from} back to {version}")),
            Some(_) => {}
        }
        let (updates, bytes) = frame.upstream_updates(due_us)?;
        self.parts_bytes += bytes;
        if self.parts_bytes > self.source.batch_bytes {
            let max = self.source.batch_bytes;
            self.drop_parts();
            return Err(format!("a batch in parts holds more than batch_bytes = {max} bytes; raise that"));
        }
        add(&self.counters.publications, updates.len() as u64);
        self.parts.updates.extend(updates);
        if !frame.more {
            self.end_batch(version, is_snapshot, frame.oldest);
        }
        Ok(())
    }

    /// The last part is there.
    fn end_batch(&mut self, version: u64, is_snapshot: bool, oldest_us: Option<i64>) {
        let mut upstream = std::mem::take(&mut self.parts);
        self.parts_bytes = 0;
        self.is_fresh = true;
        if !is_snapshot && !self.begins && version <= self.version && upstream.updates.is_empty() {
            return;
        }
        self.version = self.version.max(version);
        if let Some(oldest_us) = oldest_us {
            let since = |publication: &mut engine::sequencer::Publication| {
                publication.due_us = publication.due_us.min(oldest_us)
            };
            upstream.updates.iter_mut().for_each(|update| since(&mut update.publication));
        }
        let begins = std::mem::take(&mut self.begins);
        upstream.epoch = self.epoch.filter(|_| begins);
        upstream.is_whole = is_snapshot || begins;
        upstream.version = self.version;
        self.waiting.push_back(upstream);
    }
}

impl Intake for Chain<'_> {
    type Next = Self;

    fn take(&mut self, message: &[u8], _is_binary: bool) -> Result<Option<String>, Quit> {
        let now = self.sequencer.now();
        add(&self.counters.messages, 1);
        let frame = UpstreamFrame::parse(message).inspect_err(|_| {
            self.counters.bad(Bad::Json);
        })?;
        let taken = match &*frame.op {
            // Another is what the upstream grants as `auto`, and none of this gateway's.
            "subscribed" if frame.sub.as_deref().unwrap_or_default().is_empty() => self.on_subscribed(&frame),
            "snapshot" | "batch" => self.on_updates(&frame, now.wall_us),
            "status" => self.on_status(&frame, now.wall_us),
            "error" => Err(format!("it refuses: {}", frame.reason.as_deref().unwrap_or("no reason given"))),
            _ => {
                add(&self.counters.ignored, 1);
                Ok(())
            }
        };
        Ok(taken.map(|()| None)?)
    }

    fn publish(&mut self) -> bool {
        while let Some(upstream) = self.waiting.front() {
            let Some(refused) = self.sequencer.try_follow(upstream) else { break };
            self.waiting.pop_front();
            for why in refused {
                self.has_holes = true;
                self.counters.bad(Bad::Refused);
                self.refusals.tell(self.counters.name(), &why, self.sequencer);
            }
        }
        if !self.has_room() {
            add(&self.counters.waits, 1);
        }
        let is_fresh = std::mem::take(&mut self.is_fresh);
        if is_fresh {
            self.counters.activity.touch(self.sequencer.now().mono_us);
        }
        is_fresh
    }

    /// What was missed comes first on the next one.
    fn lose(&mut self) {}

    fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn has_room(&self) -> bool {
        self.waiting.len() < WAITING_MAX
    }
}
