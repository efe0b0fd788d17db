//! What a connection says by itself: texts after it is established, at their pace, and texts by the clock.

use std::{
    iter::Peekable,
    time::{Duration, Instant},
};

/// A text that is made when it is sent.
pub type Line = Box<dyn FnOnce() -> String + Send>;

/// A text that is sent again and again.
pub struct Beat {
    pub every: Duration,
    pub text: Box<dyn Fn() -> String + Send>,
}

pub struct Script {
    lines: Peekable<Box<dyn Iterator<Item = Line> + Send>>,
    /// From one text to the next.
    every: Duration,
    next_at: Instant,
    beat: Option<Beat>,
    beat_at: Instant,
}

impl Script {
    pub fn new(lines: Box<dyn Iterator<Item = Line> + Send>, every: Duration, beat: Option<Beat>) -> Self {
        let now = Instant::now();
        Self { lines: lines.peekable(), every, next_at: now, beat, beat_at: now }
    }

    /// One text.
    pub fn of(text: String) -> Self {
        let line: Line = Box::new(move || text);
        Self::new(Box::new(std::iter::once(line)), Duration::ZERO, None)
    }

    /// The connection is established.
    pub fn begin(&mut self, now: Instant) {
        self.next_at = now;
        if let Some(beat) = &self.beat {
            self.beat_at = now + beat.every;
        }
    }

    /// When something is to be said next; `None`: nothing is.
    pub fn due(&mut self) -> Option<Instant> {
        let line = self.lines.peek().map(|_| self.next_at);
        let beat = self.beat.as_ref().map(|_| self.beat_at);
        line.into_iter().chain(beat).min()
    }

    /// All texts that follow the connect have been said.
    pub fn is_said(&mut self) -> bool {
        self.lines.peek().is_none()
    }

    /// What is to be said now.
    pub fn next(&mut self, now: Instant) -> Option<String> {
        if now >= self.next_at
            && let Some(line) = self.lines.next()
        {
            self.next_at = now + self.every;
            return Some(line());
        }
        let beat = self.beat.as_ref().filter(|_| now >= self.beat_at)?;
        self.beat_at = now + beat.every;
        Some((beat.text)())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_said_at_their_pace_and_the_beat_goes_on_beside_them() {
        let lines = (0..3).map(|n| -> Line { Box::new(move || n.to_string()) });
        let beat = Beat { every: Duration::from_secs(10), text: Box::new(|| "ping".to_owned()) };
        let mut script = Script::new(Box::new(lines), Duration::from_secs(4), Some(beat));
        let begun = Instant::now();
        script.begin(begun);
        let mut said = Vec::new();
        for second in 0..25 {
            let now = begun + Duration::from_secs(second);
            while script.due().is_some_and(|due| due <= now) {
                said.push(format!("{second}:{}", script.next(now).unwrap()));
            }
        }
        assert_eq!(said, ["0:0", "4:1", "8:2", "10:ping", "20:ping"]);
        assert!(script.is_said());
    }

    #[test]
    fn without_a_pace_all_is_said_at_once() {
        let mut script = Script::of("a".to_owned());
        let now = Instant::now();
        script.begin(now);
        assert_eq!((script.next(now), script.next(now), script.due()), (Some("a".to_owned()), None, None));
    }
}
