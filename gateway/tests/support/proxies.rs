//! Proxies between clients and the gateway, and what they say of whom they ask for.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use engine::http::proxies::Forwarded;
use net::Networks;

/// It passes connections on, and says whose.
pub const BALANCER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 50_001);
/// It passes requests on, and says whose.
pub const PROXY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)), 50_002);

/// Both, and others like them.
pub fn trusted() -> Networks {
    Networks(vec!["10.0.0.0/8".parse().unwrap()])
}

/// A PROXY header, of version 2 where the client's port is even.
pub fn header(client: SocketAddr) -> Vec<u8> {
    let (ip, port) = (client.ip(), client.port());
    let addresses = |family: u8, octets: &[u8]| {
        let block = [octets, &vec![0; octets.len()], &port.to_be_bytes(), &[0, 80]].concat();
        let length = (block.len() as u16).to_be_bytes();
        [b"\r\n\r\n\0\r\nQUIT\n\x21", &[family][..], &length, &block].concat()
    };
    match (ip, port % 2) {
        (IpAddr::V4(ip), 0) => addresses(0x11, &ip.octets()),
        (IpAddr::V6(ip), 0) => addresses(0x21, &ip.octets()),
        (IpAddr::V4(ip), _) => format!("PROXY TCP4 {ip} 10.0.0.9 {port} 80\r\n").into(),
        (IpAddr::V6(ip), _) => format!("PROXY TCP6 {ip} ::1 {port} 80\r\n").into(),
    }
}

/// What stands in that field of a request that comes from there: what the client claims, the client, and a proxy.
pub fn field(forwarded: Forwarded, client: SocketAddr) -> String {
    let [high, low] = client.port().to_be_bytes();
    let claimed = Ipv4Addr::new(198, 51, high, low);
    match forwarded {
        Forwarded::XForwardedFor => format!("{claimed}, {}, 10.0.0.3", client.ip()),
        Forwarded::Forwarded => format!("for={claimed}, for=\"{client}\";proto=http, for=10.0.0.3"),
    }
}
