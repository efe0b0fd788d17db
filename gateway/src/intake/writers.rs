//! What clients write, from all shards: to the sequencer in the order in which it came, and the answers back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use engine::{
    protocol::{publish, reply::NO_ROOM},
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
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::clocked::ClockedSequencer;
use crate::config::Config;

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
    fn set_limits(&self, limits: &Limits) {
        self.writes_max.store(limits.writes, Relaxed);
        self.bytes_max.store(limits.write_bytes, Relaxed);
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
        let held = Arc::new(Held::default());
        held.set_limits(limits);
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

/// Numbers what clients write, until no shard is left. `config`: what holds.
pub async fn run(
    mut queue: Queue,
    sequencer: Arc<ClockedSequencer>,
    mut config: watch::Receiver<Arc<Config>>,
) {
    let (mut once, mut said) = (Once::default(), Vec::with_capacity(TAKEN_MAX));
    loop {
        tokio::select! {
            biased;
            Ok(()) = config.changed() => queue.held.set_limits(&config.borrow_and_update().limits),
            taken = queue.said.recv_many(&mut said, TAKEN_MAX) => if taken == 0 { return },
        }
        let bounds = Bounds::of(&config.borrow().limits);
        let (mut taken, mut bytes) = (Vec::with_capacity(said.len()), Vec::with_capacity(said.len()));
        for said in said.drain(..) {
            match said {
                Said::Write(write, until) => {
                    bytes.push(write.bytes());
                    taken.extend(take(*write, until, &mut once, bounds, sequencer.now().mono_us));
                }
                Said::Left(writer) => {
                    // What it has written comes before.
                    number(std::mem::take(&mut taken), &mut once, &sequencer).await;
                    let _ = writer;
                }
            }
        }
        number(taken, &mut once, &sequencer).await;
        bytes.into_iter().for_each(|bytes| queue.held.give_back(bytes));
    }
}

/// `None`: it is answered, or will be with another.
fn take(
    write: Write,
    until: Instant,
    once: &mut Once<Answering, Wrote>,
    bounds: Bounds,
    now_us: u64,
) -> Option<Taken> {
    let Write { publish, writer, by, due_us, answer } = write;
    let body = match publish.body {
        publish::Body::Data(data) => Body::Data(data),
        publish::Body::Changes(changes) => Body::Changes(changes),
    };
    let publication = Publication {
        writer: Some(writer),
        by,
        once: publish.once,
        ..Publication::new(publish.topic, body, due_us)
    };
    let Some(name) = Name::of(&publication, None) else {
        return Some(Taken { publication, name: None, answer, until });
    };
    match once.begin(&name, answer, bounds, now_us) {
        Begun::First(answer) => return Some(Taken { publication, name: Some(name), answer, until }),
        Begun::Waits => {}
        Begun::Written(answer, wrote) => answer.give(wrote),
        Begun::Full(answer) => answer.give(refused(&Why::TooManyNames { max: bounds.names_max })),
    }
    None
}

/// Numbers all, waiting for room as publishers do, and answers them.
async fn number(taken: Vec<Taken>, once: &mut Once<Answering, Wrote>, sequencer: &ClockedSequencer) {
    let mut taken = taken.into_iter();
    while !taken.as_slice().is_empty() {
        let publications: Vec<_> = taken.as_slice().iter().map(|taken| taken.publication.clone()).collect();
        // They fill no more of the inboxes than other publishers do.
        let tried = if sequencer.is_crowded() { None } else { sequencer.try_write(&publications) };
        match tried {
            Some(written) => {
                for (written, taken) in written.into_iter().zip(&mut taken) {
                    end(taken, told(written), once, sequencer);
                }
            }
            None if taken.as_slice().first().is_some_and(|first| Instant::now() < first.until) => {
                tokio::time::sleep(LOOK).await;
            }
            None => {
                let reason = format!("the inbox of a shard had no room for {ROOM:?}; try again");
                let late = Wrote::Refused { code: NO_ROOM, reason: reason.into() };
                taken.next().into_iter().for_each(|taken| end(taken, late.clone(), once, sequencer));
            }
        }
    }
}

fn end(taken: Taken, wrote: Wrote, once: &mut Once<Answering, Wrote>, sequencer: &ClockedSequencer) {
    if let Some(name) = taken.name {
        let kept = Some(wrote.clone()).filter(|wrote| matches!(wrote, Wrote::Published { .. }));
        let waiting = once.end(name, kept, sequencer.now().mono_us);
        waiting.into_iter().for_each(|waiter| waiter.give(wrote.clone()));
    }
    taken.answer.give(wrote);
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
