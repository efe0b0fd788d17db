//! Slow and stalled readers: from when on they are, and how they read.

use std::cmp::Reverse;

use net::{ConnId, Sockets};

use super::{Due, Worker, client::Manner};
use crate::args::Args;

/// The manner of connection `index` and its place, 0 to 1, among those of the same: spread by the
/// golden ratio, so that neither depends on when a connection was made or on its topics.
pub fn manner(args: &Args, index: usize) -> (Manner, f64) {
    let share = (index as f64 * 0.618_033_988_749_894_9).fract() * 100.0;
    match share {
        share if share < args.slow => (Manner::Slow, share / args.slow),
        share if share < args.slow + args.stall => (Manner::Stalled, (share - args.slow) / args.stall),
        _ => (Manner::Full, 0.0),
    }
}

impl Worker {
    /// Sets the moment from which a connection is slow or stalled. `begin_us`: of the window.
    pub(super) fn plan_to_hold_back(&mut self, index: u32, begin_us: u64) {
        let client = &self.clients[index as usize];
        if client.manner == Manner::Full {
            return;
        }
        let (_, place) = manner(&self.args, self.global(index));
        let stagger_us = self.args.stagger.map_or(0.0, |stagger| stagger.as_micros() as f64);
        let from_us = begin_us + (stagger_us * place) as u64;
        self.timers.push(Reverse((from_us, index, client.attempt, Due::HoldBack)));
        if client.manner == Manner::Stalled
            && let Some(stall_for) = self.args.stall_for
        {
            let until_us = from_us + stall_for.as_micros() as u64;
            self.timers.push(Reverse((until_us, index, client.attempt, Due::Release)));
        }
    }

    pub(super) fn hold_back(&mut self, index: u32, conn: ConnId) {
        let client = &mut self.clients[index as usize];
        client.held_back = true;
        if client.manner == Manner::Stalled {
            self.ring.pause_receive(conn);
        }
    }

    pub(super) fn release(&mut self, index: u32, conn: ConnId) {
        self.clients[index as usize].held_back = false;
        self.ring.resume_receive(conn);
    }

    /// A slow reader pauses after every piece for as long as it would have taken to read it.
    pub(super) fn slow_down(&mut self, index: u32, conn: ConnId, received_bytes: u64, now_us: u64) {
        let client = &mut self.clients[index as usize];
        if !client.held_back || client.manner != Manner::Slow {
            return;
        }
        self.ring.pause_receive(conn);
        let pause_us = received_bytes * 1_000_000 / self.args.slow_bytes_per_s;
        client.read_from_us = client.read_from_us.max(now_us) + pause_us;
        self.timers.push(Reverse((client.read_from_us, index, client.attempt, Due::Resume)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Flags, parse_with_scenario};

    #[test]
    fn shares_are_met_and_their_places_are_spread_evenly() {
        let line = "loadgen --url ws://127.0.0.1:1/ws --topics a --slow 10 --stall 5";
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let args = Args::check(parse_with_scenario::<Flags>(&words).unwrap()).unwrap();
        for (wanted, count) in [(Manner::Slow, 1000), (Manner::Stalled, 500)] {
            let mut places: Vec<f64> = (0..10_000)
                .filter_map(|index| Some(manner(&args, index)).filter(|(kind, _)| *kind == wanted))
                .map(|(_, place)| place)
                .collect();
            assert!(places.len().abs_diff(count) <= 2, "{} of {count} {wanted:?}", places.len());
            places.sort_unstable_by(f64::total_cmp);
            let gap = places.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
            assert!(gap < 3.0 / count as f64, "{gap} without one of {count}");
        }
    }
}
