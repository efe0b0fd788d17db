//! A run from the first connect to the report.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    args::Args,
    host::process::{self, Usage},
    judge::settle::{self, Settled},
    progress::Progress,
    publish::{self, Published},
    report::Results,
    shared::Shared,
    tally::Tally,
    worker::{Outcome, Worker},
};

/// What final values may take to arrive, plus whatever the interval exceeds one second by.
const GRACE_US: u64 = 2_000_000;
const TICK: Duration = Duration::from_millis(5);
/// Descriptors that are not connections: rings, eventfds, the standard streams, the admin's.
const DESCRIPTORS_KEPT: u64 = 64;

/// Loads the server as `args` say. An error is a run-time failure: there is no report to trust.
pub fn run(args: Arc<Args>) -> Result<Results, String> {
    let threads = threads(&args)?;
    let shared = Arc::new(Shared::new(threads));
    let stop_publishing = Arc::new(AtomicBool::new(false));
    let publisher = publisher(&args, &stop_publishing)?;
    let run = Run { workers: workers(&args, &shared, threads)?, progress: Progress::new(), args, shared };
    run.finish(publisher, &stop_publishing, threads)
}

struct Run {
    args: Arc<Args>,
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<Result<Outcome, String>>>,
    progress: Progress,
}

type Publisher = JoinHandle<Result<Published, String>>;

impl Run {
    fn finish(
        mut self,
        publisher: Option<Publisher>,
        stop_publishing: &Arc<AtomicBool>,
        threads: usize,
    ) -> Result<Results, String> {
        let requested = u64::from(self.args.connections);
        let shared = self.shared.clone();
        let decided = || shared.ready.load(Relaxed) + shared.failed.load(Relaxed) >= requested;
        self.wait("connect", decided)?;
        let server = self.args.server_pid.or_else(|| process::listening(self.args.url.addr));
        let usage = || (server.and_then(process::usage), process::usage(std::process::id()));
        let begin = (shared.now_us(), usage());
        let end_us = begin.0 + self.args.duration.as_micros() as u64;
        shared.end_us.store(end_us, Relaxed);
        shared.begin_us.store(begin.0, Relaxed);
        if shared.ready.load(Relaxed) > 0 {
            self.wait("measure", || shared.now_us() >= end_us)?;
        } else {
            shared.end_us.store(begin.0, Relaxed);
        }
        let end = (shared.now_us(), usage());
        stop_publishing.store(true, Relaxed);
        let published =
            publisher.map(|thread| thread.join().expect("the publisher does not panic")).transpose()?;
        let gateway = self.gateway()?;
        let interval_us = shared.interval_ms.load(Relaxed) * 1000;
        let stop_us = shared.now_us() + GRACE_US + interval_us.saturating_sub(1_000_000);
        shared.stop_us.store(stop_us, Relaxed);
        self.wait("settle", || shared.now_us() >= stop_us)?;
        let settled_gateway = gateway.map(|before| self.still_there(before)).transpose()?;
        let outcomes = self.join()?;
        let groups = &self.args.groups;
        let settled = settle::settle(&outcomes, groups, settled_gateway.as_ref());
        settled.examples.iter().for_each(|example| eprintln!("loadgen: lost: {example}"));
        Ok(Results {
            requested,
            tally: sum(&outcomes, &settled),
            setup_seconds: shared.established_us.load(Relaxed) as f64 / 1e6,
            window_seconds: (end.0.min(end_us) - begin.0) as f64 / 1e6,
            settled,
            published,
            server: both(begin.1.0, end.1.0),
            own: both(begin.1.1, end.1.1),
            threads,
        })
    }

    /// Prints progress until `done`; an error when a worker ends before its time.
    fn wait(&mut self, what: &str, done: impl Fn() -> bool) -> Result<(), String> {
        let requested = u64::from(self.args.connections);
        while !done() {
            if self.workers.iter().any(JoinHandle::is_finished) {
                self.shared.stop_us.store(0, Relaxed);
                return self.join().map(drop);
            }
            thread::sleep(TICK);
            self.progress.tick(&self.shared, requested, what);
        }
        Ok(())
    }

