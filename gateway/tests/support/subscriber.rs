//! A model of one subscriber: it holds what it was sent and checks every frame against what the
//! publisher numbered. Whatever it asserts is a promise of PROTOCOL.md, "What the gateway sends" and "Modes of a topic".

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use engine::{
    access::rules::{Place, Rules},
    protocol::{encoding::Encoding, request::AUTO},
    settings::{Fanout, Overload},
    topic::pattern::Pattern,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    epoch::Epoch,
    held::{First, Sub},
    pace::Moment,
    states::States,
    tokens::Pass,
};

/// A text frame from the gateway.
#[derive(Debug, Deserialize)]
pub struct Frame<'a> {
    pub op: &'a str,
    #[serde(borrow)]
    pub id: Option<&'a RawValue>,
    pub sub: Option<&'a str>,
    pub class: Option<u64>,
    pub topics: Option<Vec<&'a str>>,
    pub interval_ms: Option<u64>,
    pub epoch: Option<&'a str>,
    pub ts: Option<i64>,
    pub from: Option<u64>,
    pub version: Option<u64>,
    pub oldest: Option<i64>,
    #[serde(default)]
    pub more: bool,
    #[serde(borrow)]
    pub updates: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    pub code: Option<&'a RawValue>,
    pub active: Option<bool>,
    pub interval_ms_max: Option<u64>,
    pub state: Option<&'a str>,
    #[serde(rename = "as")]
    pub encoded: Option<&'a str>,
    pub conn: Option<&'a str>,
    pub exp: Option<i64>,
}

/// What a client asked, answered in order.
#[derive(Debug, Clone)]
pub struct Asked {
    pub id: Option<u64>,
    pub op: AskedOp,
}

impl Asked {
    /// The gateway asks it for its client, or the request did.
    pub fn is_own(&self) -> bool {
        self.id.is_none() && !matches!(self.op, AskedOp::Bad)
    }
}

#[derive(Debug, Clone)]
pub enum AskedOp {
    Subscribe {
        sub: String,
        topics: Vec<String>,
        interval_ms: Option<u64>,
        since: Option<(String, u64)>,
    },
    Unsubscribe {
        sub: String,
        topics: Option<Vec<String>>,
    },
    Ping,
    /// Shows a token.
    Auth {
        pass: Pass,
    },
    /// Anything that is to be refused with `error`.
    Bad,
}

/// Which class number stood for what, over all connections of a gateway.
#[derive(Debug, Default)]
pub struct Registry(pub HashMap<u64, Meaning>);

/// Patterns, interval, and how frames are sent.
pub type Meaning = (BTreeSet<String>, u64, (bool, Encoding));

/// What a frame is judged by.
pub struct Judge<'a> {
    /// All there were so far.
    pub epochs: &'a [Epoch],
    pub registry: &'a mut Registry,
    pub fanout: &'a Fanout,
    pub overload: &'a Overload,
    pub rules: &'a Rules,
    /// Whether compressed frames were agreed, and how messages are encoded.
    pub wire: (bool, Encoding),
    pub now_us: u64,
    /// µs since the Unix epoch.
    pub wall_us: i64,
    /// Connections of a subject may be limited.
    pub limits_subjects: bool,
    /// See [`Moment`].
    pub calm_us: Option<u64>,
    pub is_still: bool,
    pub reloaded_us: u64,
}

