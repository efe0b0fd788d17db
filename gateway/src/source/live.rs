//! Updates of a live source on their way out, while the shards have room for them and while not.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use engine::sequencer::{Body, Grouping, NotPublished, Publication, Refused, seq::Feed};

use super::brought::Portion;
use crate::intake::clocked::ClockedSequencer;

/// Items handed to the sequencer at once.
const CHUNK: usize = 4096;

/// While an inbox is full only the newest update of each topic is kept, and every one where each counts.
#[derive(Debug, Default)]
pub struct Live {
    fresh: Vec<(Publication, Counts)>,
    newest: HashMap<Arc<str>, Publication>,
    /// Topics of `newest`, in the order in which they began to wait.
    waiting: VecDeque<Arc<str>>,
    every: VecDeque<Publication>,
    /// Of the data in `newest` and `every`.
    bytes: usize,
}

/// Which updates of a topic may not be left out while they wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    Newest,
    Every,
}

/// What became of a [`Live::publish`].
#[derive(Debug, Default)]
pub struct Outcome {
    /// Updates that a newer one replaced.
    pub conflated: u64,
    /// Updates that were left out, each alone.
    pub refused: Vec<Refused>,
    /// Updates that were published or confirmed what is held.
    pub brought: Vec<Bring>,
}

/// An update that was published or confirmed what is held.
#[derive(Debug)]
pub struct Bring {
    pub topic: Arc<str>,
    pub feed: Option<Feed>,
    pub portion: Portion,
    /// It was published.
    pub is_news: bool,
}

impl Live {
    /// All publications of a topic are pushed with the same `counts`, or their order is lost.
    pub fn push(&mut self, publication: Publication, counts: Counts) {
        self.fresh.push((publication, counts));
    }

    /// Publishes in order as far as there is room, and keeps the rest.
    pub fn publish(&mut self, sequencer: &ClockedSequencer) -> Outcome {
        let mut outcome = Outcome::default();
        self.publish_waiting(sequencer, &mut outcome);
        let fresh = std::mem::take(&mut self.fresh);
        let (fresh, counts): (Vec<Publication>, Vec<Counts>) = fresh.into_iter().unzip();
        let done = if self.is_idle() { publish_some(sequencer, &fresh, &mut outcome) } else { 0 };
        for (publication, counts) in fresh.into_iter().zip(counts).skip(done) {
            match counts {
                Counts::Newest => outcome.conflated += u64::from(self.keep_newest(publication, sequencer)),
                Counts::Every => {
                    self.bytes += publication.body.bytes();
                    self.every.push_back(publication);
                }
            }
        }
        outcome
    }

    /// Nothing waits.
    pub fn is_idle(&self) -> bool {
        self.every.is_empty() && self.waiting.is_empty()
    }

    /// Updates of which each counts are waiting.
    pub fn every_waits(&self) -> bool {
        !self.every.is_empty()
    }

    /// Updates that wait.
    pub fn len(&self) -> usize {
        self.every.len() + self.waiting.len()
    }

