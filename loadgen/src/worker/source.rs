//! Which local address a connection comes from: one address has too few ports for 100,000.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::args::Args;

/// Far below the 28,000 of the usual range, as closed connections keep theirs for a minute.
const CONNECTIONS_PER_ADDRESS: usize = 1000;
/// Second-lowest and lowest byte of 127.0.x.y both run from 1.
const LAST_BYTES: usize = 250;

/// How many different addresses [`address`] gives to `connections`.
pub fn addresses(args: &Args, connections: usize) -> usize {
    match args.url.addr.ip() {
        _ if !args.source_ips.is_empty() => args.source_ips.len(),
        IpAddr::V4(target) if target.is_loopback() => {
            connections.div_ceil(CONNECTIONS_PER_ADDRESS).clamp(1, LAST_BYTES * LAST_BYTES)
        }
        _ => 1,
    }
}

/// Where connection `index` to `target` binds; `None`: wherever the system likes.
pub fn address(args: &Args, index: usize, target: SocketAddr) -> Option<SocketAddr> {
    let ip = match target.ip() {
        _ if !args.source_ips.is_empty() => args.source_ips[index % args.source_ips.len()],
        IpAddr::V4(target) if target.is_loopback() => {
            let block = index / CONNECTIONS_PER_ADDRESS % (LAST_BYTES * LAST_BYTES);
            Ipv4Addr::new(127, 0, (block / LAST_BYTES) as u8 + 1, (block % LAST_BYTES) as u8 + 1).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, 0))
}
