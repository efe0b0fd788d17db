//! What happens to a source's connections, counted and told: once per change, however often it repeats.

use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use super::{
    counters::{WebsocketCounters, add},
    ended::Ended,
};

/// Outlives the connections.
#[derive(Debug)]
pub struct Journal<'a> {
    counters: &'a WebsocketCounters,
    /// Since when the present connection is established.
    connected: Option<Instant>,
    /// The present connection brought something.
    brought: bool,
    /// The last end that the log has.
    told: Option<String>,
    /// The log has an end, and no connection was established since.
    down: bool,
}

impl<'a> Journal<'a> {
    pub fn new(counters: &'a WebsocketCounters) -> Self {
        Self { counters, connected: None, brought: false, told: None, down: true }
    }

    pub fn counters(&self) -> &'a WebsocketCounters {
        self.counters
    }

    /// A connect begins.
    pub fn connecting(&self) {
        add(&self.counters.connects, 1);
    }

    /// The handshake is done.
    pub fn connected(&mut self) {
        self.connected = Some(Instant::now());
        self.counters.connected.store(true, Relaxed);
        add(&self.counters.established, 1);
        if std::mem::take(&mut self.down) {
            tracing::info!(source = self.counters.name(), "connected");
        }
    }

    /// The connection brought an update, or confirmed one.
    pub fn brought(&mut self) {
        self.brought = true;
    }

    /// A connect or a connection ended. `true`: it had been established for `lasting` at least and brought
    /// something.
    pub fn ended(&mut self, ended: &Ended, lasting: Duration) -> bool {
        self.counters.connected.store(false, Relaxed);
        self.counters.ended(ended.end());
        let has_brought = std::mem::take(&mut self.brought);
        let lasted = self.connected.take().is_some_and(|since| since.elapsed() >= lasting) && has_brought;
        let why = ended.to_string();
        self.counters.activity.go_down(why.clone());
        if lasted || self.told.as_ref() != Some(&why) {
            let (source, kind) = (self.counters.name(), ended.end().name());
            tracing::warn!(source, kind, "{why}; tried again after a back-off, repeats are only counted");
            (self.told, self.down) = (Some(why), true);
        }
        lasted
    }
}
