//! What clients write, from all shards: one after the other to the sequencer, and the answers back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use engine::{
    protocol::reply::BAD_REQUEST,
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

use super::{clocked::ClockedSequencer, workers::Workers};
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
    let (mut once, workers) = (Once::default(), Workers::default());
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
            Some(Said::Left(conn)) => sequencer.left(conn),
            Some(Said::Write(write)) => {
                let (size, config) = (size(&write), config.borrow().clone());
                let way = Way { sequencer: &sequencer, workers: &workers, config: &config };
                take(write, &mut once, &way).await;
                queue.writers.held.give_back(size);
            }
        }
    }
}

/// How what a client wrote becomes an update.
struct Way<'a> {
    sequencer: &'a ClockedSequencer,
    workers: &'a Workers,
    /// What holds.
    config: &'a Config,
}

async fn take(write: Write, once: &mut Once<Answering, Wrote>, way: &Way<'_>) {
    let Write { publication, answer } = write;
    let name = Name::of(&publication, None);
    let (limits, now_us) = (&way.config.limits, way.sequencer.now().mono_us);
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
    let wrote = way.publish(publication).await;
    if let Some(name) = name {
        let kept = Some(wrote.clone()).filter(|wrote| matches!(wrote, Wrote::Published { .. }));
        let waiting = once.end(name, kept, limits.once_for, now_us);
        waiting.into_iter().for_each(|waiter| waiter.give(wrote.clone()));
    }
    answer.give(wrote);
}

impl Way<'_> {
    async fn publish(&self, publication: Publication) -> Wrote {
        if let Err(why) = self.sequencer.may_write(&publication) {
            return refused(&why);
        }
        let checks = self.config.checks.clone();
        let bytes = publication.body.bytes();
        let publication = match self.workers.run_sized(bytes, move || checks.pass(publication)).await {
            Ok(publication) => publication,
            Err(reason) => return Wrote::Refused { code: BAD_REQUEST, reason: reason.into() },
        };
        let until = Instant::now() + ROOM;
        loop {
            let why = match self.sequencer.try_write(&publication) {
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
}

fn refused(why: &Why) -> Wrote {
    Wrote::Refused { code: why.code(), reason: why.to_string().into() }
}
