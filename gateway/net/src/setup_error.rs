//! Why the sockets' backend could not be made, and what to do about it.

use std::{
    fs, io, thread,
    time::{Duration, Instant},
};

/// A ring, or epoll, could not be made. The text is one sentence with the numbers and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("{name} is {value}; use {min} to {max}")]
    OutOfRange { name: &'static str, value: u32, min: u32, max: u32 },
    #[error("{name} is {value}; use a power of two, e.g. {}", value.next_power_of_two())]
    NotPowerOfTwo { name: &'static str, value: u32 },
    #[error(
        "this kernel ({release}) cannot do {what}; epoll does the same work. For io_uring run Linux {KERNEL_LEAST} or later"
    )]
    KernelTooOld { release: String, what: &'static str },
    #[error(
        "io_uring is switched off: kernel.io_uring_disabled is {sysctl}; epoll does the same work. For io_uring set it \
         to 0 with `sysctl kernel.io_uring_disabled=0`"
    )]
    DisabledBySysctl { sysctl: u32 },
    #[error(
        "io_uring is blocked ({error}), most likely by a container's seccomp profile; epoll does the same work. For \
         io_uring allow io_uring_setup, io_uring_enter and io_uring_register in that profile"
    )]
    Blocked { error: io::Error },
    #[error(
        "rings do not fit into the memory that may be locked ({limit_kib} KiB) or the machine's; epoll needs none. For \
         io_uring raise it with `ulimit -l unlimited` or LimitMEMLOCK=infinity, or use fewer threads"
    )]
    Memlock { limit_kib: u64 },
    #[error(
        "of memory that may be locked there are {limit_kib} KiB, and executors with io_uring want {least_kib} KiB; epoll \
         needs none. For io_uring raise it with `ulimit -l {least_kib}` or LimitMEMLOCK={least_kib}K"
    )]
    MemlockTooLow { limit_kib: u64, least_kib: u64 },
    #[error(
        "a table of {slots} slots is larger than RLIMIT_NOFILE ({nofile}), which bounds each ring; \
         raise it with `ulimit -n {slots}`, or use more threads with fewer connections each"
    )]
    TableTooLarge { slots: u32, nofile: u64 },
    #[error("no file descriptor is left for {what} (RLIMIT_NOFILE is {nofile}); raise it with `ulimit -n`")]
    OutOfDescriptors { what: &'static str, nofile: u64 },
    #[error("{call} failed: {error}; this is unexpected on Linux 5.10 or later")]
    Call { call: &'static str, error: io::Error },
    #[error("{step} failed: {error}; this is unexpected on Linux {KERNEL_LEAST} or later")]
    Step { step: &'static str, error: io::Error },
}

/// The oldest kernel that does all that a ring needs. Options and send queues of sockets that have no
/// descriptor (`SOCKET_URING_OP_SETSOCKOPT`, `SOCKET_URING_OP_SIOCOUTQ`) came last, with 6.7, whose multishot
/// operations are broken, as they were from 6.6.1 to 6.8-rc3. [`self_test`](crate::uring::self_test) tries each.
pub const KERNEL_LEAST: &str = "6.8";

impl SetupError {
    /// `io_uring_setup` failed.
    pub(crate) fn setup(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EINVAL) => Self::too_old("rings with deferred task work"),
            Some(libc::ENOSYS | libc::EPERM | libc::EACCES) => match disabled_sysctl() {
                Some(sysctl) if sysctl > 0 => Self::DisabledBySysctl { sysctl },
                _ => Self::Blocked { error },
            },
            Some(libc::ENOMEM) => Self::Memlock { limit_kib: limit(libc::RLIMIT_MEMLOCK) / 1024 },
            Some(libc::EMFILE | libc::ENFILE) => {
                Self::OutOfDescriptors { what: "the ring", nofile: limit(libc::RLIMIT_NOFILE) }
            }
            _ => Self::Step { step: "io_uring_setup", error },
        }
    }

    /// Registering the table of files failed.
    pub(crate) fn table(error: io::Error, slots: u32) -> Self {
        match error.raw_os_error() {
            Some(libc::EMFILE) => Self::TableTooLarge { slots, nofile: limit(libc::RLIMIT_NOFILE) },
            _ => Self::step("registering the table of files")(error),
        }
    }

    /// Registering something else failed.
    pub(crate) fn step(step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| match error.raw_os_error() {
            Some(libc::EINVAL) => Self::too_old(step),
            Some(libc::ENOMEM) => Self::Memlock { limit_kib: limit(libc::RLIMIT_MEMLOCK) / 1024 },
            _ => Self::Step { step, error },
        }
    }

    /// An executor, which has rings of its own, could not be made.
    pub fn of_executor(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EINVAL) => Self::Step { step: "making an executor", error },
            _ => Self::setup(error),
        }
    }

    /// A call for epoll failed.
    pub(crate) fn call(call: &'static str) -> impl FnOnce(rustix::io::Errno) -> Self {
        move |error| match error {
            rustix::io::Errno::MFILE | rustix::io::Errno::NFILE => {
                Self::OutOfDescriptors { what: "epoll", nofile: limit(libc::RLIMIT_NOFILE) }
            }
            _ => Self::Call { call, error: error.into() },
        }
    }

    pub(crate) fn too_old(what: &'static str) -> Self {
        Self::KernelTooOld { release: release(), what }
    }
}

/// How long locked memory is waited for, and how often it is tried.
const GIVEN_BACK: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(20);

/// Tries again for a moment where locked memory is missing: the kernel gives back that of earlier rings only some time
/// after they were closed.
pub fn patiently<T>(make: impl Fn() -> Result<T, SetupError>) -> Result<T, SetupError> {
    let end = Instant::now() + GIVEN_BACK;
    loop {
        match make() {
            Err(SetupError::Memlock { .. }) if Instant::now() < end => thread::sleep(AGAIN),
            made => return made,
        }
    }
}

/// Of this kernel, as `uname -r` prints it.
pub(crate) fn release() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_else(|_| "unknown".into());
    release.trim().to_owned()
}

fn disabled_sysctl() -> Option<u32> {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

fn limit(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit that the call may write to.
    match unsafe { libc::getrlimit(resource, &mut limit) } {
        0 => limit.rlim_cur,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_of_failure_names_its_remedy() {
        let text = |errno| SetupError::setup(io::Error::from_raw_os_error(errno)).to_string();
        assert!(text(libc::EINVAL).contains(&format!("run Linux {KERNEL_LEAST}")), "{}", text(libc::EINVAL));
        assert!(text(libc::ENOSYS).contains("seccomp") || text(libc::ENOSYS).contains("sysctl"));
        assert!(text(libc::ENOMEM).contains("ulimit -l"), "{}", text(libc::ENOMEM));
        assert!(text(libc::EMFILE).contains("ulimit -n"), "{}", text(libc::EMFILE));
        for errno in [libc::EINVAL, libc::ENOSYS, libc::ENOMEM] {
            assert!(text(errno).contains("epoll"), "{}", text(errno));
        }
        let table = SetupError::table(io::Error::from_raw_os_error(libc::EMFILE), 50_000).to_string();
        assert!(
            table.contains("50000") && table.contains(&limit(libc::RLIMIT_NOFILE).to_string()),
            "{table}"
        );
    }
}
