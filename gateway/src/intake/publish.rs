//! `POST /publish`: from a request's body to numbered updates.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use engine::{
    json,
    sequencer::{
        Body, Grouping, Publication, Refused, Why,
        once::Bounds,
        publication_json::{PublicationJson, Value},
        seq::Seq,
    },
};
use serde::{
    Deserializer,
    de::{DeserializeSeed, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{check::Checks, publisher::Publisher, workers::Workers};
use crate::admin_key::AdminKey;

/// Lines of NDJSON taken in one step, and bytes after which it takes no more.
const LINES: usize = 4096;
const LINES_BYTES: usize = 1 << 20;
/// A publisher's time may be this far from the gateway's.
const TS_OFF_US_MAX: i64 = 24 * 3_600 * 1_000_000;

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An object, or an array that is one atomic publish.
    Json,
    /// Objects line by line.
    Ndjson,
}

impl Form {
    /// Of a `Content-Type`; its parameters are ignored.
    pub fn of(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/json") {
            Some(Form::Json)
        } else if essence.eq_ignore_ascii_case("application/x-ndjson") {
            Some(Form::Ndjson)
        } else {
            None
        }
    }
}

/// A body that was not taken whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Items published before the bad one.
    pub accepted: usize,
    /// Of the bad publication, from 0; blank lines are not counted.
    pub index: usize,
    pub reason: String,
    pub problem: Problem,
}

/// What a body is rejected for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// A publication of it.
    Publication,
    /// The key may not write its topic.
    Denied,
    /// An array is longer than `[limits] atomic_updates`.
    TooMany,
    /// An inbox had no room in time.
    NoRoom,
}

/// How a body becomes updates.
#[derive(Debug)]
pub struct Way<'a> {
    pub publisher: &'a Arc<Publisher>,
    pub workers: &'a Workers,
    /// Whose body it is; `None`: of one who may write everything.
    pub writer: Option<&'a AdminKey>,
    /// Of what names itself.
    pub once: Bounds,
    /// What values are held against.
    pub checks: &'a Arc<Checks>,
    /// Updates and changed keys of an array.
    pub atomic_updates: usize,
    /// How long it may wait for room.
    pub deadline: Instant,
}

impl Way<'_> {
    /// `before`: items of the body that were taken.
    async fn take(
        &self,
        publications: &[Publication],
        grouping: Grouping,
        before: usize,
    ) -> Result<(), Rejected> {
        let Some(writer) = self.writer else { return self.take_all(publications, grouping, before).await };
        let Some(at) = publications.iter().position(|publication| !writer.writes(&publication.topic)) else {
            return self.take_all(publications, grouping, before).await;
        };
        let mut accepted = before;
        if grouping == Grouping::Single {
            self.take_all(&publications[..at], grouping, before).await?;
            accepted += at;
        }
        self.publisher.count_refused();
        let reason = writer.denied(&publications[at].topic);
        Err(Rejected { accepted, index: before + at, reason, problem: Problem::Denied })
    }

    async fn take_all(
        &self,
        publications: &[Publication],
        grouping: Grouping,
        before: usize,
    ) -> Result<(), Rejected> {
        let key = self.writer.map(|writer| &*writer.name);
        let taken = self.publisher.publish_once(publications, grouping, key, self.once, self.deadline).await;
        taken.map_err(|Refused { index, why }| {
            let problem = match why {
                Why::Late | Why::TooManyNames { .. } => Problem::NoRoom,
                Why::TooManyChanges { .. } => Problem::TooMany,
                _ => Problem::Publication,
            };
            let index = before + index;
            let accepted = if grouping == Grouping::Single { index } else { before };
            Rejected { accepted, index, reason: why.to_string(), problem }
        })
    }
}

/// Publishes a body, waiting for room where an inbox is full. Gives the number of publications.
pub async fn publish(way: &Way<'_>, form: Form, body: &Bytes) -> Result<usize, Rejected> {
    let due_us = way.publisher.now().wall_us;
    match form {
        Form::Ndjson => publish_lines(way, body, due_us).await,
        Form::Json => {
            let body = &body.slice_ref(json::skip_byte_order_mark(body));
            let (whole, max, checks) = (body.clone(), way.atomic_updates, way.checks.clone());
            let parse = move || parse_json(&whole, due_us, max, &checks);
            let parsed = way.workers.run_sized(body.len(), parse).await;
            let publications = parsed.inspect_err(|_| way.publisher.count_refused())?;
            let grouping = if is_array(body) { Grouping::Atomic } else { Grouping::Single };
            way.take(&publications, grouping, 0).await?;
            Ok(publications.len())
        }
    }
}

/// Items of some lines.
struct Lines {
    publications: Vec<Publication>,
    /// Bytes of the body that they and blank ones took.
    used: usize,
    /// Why the line after them is none.
    bad: Option<String>,
}

