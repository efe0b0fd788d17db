//! `--publish`: atomic groups that must never be seen torn.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use crate::{http::Http, shared, url::Url};

/// Groups, written in turn.
const GROUPS: u64 = 8;
/// Topics of a group, published in one array.
const MEMBERS: u64 = 4;
/// Requests sent before their answers are read, when the rate demands it.
const PIPELINED_MAX: u64 = 64;

/// What came of it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Published {
    /// Groups that were accepted.
    pub accepted: u64,
    /// Groups that were refused.
    pub refused: u64,
    pub seconds: f64,
}

/// Publishes `per_s` groups a second through `admin` until `stop`, each member with the same
/// rising `g`. Open loop: what is late is sent as soon as it can be.
pub fn run(admin: &Url, per_s: f64, stop: &Arc<AtomicBool>) -> Result<Published, String> {
    publish(admin, per_s, stop).map_err(|error| format!("publishing through {}: {error}", admin.host))
}

fn publish(admin: &Url, per_s: f64, stop: &Arc<AtomicBool>) -> io::Result<Published> {
    let mut http = Http::connect(admin)?;
    // Above whatever an earlier run has left in the topics.
    let base = shared::wall_us();
    let start = Instant::now();
    let mut sent = 0;
    let mut published = Published::default();
    let mut requests = Vec::new();
    while !stop.load(Relaxed) {
        let due = (start.elapsed().as_secs_f64() * per_s) as u64;
        if due <= sent {
            let next = Duration::from_secs_f64((sent + 1) as f64 / per_s);
            std::thread::sleep(next.saturating_sub(start.elapsed()).min(Duration::from_millis(20)));
            continue;
        }
        let many = (due - sent).min(PIPELINED_MAX);
        requests.clear();
        for number in sent..sent + many {
            http.post(&mut requests, "/publish", &group(number % GROUPS, base + number));
        }
        http.send(&requests)?;
        sent += many;
        for _ in 0..many {
            let answer = http.answer()?;
            if answer.status == 200 {
                published.accepted += 1;
                continue;
            }
            if published.refused == 0 {
                let body = String::from_utf8_lossy(&answer.body);
                eprintln!("loadgen: a publish was refused with {}: {}", answer.status, body.trim());
            }
            published.refused += 1;
        }
    }
    published.seconds = start.elapsed().as_secs_f64();
    Ok(published)
}

fn group(group: u64, g: u64) -> String {
    let member = |m| format!(r#"{{"topic":"loadgen.g{group}.{m}","data":{{"g":{g}}}}}"#);
    let members: Vec<String> = (0..MEMBERS).map(member).collect();
    format!("[{}]", members.join(","))
}
