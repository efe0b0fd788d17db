//! Where to connect: `ws://HOST[:PORT]/PATH`, `wss://…` and `http://HOST[:PORT]`.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// A target, resolved once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// `HOST[:PORT]` as written: the `Host` header.
    pub host: String,
    /// Path and query, at least `/`.
    pub target: String,
    /// The first of `addrs`.
    pub addr: SocketAddr,
    /// Every address of the name, at least one.
    pub addrs: Vec<SocketAddr>,
    /// `wss`.
    pub is_tls: bool,
}

/// `--resolve HOST:PORT:ADDRESS`: an address in place of what the system's resolver says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// `HOST:PORT`.
    name: String,
    addr: SocketAddr,
}

impl Resolution {
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("--resolve {text}: write HOST:PORT:ADDRESS, for example example.com:443:10.0.0.7");
        let mut parts = text.splitn(3, ':');
        let (host, port) = (parts.next().ok_or_else(wrong)?, parts.next().ok_or_else(wrong)?);
        let port: u16 = port.parse().map_err(|_| wrong())?;
        let ip = parts.next().ok_or_else(wrong)?.trim_matches(['[', ']']);
        let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
        Ok(Self { name: format!("{host}:{port}"), addr: SocketAddr::new(ip, port) })
    }

    /// Whether it is about the host and port of `url`.
    pub fn names(&self, url: &Url) -> bool {
        self.addr.port() == url.addr.port() && self.name == with_port(&url.host, self.addr.port())
    }
}

/// `HOST:PORT` of a host that may have its port.
fn with_port(host: &str, port: u16) -> String {
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if has_port { host.to_owned() } else { format!("{host}:{port}") }
}

impl Url {
    /// Parses `text`, which must begin with `scheme://` (`ws` stands for `wss` too), and resolves its host.
    #[cfg(test)]
    pub fn parse(text: &str, scheme: &str) -> Result<Self, String> {
        Self::resolved(text, scheme, &[])
    }

    /// The same with `resolutions` before the system's.
    pub fn resolved(text: &str, scheme: &str, resolutions: &[Resolution]) -> Result<Self, String> {
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
        let name = with_port(host, if is_tls { 443 } else { 80 });
        let known = resolutions.iter().filter(|known| known.name == name).map(|known| known.addr);
        let mut addrs: Vec<SocketAddr> = known.collect();
        if addrs.is_empty() {
            let failed =
                |error| format!("{text}: {name} does not resolve ({error}); --resolve names an address");
            addrs = name.to_socket_addrs().map_err(failed)?.collect();
        }
        let addr = *addrs.first().ok_or_else(|| format!("{text}: {name} has no address"))?;
        Ok(Self { host: host.to_owned(), target, addr, addrs, is_tls })
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
    fn a_resolution_stands_before_the_resolver_for_its_host_and_port_alone() {
        let of = |text: &str| Resolution::parse(text).unwrap();
        let all = [of("a.invalid:80:127.0.0.1"), of("a.invalid:80:[::1]"), of("a.invalid:81:127.0.0.3")];
        let url = Url::resolved("ws://a.invalid/ws", "ws", &all).unwrap();
        assert_eq!(url.addrs, ["127.0.0.1:80".parse().unwrap(), "[::1]:80".parse().unwrap()]);
        assert_eq!((url.host.as_str(), url.addr), ("a.invalid", url.addrs[0]));
        assert_eq!(all.each_ref().map(|resolution| resolution.names(&url)), [true, true, false]);
        assert!(Url::resolved("ws://b.invalid/", "ws", &all).unwrap_err().contains("--resolve"));
        for wrong in ["a.invalid", "a.invalid:80", "a.invalid:80:b", "a.invalid:x:127.0.0.1"] {
            assert!(Resolution::parse(wrong).unwrap_err().contains("HOST:PORT:ADDRESS"), "{wrong}");
        }
    }

    #[test]
    fn another_scheme_is_refused() {
        assert!(Url::parse("https://127.0.0.1:9001/ws", "ws").is_err());
        assert!(Url::parse("wss://127.0.0.1:9001/ws", "http").is_err());
        assert!(Url::parse("ws://127.0.0.1:9001/ws#x", "ws").is_err());
    }
}
