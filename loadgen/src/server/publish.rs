//! `--publish`: atomic groups that must never be seen torn, over HTTP.
//!
//! Open loop: every group has its time, what is late is sent as soon as it can be, and its answer
//! counts from when it was due.

use std::{
    io,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{admin::Admin, http::Http};
use crate::measure::{arrival::wall_us, latency::Latency, tally::Kinds};

/// Groups of one publisher, written in turn.
const GROUPS: u64 = 8;
/// Topics of a group, published in one array.
const MEMBERS: u64 = 4;
/// Requests sent before their answers are read, when the rate demands it.
const PIPELINED_MAX: u64 = 64;
/// Between a connection that broke and the next one, and the most that is slept at once.
const AGAIN: Duration = Duration::from_millis(250);
const NAP: Duration = Duration::from_millis(20);

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// Groups that were accepted.
    pub accepted: u64,
    /// Groups that were refused.
    pub refused: u64,
    /// Groups whose answer never came, as their connection broke: nobody knows what became of them.
    pub unanswered: u64,
    /// Groups that were due by the end and never sent: there was no connection, or it fell behind.
    pub unsent: u64,
    /// From when a group was due to its answer.
    pub answered: Latency,
    /// Why groups were refused and connections broke.
    pub errors: Kinds,
    pub seconds: f64,
}

/// Publishers at work.
#[derive(Debug)]
pub struct Publishers {
    threads: Vec<JoinHandle<Published>>,
    stop: Arc<AtomicBool>,
}

impl Publishers {
    /// Has `publishers` connections to `admin` share `per_s` groups a second. An error when the first
    /// of them cannot be made.
    pub fn start(admin: &Admin, per_s: f64, publishers: u32) -> Result<Self, String> {
        let stop = Arc::new(AtomicBool::new(false));
        // Above whatever an earlier run has left in the topics.
        let base = wall_us();
        let start = |number: u32| {
            let failed = |error| format!("--publish through {}: {error}", admin.url.host);
            let http = Http::connect(admin).map_err(failed)?;
            let per_s = per_s / f64::from(publishers);
            let mut publisher = Publisher {
                admin: admin.clone(),
                number: number.into(),
                base,
                published: Published::default(),
            };
            let stop = stop.clone();
            thread::Builder::new()
                .name(format!("publish-{number}"))
                .spawn(move || publisher.run(http, per_s, &stop))
                .map_err(|error| format!("no thread to publish with: {error}"))
        };
        let threads = (0..publishers).map(start).collect::<Result<_, _>>()?;
        Ok(Self { threads, stop })
    }

    /// Ends them; what all of them did.
    pub fn stop(mut self) -> Published {
        self.stop.store(true, Relaxed);
        let mut sum = Published::default();
        for thread in self.threads.drain(..) {
            let published = thread.join().expect("a publisher does not panic");
            sum.accepted += published.accepted;
            sum.refused += published.refused;
            sum.unanswered += published.unanswered;
            sum.unsent += published.unsent;
            sum.answered.merge(&published.answered);
            sum.errors.merge(&published.errors);
            sum.seconds = sum.seconds.max(published.seconds);
        }
        sum
    }
}

/// A run that fails leaves nobody publishing.
impl Drop for Publishers {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}

/// One connection with groups of its own, so that their numbers rise.
struct Publisher {
    admin: Admin,
    number: u64,
    base: u64,
    published: Published,
}

impl Publisher {
    fn run(&mut self, http: Http, per_s: f64, stop: &AtomicBool) -> Published {
        let start = Instant::now();
        let mut http = Some(http);
        let mut sent = 0;
        let due_at = |number: u64| start + Duration::from_secs_f64((number + 1) as f64 / per_s);
        loop {
            // One last round sends what became due during the one before.
            let ends = stop.load(Relaxed);
            let due = (start.elapsed().as_secs_f64() * per_s) as u64;
            let numbers = sent..due.min(sent + PIPELINED_MAX);
            match &mut http {
                Some(open) if !numbers.is_empty() => {
                    sent = numbers.end;
                    if !self.round(open, numbers, due_at) {
                        http = None;
                    }
                }
                _ if ends => {}
                Some(_) => thread::sleep(due_at(sent).saturating_duration_since(Instant::now()).min(NAP)),
                None => {
                    thread::sleep(AGAIN);
                    http = Http::connect(&self.admin).ok();
                }
            }
            if ends {
                self.published.unsent = due.saturating_sub(sent);
                self.published.seconds = start.elapsed().as_secs_f64();
                return std::mem::take(&mut self.published);
            }
        }
    }

    /// Publishes the groups `numbers`. `false`: the connection broke meanwhile.
    fn round(&mut self, http: &mut Http, numbers: Range<u64>, due_at: impl Fn(u64) -> Instant) -> bool {
        let answered = |published: &Published| published.accepted + published.refused;
        let all = answered(&self.published) + numbers.end - numbers.start;
        let Err(error) = self.publish(http, numbers, due_at) else { return true };
        if self.published.unanswered == 0 {
            let host = &self.admin.url.host;
            eprintln!("loadgen: publishing through {host}: {error}; it goes on once it is back");
        }
        self.published.unanswered += all - answered(&self.published);
        false
    }

    fn publish(
        &mut self,
        http: &mut Http,
        numbers: Range<u64>,
        due_at: impl Fn(u64) -> Instant,
    ) -> io::Result<()> {
        let mut requests = Vec::new();
        for number in numbers.clone() {
            let group = self.number * GROUPS + number % GROUPS;
            http.post(&mut requests, "/publish", &body(group, self.base + number));
        }
        http.send(&requests)?;
        for number in numbers {
            let answer = http.answer()?;
            self.published.answered.record(due_at(number).elapsed().as_micros() as u64);
            if answer.status == 200 {
                self.published.accepted += 1;
                continue;
            }
            let body = String::from_utf8_lossy(&answer.body);
            self.published.errors.add(&format!("publish: {} {}", answer.status, body.trim()), 1);
            self.published.refused += 1;
        }
        Ok(())
    }
}

/// All members of a group, with the same rising `g`.
fn body(group: u64, g: u64) -> String {
    let member = |m| format!(r#"{{"topic":"loadgen.g{group}.{m}","data":{{"g":{g}}}}}"#);
    let members: Vec<String> = (0..MEMBERS).map(member).collect();
    format!("[{}]", members.join(","))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn what_a_server_that_is_gone_was_not_sent_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let admin = Admin::of(Some(&url), None, &[]).unwrap().unwrap();
        let publishers = Publishers::start(&admin, 1000.0, 1).unwrap();
        drop(listener);
        thread::sleep(Duration::from_millis(100));
        let published = publishers.stop();
        assert_eq!((published.accepted, published.refused), (0, 0));
        assert!(published.unanswered > 0 && published.unsent > 0, "{published:?}");
        let due = (published.seconds * 1000.0) as u64;
        let told = published.unanswered + published.unsent;
        assert!((due.saturating_sub(10)..=due).contains(&told), "{told} of {due}");
    }

    #[test]
    fn members_of_a_group_carry_one_number() {
        assert!(body(9, 77).starts_with(
            r#"[{"topic":"loadgen.g9.0","data":{"g":77}},{"topic":"loadgen.g9.1","data":{"g":77}}"#
        ));
        assert_eq!(body(9, 77).matches(r#"{"g":77}"#).count(), MEMBERS as usize);
    }
}
