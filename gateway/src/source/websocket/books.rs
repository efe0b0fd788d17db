//! Tables of a source by their venue's counts, and the wholes that are asked for.

use std::{collections::HashMap, sync::Arc};

use engine::{
    json::{Node, skip_byte_order_mark},
    sequencer::{Body, Publication, seq::Feed},
};

use super::{
    counters::{WebsocketCounters, add},
    inlet::Quit,
    keys::{SYMBOL, Websocket},
    map::{Entry, OnGap},
    mapping::{self, known},
    snapshots::{Ask, Event, Snapshots},
    stitch::{Need, Repair, Stitch},
};

/// Those of one connection.
#[derive(Debug)]
pub struct Books<'a> {
    source: &'a Websocket,
    counters: &'a WebsocketCounters,
    feed: Feed,
    stitch: Stitch,
    snapshots: Snapshots<'a>,
    /// Where the whole of each topic is asked for that came.
    addresses: HashMap<Arc<str>, String>,
    /// Why one did not come, as the log has it last.
    told: Option<String>,
}

/// A topic whose whole has not come, and why.
pub type Missing = (Arc<str>, String);

impl<'a> Books<'a> {
    pub fn new(
        source: &'a Websocket,
        counters: &'a WebsocketCounters,
        feed: Feed,
        topics_max: usize,
    ) -> Self {
        Self {
            source,
            counters,
            feed,
            stitch: Stitch::new(topics_max, source.snapshot_bytes),
            snapshots: Snapshots::new(&source.link),
            addresses: HashMap::new(),
            told: None,
        }
    }

    /// The connection has ended.
    pub fn clear(&mut self) {
        self.stitch.clear();
        self.snapshots.clear();
        self.addresses.clear();
    }

    /// Whether they have whole what the others have whole.
    pub fn are_as_whole_as(&self, others: &Self) -> bool {
        others.stitch.wholes().all(|topic| self.stitch.is_whole(topic))
    }

    /// Where the whole of a topic is asked for is not known yet.
    pub fn wants_address(&self, topic: &str) -> bool {
        !self.addresses.contains_key(topic)
    }

    /// Asks for the whole of all topics that symbols name, so that those are there too which never change.
    pub fn ask_all(&mut self) {
        let source = self.source;
        for (number, entry) in source.map.iter().enumerate() {
            for symbol in &source.symbols {
                if let Some((topic, url)) = known(entry, source.names, &[(SYMBOL, symbol)]) {
                    let topic: Arc<str> = topic.into();
                    if self.stitch.expect(&topic) {
                        self.addresses.insert(topic.clone(), url);
                        self.ask(topic, number, 0);
                    }
                }
            }
        }
    }

    fn ask(&mut self, topic: Arc<str>, entry: usize, failures: u32) {
        let Some(snapshot) = &self.source.map[entry].snapshot else { return };
        let Some(url) = self.addresses.get(&topic).cloned() else { return };
        add(&self.counters.snapshots, 1);
        self.snapshots.ask(Ask { topic, entry, url, every: snapshot.every, failures });
    }

    /// Takes what came of a table; `out` gets what is to be published now. `whole_at`: where its whole is asked for.
    pub fn take(
        &mut self,
        publication: Publication,
        number: usize,
        whole_at: Option<String>,
        out: &mut Vec<Publication>,
    ) -> Result<(), Quit> {
        let entry = &self.source.map[number];
        let topic = publication.topic.clone();
        let dropped = self.stitch.dropped;
        let need = self.stitch.take(publication, repair(entry), entry.first(), out);
        add(&self.counters.changes_dropped, self.stitch.dropped - dropped);
        if let Some(url) = whole_at.filter(|_| self.stitch.knows(&topic)) {
            self.addresses.insert(topic.clone(), url);
        }
        match need {
            Need::Reconnect(why) => return Err(Quit::Gap(why)),
            Need::Whole => self.ask(topic, number, 0),
            Need::Nothing => {}
        }
        Ok(())
    }

    /// Waits for what becomes of what was asked for. Nothing is lost when it is left in the middle.
    pub async fn next(&mut self) -> Event {
        self.snapshots.next().await
    }

    /// `out` gets what is to be published. Gives of which topic it is to be told that it lacks its whole.
    pub fn hear(&mut self, event: Event, now_us: i64, out: &mut Vec<Publication>) -> Option<Missing> {
        let (ask, answer) = match event {
            Event::Late(topic) => {
                let waits = self.stitch.waits(&topic);
                return waits.then(|| (topic, "its snapshot has not come yet".to_owned()));
            }
            Event::Answer(ask, answer) => (ask, answer),
        };
        if !self.stitch.waits(&ask.topic) {
            return None;
        }
        let why = match answer.and_then(|answer| self.join(&ask, &answer, now_us, out)) {
            Ok(()) => {
                self.told = None;
                return None;
            }
            Err(why) => why,
        };
        add(&self.counters.snapshots_failed, 1);
        if self.told.as_ref() != Some(&why) {
            let (source, topic) = (&self.source.link.name, &ask.topic);
            tracing::warn!(source, %topic, "no snapshot: {why}; asked for again, repeats are only counted");
            self.told = Some(why.clone());
        }
        let missing = (ask.topic.clone(), format!("no snapshot: {why}"));
        self.ask(ask.topic, ask.entry, ask.failures + 1);
        Some(missing)
    }

    fn join(
        &mut self,
        ask: &Ask,
        answer: &[u8],
        now_us: i64,
        out: &mut Vec<Publication>,
    ) -> Result<(), String> {
        let entry = &self.source.map[ask.entry];
        let snapshot = entry.snapshot.as_ref().ok_or("nobody asked")?;
        let answer =
            Node::parse(skip_byte_order_mark(answer)).map_err(|error| format!("it is not JSON: {error}"))?;
        let (count, changes) =
            mapping::whole(entry, snapshot, self.source.names, &answer).map_err(|fault| fault.to_string())?;
        let body = Body::Changes(changes.into());
        let whole =
            Publication { feed: Some(self.feed), ..Publication::new(ask.topic.clone(), body, now_us) };
        match self.stitch.join(whole, count, out) {
            Need::Nothing => Ok(()),
            _ => Err("it is older than the changes that wait for it".to_owned()),
        }
    }
}

fn repair(entry: &Entry) -> Repair {
    match (&entry.snapshot, entry.on_gap) {
        (Some(_), _) => Repair::Ask,
        (None, OnGap::Reconnect) => Repair::Reconnect,
        (None, OnGap::Tell) => Repair::None,
    }
}
