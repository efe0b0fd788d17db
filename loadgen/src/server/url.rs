//! Where to connect: `ws://HOST[:PORT]/PATH`, `wss://…` and `http://HOST[:PORT]`.

use std::net::{SocketAddr, ToSocketAddrs};

/// A target, resolved once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// `HOST[:PORT]` as written: the `Host` header.
    pub host: String,
    /// Path and query, at least `/`.
    pub target: String,
    pub addr: SocketAddr,
    /// `wss`.
    pub is_tls: bool,
}

impl Url {
    /// Parses `text`, which must begin with `scheme://` (`ws` stands for `wss` too), and resolves its host
    /// (the first address counts).
    pub fn parse(text: &str, scheme: &str) -> Result<Self, String> {
        let is_tls = scheme == "ws" && text.starts_with("wss://");
        let rest = text
            .strip_prefix(if is_tls { "wss" } else { scheme })
            .and_then(|rest| rest.strip_prefix("://"))
            .ok_or_else(|| format!("{text}: write {scheme}://HOST:PORT/… (no other scheme is spoken)"))?;
        if rest.contains('#') {
            return Err(format!("{text}: a fragment (#…) is never sent to a server; leave it out"));
        }
        let split = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, target) = rest.split_at(split);
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let with_port =
            if has_port { host.to_owned() } else { format!("{host}:{}", if is_tls { 443 } else { 80 }) };
        let addr = with_port
            .to_socket_addrs()
            .map_err(|error| format!("{text}: {with_port} does not resolve ({error})"))?
            .next()
            .ok_or_else(|| format!("{text}: {with_port} has no address"))?;
        Ok(Self { host: host.to_owned(), target, addr, is_tls })
    }

    /// Of a WebSocket, as it was written.
    pub fn text(&self) -> String {
        let scheme = if self.is_tls { "wss" } else { "ws" };
        format!("{scheme}://{}{}", self.host, self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_host_target_and_address() {
        let url = Url::parse("ws://127.0.0.1:9001/ws?topics=a", "ws").unwrap();
        assert_eq!((url.host.as_str(), url.target.as_str()), ("127.0.0.1:9001", "/ws?topics=a"));
        assert_eq!(url.addr, "127.0.0.1:9001".parse().unwrap());
        assert!(Url::parse("wss://127.0.0.1/ws", "ws").is_ok_and(|url| url.is_tls && url.addr.port() == 443));
        let bare = Url::parse("http://127.0.0.1", "http").unwrap();
        assert_eq!((bare.target.as_str(), bare.addr.port()), ("/", 80));
    }

    #[test]
    fn another_scheme_is_refused() {
        assert!(Url::parse("https://127.0.0.1:9001/ws", "ws").is_err());
        assert!(Url::parse("wss://127.0.0.1:9001/ws", "http").is_err());
        assert!(Url::parse("ws://127.0.0.1:9001/ws#x", "ws").is_err());
    }
}
