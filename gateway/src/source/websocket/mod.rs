//! Fetches a feed from a WebSocket server, as exchanges offer them: connects, subscribes, maps what
//! comes to topics, and begins again when the connection ends.

mod books;
mod braced;
mod connection;
pub mod counters;
mod dial;
pub mod ended;
pub mod explain;
mod follower;
mod frames;
mod headers;
pub mod inlet;
mod intake;
mod journal;
pub mod keys;
pub mod map;
pub mod mapping;
pub mod opening;
mod ping;
pub mod reconnecting;
mod reference;
mod renewal;
mod reply;
pub mod script;
mod session;
mod sign;
mod snapshots;
mod stamp;
mod stitch;
pub mod terms;
mod token;
mod voice;

use std::{convert::Infallible, sync::Arc};

use engine::topic::pattern::Pattern;

use super::kind::{Context, Kind, Running};
use crate::{document::write::Text, source::link::Link};
use intake::Mapping;
use keys::{Websocket, pattern_of};
use reconnecting::Reconnecting;
use terms::Terms;
use voice::Voice;

impl Kind for Websocket {
    fn write(&self, text: &mut Text) {
        self.write_keys(text);
    }

    fn write_tables(&self, text: &mut Text) {
        self.write_parts(text);
    }

    fn topics(&self) -> Vec<Pattern> {
        let mut topics: Vec<Pattern> =
            self.map.iter().filter_map(|entry| Some(pattern_of(entry.topic.as_ref()?))).collect();
        topics.sort();
        topics.dedup();
        topics
    }

    fn link(&self) -> Option<&Link> {
        Some(&self.link)
    }

    fn run(self: Arc<Self>, with: Context) -> Running {
        Box::pin(async move { match run(&self, &with).await {} })
    }
}

/// Runs for good.
async fn run(source: &Arc<Websocket>, with: &Context) -> Infallible {
    let (sequencer, counters) = (&with.publisher, with.connections());
    counters.activity.begin(sequencer.now().mono_us);
    let mut intake = Mapping::new(sequencer, source, counters, &with.limits);
    let mut voice = Voice::new(source.clone(), Arc::clone(sequencer));
    let terms = Terms { link: &source.link, stale_after: with.stale_after, renew: source.renew };
    let mut link = Reconnecting::new(terms, counters);
    loop {
        link.serve(&mut voice, &mut intake).await;
    }
}
