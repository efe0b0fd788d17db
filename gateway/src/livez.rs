//! `gateway --health`: asks the gateway of a configuration whether it lives, for whoever supervises it.

use std::{
    convert::Infallible,
    future::pending,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::body::Body;
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use net::proxy::LOCAL_HEADER;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::{
    config::{Config, Server},
    tls,
};

/// Who does not answer within that does not live.
const PATIENCE: Duration = Duration::from_secs(3);

/// Why it does not, or why nobody can tell.
#[derive(Debug, Error)]
pub enum NotAlive {
    #[error("port 0 of {0} is any free one, so nobody knows where to ask; write one into the configuration")]
    AnyPort(SocketAddr),
    #[error(
        "every listener wants a certificate of who asks ([server] tls_client_ca), and --health has none; name another \
         admin or data"
    )]
    NeedsCertificate,
    #[error("{0} did not answer within 3 s")]
    Late(SocketAddr),
    #[error("{0} cannot be asked: {1}")]
    Unreachable(SocketAddr, String),
    #[error(
        "{0} lets only [server] trusted_proxies in; name {ip} there, or write an admin address, which is asked instead",
        ip = .0.ip()
    )]
    Untrusted(SocketAddr),
    #[error("{0} answered {1}")]
    Refused(SocketAddr, StatusCode),
    #[error("{0}")]
    Runtime(#[from] std::io::Error),
}

/// Asks for `/livez` at the admin listener, or where there is none at the data listener, else at that of TLS. Of TLS the
/// certificate is not verified: it is for the names that clients use.
pub fn ask(config: &Config) -> Result<(), NotAlive> {
    let Listener { address, is_tls, is_proxied } = asked(&config.server)?;
    if address.port() == 0 {
        return Err(NotAlive::AnyPort(address));
    }
    let address = reachable(address);
    if is_proxied && !config.server.proxies.trusted.contains(address.ip()) {
        return Err(NotAlive::Untrusted(address));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked =
        runtime.block_on(async { tokio::time::timeout(PATIENCE, get(address, is_tls, is_proxied)).await });
    match asked.map_err(|_| NotAlive::Late(address))? {
        Ok(StatusCode::OK) => Ok(()),
        Ok(status) => Err(NotAlive::Refused(address, status)),
        Err(error) => Err(NotAlive::Unreachable(address, error)),
    }
}

/// Where somebody listens, and what comes before a request there.
#[derive(Debug, Clone, Copy)]
struct Listener {
    address: SocketAddr,
    is_tls: bool,
    /// A PROXY header.
    is_proxied: bool,
}

/// Where to ask: the admin listener, else that of subscribers, without TLS if it can be. Who asks has no certificate to
/// show.
fn asked(server: &Server) -> Result<Listener, NotAlive> {
    let wants_certificate = server.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let is_proxied = server.proxy_protocol;
    let listeners = [
        server.admin.map(|address| Listener { address, is_tls: server.admin_tls, is_proxied: false }),
        server.data.map(|address| Listener { address, is_tls: false, is_proxied }),
        server.tls.as_ref().map(|tls| Listener { address: tls.address, is_tls: true, is_proxied }),
    ];
    let mut open = listeners.into_iter().flatten().filter(|at| !(at.is_tls && wants_certificate));
    open.next().ok_or(NotAlive::NeedsCertificate)
}

/// Whoever listens on any address is reached on loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

async fn get(address: SocketAddr, is_tls: bool, is_proxied: bool) -> Result<StatusCode, String> {
    let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    if is_proxied {
        stream.write_all(&LOCAL_HEADER).await.map_err(|error| error.to_string())?;
    }
    if !is_tls {
        return get_over(stream, address).await;
    }
    let connector = TlsConnector::from(Arc::new(tls::client::unverified()?));
    let name = ServerName::IpAddress(address.ip().into());
    let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
    get_over(stream, address).await
}

async fn get_over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    address: SocketAddr,
) -> Result<StatusCode, String> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let request = Request::get("/livez").header(header::HOST, address.to_string()).body(Body::empty());
    let request = request.map_err(|error| error.to_string())?;
    // It moves the bytes of both. Where it ends without an answer, the request hears of it; and it may end with one.
    let moving = async {
        connection.await.ok();
        pending::<Infallible>().await
    };
    tokio::select! {
        never = moving => match never {},
        answer = sender.send_request(request) => {
            answer.map(|answer| answer.status()).map_err(|error| error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_any_address_is_asked_on_loopback() {
        let of = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(of("0.0.0.0:9002"), "127.0.0.1:9002");
        assert_eq!(of("[::]:9002"), "[::1]:9002");
        assert_eq!(of("10.0.0.1:9002"), "10.0.0.1:9002");
    }
}
