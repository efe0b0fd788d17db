//! A shard's thread, pinned to its CPU.

use std::thread::{self, JoinHandle};

use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};
use net::Io;
use rustix::thread::{CpuSet, sched_setaffinity};

/// Entries of glommio's own rings, which do nothing but end its executor.
const RING_DEPTH: usize = 128;

pub enum Thread {
    Executor(ExecutorJoinHandle<()>),
    Plain(JoinHandle<()>),
}

impl Thread {
    pub fn spawn(
        io: Io,
        name: &str,
        cpu: usize,
        run: impl FnOnce() + Send + 'static,
    ) -> Result<Self, String> {
        match io {
            Io::IoUring => LocalExecutorBuilder::new(Placement::Fixed(cpu))
                .name(name)
                .io_memory(0)
                .ring_depth(RING_DEPTH)
                .spawn(move || async move { run() })
                .map(Self::Executor)
                .map_err(|error| error.to_string()),
            Io::Epoll => plain(name, cpu, run).map(Self::Plain).map_err(|error| error.to_string()),
        }
    }

    /// Waits for its end. `false`: it panicked.
    pub fn join(self) -> bool {
        match self {
            Self::Executor(handle) => handle.join().is_ok(),
            Self::Plain(handle) => handle.join().is_ok(),
        }
    }
}

fn plain(name: &str, cpu: usize, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    let (tell, pinned) = std::sync::mpsc::channel();
    let handle = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let mut cpus = CpuSet::new();
        cpus.set(cpu);
        let result = sched_setaffinity(None, &cpus);
        let is_pinned = result.is_ok();
        // Whoever started it waits for that.
        let _ = tell.send(result);
        if is_pinned {
            run();
        }
    })?;
    pinned.recv().expect("the thread tells before it runs")?;
    Ok(handle)
}
