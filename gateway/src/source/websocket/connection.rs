//! One connection to a server, from connect to its end.

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
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, sleep_until, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    ended::Ended,
    inlet::{Intake, RETRY},
    journal::Journal,
};
use crate::{
    source::{link::Link, token_file},
    tls,
};

const READ_BYTES: usize = 64 * 1024;
/// Pongs that a server does not read are left out beyond this.
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

/// Connects, sends `texts` and takes in what comes, until the connection ends; it does at the latest when
/// nothing came for `stale_after` that made an update.
pub async fn serve(
    link: &Link,
    stale_after: Option<Duration>,
    texts: &[String],
    intake: &mut impl Intake,
    journal: &mut Journal<'_>,
) -> Ended {
    let (address, begun) = (&link.url.address, Instant::now());
    let patience = stale_after.map_or(link.idle, |stale_after| stale_after.min(link.idle));
    let token = match &link.token_file {
        Some(file) => match token_file::read(file).await {
            Ok(token) => Some(token),
            Err(error) => return Ended::Token(error),
        },
        None => None,
    };
    let stream = match timeout(patience, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Ended::Connect { address: address.clone(), error },
        Err(_) => return late(link, stale_after),
    };
    // Only a delay hangs on it.
    let _ = stream.set_nodelay(true);
    let mut connection = Connection::new(link, token, stale_after, texts, journal);
    connection.fresh = begun;
    if !link.url.is_tls {
        return serve_over(stream, connection, intake).await;
    }
    match timeout(patience.saturating_sub(begun.elapsed()), secure(link, stream)).await {
        Ok(Ok(stream)) => serve_over(stream, connection, intake).await,
        Ok(Err(error)) => Ended::Tls { address: address.clone(), error },
        Err(_) => late(link, stale_after),
    }
}

/// The server was given as long as the shorter one of both.
fn late(link: &Link, stale_after: Option<Duration>) -> Ended {
    let within = match stale_after.filter(|stale_after| *stale_after < link.idle) {
        Some(stale_after) => format!("stale_after = {:?}", show_duration(stale_after)),
        None => format!("idle = {:?}", show_duration(link.idle)),
    };
    Ended::Late(link.url.address.clone(), within)
}

async fn secure(link: &Link, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
    let connector = TlsConnector::from(tls::client::client(link.ca.as_deref())?);
    let host = link.url.address.rsplit_once(':').map_or(&*link.url.address, |(host, _)| host);
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|e| e.to_string())?;
    connector.connect(name, stream).await.map_err(|error| error.to_string())
}

async fn serve_over(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    mut connection: Connection<'_, '_>,
    intake: &mut impl Intake,
) -> Ended {
    let ended = connection.run(&mut stream, intake).await;
    // Whether the server reads why it is left is its own affair.
    let goodbye = async {
        stream.write_all(&connection.out).await?;
        stream.shutdown().await
    };
    let _ = timeout(GOODBYE, goodbye).await;
    ended
}

struct Connection<'a, 'j> {
    link: &'a Link,
    /// The one that was shown last, and whether the server says that it expires.
    token: Option<String>,
    renews: bool,
    stale_after: Option<Duration>,
    texts: &'a [String],
    journal: &'a mut Journal<'j>,
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

impl<'a, 'j> Connection<'a, 'j> {
    fn new(
        link: &'a Link,
        token: Option<String>,
        stale_after: Option<Duration>,
        texts: &'a [String],
        journal: &'a mut Journal<'j>,
    ) -> Self {
        let nonce = fastrand::u128(..).to_le_bytes();
        let mut out = Vec::new();
        let bearer = token.as_ref().map(|token| format!("Bearer {token}"));
        let shown = bearer.as_deref().map(|bearer| ("Authorization", bearer));
        let headers: Vec<_> = [("User-Agent", USER_AGENT)].into_iter().chain(shown).collect();
        handshake::request_with(&mut out, &link.host, &link.url.target, nonce, &[], false, &headers);
        let limits = Limits { head_bytes: HEAD_BYTES, headers: HEADERS, message_bytes: link.message_bytes };
        let (conn, now) = (Conn::client(nonce), Instant::now());
        Self {
            link,
            token,
            renews: false,
            stale_after,
            texts,
            journal,
            limits,
            conn,
            out,
            since: now,
            pinged: false,
            fresh: now,
        }
    }

    async fn run(
        &mut self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        intake: &mut impl Intake,
    ) -> Ended {
        let mut buffer = vec![0; READ_BYTES];
        self.since = Instant::now();
        let (mut reader, mut writer) = tokio::io::split(stream);
        // What was written may wait in TLS.
        let mut flushed = true;
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
            tokio::select! {
                read = reader.read(&mut buffer), if receiving => match read {
                    Ok(0) => return Ended::Cut,
                    Ok(bytes) => {
                        // The handshake has one time for all of it.
                        if self.conn.state() != State::Connecting {
                            (self.since, self.pinged) = (Instant::now(), false);
                        }
                        let ended = self.receive(&mut buffer[..bytes], intake);
                        self.publish(intake);
                        if let Some(ended) = ended {
                            return ended;
                        }
                        if std::mem::take(&mut self.renews) {
                            self.renew().await;
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
                () = sleep(RETRY), if intake.waits() => self.publish(intake),
                () = sleep_until(stale_at.into()), if receiving => {
                    if self.conn.state() == State::Connecting {
                        return late(self.link, self.stale_after);
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

    fn publish(&mut self, intake: &mut impl Intake) {
        if intake.publish() {
            self.fresh = Instant::now();
            self.journal.brought();
        }
    }

    /// Nothing came for `idle`: pings, the second time gives up.
    fn ask(&mut self) -> Option<Ended> {
        if self.conn.state() == State::Connecting {
            return Some(late(self.link, self.stale_after));
        }
        if self.pinged {
            return Some(Ended::Idle(show_duration(self.link.idle)));
        }
        (self.since, self.pinged) = (Instant::now(), true);
        masked_frame(&mut self.out, Opcode::Ping, b"", key());
        None
    }

    fn receive(&mut self, bytes: &mut [u8], intake: &mut impl Intake) -> Option<Ended> {
        let Self { link, renews, texts, journal, limits, conn, out, since, fresh, .. } = self;
        let (mut at, end) = (0, bytes.len());
        loop {
            let received = conn.receive(&mut bytes[at..], limits);
            at += received.used;
            match received.event {
                None if at == end => return None,
                None => {}
                Some(Event::Text(text)) => {
                    *renews |= link.token_file.is_some() && token_file::is_expiring(text);
                    if let Err(why) = intake.take(text.as_bytes()) {
                        masked_close(out, UNACCEPTABLE, "", key());
                        return Some(Ended::Unacceptable(why));
                    }
                }
                Some(Event::Binary(message)) => {
                    if let Err(why) = intake.take(message) {
                        masked_close(out, UNACCEPTABLE, "", key());
                        return Some(Ended::Unacceptable(why));
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
                    journal.connected();
                    (*since, *fresh) = (Instant::now(), Instant::now());
                    for text in *texts {
                        masked_frame(out, Opcode::Text, text.as_bytes(), key());
                    }
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
