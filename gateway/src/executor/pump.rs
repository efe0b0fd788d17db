//! A shard's loop: inbox, what happened, what is due, and a sleep when nothing is left.

use std::{io, sync::Arc, time::Duration};

use engine::{
    settings::Limits,
    shard::{Shard, Sleep},
};
use net::{
    Backend, Events,
    proxy::Proxied,
    tls::{Tls, TlsLimits},
};
use rustix::time::{ClockId, clock_gettime};

use tokio::sync::watch;

use crate::{clock::Clock, config::Config, tls::server::Current};

/// Events handled before deadlines and fan-out have their turn again.
const EVENTS_PER_TURN: usize = 1024;

/// Runs a shard until it has finished. `config`, `server`: what holds now.
pub fn pump(
    mut shard: Shard,
    mut net: Tls<Proxied<Backend>>,
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
        let mut events = 0;
        while events < EVENTS_PER_TURN
            && let Some(event) = net.next()
        {
            shard.on_event(event, &mut net, now);
            events += 1;
        }
        let now = clock.now();
        let more = shard.run(&mut net, now) || net.waits() || left || events == EVENTS_PER_TURN;
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

/// Submits, and sleeps as long as the shard may.
fn sleep(shard: &mut Shard, net: &mut Tls<Proxied<Backend>>, clock: &mut Clock) -> io::Result<()> {
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
