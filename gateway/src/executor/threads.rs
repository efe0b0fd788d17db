//! A shard's thread, pinned to its CPU.

use std::{
    io,
    sync::mpsc,
    thread::{self, JoinHandle},
};

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};
use net::{Io, SetupError, patiently};
use rlimit::Resource;
use rustix::thread::{CpuSet, sched_setaffinity};

/// Entries of glommio's own rings, which do nothing but end its executor.
const RING_DEPTH: usize = 128;
/// glommio makes no executor below that, also where the kernel would.
const MEMLOCK_LEAST_KIB: u64 = 512;

/// Runs on a thread of its own, once that is pinned and, with io_uring, has its executor.
pub fn spawn(
    io: Io,
    name: &str,
    cpu: usize,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, String> {
    let (tell, started) = mpsc::channel();
    let run = move || {
        let executor = pin(cpu).and_then(|()| match io {
            Io::IoUring => patiently(executor).map(Some).map_err(|error| error.to_string()),
            Io::Epoll => Ok(None),
        });
        let (executor, result) = match executor {
            Ok(executor) => (Some(executor), Ok(())),
            Err(error) => (None, Err(error)),
        };
        // Whoever started it waits for that.
        let _ = tell.send(result);
        match executor {
            Some(Some(executor)) => executor.run(async { run() }),
            Some(None) => run(),
            None => {}
        }
    };
    let handle =
        thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|error| error.to_string())?;
    started.recv().expect("the thread tells before it runs")?;
    Ok(handle)
}

fn pin(cpu: usize) -> Result<(), String> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).map_err(|error| io::Error::from(error).to_string())
}

/// Of this thread. It is unbound, as glommio needs /sys to bind it; what it starts stays on the thread's CPU.
pub fn executor() -> Result<LocalExecutor, SetupError> {
    let limit_kib = Resource::MEMLOCK.get_soft().map_err(SetupError::of_executor)? / 1024;
    if limit_kib < MEMLOCK_LEAST_KIB {
        return Err(SetupError::MemlockTooLow { limit_kib, least_kib: MEMLOCK_LEAST_KIB });
    }
    let made = LocalExecutorBuilder::new(Placement::Unbound).io_memory(0).ring_depth(RING_DEPTH).make();
    made.map_err(|error| SetupError::of_executor(error.into()))
}