    /// The gateway's topics, where its admin listener is known.
    fn gateway(&self) -> Result<Option<BTreeMap<String, u64>>, String> {
        let Some(admin) = self.args.admin.as_ref().filter(|_| self.args.raw.is_none()) else {
            return Ok(None);
        };
        settle::topics(admin).map(Some).map_err(|error| format!("GET /topics of {}: {error}", admin.host))
    }

    /// A topic that was removed since is nobody's loss.
    fn still_there(&self, mut before: BTreeMap<String, u64>) -> Result<BTreeMap<String, u64>, String> {
        let now = self.gateway()?.unwrap_or_default();
        before.retain(|topic, _| now.contains_key(topic));
        Ok(before)
    }

    fn join(&mut self) -> Result<Vec<Outcome>, String> {
        let join = |worker: JoinHandle<_>| worker.join().map_err(|_| "a worker panicked".to_owned())?;
        self.workers.drain(..).map(join).collect()
    }
}

fn both(begin: Option<Usage>, end: Option<Usage>) -> Option<(Usage, Usage)> {
    begin.zip(end)
}

fn sum(outcomes: &[Outcome], settled: &Settled) -> Tally {
    let mut tally = Tally::default();
    outcomes.iter().for_each(|outcome| tally.merge(&outcome.tally));
    tally.faults.lost += settled.lost;
    tally
}

/// Rings to use: a ring's table holds at most as many connections as the process may open files.
fn threads(args: &Args) -> Result<usize, String> {
    let files = rlimit::increase_nofile_limit(u64::MAX)
        .map_err(|error| format!("the limit on open files cannot be read: {error}"))?;
    let per_ring = files.saturating_sub(DESCRIPTORS_KEPT).max(1);
    let needed = u64::from(args.connections).div_ceil(per_ring) as usize;
    if let Some(threads) = args.threads {
        let least =
            format!("{} connections need {needed} rings at {files} open files each", args.connections);
        return if threads >= needed { Ok(threads) } else { Err(format!("--threads {threads}: {least}")) };
    }
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    Ok(cpus.max(needed).min(args.connections as usize))
}

fn publisher(args: &Arc<Args>, stop: &Arc<AtomicBool>) -> Result<Option<Publisher>, String> {
    let Some(admin) = args.admin.clone().filter(|_| args.publish_per_s > 0.0) else { return Ok(None) };
    let (per_s, stop) = (args.publish_per_s, stop.clone());
    let spawned =
        thread::Builder::new().name("publish".into()).spawn(move || publish::run(&admin, per_s, &stop));
    spawned.map(Some).map_err(|error| format!("no thread to publish with: {error}"))
}

/// Starts the workers; an error when one of them cannot have its ring.
fn workers(
    args: &Arc<Args>,
    shared: &Arc<Shared>,
    threads: usize,
) -> Result<Vec<JoinHandle<Result<Outcome, String>>>, String> {
    let (ready, started) = mpsc::channel();
    let spawn = |index| {
        let (args, shared, ready) = (args.clone(), shared.clone(), ready.clone());
        let body = move || match Worker::new(args, shared, index, threads) {
            Ok(worker) => {
                let _ = ready.send(Ok(()));
                worker.run()
            }
            Err(error) => {
                let _ = ready.send(Err(error.clone()));
                Err(error)
            }
        };
        let spawned = thread::Builder::new().name(format!("load-{index}")).spawn(body);
        spawned.map_err(|error| format!("no thread for the load: {error}"))
    };
    let workers = (0..threads).map(spawn).collect::<Result<Vec<_>, _>>()?;
    for _ in 0..threads {
        started.recv().map_err(|_| "a worker ended at its start".to_owned())??;
    }
    Ok(workers)
}