#[derive(Debug, Default)]
pub struct Subscriber {
    /// The token that was accepted last.
    pub pass: Option<Pass>,
    /// It was told that this one expires.
    pub is_told: bool,
    /// It has unsubscribed from what is granted as `auto`, and gets no more of that before its next token.
    pub declines_auto: bool,
    /// Subjects that its roles ask for, of those that there were with its token and since.
    pub roles: BTreeSet<String>,
    /// Other rules hold since it was judged last, or may.
    pub may_be_judged: bool,
    /// What it had asked and was not answered when the rules changed, and whether the answer at hand is to such an op.
    pub doubtful: usize,
    is_doubtful: bool,
    /// Its connection as the gateway calls it.
    pub conn: Option<String>,
    /// One of its tokens was revoked.
    pub may_be_revoked: bool,
    /// Tokens accepted, what was taken from it then, and errors for want of a grant.
    pub accepted: u64,
    pub taken: u64,
    pub refused: u64,
    pub subs: Vec<Sub>,
    /// Place of the newest epoch it was told of.
    epoch: usize,
    pub asked: VecDeque<Asked>,
    /// Patterns of the answer whose parts are coming.
    told: BTreeSet<String>,
    pub states: States,
    pub errors: usize,
    pub draining: bool,
    /// The gateway says that it is overloaded, and how often it began to.
    pub overloaded: bool,
    pub overloads: u64,
    /// What came, counted.
    pub batches: u64,
    pub snapshots: u64,
    pub heartbeats: u64,
    pub resumed: u64,
    pub parts: u64,
    pub parts_of_answer: u64,
    pub restarts: u64,
    pub statuses: u64,
    /// Batches that so many updates made come before their interval had passed.
    pub early: u64,
    /// The last message was a status: others of the same row may have been cut off.
    ends_in_status: bool,
}

impl Subscriber {
    pub fn sub(&self, name: &str) -> Option<&Sub> {
        self.subs.iter().find(|sub| sub.name == name)
    }

    /// Takes one text frame; panics where it breaks a promise.
    pub fn take(&mut self, text: &str, judge: &mut Judge<'_>) {
        let frame: Frame = serde_json::from_str(text).unwrap_or_else(|e| panic!("not JSON: {e}: {text}"));
        self.ends_in_status = frame.op == "status";
        if matches!(frame.op, "subscribed" | "unsubscribed") && frame.id.is_none() {
            self.expect_judged(judge);
        }
        match frame.op {
            "snapshot" | "batch" => self.on_data(&frame, text.len(), judge),
            "subscribed" | "unsubscribed" if !self.is_whole(&frame, text.len(), judge) => {}
            "subscribed" => self.on_subscribed(&frame, judge),
            "unsubscribed" => self.on_unsubscribed(&frame, judge),
            "error" => self.on_error(&frame, judge),
            "authorized" => self.on_authorized(&frame, judge),
            "pong" => assert!(matches!(self.answered(&frame), AskedOp::Ping) && frame.ts.is_some(), "{text}"),
            "notice" => match frame.code.map(RawValue::get) {
                Some("\"draining\"") => self.draining = true,
                Some("\"overload\"") => self.on_overload(&frame, judge),
                Some("\"token_expiring\"") => self.on_expiring(&frame, judge),
                other => panic!("a notice {other:?}: {text}"),
            },
            "status" => {
                let topics = frame.topics.as_ref().expect("a status has topics");
                let single = topics.len() == 1;
                assert!(
                    text.len() <= judge.fanout.frame_bytes_max || single,
                    "a status of {} bytes",
                    text.len()
                );
                self.states.take(topics, frame.state.expect("a status has a state"), &self.subs);
                self.statuses += 1;
            }
            other => panic!("an unknown op {other}: {text}"),
        }
    }

    /// Whether an `unsubscribe` of it is not answered.
    pub fn is_unsubscribing(&self) -> bool {
        self.asked.iter().any(|asked| matches!(asked.op, AskedOp::Unsubscribe { .. }))
    }

    /// Whether a close that comes now may have cut off messages in a row, between two of them.
    pub fn may_be_cut(&self) -> bool {
        let has_parts = self.subs.iter().any(|sub| sub.parts.is_some()) || !self.told.is_empty();
        has_parts || !self.asked.is_empty() || self.ends_in_status
    }

