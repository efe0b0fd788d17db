//! One connection to a server, from its handshake to its end.

use std::{
    io,
    time::{Duration, Instant},
};

use engine::unit::show_duration;
use proto::{
    Conn, Event, HandshakeError, Limits, State,
    encode::{Opcode, masked_close, masked_frame},
    handshake,
};
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{sleep, sleep_until, timeout},
};

use super::{
    dial::{Stream, late},
    ended::Ended,
    inlet::{Intake, Quit, RETRY},
    journal::Journal,
    opening::{Opening, Target},
    script::Script,
};
use crate::source::{link::Link, token_file};

const READ_BYTES: usize = 64 * 1024;
/// Pongs and texts that a server does not read are left out beyond this.
const OUT_BYTES_MAX: usize = 64 * 1024;
/// For our close frame to go out.
const GOODBYE: Duration = Duration::from_secs(1);
/// Of the answer: firewalls add cookies and policies of their own to it.
const HEAD_BYTES: usize = 64 * 1024;
const HEADERS: usize = 256;
const USER_AGENT: &str = concat!("fanwire/", env!("CARGO_PKG_VERSION"));
/// RFC 6455, 7.4.1: a message that violates our policy, and that we leave.
const UNACCEPTABLE: u16 = 1008;
const LEAVING: u16 = 1001;
/// Longer than any `stale_after`.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

pub struct Connection<'a> {
    link: &'a Link,
    /// Where it goes.
    address: String,
    /// The one that was shown last, and whether the server says that it expires.
    token: Option<String>,
    renews: bool,
    stale_after: Option<Duration>,
    script: Script,
    /// The handshake is done.
    is_open: bool,
    limits: Limits,
    conn: Conn,
    /// To be written.
    out: Vec<u8>,
    /// When something came last, or the ping was sent that waits for it.
    since: Instant,
    pinged: bool,
    /// When something came last that made an update, or the connection was established; before, when its
    /// connect began.
    fresh: Instant,
}

impl<'a> Connection<'a> {
    /// `token`: of the link's `token_file`. `begun`: when its connect did.
    pub fn new(
        link: &'a Link,
        opening: Opening,
        token: Option<String>,
        stale_after: Option<Duration>,
        begun: Instant,
    ) -> Self {
        let nonce = fastrand::u128(..).to_le_bytes();
        let Opening { target, script } = opening;
        let limits = Limits { head_bytes: HEAD_BYTES, headers: HEADERS, message_bytes: link.message_bytes };
        Self {
            link,
            address: target.url.address.clone(),
            out: request(&target, token.as_deref(), nonce),
            token,
            renews: false,
            stale_after,
            script,
            is_open: false,
            limits,
            conn: Conn::client(nonce),
            since: Instant::now(),
            pinged: false,
            fresh: begun,
        }
    }

    /// All is said that follows the connect.
    pub fn is_said(&mut self) -> bool {
        self.is_open && self.script.is_said()
    }

