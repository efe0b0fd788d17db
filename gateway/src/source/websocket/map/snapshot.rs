//! `[source.map.snapshot]`: where the whole of a topic is asked for, and what the answer becomes.

use std::time::Duration;

use engine::json::pointer::Pointer;

use super::{book::Levels, levels::lists, pointers::pointer};
use crate::{
    document::read::Section,
    fetch::HttpUrl,
    source::websocket::braced::{self, Braced, Filling, May},
};

/// From one request to the next.
pub const EVERY_MS: u64 = 100;
/// The longest that may be written. ms.
pub const EVERY_MS_MAX: u64 = 3_600_000;

/// The whole of a topic, to be asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub url: Braced,
    /// The count up to which the answer holds all changes.
    pub seq: Pointer,
    pub lists: Vec<Levels>,
    pub every: Duration,
}

/// `names`: those that its entry binds. `None`: its problems were reported.
pub fn snapshot(section: &mut Section, names: &[&str]) -> Option<Snapshot> {
    let may = May { names, values: true, ..May::default() };
    let url = braced::read(section, "url", may, check_url);
    let seq = pointer(section, "seq");
    let every = section.duration("every", EVERY_MS, 1..=EVERY_MS_MAX).value;
    let (line, lists) = lists(section, "source.map.snapshot.levels");
    if url.line.is_none() {
        let text = "url is missing; write where the whole is asked for, like url = \"https://HOST/depth?symbol={/s}\"";
        section.problem(section.line(), text);
    }
    if seq.line.is_none() {
        let text = "seq is missing: nothing could be joined to it; write where its count stands, like seq = \"/lastUpdateId\"";
        section.problem(section.line(), text);
    }
    if line.is_none() {
        let text =
            "levels is missing; write where they are in the answer, like [{ path = \"/bids\", key = \"b\" }]";
        section.problem(section.line(), text);
    }
    let told = [&seq.value].into_iter().flatten().chain(lists.iter().map(|levels| &levels.path));
    if let Some(pointer) = told.into_iter().find(|pointer| !pointer.is_plain()) {
        let text = format!("{pointer:?}: everything begins at the answer; write {:?}", pointer.path());
        section.problem(section.line(), text);
    }
    if let Some(levels) = lists.iter().find(|levels| levels.remember.is_some()) {
        let text = format!("remember: the list {:?} is of an answer, which has all of a level", levels.path);
        section.problem(line.unwrap_or(section.line()), text);
    }
    Some(Snapshot { url: url.value?, seq: seq.value?, lists, every })
}

/// With anything in place of what is filled in.
fn check_url(url: &Braced) -> Result<(), String> {
    let sample = |_: &Pointer| Some("1".to_owned());
    let names: Vec<(&str, &str)> = url.names().map(|name| (name, "x")).collect();
    let filled = url.fill_url(&Filling { names: &names, value: Some(&sample), ..Filling::default() });
    HttpUrl::parse(&filled).map(drop)
}
