//! The audit: a line of JSON in a file of its own for each thing that was done or refused.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{SystemTime, UNIX_EPOCH},
};

use engine::{
    address::Address,
    clock::Now,
    shard::witness::{Seen, Witness},
};
use net::metric::Metric;
use serde::Serialize;
use thiserror::Error;

/// Of a text from outside.
const TEXT_CHARS_MAX: usize = 300;

/// `[audit]`.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditSettings {
    /// `None`: nothing is written.
    pub path: Option<PathBuf>,
    /// Lines that wait to be written.
    pub queue: usize,
}

#[derive(Debug, Error)]
#[error("[audit] path: cannot open {path}: {error}; make its directory and let this user write there")]
pub struct NotOpened {
    path: PathBuf,
    error: io::Error,
}

/// Where lines go. One thread writes them, so that nobody waits for a disk.
#[derive(Debug, Default)]
pub struct Audit {
    writer: Mutex<Option<Writer>>,
    counters: Arc<AuditCounters>,
}

#[derive(Debug)]
struct Writer {
    lines: SyncSender<Noted>,
    thread: JoinHandle<()>,
}

/// What waits to be written.
#[derive(Debug)]
enum Noted {
    Line(String),
    /// A shard's, which leaves it to others to make a line of it.
    Seen {
        at: u64,
        address: Address,
        seen: Seen,
    },
}

#[derive(Debug, Default)]
pub struct AuditCounters {
    written: AtomicU64,
    dropped: AtomicU64,
}

impl AuditCounters {
    pub const METRICS: &[Metric<Self>] = &[
        Metric::counter("fanwire_audit_lines", "Lines of the audit that were written", |c| {
            c.written.load(Relaxed)
        }),
        Metric::counter(
            "fanwire_audit_lines_dropped",
            "Lines of the audit that are missing, since [audit] queue of them waited or the file could not be written",
            |c| c.dropped.load(Relaxed),
        ),
    ];
}

/// What happened, when.
#[derive(Serialize)]
struct Line<'a, T: Serialize> {
    /// Microseconds since the Unix epoch.
    at: u64,
    event: &'a str,
    #[serde(flatten)]
    what: &'a T,
}

/// What happened to a connection of the data listener.
#[derive(Serialize)]
struct SeenOf {
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
}

impl Noted {
    fn line(self) -> String {
        let (at, address, seen) = match self {
            Noted::Line(line) => return line,
            Noted::Seen { at, address, seen } => (at, address.to_string(), seen),
        };
        match seen {
            Seen::Connected => line(at, "connect", &SeenOf { address, status: None, by: None }),
            Seen::Refused { status, by } => {
                line(at, "refusal", &SeenOf { address, status, by: by.map(|rule| rule.label()) })
            }
        }
    }
}

fn line(at: u64, event: &str, what: &impl Serialize) -> String {
    let mut line = serde_json::to_string(&Line { at, event, what }).expect("texts and numbers are JSON");
    line.push('\n');
    line
}

impl Audit {
    /// Opens the file, anew where it was open: it may have been moved away. The error leaves all as it was.
    pub fn set(&self, settings: &AuditSettings) -> Result<(), NotOpened> {
        let writer = match &settings.path {
            None => None,
            Some(path) => {
                let not_opened = |error| NotOpened { path: path.clone(), error };
                let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
                Some(self.start(file.map_err(not_opened)?, settings.queue).map_err(not_opened)?)
            }
        };
        // The thread of the one before ends when it has written what waits.
        *self.writer() = writer;
        Ok(())
    }

    fn start(&self, file: File, queue: usize) -> io::Result<Writer> {
        let (lines, waiting) = sync_channel(queue);
        let counters = self.counters.clone();
        let thread = thread::Builder::new().name("audit".to_owned());
        Ok(Writer { lines, thread: thread.spawn(move || write(file, &waiting, &counters))? })
    }

    pub fn is_on(&self) -> bool {
        self.writer().is_some()
    }