    fn on_error(&mut self, frame: &Frame<'_>, judge: &Judge<'_>) {
        let asked = self.answered(frame);
        let code = frame.code.map(RawValue::get);
        match &asked {
            AskedOp::Bad => {
                assert!(code == Some("4000") || self.waits(judge) && code == Some("4401"), "{frame:?}");
                self.errors += u64::from(code == Some("4000")) as usize;
            }
            AskedOp::Auth { pass } => {
                let other = self.pass.as_ref().is_some_and(|held| held.sub != pass.sub);
                let is_over = pass.exp_s * 1_000_000 + judge.rules.leeway_us <= judge.wall_us;
                let may_be_refused = match code {
                    Some("4401") => pass.is_bad || other || is_over || self.may_be_revoked,
                    Some("4403") => !judge.rules.from.contains(&Place::Op),
                    Some("4429") => pass.connections.is_some() || judge.limits_subjects && pass.sub.is_some(),
                    _ => false,
                };
                assert!(may_be_refused, "{pass:?} was refused: {frame:?}");
            }
            _ if self.waits(judge) => assert_eq!(code, Some("4401"), "{frame:?}"),
            AskedOp::Subscribe { sub, .. } if sub == AUTO => {
                assert_eq!(code, Some("4000"), "{frame:?} of {asked:?}");
                self.errors += 1;
            }
            AskedOp::Subscribe { topics, .. } => {
                assert_eq!(code, Some("4403"), "{frame:?} of {asked:?}");
                assert!(
                    topics.iter().any(|topic| !self.may(topic, judge)),
                    "{topics:?} are granted: {frame:?}"
                );
                self.refused += 1;
            }
            other => panic!("{other:?} was refused: {frame:?}"),
        }
    }

    /// It begins and ends by turns.
    fn on_overload(&mut self, frame: &Frame<'_>, judge: &Judge<'_>) {
        let active = frame.active.expect("an overload begins or ends");
        assert_eq!(active, !self.overloaded, "an overload begins twice, or ends twice");
        let max = judge.overload.interval_max.as_millis() as u64;
        assert_eq!(frame.interval_ms_max, active.then_some(max));
        self.overloaded = active;
        self.overloads += u64::from(active);
    }

    /// Whether it is the last part of an answer; what stood in those before it is kept.
    fn is_whole(&mut self, frame: &Frame<'_>, bytes: usize, judge: &Judge<'_>) -> bool {
        let topics = frame.topics.as_ref().expect("an answer has topics");
        let max = judge.fanout.frame_bytes_max;
        assert!(bytes <= max || topics.len() == 1 || max < 1024, "an answer of {bytes} bytes");
        let (asked, id) = (self.asked.front().and_then(|asked| asked.id), frame.id.map(RawValue::get));
        assert!(id.is_none_or(|id| Some(id) == asked.map(|id| id.to_string()).as_deref()), "{frame:?}");
        self.parts_of_answer += u64::from(frame.more);
        self.told.extend(topics.iter().map(|topic| topic.to_string()));
        !frame.more
    }

    pub(super) fn answered(&mut self, frame: &Frame<'_>) -> AskedOp {
        let asked = self.asked.pop_front().unwrap_or_else(|| panic!("{} answers nothing", frame.op));
        let id = frame.id.map(|id| id.get().parse().expect("ids are integers here"));
        assert_eq!(id, asked.id, "{} answers out of turn: {asked:?}", frame.op);
        self.is_doubtful = self.doubtful > 0 && id.is_some();
        self.doubtful -= usize::from(self.is_doubtful);
        asked.op
    }

