//! A run from the first connect to its results.

mod command;
mod progress;
pub mod report;
pub mod results;
mod timeline;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use net::{Io, uring};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{
    args::{Args, ClockOffset, Wanted, template::Fill},
    exit::FAILED,
    host::{
        Sight,
        limits::{HostLimits, Need, Plan},
        process,
    },
    judge::{
        holdings::Holdings,
        settle::{self, Settled},
        topic::Patterns,
        values::{self, GatewayValue},
    },
    measure::{arrival::wall_us, tally::Tally},
    server::{
        clock::{self, Offset},
        publish::Publishers,
        topics,
    },
    worker::{self, Worker, shared::Shared, source, watchlists::Watchlists},
};
use progress::{Progress, Stage};
use results::Results;
use timeline::Timeline;

/// What final values may take to arrive, plus whatever the interval exceeds one second by.
const GRACE_US: u64 = 2_000_000;
const TICK: Duration = Duration::from_millis(5);

/// Set by the first SIGINT or SIGTERM; a second one ends the process at once.
pub fn interruptions() -> Result<Arc<AtomicBool>, String> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, i32::from(FAILED), flag.clone())
            .and_then(|_| signal_hook::flag::register(signal, flag.clone()))
            .map_err(|error| format!("signals cannot be handled: {error}"))?;
    }
    Ok(flag)
}

/// Loads the server as `args` say, or until it is `interrupted`. An error is a run-time failure:
/// there is no report to trust.
pub fn run(args: &Arc<Args>, interrupted: &Arc<AtomicBool>) -> Result<Results, String> {
    if let Some(pid) = args.server_pid.filter(|pid| process::usage(*pid).is_none()) {
        return Err(format!("--server-pid {pid}: there is no such process on this host"));
    }
    let (io, threads) = sockets(args)?;
    let clock = clock_offset(args)?;
    let shared = Arc::new(Shared::new(threads, clock.map_or(0, |clock| clock.us)));
    let publishers = publishers(args)?;
    let run = Run {
        workers: workers(args, &shared, io, threads)?,
        progress: Progress::new(),
        timeline: Timeline::new(args.server_pid, args.url.addr),
        began_at: wall_us() / 1_000_000,
        interrupted: interrupted.clone(),
        clock,
        unanswered: None,
        args: args.clone(),
        shared: shared.clone(),
    };
    // A search goes on after a run that failed, without its threads.
    run.finish(publishers, threads).inspect_err(|_| shared.stop_us.store(0, Relaxed))
}

/// Between hosts times can only be compared once the clocks are.
fn clock_offset(args: &Args) -> Result<Option<Offset>, String> {
    let wanted = match args.clock_offset {
        ClockOffset::Off => false,
        ClockOffset::Probe => true,
        ClockOffset::Auto => args.raw.is_none() && !clock::is_here(args.url.addr.ip()),
    };
    if !wanted {
        return Ok(None);
    }
    let request = |out: &mut Vec<u8>, nonce| {
        args.opening.request(out, nonce, false, &Fill { now_us: wall_us(), ..Fill::default() });
    };
    let probes = clock::probe(&args.url, args.tls.as_ref(), request).map_err(|error| {
        format!("the server's clock cannot be compared ({error}); use --clock-offset off")
    })?;
    Ok(clock::estimate(&probes))
}

/// What a worker brings is counts, and what its connections hold.
type WorkerHandle = JoinHandle<Result<(Tally, Holdings), String>>;

struct Run {
    args: Arc<Args>,
    shared: Arc<Shared>,
    workers: Vec<WorkerHandle>,
    progress: Progress,
    timeline: Timeline,
    /// Seconds since the Unix epoch.
    began_at: u64,
    interrupted: Arc<AtomicBool>,
    clock: Option<Offset>,
    /// Why the final values were not compared with the gateway's.
    unanswered: Option<String>,
}