    /// Never waits: a line that finds no room is counted.
    pub fn note(&self, event: &str, what: &impl Serialize) {
        self.wait_in_line(|| {
            let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64;
            Noted::Line(line(at, event, what))
        });
    }

    fn wait_in_line(&self, noted: impl FnOnce() -> Noted) {
        if let Some(writer) = &*self.writer()
            && writer.lines.try_send(noted()).is_err()
        {
            self.counters.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Waits until all that was noted is written.
    pub fn end(&self) {
        let writer = self.writer().take();
        if let Some(Writer { lines, thread }) = writer {
            drop(lines);
            if thread.join().is_err() {
                tracing::error!("the audit's thread failed");
            }
        }
    }

    pub fn counters(&self) -> &AuditCounters {
        &self.counters
    }

    fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Witness for Audit {
    fn saw(&self, address: Address, seen: Seen, now: Now) {
        self.wait_in_line(|| Noted::Seen { at: now.wall_us.max(0) as u64, address, seen });
    }
}

fn write(mut file: File, lines: &Receiver<Noted>, counters: &AuditCounters) {
    for noted in lines {
        match file.write_all(noted.line().as_bytes()) {
            Ok(()) => counters.written.fetch_add(1, Relaxed),
            Err(error) => {
                tracing::error!(%error, "a line of the audit is lost");
                counters.dropped.fetch_add(1, Relaxed)
            }
        };
    }
}

/// The beginning of a text from outside.
pub fn short(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use engine::client::Refused;

    use super::*;

    #[derive(Serialize)]
    struct What {
        n: u64,
    }

    #[test]
    fn lines_are_written_in_order_and_what_finds_no_room_is_counted() {
        let path = std::env::temp_dir().join(format!("fanwire-audit-{}", std::process::id()));
        let audit = Audit::default();
        audit.note("nobody hears it", &What { n: 0 });
        audit.set(&AuditSettings { path: Some(path.clone()), queue: 10_000 }).unwrap();
        assert!(audit.is_on());
        (0..1000).for_each(|n| audit.note("test", &What { n }));
        audit.end();
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let numbers: Vec<u64> = text
            .lines()
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                assert!(line["at"].as_u64().unwrap() > 1_600_000_000_000_000 && line["event"] == "test");
                line["n"].as_u64().unwrap()
            })
            .collect();
        assert_eq!(numbers, (0..1000).collect::<Vec<_>>());
        let counted = audit.counters();
        assert_eq!((counted.written.load(Relaxed), counted.dropped.load(Relaxed)), (1000, 0));

        let (lines, waiting) = sync_channel(1);
        *audit.writer() = Some(Writer { lines, thread: thread::spawn(|| ()) });
        (0..3).for_each(|n| audit.note("test", &What { n }));
        assert_eq!(audit.counters().dropped.load(Relaxed), 2);
        drop(waiting);
    }

    #[test]
    fn what_shards_see_is_a_line_too() {
        let address = Address::V4([192, 0, 2, 7]);
        let of = |seen| Noted::Seen { at: 5, address, seen }.line();
        assert_eq!(of(Seen::Connected), "{\"at\":5,\"event\":\"connect\",\"address\":\"192.0.2.7\"}\n");
        assert_eq!(
            of(Seen::Refused { status: Some(403), by: Some(Refused::Origin) }),
            "{\"at\":5,\"event\":\"refusal\",\"address\":\"192.0.2.7\",\"status\":403,\"by\":\"origins\"}\n"
        );
        let reset = of(Seen::Refused { status: None, by: None });
        assert_eq!(reset, "{\"at\":5,\"event\":\"refusal\",\"address\":\"192.0.2.7\"}\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_leaves_all_as_it_was() {
        let audit = Audit::default();
        let nowhere = AuditSettings { path: Some("/nowhere/audit".into()), queue: 16 };
        assert!(audit.set(&nowhere).unwrap_err().to_string().contains("/nowhere/audit"));
        assert!(!audit.is_on());
    }
}
