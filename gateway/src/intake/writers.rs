//! What clients write, from all shards: one after the other to the sequencer, and the answers back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use engine::{
    sequencer::{
        NotPublished, Publication, Why,
        once::{Begun, Name, Once},
    },
    settings::Limits,
    writes::{Answering, Write, Writes, Wrote},
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::clocked::ClockedSequencer;
use crate::config::Config;

/// How long a publish waits for room in an inbox, and how often it looks.
const ROOM: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(1);

/// What a shard says.
#[derive(Debug)]
enum Said {
    Write(Write),
    Left(u64),
}

/// Where shards hand over what clients write.
#[derive(Debug)]
pub struct Writers {
    queue: mpsc::UnboundedSender<Said>,
    held: Held,
}

/// Publishes that are not numbered yet, and their bytes.
#[derive(Debug, Default)]
struct Held {
    writes: AtomicUsize,
    bytes: AtomicUsize,
    writes_max: AtomicUsize,
    bytes_max: AtomicUsize,
}

impl Held {
    fn give_back(&self, bytes: usize) {
        self.writes.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(bytes, Relaxed);
    }
}

impl Writers {
    /// Also what [`run`] takes from.
    pub fn new(limits: &Limits) -> (Arc<Self>, Queue) {
        let (queue, said) = mpsc::unbounded_channel();
        let writers = Arc::new(Self { queue, held: Held::default() });
        writers.set_limits(limits);
        (writers.clone(), Queue { said, writers })
    }

    /// Takes over what may change while it runs.
    pub fn set_limits(&self, limits: &Limits) {
        self.held.writes_max.store(limits.writes, Relaxed);
        self.held.bytes_max.store(limits.write_bytes, Relaxed);
    }
}

impl Writes for Writers {
    fn write(&self, write: Write) -> Result<(), Write> {
        let Held { writes, bytes, writes_max, bytes_max } = &self.held;
        let size = size(&write);
        let has_room = writes.load(Relaxed) < writes_max.load(Relaxed)
            && bytes.load(Relaxed) + size <= bytes_max.load(Relaxed);
        if !has_room {
            return Err(write);
        }
        writes.fetch_add(1, Relaxed);
        bytes.fetch_add(size, Relaxed);
        // Nobody takes it any more where the gateway ends: it is dropped, which refuses it.
        let _ = self.queue.send(Said::Write(write));
        Ok(())
    }

    fn left(&self, conn: u64) {
        let _ = self.queue.send(Said::Left(conn));
    }
}

fn size(write: &Write) -> usize {
    write.publication.topic.len() + write.publication.body.bytes()
}

/// The other end of [`Writers`].
#[derive(Debug)]
pub struct Queue {
    said: mpsc::UnboundedReceiver<Said>,
    writers: Arc<Writers>,
}

/// Numbers what clients write, until no shard is left. `config`: what holds.
pub async fn run(
    mut queue: Queue,
    sequencer: Arc<ClockedSequencer>,
    mut config: watch::Receiver<Arc<Config>>,
) {
    let mut once = Once::default();
    loop {
        let said = tokio::select! {
            biased;
            Ok(()) = config.changed() => {
                queue.writers.set_limits(&config.borrow_and_update().limits);
                continue;
            }
            said = queue.said.recv() => said,
        };
        match said {
            None => return,
            // Nothing is bound to connections yet.
            Some(Said::Left(_)) => {}
            Some(Said::Write(write)) => {
                let (size, config) = (size(&write), config.borrow().clone());
                take(write, &mut once, &sequencer, &config.limits).await;
                queue.writers.held.give_back(size);
            }
        }
    }
}

async fn take(
    write: Write,
    once: &mut Once<Answering, Wrote>,
    sequencer: &ClockedSequencer,
    limits: &Limits,
) {
    let Write { publication, answer } = write;
    let name = Name::of(&publication, None);
    let now_us = sequencer.now().mono_us;
    let answer = match &name {
        None => answer,
        Some(name) => match once.begin(name, answer, limits.once_names, now_us) {
            Begun::First(answer) => answer,
            Begun::Waits => return,
            Begun::Written(answer, wrote) => return answer.give(wrote),
            Begun::Full(answer) => {
                let why = Why::TooManyNames { max: limits.once_names };
                return answer.give(refused(&why));
            }
        },
    };
    let wrote = publish(&publication, sequencer).await;
    if let Some(name) = name {
        let kept = Some(wrote.clone()).filter(|wrote| matches!(wrote, Wrote::Published { .. }));
        let waiting = once.end(name, kept, limits.once_for, now_us);
        waiting.into_iter().for_each(|waiter| waiter.give(wrote.clone()));
    }
    answer.give(wrote);
}

async fn publish(publication: &Publication, sequencer: &ClockedSequencer) -> Wrote {
    let until = Instant::now() + ROOM;
    loop {
        let why = match sequencer.try_write(publication) {
            Ok(written) => return Wrote::Published { written, reply: None },
            Err(NotPublished::Refused(refused)) => refused.why,
            Err(NotPublished::Full) if Instant::now() < until => {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            Err(NotPublished::Full) => Why::Late,
        };
        return refused(&why);
    }
}

fn refused(why: &Why) -> Wrote {
    Wrote::Refused { code: why.code(), reason: why.to_string().into() }
}