    fn on_subscribed(&mut self, frame: &Frame<'_>, judge: &mut Judge<'_>) {
        let asked = self.answered(frame);
        let AskedOp::Subscribe { sub, topics, interval_ms, since } = asked else {
            panic!("subscribed answers {asked:?}")
        };
        assert_eq!(frame.sub, Some(&*sub));
        // What was being built when the rules changed may still come.
        let is_long = judge.fanout.build_bytes < 1 << 20;
        if sub != AUTO && !(self.is_doubtful && is_long) {
            topics.iter().for_each(|topic| assert!(self.may(topic, judge), "{topic} is not granted"));
        }
        self.learn_epoch(frame.epoch.expect("subscribed has an epoch"), judge);
        let least_ms = self.least_ms(judge);
        let class = frame.class.expect("subscribed has a class");
        let version = frame.version.expect("subscribed has a version");
        let at = self.subs.iter().position(|s| s.name == sub).unwrap_or_else(|| {
            self.subs.push(Sub::new(&sub, self.epoch));
            self.subs.len() - 1
        });
        let held = &mut self.subs[at];
        assert_eq!(held.epoch, self.epoch, "subscribed tells an epoch that {sub:?} was not brought to");
        let epoch = &judge.epochs[self.epoch];
        let (before, fresh) = ((held.patterns.clone(), held.interval_ms), held.patterns.is_empty());
        held.patterns.extend(topics.iter().cloned());
        held.interval_ms = match interval_ms {
            None if !fresh => held.interval_ms.max(on_grid(judge.fanout, least_ms)),
            asked_ms => offered(judge.fanout, asked_ms, least_ms),
        };
        let told = std::mem::take(&mut self.told);
        assert_eq!(told, held.patterns, "subscribed tells the whole set");
        assert_eq!(frame.interval_ms, Some(held.interval_ms));
        held.change_class(class, before == (held.patterns.clone(), held.interval_ms), judge);
        held.matched.clear();
        held.heard_us = judge.now_us;
        let patterns: Vec<Pattern> = topics.iter().map(|t| Pattern::parse(t).unwrap()).collect();
        if let (true, Some((of, since))) = (fresh, &since)
            && **of == *epoch.name
            && *since == version
        {
            // As if it had been held since then.
            held.version = version;
            held.pretend(epoch, version);
        }
        if fresh {
            held.version = version;
        }
        self.states.forget(&patterns);
        held.first = Some(First { patterns, since, version });
        self.check_classes();
    }

    fn on_unsubscribed(&mut self, frame: &Frame<'_>, judge: &mut Judge<'_>) {
        let asked = self.answered(frame);
        let AskedOp::Unsubscribe { sub, topics } = asked else { panic!("unsubscribed answers {asked:?}") };
        assert_eq!(frame.sub, Some(&*sub));
        let told = std::mem::take(&mut self.told);
        let Some(at) = self.subs.iter().position(|s| s.name == sub) else {
            assert_eq!((told.len(), frame.class), (0, None), "nothing was subscribed as {sub:?}");
            return;
        };
        // Without an `id` the gateway asked.
        self.declines_auto |= sub == AUTO && frame.id.is_some();
        let held = &mut self.subs[at];
        let removed: BTreeSet<String> = match topics {
            None => held.patterns.clone(),
            Some(topics) => topics.into_iter().filter(|t| held.patterns.contains(t)).collect(),
        };
        assert_eq!(told, removed, "unsubscribed tells what was removed");
        let version = frame.version.expect("unsubscribed has a version");
        assert_eq!(held.epoch, self.epoch, "unsubscribed before {sub:?} was brought to the epoch");
        let epoch = &judge.epochs[held.epoch];
        held.move_to(version, epoch);
        held.heard_us = judge.now_us;
        held.patterns.retain(|p| !removed.contains(p));
        held.matched.clear();
        if held.patterns.is_empty() {
            assert_eq!(frame.class, None, "{sub:?} has ended");
            self.subs.remove(at);
        } else {
            let class = frame.class.expect("what is left has a class");
            held.change_class(class, removed.is_empty(), judge);
            held.drop_unmatched(epoch);
        }
        self.check_classes();
    }

    /// Takes an epoch that a frame tells; they follow each other.
    fn learn_epoch(&mut self, name: &str, judge: &Judge<'_>) {
        let at = judge.epochs.iter().position(|epoch| *epoch.name == *name);
        let at = at.unwrap_or_else(|| panic!("{name} never was an epoch"));
        assert!(at >= self.epoch, "back to epoch {name}");
        self.restarts += u64::from(at > self.epoch && !self.subs.is_empty());
        self.epoch = at;
    }

    fn check_classes(&self) {
        let classes: BTreeSet<u64> = self.subs.iter().map(|sub| sub.class).collect();
        assert_eq!(classes.len(), self.subs.len(), "two live subscriptions share a class");
    }

