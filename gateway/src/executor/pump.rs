//! A shard's loop: inbox, what happened, what is due, and a sleep when nothing is left.

use std::{io, sync::Arc, time::Duration};

use engine::{
    settings::Limits,
    shard::{Shard, Sleep},
};
use net::{
    Backend, Backlog, Events,
    proxy::Proxied,
    tls::{Tls, TlsLimits},
};
use rustix::time::{ClockId, clock_gettime};

use tokio::sync::watch;

use crate::{clock::Clock, config::Config, tls::server::Current};

/// Events handled before deadlines and fan-out have their turn again: so many at most, and for so long. What clients say
/// may take a hundred times as long as it does mostly.
const EVENTS_PER_TURN: usize = 1024;
const EVENTS_US: u64 = 2_000;
/// Events between two looks at the clock.
const EVENTS_PER_LOOK: usize = 8;

/// A shard's sockets, from the top down.
pub type Net = Tls<Proxied<Backlog<Backend>>>;

/// Runs a shard until it has finished. `config`, `server`: what holds now.
pub fn pump(
    mut shard: Shard,
    mut net: Net,
    mut config: watch::Receiver<Arc<Config>>,
    mut server: Option<Current>,
    mut clock: Clock,
) {
    loop {
        let now = clock.now();
        shard.note_ring(net.inner().counters(), net.inner().proxy_counters(), net.counters());
        let left = shard.take_inbox(now);
        if config.has_changed().unwrap_or(false) {
            let config = config.borrow_and_update();
            net.set_limits(tls_limits(&config.limits));
            net.inner().set_rule(config.proxy_rule());
        }
        if let Some(server) = &mut server
            && server.has_changed().unwrap_or(false)
        {
            net.set_server(server.borrow_and_update().clone());
        }
        net.inner().begin_turn(now.mono_us);
        net.begin_turn();
        let are_left = handle_events(&mut shard, &mut net, &mut clock);
        let now = clock.now();
        let more = shard.run(&mut net, now) || net.waits() || left || are_left;
        let went_on = if more || shard.finished() {
            net.inner().submit()
        } else {
            sleep(&mut shard, &mut net, &mut clock)
        };
        // A shard without its sockets serves nobody: the process ends (see `main`) and is started again.
        went_on.unwrap_or_else(|error| panic!("the sockets failed: {error}"));
        if shard.finished() {
            return;
        }
    }
}

/// Whether there may be more of them than this turn had time for.
fn handle_events(shard: &mut Shard, net: &mut Net, clock: &mut Clock) -> bool {
    let begun = clock.now();
    let mut now = begun;
    for handled in 1..=EVENTS_PER_TURN {
        let Some(event) = net.next() else { return false };
        shard.on_event(event, net, now);
        if handled % EVENTS_PER_LOOK == 0 {
            now = clock.now();
            if now.mono_us - begun.mono_us >= EVENTS_US {
                break;
            }
        }
    }
    true
}

/// Submits, and sleeps as long as the shard may.
fn sleep(shard: &mut Shard, net: &mut Net, clock: &mut Clock) -> io::Result<()> {
    let (now, worked_us) = (clock.now(), cpu_us());
    let Sleep { until_us, updates_wait } = shard.sleep(now);
    let until_us = [until_us, net.inner().next_us()].into_iter().flatten().min();
    let timeout = until_us.map(|at_us| Duration::from_micros(at_us.saturating_sub(now.mono_us)));
    let slept = net.inner().rest(timeout, updates_wait);
    // Most of what is submitted is done within the call.
    let worked_us = cpu_us() - worked_us;
    shard.note_rest((clock.now().mono_us - now.mono_us).saturating_sub(worked_us));
    slept
}

pub fn tls_limits(limits: &Limits) -> TlsLimits {
    TlsLimits { handshakes_per_turn: limits.handshakes_per_turn, sealed_bytes: limits.sealed_bytes }
}

/// CPU time of this thread.
fn cpu_us() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}