    /// Bytes of their data.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn publish_waiting(&mut self, sequencer: &ClockedSequencer, outcome: &mut Outcome) {
        while !self.every.is_empty() {
            let chunk: Vec<Publication> = self.every.iter().take(CHUNK).cloned().collect();
            let done = publish_some(sequencer, &chunk, outcome);
            self.bytes -= self.every.drain(..done).map(|publication| publication.body.bytes()).sum::<usize>();
            if done < chunk.len() {
                return;
            }
        }
        while !self.waiting.is_empty() {
            let topics = self.waiting.iter().take(CHUNK);
            let chunk: Vec<Publication> =
                topics.filter_map(|topic| self.newest.get(topic).cloned()).collect();
            let done = publish_some(sequencer, &chunk, outcome);
            for topic in self.waiting.drain(..done) {
                self.bytes -= self.newest.remove(&topic).map_or(0, |publication| publication.body.bytes());
            }
            if done < chunk.len() {
                return;
            }
        }
    }

    /// `true`: of it and an older one one was left out. It takes over the older one's due time, so that no
    /// wait is hidden.
    fn keep_newest(&mut self, mut publication: Publication, sequencer: &ClockedSequencer) -> bool {
        if matches!(publication.body, Body::Unread(_)) {
            // A newer one makes up for it; the one that waits must not go for it.
            return true;
        }
        if let Some(held) = self.newest.get_mut(&publication.topic) {
            if let (Some(older), Some(seq)) = (held.seq, publication.seq) {
                if seq.last > older.last || seq.continues(older.last) {
                    publication.seq = Some(seq.in_place_of(older));
                } else if seq.last == older.last && publication.feed == held.feed {
                    return true;
                } else {
                    // The source has begun to count anew; unless the one that waits is no news itself.
                    publication.seq_reset = !sequencer.repeats(held);
                }
            }
            publication.seq_reset |= held.seq_reset;
            self.bytes = self.bytes + publication.body.bytes() - held.body.bytes();
            *held = Publication { due_us: held.due_us, ..publication };
            return true;
        }
        self.bytes += publication.body.bytes();
        self.waiting.push_back(publication.topic.clone());
        self.newest.insert(publication.topic.clone(), publication);
        false
    }
}

