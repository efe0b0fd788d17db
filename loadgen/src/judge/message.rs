//! Messages of the gateway (gateway/PROTOCOL.md), parsed once for all clients that receive the same bytes.

use std::{borrow::Cow, rc::Rc};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    catalog::{Catalog, KEYED, fingerprint},
    table::{self, Delta, Members, Text},
};

/// One message, as far as it concerns a subscriber.
#[derive(Debug, Clone)]
pub enum Message {
    Subscribed(Rc<Subscribed>),
    /// A batch, a snapshot, or a part of either.
    Frame(Rc<UpdateFrame>),
    /// A token was accepted.
    Authorized {
        answers: Option<AuthSent>,
    },
    Error {
        code: i64,
        reason: Rc<str>,
        answers: Option<AuthSent>,
    },
    Notice {
        code: Rc<str>,
        /// 0 where the notice names none.
        reconnect_after_ms: u32,
    },
    /// `pong`, `status` and what later versions add.
    Other,
    /// Not what the contract describes; says why.
    Malformed(Rc<str>),
}

/// When the `auth` was sent that a message answers: its `id`, as text. µs since the run's origin. Other ops of ours
/// have numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthSent {
    pub at_us: u64,
}

impl AuthSent {
    fn of(id: Option<&RawValue>) -> Option<Self> {
        let text = id?.get().strip_prefix('"')?.strip_suffix('"')?;
        text.parse().ok().map(|at_us| Self { at_us })
    }
}

/// The answer to a subscribe.
#[derive(Debug)]
pub struct Subscribed {
    pub class: u64,
    pub version: u64,
    pub epoch: u64,
    pub interval_ms: u64,
}

/// A batch or a snapshot, or a part.
#[derive(Debug, Default)]
pub struct UpdateFrame {
    pub snapshot: bool,
    pub class: u64,
    /// Snapshots have none; 0 there.
    pub from: u64,
    pub version: u64,
    /// µs since the Unix epoch.
    pub oldest: Option<u64>,
    pub more: bool,
    /// Present in a snapshot that begins another life of the gateway.
    pub epoch: Option<u64>,
    pub updates: Vec<Update>,
    /// Of those that change tables.
    deltas: Vec<Delta>,
    /// Our own atomic groups that are touched, each once.
    pub groups: Vec<u32>,
    /// Promises that the frame breaks all by itself.
    pub flaws: Vec<&'static str>,
}

/// One update of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update {
    /// Its place in the catalog.
    pub word: u32,
    pub gone: bool,
    /// In one of our own atomic groups.
    pub own: bool,
    /// Updates that the frame says it lacks before this one.
    pub gap: Option<u32>,
    pub v: u64,
    /// µs since the Unix epoch.
    pub ts: u64,
    /// The number that all members of an atomic group share; 0: none.
    pub g: u64,
    /// Its place among the frame's deltas, from 1; 0: none.
    delta: u32,
}

impl UpdateFrame {
    /// What an update of it does to a table; `None`: it is not of a keyed topic.
    pub fn delta(&self, update: &Update) -> Option<&Delta> {
        self.deltas.get((update.delta as usize).checked_sub(1)?)
    }
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    op: Cow<'a, str>,
    id: Option<&'a RawValue>,
    conn: Option<Cow<'a, str>>,
    exp: Option<u64>,
    class: Option<u64>,
    from: Option<u64>,
    version: Option<u64>,
    oldest: Option<u64>,
    #[serde(default)]
    more: bool,
    epoch: Option<Cow<'a, str>>,
    interval_ms: Option<u64>,
    code: Option<&'a RawValue>,
    reason: Option<Cow<'a, str>>,
    reconnect_after_ms: Option<u32>,
    #[serde(borrow)]
    updates: Option<Vec<WireUpdate<'a>>>,
}

#[derive(Deserialize)]
struct WireUpdate<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    v: u64,
    ts: u64,
    #[serde(default)]
    gone: bool,
    gap: Option<u32>,
    data: Option<&'a RawValue>,
    #[serde(default)]
    reset: bool,
    set: Option<Members>,
    #[serde(borrow)]
    del: Option<Vec<Text<'a>>>,
}

impl WireUpdate<'_> {
    fn delta(&mut self) -> Option<Delta> {
        if self.set.is_none() && self.del.is_none() && !self.reset {
            return None;
        }
        let set = self.set.take().unwrap_or_default().0;
        let del = self.del.iter().flatten().map(|Text(text)| table::key(text)).collect();
        Some(Delta { reset: self.reset, set, del })
    }
}

#[derive(Deserialize)]
struct Own {
    g: u64,
}

