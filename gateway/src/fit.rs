//! Whether this machine does what a configuration asks of it, and by which calls its bytes are moved.

use std::fs;

use net::Io;
use rlimit::Resource;

use crate::{
    config::Config,
    executor::try_rings,
    system::{Choice, Machine, NOFILE_LEAST, Unfit, limit, nofile},
};

/// Raises the soft limit on descriptors and settles what moves the shards' bytes: where a configuration leaves that
/// open and rings of the size that it needs cannot be had, epoll does.
pub fn check(config: &Config, machine: &mut Machine) -> Result<(), Unfit> {
    let (soft, hard) = nofile()?;
    if hard < NOFILE_LEAST {
        return Err(Unfit::NofileTooLow { hard, least: NOFILE_LEAST });
    }
    if soft < hard {
        Resource::NOFILE.set(hard, hard).map_err(|error| Unfit::Nofile { soft, hard, error })?;
    }
    let wanted = config.server.io;
    if machine.io(wanted) == Io::IoUring && machine.no_io_uring.is_none() {
        machine.no_io_uring = try_rings(config.server.shards, config.sockets(machine)).err();
    }
    let choice = machine.choice(wanted);
    if let (Io::IoUring, Some(reason)) = (choice.io, &machine.no_io_uring) {
        return Err(Unfit::Ring(reason.clone()));
    }
    let room = room(config, machine)?;
    // Where epoll was not foreseen when the configuration was read.
    if let Some(wanted) = config.limits.connections.filter(|wanted| *wanted > room) {
        return Err(Unfit::Room { wanted, nofile: hard, room, reason: choice.reason });
    }
    tell(&choice, hard)
}

/// Clients that there is room for, by what a configuration asks for; at least one.
pub fn room(config: &Config, machine: &Machine) -> Result<usize, Unfit> {
    let (choice, demand) = (machine.choice(config.server.io), config.demand());
    match machine.clients_max(demand, choice.io) {
        0 => {
            let (nofile, needed) = (machine.nofile_hard, demand.nofile());
            Err(Unfit::NoRoom { nofile, needed, reason: choice.reason })
        }
        room => Ok(room),
    }
}

fn tell(choice: &Choice, nofile: u64) -> Result<(), Unfit> {
    let (memlock_bytes, _) = limit(Resource::MEMLOCK, "the limit memlock")?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let (Choice { io, reason }, kernel) = (choice, kernel.trim());
    tracing::info!(%io, reason, kernel, nofile, memlock_bytes, "shards move bytes so");
    Ok(())
}
