//! What clients write, from all shards: to the sequencer in the order in which it came, and the answers back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use engine::{
    protocol::{
        publish,
        reply::{BAD_REQUEST, NO_ROOM},
    },
    sequencer::{
        Body, Publication, Why, Written,
        once::{Begun, Bounds, Name, Once},
    },
    settings::Limits,
    shard::{
        writes::{Answering, Write, Writes},
        wrote::Wrote,
    },
};
use tokio::{sync::mpsc, time::Instant};

use super::{check::Checks, clocked::ClockedSequencer, workers::Workers};

/// How long a publish waits for room in an inbox, and how often it is looked for.
const ROOM: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(1);
/// What is taken at once.
const TAKEN_MAX: usize = 256;

/// What a shard says.
#[derive(Debug)]
enum Said {
    /// And until when it may wait for room.
    Write(Box<Write>, Instant),
    Left(u64),
}

/// Where shards hand over what clients write.
#[derive(Debug)]
pub struct Writers {
    queue: mpsc::UnboundedSender<Said>,
    held: Arc<Held>,
}

/// Publishes that are not answered yet, and their bytes.
#[derive(Debug, Default)]
struct Held {
    writes: AtomicUsize,
    bytes: AtomicUsize,
    writes_max: AtomicUsize,
    bytes_max: AtomicUsize,
}

impl Held {
    /// Takes over what may change while it runs.
    fn set_limits(&self, rules: &Rules) {
        self.writes_max.store(rules.writes_max, Relaxed);
        self.bytes_max.store(rules.bytes_max, Relaxed);
    }

    /// One is taken whole while there are fewer bytes than may be, so that the longest finds room too.
    fn has_room(&self) -> bool {
        self.writes.load(Relaxed) < self.writes_max.load(Relaxed)
            && self.bytes.load(Relaxed) < self.bytes_max.load(Relaxed)
    }

    fn take(&self, bytes: usize) {
        self.writes.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.writes.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}

impl Writers {
    /// Also what [`run`] takes from.
    pub fn new(limits: &Limits) -> (Arc<Self>, Queue) {
        let (queue, said) = mpsc::unbounded_channel();
        let held = Held {
            writes_max: limits.writes.into(),
            bytes_max: limits.write_bytes.into(),
            ..Held::default()
        };
        let held = Arc::new(held);
        (Arc::new(Self { queue, held: held.clone() }), Queue { said, held })
    }
}

impl Writes for Writers {
    fn write(&self, write: Write) -> Result<(), Write> {
        if !self.held.has_room() {
            return Err(write);
        }
        self.held.take(write.bytes());
        // Nobody takes it any more where the gateway ends: it is dropped, which refuses it.
        let _ = self.queue.send(Said::Write(write.into(), Instant::now() + ROOM));
        Ok(())
    }

