//! Proves at start that this kernel does what the ring relies on.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use super::Ring;
use crate::{
    options::Options,
    setup_error::{KERNEL_LEAST, SetupError, release},
    socket::{Close, ConnId, Event, Sockets},
    waker::Waker,
};

/// The ring does not work here.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("io_uring self-test on loopback could not {step}: {error}")]
    Io { step: &'static str, error: io::Error },
    #[error(
        "io_uring self-test on loopback did not {step} within {LIMIT_MS} ms, which Linux {KERNEL_LEAST} and later do: \
         this kernel ({release}) is broken or very busy; try again, or run a later one"
    )]
    TimedOut { step: &'static str, release: String },
    #[error("io_uring self-test on loopback was to {step}, but found {found}")]
    Wrong { step: &'static str, found: String },
}

const LIMIT_MS: u64 = 2000;

/// Accepts, receives, sends, asks for the send queue and resets a connection on loopback. Takes a
/// few milliseconds, two seconds at most.
pub fn self_test() -> Result<(), SelfTestError> {
    let during = |step| move |error| SelfTestError::Io { step, error };
    let options = Options {
        slots: 8,
        sq_entries: 16,
        cq_entries: 64,
        recv_buffers: 8,
        accepts: 2,
        ..Options::default()
    };
    let waker = Waker::new().map_err(during("make an eventfd"))?;
    let mut turn =
        Turn { ring: Ring::new(&options, waker)?, end: Instant::now() + Duration::from_millis(LIMIT_MS) };
    let listener = TcpListener::bind("127.0.0.1:0").map_err(during("bind"))?;
    let address = listener.local_addr().map_err(during("bind"))?;
    turn.ring.listen(listener).map_err(during("listen"))?;
    turn.ring.submit().map_err(during("submit"))?;

    let mut client = TcpStream::connect(address).map_err(during("connect"))?;
    let local = client.local_addr().map_err(during("connect"))?;
    client.set_read_timeout(Some(Duration::from_millis(LIMIT_MS))).map_err(during("connect"))?;
    client.write_all(b"ping").map_err(during("write"))?;
    let conn = turn.until("accept", |event| match event {
        Event::Accepted { conn, peer, .. } if *peer == local => Some(*conn),
        _ => None,
    })?;
    turn.until("receive", |event| {
        matches!(event, Event::Received { bytes, .. } if **bytes == *b"ping").then_some(())
    })?;
    turn.ring.send(conn, bytes::Bytes::from_static(b"pong"));
    turn.until("send", |event| matches!(event, Event::Sent { bytes: 4, done: true, .. }).then_some(()))?;
    let mut answer = [0; 4];
    client.read_exact(&mut answer).map_err(during("read"))?;
    if answer != *b"pong" {
        return Err(SelfTestError::Wrong { step: "read what was sent", found: format!("{answer:?}") });
    }
    turn.ring.query_unsent(conn);
    turn.until("tell the send queue's length", |event| matches!(event, Event::Unsent { .. }).then_some(()))?;
    reset(&mut turn, conn, &mut client)
}

fn reset(turn: &mut Turn, conn: ConnId, client: &mut TcpStream) -> Result<(), SelfTestError> {
    turn.ring.close(conn, Close::Reset);
    turn.until("close", |event| matches!(event, Event::Closed { .. }).then_some(()))?;
    match client.read(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
        Ok(0) => Err(SetupError::too_old("options of sockets through the ring").into()),
        other => Err(SelfTestError::Wrong { step: "reset the connection", found: format!("{other:?}") }),
    }
}

struct Turn {
    ring: Ring,
    end: Instant,
}

impl Turn {
    /// Runs the ring until `wanted` finds what it looks for.
    fn until<T>(
        &mut self,
        step: &'static str,
        wanted: impl Fn(&Event) -> Option<T>,
    ) -> Result<T, SelfTestError> {
        loop {
            while let Some(event) = self.ring.next() {
                if let Some(found) = wanted(&event) {
                    return Ok(found);
                }
            }
            let left = self.end.saturating_duration_since(Instant::now());
            if self.ring.counters().unsent_failed > 0 {
                return Err(SetupError::too_old("telling the length of send queues through the ring").into());
            }
            if left.is_zero() {
                return Err(SelfTestError::TimedOut { step, release: release() });
            }
            self.ring.wait(Some(left)).map_err(|error| SelfTestError::Io { step, error })?;
        }
    }
}