    /// Until it ends. It may be left in the middle and run again: nothing is lost. `journal`: none as long as an older
    /// connection serves.
    pub async fn run(
        &mut self,
        stream: &mut (dyn Stream + 'static),
        intake: &mut impl Intake,
        mut journal: Option<&mut Journal<'_>>,
    ) -> Ended {
        let mut buffer = vec![0; READ_BYTES];
        let (mut reader, mut writer) = tokio::io::split(stream);
        // What was written may wait in TLS.
        let mut flushed = false;
        loop {
            let receiving = intake.has_room();
            if !receiving {
                // It is we who do not listen.
                self.since = Instant::now();
            }
            if !receiving || intake.waits() {
                self.fresh = Instant::now();
            }
            let stale_at = self.fresh + self.stale_after.unwrap_or(NEVER);
            let said_at = self.script.due().filter(|_| self.is_open && self.out.len() < OUT_BYTES_MAX);
            tokio::select! {
                read = reader.read(&mut buffer), if receiving => match read {
                    Ok(0) => return Ended::Cut,
                    Ok(bytes) => {
                        let ended = self.take(&mut buffer[..bytes], intake, journal.as_deref_mut()).await;
                        if let Some(ended) = ended {
                            return ended;
                        }
                    }
                    Err(error) => return Ended::Broke(error),
                },
                written = write_some(&mut writer, &self.out), if !self.out.is_empty() || !flushed => match written {
                    Ok(bytes) => {
                        flushed = self.out.is_empty();
                        self.out.drain(..bytes);
                    }
                    Err(error) => return Ended::Broke(error),
                },
                woken = intake.woken(), if receiving => {
                    let ended = woken.err().map(|quit| self.quit(quit));
                    self.publish(intake, journal.as_deref_mut());
                    if let Some(ended) = ended {
                        return ended;
                    }
                }
                () = sleep_until(said_at.unwrap_or(stale_at).into()), if said_at.is_some() => {
                    if let Some(text) = self.script.next(Instant::now()) {
                        masked_frame(&mut self.out, Opcode::Text, text.as_bytes(), key());
                    }
                }
                () = sleep(RETRY), if intake.waits() => self.publish(intake, journal.as_deref_mut()),
                () = sleep_until(stale_at.into()), if receiving => {
                    if self.conn.state() == State::Connecting {
                        return late(self.link, &self.address, self.stale_after);
                    }
                    masked_close(&mut self.out, LEAVING, "", key());
                    return Ended::Stale(show_duration(self.stale_after.unwrap_or(NEVER)));
                }
                () = sleep_until((self.since + self.link.idle).into()), if receiving => {
                    if let Some(ended) = self.ask() {
                        return ended;
                    }
                }
            }
        }
    }

    /// Takes in what came, and publishes what it makes.
    async fn take(
        &mut self,
        bytes: &mut [u8],
        intake: &mut impl Intake,
        mut journal: Option<&mut Journal<'_>>,
    ) -> Option<Ended> {
        // The handshake has one time for all of it.
        if self.conn.state() != State::Connecting {
            (self.since, self.pinged) = (Instant::now(), false);
        }
        let ended = self.receive(bytes, intake, journal.as_deref_mut());
        self.publish(intake, journal);
        if ended.is_none() && std::mem::take(&mut self.renews) {
            self.renew().await;
        }
        ended
    }

    /// Another connection has taken its place.
    pub fn leave(&mut self) {
        masked_close(&mut self.out, LEAVING, "", key());
    }

    /// Sends what is left to be sent. Whether the server reads why it is left is its own affair.
    pub async fn goodbye(self, stream: &mut (dyn Stream + 'static)) {
        let goodbye = async {
            stream.write_all(&self.out).await?;
            stream.shutdown().await
        };
        let _ = timeout(GOODBYE, goodbye).await;
    }

    /// Whoever takes its messages ends it.
    pub fn quit(&mut self, quit: Quit) -> Ended {
        let (code, ended) = match quit {
            Quit::Unacceptable(why) => (UNACCEPTABLE, Ended::Unacceptable(why)),
            Quit::Gap(why) => (LEAVING, Ended::Gap(why)),
        };
        masked_close(&mut self.out, code, "", key());
        ended
    }

    /// Shows what stands in the file now, where that is another token.
    async fn renew(&mut self) {
        let Some(file) = &self.link.token_file else { return };
        match token_file::read(file).await {
            Ok(token) if self.token.as_ref() != Some(&token) => {
                let op = serde_json::json!({ "op": "auth", "token": token }).to_string();
                masked_frame(&mut self.out, Opcode::Text, op.as_bytes(), key());
                self.token = Some(token);
            }
            Ok(_) => {
                tracing::warn!(source = %self.link.name, "its token expires, and token_file has no other")
            }
            Err(error) => tracing::warn!(source = %self.link.name, "its token expires: {error}"),
        }
    }

    fn publish(&mut self, intake: &mut impl Intake, journal: Option<&mut Journal<'_>>) {
        if intake.publish() {
            self.fresh = Instant::now();
            journal.into_iter().for_each(Journal::brought);
        }
    }

    /// Nothing came for `idle`: pings, the second time gives up.
    fn ask(&mut self) -> Option<Ended> {
        if self.conn.state() == State::Connecting {
            return Some(late(self.link, &self.address, self.stale_after));
        }
        if self.pinged {
            return Some(Ended::Idle(show_duration(self.link.idle)));
        }
        (self.since, self.pinged) = (Instant::now(), true);
        masked_frame(&mut self.out, Opcode::Ping, b"", key());
        None
    }

    fn receive(
        &mut self,
        bytes: &mut [u8],
        intake: &mut impl Intake,
        mut journal: Option<&mut Journal<'_>>,
    ) -> Option<Ended> {
        let (mut at, end) = (0, bytes.len());
        loop {
            let received = self.conn.receive(&mut bytes[at..], &self.limits);
            at += received.used;
            let out = &mut self.out;
            match received.event {
                None if at == end => return None,
                None => {}
                Some(Event::Text(text)) => {
                    self.renews |= self.link.token_file.is_some() && token_file::is_expiring(text);
                    let taken = intake.take(text.as_bytes(), false);
                    if let Err(quit) = taken.map(|reply| answer(out, reply)) {
                        return Some(self.quit(quit));
                    }
                }
                Some(Event::Binary(message)) => {
                    let taken = intake.take(message, true);
                    if let Err(quit) = taken.map(|reply| answer(out, reply)) {
                        return Some(self.quit(quit));
                    }
                }
                Some(Event::Ping(payload)) if out.len() < OUT_BYTES_MAX => {
                    masked_frame(out, Opcode::Pong, payload, key());
                }
                Some(Event::Ping(_) | Event::Pong(_)) => {}
                Some(Event::Response(response)) => {
                    if let Some(name) = response.subprotocol() {
                        return Some(HandshakeError::Subprotocol(name.to_owned()).into());
                    }
                    let now = Instant::now();
                    (self.is_open, self.since, self.fresh) = (true, now, now);
                    self.script.begin(now);
                    journal.as_deref_mut().into_iter().for_each(Journal::connected);
                    intake.established();
                }
                Some(Event::Refused { status, reason, headers, .. }) => {
                    let (location, retry_after) = (headers.get("location"), headers.get("retry-after"));
                    return Some(Ended::refused(status, reason, location, retry_after));
                }
                Some(Event::HandshakeFailed(error)) => return Some(error.into()),
                Some(Event::Close(close)) => {
                    let ended = match close {
                        Some(close) => Ended::Closed { code: close.code, reason: close.reason.to_owned() },
                        None => Ended::ClosedBare,
                    };
                    match &ended {
                        Ended::Closed { code, .. } => masked_close(out, *code, "", key()),
                        _ => masked_frame(out, Opcode::Close, b"", key()),
                    }
                    return Some(ended);
                }
                Some(Event::Fail(error)) => {
                    masked_close(out, error.close_code(), "", key());
                    return Some(Ended::Protocol(error));
                }
                // The server's role, and what was not offered.
                Some(Event::Request(_) | Event::BadRequest(_) | Event::Deflated(_)) => {}
            }
        }
    }
}

/// Writes some of `bytes`, or flushes what was written. Nothing is lost when it is left in the middle.
async fn write_some(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        return writer.flush().await.map(|()| 0);
    }
    writer.write(bytes).await
}

/// RFC 6455, 5.3: a new one for each frame.
fn key() -> [u8; 4] {
    fastrand::u32(..).to_le_bytes()
}

/// The handshake.
fn request(target: &Target, token: Option<&str>, nonce: [u8; 16]) -> Vec<u8> {
    let mut out = Vec::new();
    let bearer = token.map(|token| format!("Bearer {token}"));
    let shown = bearer.as_deref().map(|bearer| ("Authorization", bearer));
    let others = target.headers.iter().map(|(name, value)| (&**name, &**value));
    let names_us = target.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("user-agent"));
    let agent = (!names_us).then_some(("User-Agent", USER_AGENT));
    let headers: Vec<_> = agent.into_iter().chain(shown).chain(others).collect();
    handshake::request_with(&mut out, &target.host, &target.url.target, nonce, &[], false, &headers);
    out
}

/// What a server does not read is left out.
fn answer(out: &mut Vec<u8>, reply: Option<String>) {
    if let Some(text) = reply.filter(|_| out.len() < OUT_BYTES_MAX) {
        masked_frame(out, Opcode::Text, text.as_bytes(), key());
    }
}