    fn on_data(&mut self, frame: &Frame<'_>, bytes: usize, judge: &mut Judge<'_>) {
        let class = frame.class.expect("every frame has a class");
        if let Some(epoch) = frame.epoch {
            assert_eq!(frame.op, "snapshot", "only a snapshot begins an epoch");
            self.learn_epoch(epoch, judge);
        }
        let Some(sub) = self.subs.iter_mut().find(|sub| sub.class == class) else {
            panic!("a {} of class {class}, which is no live subscription", frame.op)
        };
        if frame.epoch.is_some() && sub.epoch != self.epoch {
            sub.enter(self.epoch);
        }
        assert_eq!(sub.epoch, self.epoch, "a {} of an epoch that has ended", frame.op);
        let updates = frame.updates.as_ref().expect("every frame has updates");
        let single = updates.len() == 1;
        assert!(bytes <= judge.fanout.frame_bytes_max || single, "a frame of {bytes} bytes");
        assert!(frame.ts.is_some(), "every frame has a ts");
        assert_eq!(frame.op == "batch", frame.from.is_some(), "batches have a from, snapshots have none");
        let version = frame.version.expect("every frame has a version");
        match sub.parts.replace((frame.from, version)) {
            Some(first) => assert_eq!(first, (frame.from, version), "parts differ"),
            None => sub.updates.clear(),
        }
        for update in updates {
            let sent = judge.epochs[self.epoch].find(update.get());
            sub.updates.push(sent.unwrap_or_else(|| panic!("nobody published {}", update.get())));
        }
        if frame.more {
            self.parts += 1;
            assert_eq!(frame.oldest, None, "oldest stands on the last part");
            return;
        }
        sub.parts = None;
        match frame.from {
            Some(_) if sub.updates.is_empty() => self.heartbeats += 1,
            Some(_) => self.batches += 1,
            None => self.snapshots += 1,
        }
        self.resumed +=
            u64::from(sub.first.as_ref().is_some_and(|f| f.since.is_some()) && frame.from.is_some());
        let moment = Moment {
            now_us: judge.now_us,
            calm_us: judge.calm_us,
            is_still: judge.is_still,
            is_hurried: self.draining || self.may_be_judged || !self.asked.is_empty(),
            flush_updates: judge.fanout.flush_updates,
            silence_us: judge.fanout.heartbeat.as_micros() as u64 / 8 * 7,
            reloaded_us: judge.reloaded_us,
        };
        sub.apply(frame, moment, judge);
        self.early += std::mem::take(&mut sub.pace.early);
    }

    /// Every subscription holds exactly the newest state.
    pub fn check_newest(&self, epochs: &[Epoch]) {
        let epoch = epochs.last().expect("there is always one");
        for sub in &self.subs {
            assert_eq!(sub.epoch + 1, epochs.len(), "{:?} is in an epoch that has ended", sub.name);
            assert!(sub.first.is_none() && sub.parts.is_none(), "{:?} still waits", sub.name);
            for (at, topic) in epoch.topics.iter().enumerate() {
                let newest = topic.entries.last().filter(|entry| !entry.gone).map(|entry| entry.v);
                let held = sub.held.get(at).filter(|held| held.lives).map(|held| held.v);
                if sub.matches(&topic.name) {
                    assert_eq!(held, newest, "{:?} at {} of {}", sub.name, sub.version, topic.name);
                }
            }
        }
    }
}

/// The contract's rounding of intervals.
fn offered(fanout: &Fanout, asked_ms: Option<u64>, least_ms: u64) -> u64 {
    let ms = |duration: Duration| duration.as_millis() as u64;
    let asked = asked_ms.unwrap_or(ms(fanout.interval)).max(ms(fanout.interval_min)).max(least_ms);
    let mut menu = fanout.interval_menu.iter().map(|entry| ms(*entry));
    let offered = menu.clone().find(|entry| *entry >= asked).or(menu.next_back()).unwrap_or(asked);
    on_grid(fanout, offered.max(least_ms))
}

fn on_grid(fanout: &Fanout, ms: u64) -> u64 {
    ms.next_multiple_of(fanout.flush_grid.as_millis() as u64)
}