    fn left(&self, writer: u64) {
        let _ = self.queue.send(Said::Left(writer));
    }
}

/// The other end of [`Writers`].
#[derive(Debug)]
pub struct Queue {
    said: mpsc::UnboundedReceiver<Said>,
    held: Arc<Held>,
}

/// A publish that is to be numbered.
#[derive(Debug)]
struct Taken {
    publication: Publication,
    name: Option<Name>,
    answer: Answering,
    until: Instant,
}

/// What holds for what clients write.
#[derive(Debug)]
pub struct Rules {
    pub writes_max: usize,
    pub bytes_max: usize,
    pub once: Bounds,
    pub checks: Arc<Checks>,
}

/// Numbers what clients write, until no shard is left.
pub async fn run(mut queue: Queue, sequencer: Arc<ClockedSequencer>, rules: impl Fn() -> Rules) {
    let mut said = Vec::with_capacity(TAKEN_MAX);
    let mut desk = Desk { once: Once::default(), workers: Workers::default(), sequencer, rules: rules() };
    while queue.said.recv_many(&mut said, TAKEN_MAX).await > 0 {
        desk.rules = rules();
        queue.held.set_limits(&desk.rules);
        let (mut taken, mut bytes) = (Vec::with_capacity(said.len()), Vec::with_capacity(said.len()));
        for said in said.drain(..) {
            match said {
                Said::Write(write, until) => {
                    bytes.push(write.bytes());
                    taken.extend(desk.take(*write, until).await);
                }
                Said::Left(writer) => {
                    // What it has written comes before.
                    desk.number(std::mem::take(&mut taken)).await;
                    desk.sequencer.left(writer);
                }
            }
        }
        desk.number(taken).await;
        bytes.into_iter().for_each(|bytes| queue.held.give_back(bytes));
    }
}

/// Where what clients write becomes updates.
struct Desk {
    once: Once<Answering, Wrote>,
    workers: Workers,
    sequencer: Arc<ClockedSequencer>,
    rules: Rules,
}

impl Desk {
    /// `None`: it is answered, or will be with another.
    async fn take(&mut self, write: Write, until: Instant) -> Option<Taken> {
        let Write { publish, writer, by, due_us, answer } = write;
        let body = match publish.body {
            publish::Body::Data(data) => Body::Data(data),
            publish::Body::Changes(changes) => Body::Changes(changes),
        };
        let new = Publication::new(publish.topic, body, due_us);
        let publication = Publication { writer: Some(writer), by, once: publish.once, ..new };
        let name = Name::of(&publication, None);
        let answer = match &name {
            None => answer,
            Some(name) => self.begin(name, answer)?,
        };
        let checked = match self.sequencer.may_write(&publication) {
            Ok(()) => {
                let (checks, bytes) = (self.rules.checks.clone(), publication.body.bytes());
                let checked = self.workers.run_sized(bytes, move || checks.pass(publication)).await;
                checked.map_err(|reason| Wrote::Refused { code: BAD_REQUEST, reason: reason.into() })
            }
            Err(why) => Err(refused(&why)),
        };
        match checked {
            Ok(publication) => Some(Taken { publication, name, answer, until }),
            Err(refused) => {
                self.end(name, answer, refused);
                None
            }
        }
    }

    /// Gives back whom the first is to answer.
    fn begin(&mut self, name: &Name, answer: Answering) -> Option<Answering> {
        let bounds = self.rules.once;
        match self.once.begin(name, answer, bounds, self.sequencer.now().mono_us) {
            Begun::First(answer) => return Some(answer),
            Begun::Waits => {}
            Begun::Written(answer, wrote) => answer.give(wrote),
            Begun::Full(answer) => answer.give(refused(&Why::TooManyNames { max: bounds.names_max })),
        }
        None
    }

    /// Numbers all, waiting for room as publishers do, and answers them.
    async fn number(&mut self, taken: Vec<Taken>) {
        let mut taken = taken.into_iter();
        while let Some(first) = taken.as_slice().first() {
            let until = first.until;
            let publications: Vec<_> =
                taken.as_slice().iter().map(|taken| taken.publication.clone()).collect();
            // They fill no more of the inboxes than other publishers do.
            let is_crowded = self.sequencer.is_crowded();
            match if is_crowded { None } else { self.sequencer.try_write(&publications) } {
                Some(written) => {
                    for (written, Taken { name, answer, .. }) in written.into_iter().zip(&mut taken) {
                        self.end(name, answer, told(written));
                    }
                }
                None if Instant::now() < until => tokio::time::sleep(LOOK).await,
                None => {
                    let reason = format!("the inbox of a shard had no room for {ROOM:?}; try again");
                    let late = Wrote::Refused { code: NO_ROOM, reason: reason.into() };
                    let first = taken.next();
                    first.into_iter().for_each(|first| self.end(first.name, first.answer, late.clone()));
                }
            }
        }
    }

    fn end(&mut self, name: Option<Name>, answer: Answering, wrote: Wrote) {
        if let Some(name) = name {
            let kept = Some(wrote.clone()).filter(|wrote| matches!(wrote, Wrote::Published { .. }));
            let waiting = self.once.end(name, kept, self.sequencer.now().mono_us);
            waiting.into_iter().for_each(|waiter| waiter.give(wrote.clone()));
        }
        answer.give(wrote);
    }
}

fn told(written: Result<Written, Why>) -> Wrote {
    match written {
        Ok(Written { v, version }) => Wrote::Published { v, version, reply: None },
        Err(why) => refused(&why),
    }
}

fn refused(why: &Why) -> Wrote {
    Wrote::Refused { code: why.code(), reason: why.to_string().into() }
}