/// How many of `publications`, from the first on, are settled: published or refused. The others found no room.
fn publish_some(sequencer: &ClockedSequencer, publications: &[Publication], outcome: &mut Outcome) -> usize {
    let mut done = 0;
    while done < publications.len() {
        match sequencer.try_publish(&publications[done..], Grouping::Single) {
            Ok(published) => {
                let taken = publications[done..done + published.accepted].iter().enumerate();
                let brought = taken.filter(|(i, _)| published.outdated.binary_search(i).is_err());
                outcome.brought.extend(brought.map(|(i, publication)| Bring {
                    topic: publication.topic.clone(),
                    feed: publication.feed,
                    portion: Portion::of(publication),
                    is_news: published.confirmed.binary_search(&i).is_err(),
                }));
                done += published.accepted;
            }
            Err(NotPublished::Full) => break,
            Err(NotPublished::Refused(why)) => {
                done += why.index + 1;
                outcome.refused.push(why);
            }
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use crate::config::Config;
    use crate::source::live::*;
    use engine::{
        sequencer::seq::Seq,
        shard::inbox::{Inbox, Message},
        topic::epoch::Epoch,
        update::Op,
    };

    /// A sequencer whose only inbox takes a batch as long as it is empty.
    fn sequencer() -> (Arc<ClockedSequencer>, Arc<Inbox>) {
        let inbox = Inbox::new(1, usize::MAX, net::Waker::unconnected());
        let config = Config::embedded_demo();
        let inboxes = vec![inbox.clone()];
        (ClockedSequencer::new(Epoch::from(1), inboxes, &config.limits, config.topics, Instant::now()), inbox)
    }

    fn publication(topic: &str, n: u64) -> Publication {
        let body = Body::Data(n.to_string().into());
        Publication::new(topic, body, n as i64)
    }

    /// Values and due times, as `7@5`.
    fn taken(inbox: &Inbox) -> Vec<String> {
        let mut taken = Vec::new();
        while let Some(Message::Updates(batch)) = inbox.pop() {
            for op in &batch.ops {
                let Op::Update(update) = op else { continue };
                let json: serde_json::Value = serde_json::from_slice(&update.json).unwrap();
                taken.push(format!("{}@{}", json["data"], update.due_us));
            }
        }
        taken
    }

    #[test]
    fn while_there_is_no_room_the_newest_waits_and_says_since_when() {
        let (sequencer, inbox) = sequencer();
        let mut live = Live::default();
        live.push(publication("a", 1), Counts::Newest);
        assert_eq!((live.publish(&sequencer).conflated, live.is_idle()), (0, true));
        for n in 2..=5 {
            live.push(publication("a", n), Counts::Newest);
            live.push(publication("b", n), Counts::Newest);
        }
        assert_eq!((live.publish(&sequencer).conflated, live.len(), live.bytes()), (6, 2, 2));
        assert_eq!(taken(&inbox), ["1@1"]);
        assert_eq!(live.publish(&sequencer).conflated, 0);
        assert_eq!(
            (taken(&inbox), live.is_idle(), live.bytes()),
            (vec!["5@2".into(), "5@2".into()], true, 0)
        );
    }

    #[test]
    fn where_every_update_counts_all_wait_in_their_order() {
        let (sequencer, inbox) = sequencer();
        let mut live = Live::default();
        live.push(publication("t", 0), Counts::Every);
        live.publish(&sequencer);
        for n in 1..=3 {
            live.push(publication("t", n), Counts::Every);
        }
        assert_eq!((live.publish(&sequencer).conflated, live.every_waits(), live.bytes()), (0, true, 3));
        assert_eq!(taken(&inbox), ["0@0"]);
        live.push(publication("t", 4), Counts::Every);
        live.publish(&sequencer);
        assert_eq!((taken(&inbox), live.len()), (vec!["1@1".into(), "2@2".into(), "3@3".into()], 1));
        live.publish(&sequencer);
        assert_eq!((taken(&inbox), live.is_idle()), (vec!["4@4".into()], true));
    }

    #[test]
    fn what_is_refused_is_left_out_and_the_others_go() {
        let (sequencer, inbox) = sequencer();
        let mut live = Live::default();
        for (topic, n) in [("bad topic", 1), ("a", 2), ("b..", 3), ("b", 4), ("", 5)] {
            live.push(publication(topic, n), Counts::Newest);
        }
        // A batch ends before a publication that is refused, so the rest waits for room.
        let mut refused = 0;
        let mut seen = Vec::new();
        while seen.len() < 2 {
            refused += live.publish(&sequencer).refused.len();
            seen.extend(taken(&inbox));
        }
        refused += live.publish(&sequencer).refused.len();
        assert_eq!((seen, refused, live.is_idle()), (vec!["2@2".into(), "4@4".into()], 3, true));
    }

    fn counted(source: u32, connection: u32, seq: u64) -> Publication {
        let feed = Some(Feed { source, connection });
        Publication { seq: Some(Seq::one(seq)), feed, ..publication("a", seq) }
    }

    /// What is published of `waits`, which found no room, after `held`.
    fn published_of(held: &[Publication], waits: &[Publication]) -> Vec<String> {
        let (sequencer, inbox) = sequencer();
        let mut live = Live::default();
        for publication in held {
            sequencer.try_publish(std::slice::from_ref(publication), Grouping::Single).unwrap();
            taken(&inbox);
        }
        live.push(publication("b", 0), Counts::Newest);
        live.publish(&sequencer);
        waits.iter().for_each(|publication| live.push(publication.clone(), Counts::Newest));
        live.publish(&sequencer);
        assert_eq!(taken(&inbox), ["0@0"]);
        live.publish(&sequencer);
        assert!(live.is_idle());
        taken(&inbox)
    }

    #[test]
    fn of_updates_that_wait_the_last_is_kept_also_where_its_source_counts_anew() {
        // A count that goes back, in another connection or in the same one.
        assert_eq!(published_of(&[], &[counted(1, 1, 100), counted(1, 2, 5)]), ["5@100"]);
        assert_eq!(published_of(&[], &[counted(1, 1, 100), counted(1, 1, 5), counted(1, 1, 6)]), ["6@100"]);
        // The newest once more is none.
        assert_eq!(published_of(&[], &[counted(1, 1, 7), counted(1, 1, 7)]), ["7@7"]);
        // Another source is ahead: all that waits is old.
        let ahead = [counted(2, 1, 200)];
        assert!(published_of(&ahead, &[counted(1, 1, 100), counted(1, 1, 99)]).is_empty());
    }
}