/// Parses `text` for a client that holds the patterns of `catalog` and lives in `epoch`.
pub fn parse(text: &[u8], catalog: &mut Catalog, epoch: u64) -> Message {
    match serde_json::from_slice::<Wire>(text) {
        Ok(wire) => understand(wire, catalog, epoch).unwrap_or_else(|why| Message::Malformed(why.into())),
        Err(error) => Message::Malformed(format!("a message that cannot be read: {error}").into()),
    }
}

fn understand(wire: Wire<'_>, catalog: &mut Catalog, epoch: u64) -> Result<Message, String> {
    let need = |name: &str, value: Option<u64>| value.ok_or_else(|| format!("{} without {name}", wire.op));
    Ok(match &*wire.op {
        // The last part says all that matters here.
        "subscribed" if wire.more => Message::Other,
        "subscribed" => {
            let epoch = wire.epoch.as_deref().ok_or("subscribed without epoch")?;
            let epoch = parse_epoch(epoch)?;
            catalog.entered(epoch);
            Message::Subscribed(Rc::new(Subscribed {
                class: need("class", wire.class)?,
                version: need("version", wire.version)?,
                epoch,
                interval_ms: need("interval_ms", wire.interval_ms)?,
            }))
        }
        "batch" | "snapshot" => {
            let snapshot = wire.op == "snapshot";
            let mut frame = UpdateFrame {
                snapshot,
                class: need("class", wire.class)?,
                from: if snapshot { 0 } else { need("from", wire.from)? },
                version: need("version", wire.version)?,
                oldest: wire.oldest,
                more: wire.more,
                epoch: wire.epoch.as_deref().map(parse_epoch).transpose()?,
                ..UpdateFrame::default()
            };
            if let Some(epoch) = frame.epoch {
                catalog.entered(epoch);
            }
            let updates = wire.updates.ok_or_else(|| format!("{} without updates", wire.op))?;
            fill(&mut frame, updates, catalog, frame_epoch(wire.epoch.as_deref(), epoch)?);
            Message::Frame(Rc::new(frame))
        }
        "authorized" => {
            let conn = wire.conn.as_deref().ok_or("authorized without conn")?;
            if !is_hex(conn) {
                return Err(format!("conn {conn:?} is not 16 lower-case hex digits"));
            }
            need("exp", wire.exp)?;
            Message::Authorized { answers: AuthSent::of(wire.id) }
        }
        "error" => Message::Error {
            answers: AuthSent::of(wire.id),
            code: wire.code.and_then(|code| code.get().parse().ok()).ok_or("error without a code")?,
            reason: wire.reason.as_deref().unwrap_or_default().into(),
        },
        "notice" => {
            let code = wire.code.map_or("", RawValue::get);
            Message::Notice {
                code: code.trim_matches('"').into(),
                reconnect_after_ms: wire.reconnect_after_ms.unwrap_or_default(),
            }
        }
        _ => Message::Other,
    })
}

fn frame_epoch(own: Option<&str>, clients: u64) -> Result<u64, String> {
    own.map_or(Ok(clients), parse_epoch)
}

fn fill(frame: &mut UpdateFrame, updates: Vec<WireUpdate<'_>>, catalog: &mut Catalog, epoch: u64) {
    if frame.from > frame.version {
        frame.flaws.push("batch whose from is above its version");
    }
    frame.updates.reserve_exact(updates.len());
    for mut update in updates {
        let place = match catalog.place(&update.topic) {
            Ok(place) => place,
            Err(flaw) => {
                frame.flaws.push(flaw);
                continue;
            }
        };
        let g = match (place.group, update.data) {
            (Some(group), data) => {
                if !frame.groups.contains(&group) {
                    frame.groups.push(group);
                }
                data.and_then(|data| serde_json::from_str::<Own>(data.get()).ok()).map_or(0, |own| own.g)
            }
            (None, _) => 0,
        };
        let delta = update.delta();
        let value = match &delta {
            // What stands in it depends on where its reader stood.
            Some(_) => KEYED,
            None => fingerprint(update.data.map(RawValue::get).filter(|_| !update.gone)),
        };
        if !catalog.saw(place.word, update.v, value, epoch) {
            frame.flaws.push("two values under one v");
        }
        frame.deltas.extend(delta);
        frame.updates.push(Update {
            word: place.word,
            gone: update.gone,
            own: place.group.is_some(),
            gap: update.gap,
            v: update.v,
            ts: update.ts,
            g,
            delta: if value == KEYED { frame.deltas.len() as u32 } else { 0 },
        });
    }
}

fn parse_epoch(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16)
        .ok()
        .filter(|_| is_hex(text))
        .ok_or_else(|| format!("epoch {text:?} is not 16 lower-case hex digits"))
}

/// 16 lower-case digits.
fn is_hex(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}