impl Run {
    fn finish(mut self, publishers: Option<Publishers>, threads: usize) -> Result<Results, String> {
        let requested = u64::from(self.args.connections);
        let shared = self.shared.clone();
        let decided = || (shared.ready.load(Relaxed) + shared.failed.load(Relaxed), requested);
        self.wait(Stage::Connect, true, decided)?;
        let (warm_us, warm_up_us) = (shared.now_us(), self.args.warm_up.as_micros() as u64);
        self.wait(Stage::WarmUp, true, || (shared.now_us() - warm_us, warm_up_us))?;
        let anonymous_bytes = process::anonymous_bytes(std::process::id());
        let begin = self.sight();
        let begin_us = shared.now_us();
        let end_us = begin_us + self.args.duration.as_micros() as u64;
        shared.end_us.store(end_us, Relaxed);
        shared.begin_us.store(begin_us, Relaxed);
        if shared.ready.load(Relaxed) > 0 {
            self.wait(Stage::Measure, true, || (shared.now_us() - begin_us, end_us - begin_us))?;
        }
        let end_us = shared.now_us().min(end_us);
        shared.end_us.store(end_us, Relaxed);
        let end = self.sight();
        let published = publishers.map(Publishers::stop);
        let gateway = self.asked(Self::gateway);
        let interval_us = shared.interval_ms.load(Relaxed) * 1000;
        let settle_us = shared.now_us();
        // Other protocols have no final values that are waited for.
        let grace_us = GRACE_US + interval_us.saturating_sub(1_000_000);
        let stop_us = settle_us + if self.args.raw.is_none() { grace_us } else { 0 };
        shared.stop_us.store(stop_us, Relaxed);
        self.wait(Stage::Settle, false, || (shared.now_us() - settle_us, stop_us - settle_us))?;
        let settled_gateway = gateway.and_then(|before| self.asked(|run| run.still_there(before)));
        let values = self.asked(|run| run.values(settled_gateway.as_ref())).unwrap_or_default();
        let (tallies, holdings): (Vec<_>, Vec<_>) = self.join()?.into_iter().unzip();
        let own = Watchlists::new(&self.args).map(|lists| move |index| lists.of(index));
        let own = own.as_ref().map(|own| own as &dyn Fn(usize) -> Vec<u32>);
        let settled = settle::settle(&holdings, &self.args.groups, own, settled_gateway.as_ref());
        let compared = values::compare(&holdings, settle::present_epoch(&holdings), &values);
        Ok(Results {
            seed: self.args.seed,
            requested,
            deflate: self.args.deflate,
            url: self.args.url.text(),
            began_at: self.began_at,
            interrupted: self.interrupted.load(Relaxed),
            tally: sum(&tallies, &settled),
            setup_seconds: shared.established_us.load(Relaxed) as f64 / 1e6,
            window_seconds: (end_us - begin_us) as f64 / 1e6,
            judged: self.args.raw.is_none(),
            settled,
            compared,
            unanswered: self.unanswered,
            tables_overrun: shared.key_budget.is_overrun(),
            published,
            begin,
            end,
            server_rss_bytes_max: self.timeline.server_rss_bytes_max,
            clock: self.clock,
            moments: self.timeline.moments,
            threads,
            anonymous_bytes,
        })
    }

    fn sight(&self) -> Sight {
        let admin = self.args.admin.as_ref().filter(|_| self.args.raw.is_none());
        Sight::now(self.timeline.server_pid, admin)
    }

    /// Shows progress until the `part` is the whole, or until the user has had enough; an error when
    /// a worker ends before its time.
    fn wait(
        &mut self,
        stage: Stage,
        may_end_early: bool,
        part: impl Fn() -> (u64, u64),
    ) -> Result<(), String> {
        let requested = u64::from(self.args.connections);
        let interrupted = self.interrupted.clone();
        loop {
            let (done, whole) = part();
            self.progress.stage(stage, (done, whole));
            if done >= whole || may_end_early && interrupted.load(Relaxed) {
                return Ok(());
            }
            if self.workers.iter().any(JoinHandle::is_finished) {
                self.shared.stop_us.store(0, Relaxed);
                return self.join().map(drop);
            }
            thread::sleep(TICK);
            if let Some(moment) = self.timeline.tick(&self.shared) {
                self.progress.show(moment, requested, stage);
            }
        }
    }

    /// What the admin listener answers, where it is known. Where it does not, the report says so: what
    /// was measured is not lost.
    fn asked<T>(&mut self, ask: impl FnOnce(&Self) -> Result<T, String>) -> Option<T> {
        self.args.admin.as_ref().filter(|_| self.args.raw.is_none())?;
        ask(self).inspect_err(|error| self.unanswered = Some(error.clone())).ok()
    }

    /// The gateway's topics.
    fn gateway(&self) -> Result<BTreeMap<String, u64>, String> {
        let Some(admin) = &self.args.admin else { return Ok(BTreeMap::new()) };
        topics::list(admin).map_err(|error| format!("GET /topics of {}: {error}", admin.url.host))
    }

