//! How far the server's wall clock is from ours, where it runs on another host.
//!
//! Op `ping` is answered with the server's time; half of the round trip lies on either side of it,
//! as far as one can tell. The quickest of several round trips has the least error.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, TcpStream, UdpSocket},
    time::Duration,
};

use proto::{Conn, Event, Limits, encode};
use rustls::{ClientConnection, StreamOwned};
use serde::Deserialize;

use super::{tls::Tls, url::Url};
use crate::measure::arrival::wall_us;

const PROBES: usize = 16;
const TIMEOUT: Duration = Duration::from_secs(2);
const LIMITS: Limits = Limits { head_bytes: 16 << 10, headers: 64, message_bytes: 1 << 20 };

/// One round trip, µs since the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub struct Probe {
    pub sent_us: u64,
    pub server_us: u64,
    pub answered_us: u64,
}

/// The server's clock minus ours, give or take `error_us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset {
    pub us: i64,
    pub error_us: u64,
}

/// The offset by the quickest of `probes`.
pub fn estimate(probes: &[Probe]) -> Option<Offset> {
    let quickest = probes.iter().min_by_key(|probe| probe.answered_us.saturating_sub(probe.sent_us))?;
    let round_us = quickest.answered_us.saturating_sub(quickest.sent_us);
    let middle_us = quickest.sent_us + round_us / 2;
    Some(Offset { us: quickest.server_us as i64 - middle_us as i64, error_us: round_us.div_ceil(2) })
}

/// Whether `ip` is one of this host's own addresses, so that both ends share a clock.
pub fn is_here(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

/// Asks the gateway at `url` for its time; `request` opens the connection with the nonce it is given.
pub fn probe(
    url: &Url,
    tls: Option<&Tls>,
    request: impl Fn(&mut Vec<u8>, [u8; 16]),
) -> io::Result<Vec<Probe>> {
    let stream = TcpStream::connect_timeout(&url.addr, TIMEOUT)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    match tls {
        None => probe_over(stream, request),
        Some(Tls { config, name }) => {
            let session = ClientConnection::new(config.clone(), name.clone()).map_err(io::Error::other)?;
            probe_over(StreamOwned::new(session, stream), request)
        }
    }
}

fn probe_over(
    mut stream: impl Read + Write,
    request: impl Fn(&mut Vec<u8>, [u8; 16]),
) -> io::Result<Vec<Probe>> {
    let nonce: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
    let mut conn = Conn::client(nonce);
    let mut out = Vec::new();
    request(&mut out, nonce);
    stream.write_all(&out)?;
    let mut probes = Vec::new();
    let mut sent_us = 0;
    let mut buffer = [0; 8192];
    loop {
        let bytes = stream.read(&mut buffer)?;
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let answered_us = wall_us();
        let (mut at, mut ask) = (0, false);
        while at < bytes {
            let received = conn.receive(&mut buffer[at..bytes], &LIMITS);
            at += received.used;
            match received.event {
                Some(Event::Response(_)) => ask = true,
                Some(Event::Text(text)) => {
                    if let Some(server_us) = pong_us(text) {
                        probes.push(Probe { sent_us, server_us, answered_us });
                        ask = true;
                    }
                }
                Some(Event::Refused { status, .. }) => {
                    return Err(io::Error::other(format!("the handshake was answered with {status}")));
                }
                Some(Event::HandshakeFailed(_) | Event::Fail(_) | Event::Close(_)) => {
                    return Err(io::Error::other("the server ended the connection"));
                }
                _ => {}
            }
        }
        if probes.len() == PROBES {
            return Ok(probes);
        }
        if ask {
            out.clear();
            encode::masked_frame(&mut out, encode::Opcode::Text, br#"{"op":"ping"}"#, [7, 1, 9, 4]);
            sent_us = wall_us();
            stream.write_all(&out)?;
        }
    }
}

fn pong_us(text: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Pong {
        op: String,
        ts: u64,
    }
    let pong: Pong = serde_json::from_str(text).ok()?;
    (pong.op == "pong").then_some(pong.ts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickest_round_trip_decides() {
        let probe = |sent_us, there_us, back_us, ahead_us: i64| Probe {
            sent_us,
            server_us: (sent_us as i64 + there_us + ahead_us) as u64,
            answered_us: (sent_us as i64 + there_us + back_us) as u64,
        };
        let probes =
            [probe(1_000, 900, 100, -5000), probe(9_000, 120, 80, -5000), probe(20_000, 10, 700, -5000)];
        let offset = estimate(&probes).unwrap();
        assert!(offset.us.abs_diff(-5000) <= offset.error_us && offset.error_us == 100, "{offset:?}");
        assert_eq!(estimate(&[]), None);
    }

    #[test]
    fn loopback_is_here_and_a_documentation_address_is_not() {
        assert!(is_here("127.0.3.4".parse().unwrap()));
        assert!(!is_here("192.0.2.77".parse().unwrap()));
    }
}
