//! Lines that repeat: the log writes a few, then how many it left out.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use net::metric::Metric;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use super::line::boundary;

/// Lines are counted for so long from the first on.
const WINDOW: Duration = Duration::from_secs(10);

/// Of lines that say the same, and of lines from the same place in the program, in a window.
const SAME_MAX: u64 = 5;
const PLACE_MAX: u64 = 100;

/// Different lines told apart at once; beyond it only the places are.
const LINES_MAX: usize = 4096;

/// Bytes of a line that stand for it where the log says what it left out.
const LIKE_BYTES_MAX: usize = 200;

static LEFT_OUT: AtomicU64 = AtomicU64::new(0);
static WINDOWS: LazyLock<Mutex<Windows>> = LazyLock::new(Mutex::default);

/// What logs count.
pub const METRICS: &[Metric<()>] = &[Metric::counter(
    "fanwire_log_lines_left_out",
    "Log lines that were not written, since they repeat others",
    |()| left_out(),
)];

/// Lines that were not written since they repeated others, since the start.
pub fn left_out() -> u64 {
    LEFT_OUT.load(Relaxed)
}

/// Tells what was left out of windows that are over. To be called about once a second.
pub fn tell_left_out() {
    tell(|windows| windows.ended(Instant::now()));
}

/// Tells what was left out and not told; before the process ends.
pub fn tell_all_left_out() {
    tell(Windows::all);
}

fn tell(which: impl FnOnce(&mut Windows) -> Vec<(String, u64)>) {
    // Told without the lock, which the lines themselves need.
    let told = which(&mut WINDOWS.lock().unwrap_or_else(PoisonError::into_inner));
    for (like, count) in told {
        tracing::warn!(like, "{count} log lines were left out, since they repeat others");
    }
}

/// Leaves lines out. Those that `RUST_LOG` has to ask for (`debug`, `trace`) come all.
pub(super) struct Limited;

impl<S: Subscriber> Layer<S> for Limited {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || metadata.target() == module_path!() {
            return true;
        }
        let mut line = Said { hasher: DefaultHasher::new(), message: String::new() };
        let place = {
            metadata.callsite().hash(&mut line.hasher);
            line.hasher.finish()
        };
        event.record(&mut line);
        let (same, like) = (line.hasher.finish(), format!("{}: {}", metadata.target(), line.message));
        let mut windows = WINDOWS.lock().unwrap_or_else(PoisonError::into_inner);
        let is_written = windows.admit(place, same, &like, Instant::now());
        LEFT_OUT.fetch_add(u64::from(!is_written), Relaxed);
        is_written
    }
}

/// What a line says, as a hash, and its message.
struct Said {
    hasher: DefaultHasher,
    message: String,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Neither fails.
        let _ = write!(Hashed(&mut self.hasher), "{}={value:?},", field.name());
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
            self.message.truncate(boundary(&self.message, LIKE_BYTES_MAX));
        }
    }
}

struct Hashed<'a>(&'a mut DefaultHasher);

impl fmt::Write for Hashed<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Windows {
    /// One for each place that ever wrote.
    places: HashMap<u64, Window>,
    lines: HashMap<u64, Window>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    written: u64,
    /// In this window, and in earlier ones of which it was not told.
    left_out: u64,
    untold: u64,
    like: String,
}

impl Windows {
    /// Whether a line is written. `place`, `same`: of all from its place, of all that say the same.
    fn admit(&mut self, place: u64, same: u64, like: &str, now: Instant) -> bool {
        if self.lines.len() >= LINES_MAX {
            self.lines.retain(|_, line| !line.is_over(now) || line.count() > 0);
        }
        let place = self.places.entry(place).or_insert_with(|| Window::new(now));
        if !place.has_room(PLACE_MAX, now) {
            place.leave_out(like);
            return false;
        }
        if self.lines.len() < LINES_MAX || self.lines.contains_key(&same) {
            let line = self.lines.entry(same).or_insert_with(|| Window::new(now));
            if !line.has_room(SAME_MAX, now) {
                line.leave_out(like);
                return false;
            }
            line.written += 1;
        }
        place.written += 1;
        true
    }

    /// What was left out of windows that are over, with what it is like; the log says it once.
    fn ended(&mut self, now: Instant) -> Vec<(String, u64)> {
        let told = self.take(|window| window.untold > 0 || window.is_over(now));
        self.lines.retain(|_, line| !line.is_over(now) || line.count() > 0);
        told
    }

    fn all(&mut self) -> Vec<(String, u64)> {
        self.take(|_| true)
    }

    fn take(&mut self, which: impl Fn(&Window) -> bool) -> Vec<(String, u64)> {
        let windows = self.places.values_mut().chain(self.lines.values_mut());
        let left_out = windows.filter(|window| window.count() > 0 && which(window));
        left_out.map(Window::tell).collect()
    }
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { began: now, written: 0, left_out: 0, untold: 0, like: String::new() }
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= WINDOW
    }

    /// Whether one more may be written; where this window is over another one begins.
    fn has_room(&mut self, max: u64, now: Instant) -> bool {
        if self.is_over(now) {
            self.untold += std::mem::take(&mut self.left_out);
            (self.began, self.written) = (now, 0);
        }
        self.written < max
    }

    fn leave_out(&mut self, like: &str) {
        if self.count() == 0 {
            self.like = like.to_owned();
        }
        self.left_out += 1;
    }

    fn count(&self) -> u64 {
        self.left_out + self.untold
    }

    fn tell(&mut self) -> (String, u64) {
        let count = self.count();
        (self.left_out, self.untold) = (0, 0);
        (std::mem::take(&mut self.like), count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_written_a_few_times_and_then_counted_and_nothing_is_lost_silently() {
        let (start, mut windows) = (Instant::now(), Windows::default());
        let (mut written, mut told) = (0, 0);
        for ms in 0..60_000u64 {
            let now = start + Duration::from_millis(ms);
            written += u64::from(windows.admit(1, 2, "the same", now));
            if ms % 1000 == 0 {
                let ended = windows.ended(now);
                assert!(ended.iter().all(|(like, _)| like == "the same"));
                told += ended.iter().map(|(_, count)| count).sum::<u64>();
            }
        }
        assert_eq!(written, 6 * SAME_MAX);
        assert!(told > 40_000, "it is told while it goes on: {told}");
        told += windows.all().iter().map(|(_, count)| count).sum::<u64>();
        assert_eq!(written + told, 60_000);
        assert!(windows.ended(start + Duration::from_secs(100)).is_empty(), "it is told once");
    }

    #[test]
    fn lines_that_differ_are_bounded_by_their_place_and_do_not_stop_those_of_other_places() {
        let (now, mut windows) = (Instant::now(), Windows::default());
        let written = (0..10_000).filter(|same| windows.admit(1, *same, "each another", now)).count();
        assert_eq!(written as u64, PLACE_MAX);
        assert!(windows.admit(2, 0, "elsewhere", now));
        assert_eq!(windows.all(), [("each another".to_owned(), 10_000 - PLACE_MAX)]);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (start, mut windows) = (Instant::now(), Windows::default());
        for n in 0..100_000u64 {
            let now = start + Duration::from_micros(n * 20);
            windows.admit(n % 5000, n, "each another", now);
            assert!(windows.lines.len() <= LINES_MAX);
        }
        windows.ended(start + 2 * WINDOW);
        assert!(windows.lines.is_empty());
    }
}