    /// What the gateway has of its `topics` that somebody subscribed to.
    fn values(
        &self,
        topics: Option<&BTreeMap<String, u64>>,
    ) -> Result<HashMap<String, GatewayValue>, String> {
        let Some((admin, topics)) = self.args.admin.as_ref().zip(topics) else { return Ok(HashMap::new()) };
        let patterns: Vec<Patterns> = self.args.groups.iter().map(|group| Patterns::new(group)).collect();
        let wanted = |topic: &&str| patterns.iter().any(|patterns| patterns.matches(topic));
        let topics: Vec<&str> = topics.keys().map(String::as_str).filter(wanted).collect();
        let failed = |error| format!("GET /topics/… of {}: {error}", admin.url.host);
        topics::values(admin, &topics).map_err(failed)
    }

    /// A topic that was removed since is nobody's loss.
    fn still_there(&self, mut before: BTreeMap<String, u64>) -> Result<BTreeMap<String, u64>, String> {
        let now = self.gateway()?;
        before.retain(|topic, _| now.contains_key(topic));
        Ok(before)
    }

    fn join(&mut self) -> Result<Vec<(Tally, Holdings)>, String> {
        let join = |worker: JoinHandle<_>| worker.join().map_err(|_| "a worker panicked".to_owned())?;
        self.workers.drain(..).map(join).collect()
    }
}

fn sum(tallies: &[Tally], settled: &Settled) -> Tally {
    let mut tally = Tally::default();
    tallies.iter().for_each(|thread| tally.merge(thread));
    tally.faults.lost += settled.lost;
    tally
}

/// What moves the bytes, of how many threads, after a word on what will be tight. Where rings of the size that the load
/// needs cannot be had, and were not asked for, epoll does.
fn sockets(args: &Args) -> Result<(Io, usize), String> {
    let limits = HostLimits::of_this_host()?;
    let plan = |io| limits.plan(&need(args, io));
    let (io, plan) = match args.io {
        Wanted::Epoll => (Io::Epoll, plan(Io::Epoll)?),
        wanted => match rings(args, &limits)? {
            Ok(plan) => (Io::IoUring, plan),
            Err(error) if wanted == Wanted::IoUring => {
                return Err(format!("--io io_uring: {error}; or use --io epoll"));
            }
            Err(reason) => {
                eprintln!("loadgen: by epoll: {reason}");
                (Io::Epoll, plan(Io::Epoll)?)
            }
        },
    };
    eprintln!("loadgen: {}", plan.room);
    plan.warnings.iter().for_each(|warning| eprintln!("loadgen: {warning}"));
    Ok((io, plan.threads as usize))
}

/// The plan with rings, or why this host gives none of the size that the load needs. An error is of the load itself.
fn rings(args: &Args, limits: &HostLimits) -> Result<Result<Plan, String>, String> {
    if let Err(error) = uring::self_test() {
        return Ok(Err(error.to_string()));
    }
    let plan = limits.plan(&need(args, Io::IoUring))?;
    let threads = plan.threads as usize;
    let slots = connections(args).div_ceil(threads);
    let all: Result<Vec<_>, _> = (0..threads).map(|_| worker::backend(Io::IoUring, slots, threads)).collect();
    Ok(all.map(|_| plan))
}

fn connections(args: &Args) -> usize {
    args.connections as usize + args.hostile as usize
}

fn need(args: &Args, io: Io) -> Need {
    Need {
        io,
        connections: connections(args) as u64,
        threads: args.threads.map(|threads| threads as u64),
        source_addresses: source::addresses(args, connections(args)) as u64,
        server_here: clock::is_here(args.url.addr.ip()),
    }
}

fn publishers(args: &Args) -> Result<Option<Publishers>, String> {
    let admin = args.admin.as_ref().filter(|_| args.publish_per_s > 0.0);
    admin.map(|admin| Publishers::start(admin, args.publish_per_s, args.publishers)).transpose()
}

/// Starts the workers; an error when one of them cannot have its ring.
fn workers(
    args: &Arc<Args>,
    shared: &Arc<Shared>,
    io: Io,
    threads: usize,
) -> Result<Vec<WorkerHandle>, String> {
    let (ready, started) = mpsc::channel();
    let spawn = |index| {
        let (args, shared, ready) = (args.clone(), shared.clone(), ready.clone());
        let body = move || match Worker::new(args, shared, io, index, threads) {
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
