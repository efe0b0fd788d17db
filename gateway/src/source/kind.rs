//! What every kind of source says of itself.

use std::{fmt::Debug, path::Path, pin::Pin, sync::Arc, time::Duration};

use engine::{
    settings::{Group, Limits},
    topic::{pattern::Pattern, policy::Policies},
};

use super::{activity::Activity, link::Link, websocket::counters::WebsocketCounters};
use crate::{
    document::{read::Section, write::Text},
    health::Health,
    intake::publisher::Publisher,
};

/// What the rest of a configuration says.
pub struct Given<'a> {
    /// Paths are relative to it.
    pub dir: &'a Path,
    /// `name` of the source, where the file has one.
    pub name: Option<&'a str>,
    /// With whether the file names the `keys` of each.
    pub policies: &'a (Policies, Vec<bool>),
    /// `topics` of the source, where the file names them.
    pub topics: Option<&'a [Pattern]>,
}

/// A kind as a configuration names it and reads its keys.
pub trait Declared: Kind + Sized {
    /// Of `kind = "…"`.
    const NAME: &'static str;
    /// Its keys, beside those of any kind.
    const GROUPS: &'static [Group];

    /// `None`: its problems were reported.
    fn read(section: &mut Section, given: &Given) -> Option<Self>;
}

/// A source as it is configured.
pub trait Kind: Debug + Send + Sync {
    /// Its keys with their values, as a file has them.
    fn write(&self, text: &mut Text);

    /// Tables within it, which follow all of its keys.
    fn write_tables(&self, _text: &mut Text) {}

    /// Patterns of what it publishes; empty where that is not known.
    fn topics(&self) -> Vec<Pattern>;

    /// Of one that connects to a server.
    fn link(&self) -> Option<&Link> {
        None
    }

    /// Publishes, until it has ended or can no longer go on.
    fn run(self: Arc<Self>, with: Context) -> Running;
}

pub type Running = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// What a source works with while it runs.
pub struct Context {
    pub publisher: Arc<Publisher>,
    pub activity: Arc<Activity>,
    pub limits: Limits,
    pub health: Arc<Health>,
    pub stale_after: Option<Duration>,
    /// Of one that connects to a server.
    pub connections: Option<Arc<WebsocketCounters>>,
}

impl Context {
    /// # Panics
    /// Where the source connects to no server.
    pub fn connections(&self) -> &WebsocketCounters {
        self.connections.as_ref().expect("each source with a link has counters of its connections")
    }
}
