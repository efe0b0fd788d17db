//! A connection of the admin listener that has to get on: with its request head, and with reading its answers.

use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use engine::settings::Limits;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::places::{Phase, Place};
use crate::http::counters::AdminCounters;

/// Bytes have to come at a least rate over each stretch of so long.
pub const WINDOW: Duration = Duration::from_secs(5);

/// How long a connection may take, and how fast it has to be.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// For a request head, the first one from accept on.
    pub head: Duration,
    /// Between an answer and the next request.
    pub idle: Duration,
    /// Least rate of bodies and answers; 0: none.
    pub bytes_per_s: usize,
}

impl Pace {
    pub fn new(limits: &Limits) -> Self {
        Self { head: limits.handshake, idle: limits.admin_idle, bytes_per_s: limits.admin_bytes_per_s }
    }

    /// Bytes of a [`WINDOW`].
    fn least(&self) -> usize {
        self.bytes_per_s.saturating_mul(WINDOW.as_secs() as usize)
    }
}

/// Bytes that moved in the present [`WINDOW`].
#[derive(Debug)]
pub struct Window {
    ends: Instant,
    bytes: usize,
}

impl Window {
    pub fn new() -> Self {
        Self { ends: Instant::now() + WINDOW, bytes: 0 }
    }

    pub fn ends(&self) -> Instant {
        self.ends
    }

    pub fn moved(&mut self, bytes: usize) {
        self.bytes += bytes;
    }

    /// At its end: whether too little moved; else the next one begins.
    pub fn fell_short(&mut self, pace: Pace) -> bool {
        let short = self.bytes < pace.least();
        *self = Self::new();
        short
    }
}

#[derive(Debug)]
pub struct Paced<S> {
    stream: S,
    place: Arc<Place>,
    pace: Pace,
    counters: Arc<AdminCounters>,
    /// While an answer waits for its reader.
    window: Option<Window>,
    sleep: Pin<Box<Sleep>>,
}

impl<S> Paced<S> {
    pub fn new(stream: S, place: Arc<Place>, pace: Pace, counters: Arc<AdminCounters>) -> Self {
        let sleep = Box::pin(sleep_until(Instant::now() + pace.head));
        Self { stream, place, pace, counters, window: None, sleep }
    }

    pub fn into_inner(self) -> S {
        self.stream
    }

    fn poll_until(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        if self.sleep.deadline() != at {
            self.sleep.as_mut().reset(at);
        }
        self.sleep.as_mut().poll(cx)
    }

    /// Nothing came.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let seat = self.place.seat();
        let (at, is_head) = match seat.phase() {
            Phase::Head(since) if !seat.is_blocked() => (since + self.pace.head, true),
            Phase::Idle(since) if !seat.is_blocked() => (since + self.pace.idle, false),
            _ => {
                seat.wake_when_idle(cx.waker());
                return Poll::Pending;
            }
        };
        seat.caught_up();
        ready!(self.poll_until(at, cx));
        let late = if is_head { &self.counters.heads_late } else { &self.counters.connections_idle };
        late.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The kernel took nothing.
    fn poll_blocked<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.place.set_blocked(true);
        loop {
            let ends = self.window.get_or_insert_with(Window::new).ends();
            ready!(self.poll_until(ends, cx));
            if self.window.as_mut().is_some_and(|window| window.fell_short(self.pace)) {
                self.counters.answers_slow.fetch_add(1, Ordering::Relaxed);
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
    }

    fn on_written(
        &mut self,
        outcome: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let (Poll::Ready(Ok(bytes)), Some(window)) = (&outcome, &mut self.window) {
            window.moved(*bytes);
        }
        if outcome.is_pending() { self.poll_blocked(cx) } else { outcome }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Pending => self.poll_silence(cx),
            ready => {
                if buf.filled().len() > before {
                    self.place.seat().heard();
                }
                ready
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.on_written(outcome, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.on_written(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Comes when all was written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Pending => self.poll_blocked(cx),
            flushed => {
                if self.window.take().is_some() {
                    self.place.set_blocked(false);
                }
                flushed
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
