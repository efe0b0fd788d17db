//! What the fuzz target for PROXY headers does; `tests/fuzz_seeds.rs` does the same with random input.

use std::net::SocketAddr;

use net::{
    Event, Events, Networks, Sockets,
    proxy::{HEADER_BYTES_MAX, Proxied, Rule},
    sim::{PeerEnd, SimRing},
};

const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
const PATIENCE_US: u64 = 1_000_000;

/// What the user of the sockets sees of a connection.
#[derive(Debug, PartialEq)]
enum Outcome {
    Told { client: SocketAddr, said: Vec<u8> },
    Refused([u64; 6]),
}

/// Byte 0: how reads are cut. The rest is what a trusted proxy sends.
pub fn proxy_headers(data: &[u8]) {
    let [cut, input @ ..] = data else { return };
    let whole = outcome(input, 1, usize::MAX);
    assert_eq!(
        outcome(input, u64::from(*cut), usize::from(*cut) % 40 + 1),
        whole,
        "the same input cut otherwise"
    );
    if let Outcome::Told { client, said } = whole {
        let header = input.strip_suffix(&*said).expect("what is said stands behind the header");
        assert!(header.len() <= HEADER_BYTES_MAX, "a header of {} bytes", header.len());
        let is_local = header.starts_with(b"\r") && header[12] == 0x20;
        let names_nobody = is_local || header.starts_with(b"PROXY UNKNOWN");
        assert!(!names_nobody || client == PEER, "{client} comes of nothing");
    }
}

fn outcome(input: &[u8], seed: u64, cut: usize) -> Outcome {
    let trusted = Networks(vec!["127.0.0.1".parse().expect("an address")]);
    let mut net = Proxied::new(SimRing::new(1, seed), Some(Rule { trusted, patience_us: PATIENCE_US }));
    net.set_recv_bytes_max(cut);
    let conn = net.accept(PEER).expect("the table is empty");
    net.peer_send(conn, input);
    let mut told: Option<(SocketAddr, Vec<u8>)> = None;
    for now_us in [0, PATIENCE_US] {
        net.begin_turn(now_us);
        while let Some(event) = net.next() {
            match (event, &mut told) {
                (Event::Accepted { peer, .. }, None) => told = Some((peer, Vec::new())),
                (Event::Received { bytes, .. }, Some((_, said))) => said.extend_from_slice(&bytes),
                (other, told) => panic!("{other:?} after {told:?}"),
            }
        }
    }
    assert_eq!((net.next_us(), net.proxy_counters().waiting), (None, 0), "it is waited for");
    assert_eq!(net.peer_read(conn, usize::MAX), b"", "nobody has answered");
    let (is_told, refused) = (told.is_some(), net.proxy_counters().refused);
    assert_eq!((net.peer_end(conn) == PeerEnd::Open, net.open()), (is_told, usize::from(is_told)));
    assert_eq!(refused.iter().sum::<u64>(), u64::from(!is_told));
    told.map_or(Outcome::Refused(refused), |(client, said)| Outcome::Told { client, said })
}
