//! The way to a server: TCP, and TLS over it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use engine::unit::show_duration;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::ended::Ended;
use crate::{
    source::{link::Link, url::Url},
    tls,
};

/// Bytes to and from a server.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Connects. Its server has as long as the shorter one of `idle` and `stale_after`.
pub async fn dial(link: &Link, url: &Url, stale_after: Option<Duration>) -> Result<Box<dyn Stream>, Ended> {
    let (address, begun) = (&url.address, Instant::now());
    let patience = stale_after.map_or(link.idle, |stale_after| stale_after.min(link.idle));
    let stream = match timeout(patience, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(Ended::Connect { address: address.clone(), error }),
        Err(_) => return Err(late(link, address, stale_after)),
    };
    // Only a delay hangs on it.
    let _ = stream.set_nodelay(true);
    if !url.is_tls {
        return Ok(Box::new(stream));
    }
    let secured = secure(url, link.ca.as_deref(), stream);
    match timeout(patience.saturating_sub(begun.elapsed()), secured).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(Ended::Tls { address: address.clone(), error }),
        Err(_) => Err(late(link, address, stale_after)),
    }
}

/// The server at `address` was given as long as the shorter one of both.
pub fn late(link: &Link, address: &str, stale_after: Option<Duration>) -> Ended {
    let within = match stale_after.filter(|stale_after| *stale_after < link.idle) {
        Some(stale_after) => format!("stale_after = {:?}", show_duration(stale_after)),
        None => format!("idle = {:?}", show_duration(link.idle)),
    };
    Ended::Late(address.to_owned(), within)
}

async fn secure(url: &Url, ca: Option<&Path>, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
    let connector = TlsConnector::from(tls::client::client(ca)?);
    let host = url.address.rsplit_once(':').map_or(&*url.address, |(host, _)| host);
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|e| e.to_string())?;
    connector.connect(name, stream).await.map_err(|error| error.to_string())
}
