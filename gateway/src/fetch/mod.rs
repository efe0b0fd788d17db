//! Small documents of HTTP servers: asked for by the control plane, whole, and within a bound.

mod url;

use std::{pin::pin, sync::Arc, time::Duration};

use axum::body::{Body, to_bytes};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

pub use url::HttpUrl;

/// A venue that is asked has so long to answer.
pub const PATIENCE: Duration = Duration::from_secs(10);
const REDIRECTS_MAX: usize = 3;
const USER_AGENT: &str = concat!("fanwire/", env!("CARGO_PKG_VERSION"));

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    pub url: &'a HttpUrl,
    pub method: Method,
    pub accept: &'a str,
    /// More of them. They may be secrets.
    pub headers: &'a [(String, String)],
    /// Of the answer.
    pub bytes_max: usize,
}

impl<'a> Wanted<'a> {
    /// By `GET`.
    pub fn get(url: &'a HttpUrl, accept: &'a str, bytes_max: usize) -> Self {
        Self { url, method: Method::GET, accept, headers: &[], bytes_max }
    }
}

/// Why there is no document.
#[derive(Debug, Error)]
pub enum Failed {
    #[error("it answered {status}")]
    Status { status: StatusCode, retry_after: Option<String> },
    #[error("{0}")]
    Other(String),
}

impl Failed {
    /// How long the server wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => retry_after.as_deref().and_then(self::retry_after),
            Self::Other(_) => None,
        }
    }
}

impl From<&str> for Failed {
    fn from(why: &str) -> Self {
        Self::Other(why.to_owned())
    }
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

/// Its bytes. Redirects are followed on the same server. `tls`: where it is `https`.
async fn fetch(wanted: &Wanted<'_>, tls: Option<&Arc<ClientConfig>>) -> Result<Vec<u8>, Failed> {
    let mut at = wanted.url.clone();
    for _ in 0..=REDIRECTS_MAX {
        match ask(&at, wanted, tls).await? {
            Answer::Here(bytes) => return Ok(bytes),
            Answer::Moved(location) => at = at.moved(&location)?,
        }
    }
    Err(format!("it redirects more than {REDIRECTS_MAX} times").into())
}

/// The same of a server that has so long to answer.
pub async fn within(
    patience: Duration,
    wanted: &Wanted<'_>,
    tls: Option<&Arc<ClientConfig>>,
) -> Result<Vec<u8>, Failed> {
    let answer = timeout(patience, fetch(wanted, tls)).await;
    answer.unwrap_or_else(|_| Err(format!("no answer within {patience:?}").into()))
}

enum Answer {
    Here(Vec<u8>),
    Moved(String),
}

async fn ask(at: &HttpUrl, wanted: &Wanted<'_>, tls: Option<&Arc<ClientConfig>>) -> Result<Answer, Failed> {
    let connect = |error: String| format!("cannot connect: {error}");
    let tcp = TcpStream::connect((&*at.host, at.port)).await.map_err(|error| connect(error.to_string()))?;
    if !at.is_tls {
        return exchange(tcp, at, wanted).await;
    }
    let tls = tls.ok_or_else(|| connect("no TLS was prepared".to_owned()))?;
    let name = ServerName::try_from(at.host.clone()).map_err(|error| connect(error.to_string()))?;
    let stream = TlsConnector::from(tls.clone()).connect(name, tcp).await;
    exchange(stream.map_err(|error| connect(error.to_string()))?, at, wanted).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    at: &HttpUrl,
    wanted: &Wanted<'_>,
) -> Result<Answer, Failed> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let mut request = Request::builder()
        .method(wanted.method.clone())
        .uri(&at.target)
        .header(header::HOST, &at.authority)
        .header(header::ACCEPT, wanted.accept)
        .header(header::USER_AGENT, USER_AGENT);
    if wanted.method != Method::GET {
        request = request.header(header::CONTENT_LENGTH, 0);
    }
    for (name, value) in wanted.headers {
        request = request.header(name, value);
    }
    let request = request.body(Body::empty()).map_err(|error| error.to_string())?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        read(answer, wanted.bytes_max).await
    };
    // The connection moves the bytes of both.
    let (mut connection, mut exchange) = (pin!(connection), pin!(exchange));
    tokio::select! {
        answer = &mut exchange => answer,
        // What it brought is there yet.
        _ = &mut connection => exchange.await,
    }
}

async fn read(answer: Response<Incoming>, bytes_max: usize) -> Result<Answer, Failed> {
    let status = answer.status();
    let text = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    if status.is_redirection() {
        let location = text(header::LOCATION);
        return Ok(Answer::Moved(location.ok_or(format!("it answered {status} without a location"))?));
    }
    if !status.is_success() {
        return Err(Failed::Status { status, retry_after: text(header::RETRY_AFTER) });
    }
    let body = to_bytes(Body::new(answer.into_body()), bytes_max).await;
    body.map(|bytes| Answer::Here(bytes.into())).map_err(|error| {
        format!("its answer cannot be read, or is longer than {bytes_max} bytes: {error}").into()
    })
}

/// RFC 9110, 10.2.3: how long a server wants to be left alone, in seconds or until a date.
pub fn retry_after(text: &str) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(std::time::SystemTime::now()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_server_says_in_seconds_or_by_a_date_when_to_come_back() {
        assert_eq!(retry_after("120"), Some(Duration::from_secs(120)));
        assert_eq!(retry_after(&"9".repeat(40)), Some(Duration::from_secs(u64::MAX)));
        let later = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(100));
        let wait = retry_after(&later).unwrap().as_secs();
        assert!((90..=100).contains(&wait), "{wait}");
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        for none in ["", "soon", "-1", "1.5", "1 s"] {
            assert_eq!(retry_after(none), None, "{none}");
        }
    }
}
