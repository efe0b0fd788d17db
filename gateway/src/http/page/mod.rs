//! The live page: one HTML file that subscribes like any other client.

use std::net::SocketAddr;

use bytes::Bytes;

const HTML: &str = include_str!("index.html");
/// What `gateway/clients/js` is built to; `scripts/check javascript` sees that it is.
const CLIENT: &str = include_str!("fanwire.js");

/// The page of this gateway.
#[derive(Debug)]
pub struct Page(Bytes);

impl Page {
    /// Everything it needs is in it; all it may reach is a WebSocket, and this listener for a token.
    pub const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                              img-src data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; \
                              frame-ancestors 'none'";

    /// `data`: where subscribers connect, by `ws` or `wss`.
    pub fn new(scheme: &str, data: SocketAddr) -> Self {
        // Behind these addresses the page's own host name leads there too.
        let host = match data.ip() {
            ip if ip.is_unspecified() || ip.is_loopback() => String::new(),
            std::net::IpAddr::V4(ip) => ip.to_string(),
            std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let html = HTML.replace("{{scheme}}", scheme).replace("{{host}}", &host);
        let html = html.replace("{{port}}", &data.port().to_string());
        Self(html.replace("{{client}}", CLIENT.trim_end()).into())
    }

    pub fn html(&self) -> Bytes {
        self.0.clone()
    }
}
