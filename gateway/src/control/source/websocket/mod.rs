//! Fetches a feed from a WebSocket server, as exchanges offer them: connects, subscribes, maps what
//! comes to topics, and begins again when the connection ends.

mod connection;
pub mod counters;
mod intake;
mod journal;
pub mod mapping;
mod stamp;

use std::{convert::Infallible, future::pending, sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::time::timeout;

use crate::{
    config::{Limits, websocket::Websocket},
    control::sequencer::Sequencer,
};
use counters::Counters;
use intake::Intake;
use journal::Journal;

/// Runs for good.
pub async fn run(
    sequencer: &Sequencer,
    source: &Websocket,
    counters: &Counters,
    limits: &Limits,
) -> Infallible {
    counters.last_mono_us.store(sequencer.now().mono_us, Relaxed);
    let mut intake = Intake::new(sequencer, &source.map, counters, limits);
    let mut journal = Journal::new(counters);
    let mut failures = 0;
    loop {
        journal.connecting();
        let ended = connection::serve(source, &mut intake, &mut journal).await;
        // A server that lets in and throws out at once is not hurried more than one that refuses.
        failures = if journal.ended(&ended, source.backoff_max) { 1 } else { failures + 1 };
        let waiting = async {
            intake.settle().await;
            pending::<()>().await;
        };
        // It ends by the time alone.
        let _ = timeout(backoff(source, failures), waiting).await;
    }
}

/// Twice as long after each failure. Half of it is drawn at random, so that many gateways do not come back together.
fn backoff(source: &Websocket, failures: u32) -> Duration {
    let doubled = source.backoff_min.saturating_mul(1 << (failures - 1).min(20));
    doubled.min(source.backoff_max).mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{mapping::Entry, websocket::Url};

    #[test]
    fn waits_double_up_to_the_bound_and_differ() {
        let source = Websocket {
            name: "a".to_owned(),
            url: Url::parse("ws://127.0.0.1:1/").unwrap(),
            host: "a".to_owned(),
            send: Vec::new(),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(1),
            idle: Duration::from_secs(1),
            message_bytes: 1000,
            map: Vec::<Entry>::new(),
        };
        for (failures, full_ms) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (40, 1000)] {
            let waits: Vec<Duration> = (0..100).map(|_| backoff(&source, failures)).collect();
            let (least, most) = (Duration::from_millis(full_ms / 2), Duration::from_millis(full_ms));
            assert!(waits.iter().all(|wait| (least..=most).contains(wait)), "{failures}: {waits:?}");
            assert!(waits.iter().any(|wait| *wait != waits[0]));
        }
    }
}