async fn publish_lines(way: &Way<'_>, body: &Bytes, due_us: i64) -> Result<usize, Rejected> {
    let (mut at, mut accepted) = (0, 0);
    while at < body.len() {
        let (rest, checks) = (body.slice(at..), way.checks.clone());
        let lines = way.workers.run_sized(rest.len(), move || parse_lines(&rest, due_us, &checks)).await;
        at += lines.used;
        way.take(&lines.publications, Grouping::Single, accepted).await?;
        accepted += lines.publications.len();
        if let Some(reason) = lines.bad {
            way.publisher.count_refused();
            return Err(Rejected { accepted, index: accepted, reason, problem: Problem::Publication });
        }
    }
    Ok(accepted)
}

fn parse_lines(body: &Bytes, due_us: i64, checks: &Checks) -> Lines {
    let mut lines = Lines { publications: Vec::new(), used: 0, bad: None };
    while lines.used < body.len() && lines.publications.len() < LINES && lines.used < LINES_BYTES {
        let rest = &body[lines.used..];
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        lines.used = (lines.used + end + 1).min(body.len());
        // Files that were joined have marks within.
        let line = json::skip_byte_order_mark(&rest[..end]);
        if line.trim_ascii().is_empty() {
            continue;
        }
        match publication(body, line, due_us).and_then(|publication| checks.pass(publication)) {
            Ok(publication) => lines.publications.push(publication),
            Err(reason) => {
                lines.bad = Some(reason);
                break;
            }
        }
    }
    lines
}

fn is_array(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'[')
}

/// `max`: updates and changed keys of an array.
fn parse_json(body: &Bytes, due_us: i64, max: usize, checks: &Checks) -> Result<Vec<Publication>, Rejected> {
    let rejected = |index, reason| Rejected { accepted: 0, index, reason, problem: Problem::Publication };
    if !is_array(body) {
        let parsed = parse_publication(body, due_us).and_then(|publication| checks.pass(publication));
        return Ok(vec![parsed.map_err(|reason| rejected(0, reason))?]);
    }
    // Each element is checked as it is read, so that an error of the array knows its index too.
    let mut members = Members { max, read: Vec::new() };
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = (&mut members).deserialize(&mut json).and_then(|()| json.end());
    let (mut publications, mut changes) = (Vec::with_capacity(members.read.len().min(max)), 0);
    for (index, member) in members.read.iter().enumerate() {
        let parsed = publication(body, member.get().as_bytes(), due_us);
        let parsed = parsed.and_then(|publication| checks.pass(publication));
        let publication = parsed.map_err(|reason| rejected(index, reason))?;
        changes += publication.changes();
        if changes > max {
            let reason = Why::TooManyChanges { max }.to_string();
            return Err(Rejected { problem: Problem::TooMany, ..rejected(index, reason) });
        }
        publications.push(publication);
    }
    read.map_err(|e| rejected(publications.len(), format!("not a JSON array: {e}")))?;
    Ok(publications)
}

/// One update of a body that is nothing else. The error says what is wrong in words for the publisher.
pub fn parse_publication(body: &Bytes, due_us: i64) -> Result<Publication, String> {
    publication(body, body, due_us)
}

fn publication(body: &Bytes, json: &[u8], due_us: i64) -> Result<Publication, String> {
    let line = PublicationJson::parse(json)?;
    if let Some(ts_us) = line.ts_us {
        check_ts(ts_us, due_us)?;
    }
    let body = match line.value {
        Value::Data(data) => Body::Data(body.slice_ref(data.as_bytes())),
        Value::Changes(changes) => Body::Changes(changes.into()),
    };
    let (seq, seq_reset) = (line.seq.map(Seq::one), line.seq_reset);
    let once = line.once.map(|once| (*once).into());
    Ok(Publication {
        once,
        seq,
        seq_reset,
        ts_us: line.ts_us,
        ..Publication::new(&*line.topic, body, due_us)
    })
}

fn check_ts(ts_us: i64, now_us: i64) -> Result<(), String> {
    let near = |us: Option<i64>| us.is_some_and(|us| us.abs_diff(now_us) <= TS_OFF_US_MAX as u64);
    if near(Some(ts_us)) {
        return Ok(());
    }
    let unit = if near(ts_us.checked_mul(1_000_000)) {
        "; this one looks like seconds"
    } else if near(ts_us.checked_mul(1_000)) {
        "; this one looks like milliseconds"
    } else if near(Some(ts_us / 1_000)) {
        "; this one looks like nanoseconds"
    } else {
        ""
    };
    Err(format!(
        "ts = {ts_us} is more than 24 h from the gateway's {now_us}: it is in microseconds since the Unix epoch{unit}"
    ))
}

/// Collects an array's elements, up to one more than `max`; those before an error stay.
struct Members<'a> {
    max: usize,
    read: Vec<&'a RawValue>,
}

impl<'de> DeserializeSeed<'de> for &mut Members<'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &mut Members<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of updates")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while self.read.len() <= self.max
            && let Some(member) = seq.next_element()?
        {
            self.read.push(member);
        }
        Ok(())
    }
}
