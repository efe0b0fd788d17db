//! `ping = { every = "20s", text = "…" }`: a text by the clock, for venues that want one.

use std::time::Duration;

use super::braced::{self, Braced, May};
use crate::document::{
    read::Section,
    value::{duration, json, table},
    write::Text,
};

const HOUR: u64 = 3_600_000;

#[derive(Debug, Clone, PartialEq)]
pub struct Ping {
    pub every: Duration,
    pub text: Braced,
}

/// `None`: there is none, or its problems were reported.
pub fn ping(source: &mut Section, may: May<'_>) -> Option<Ping> {
    let table = source.subtable("ping", "source.ping")?;
    let mut section = source.open("source.ping", table);
    let every = section.duration("every", 0, 100..=HOUR);
    let text = braced::read(&mut section, "text", may, |_| Ok(()));
    if every.line.is_none() {
        section.problem(section.line(), "every is missing; write the time between two, like every = \"20s\"");
    }
    if text.line.is_none() {
        section
            .problem(section.line(), "text is missing; write what is sent, like text = '{\"op\":\"ping\"}'");
    }
    section.finish();
    Some(Ping { every: every.line.map(|_| every.value)?, text: text.value? })
}

pub fn write(text: &mut Text, ping: &Ping) {
    let pairs = [format!("every = {}", duration(ping.every)), format!("text = {}", json(ping.text.as_str()))];
    text.plain("ping", table(pairs.into_iter()));
}
