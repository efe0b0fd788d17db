//! A small document of an https server.

use std::{pin::pin, sync::Arc};

use axum::body::{Body, to_bytes};
use hyper::{Request, Uri, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

const REDIRECTS_MAX: usize = 3;
const PORT: u16 = 443;
const USER_AGENT: &str = concat!("fanwire/", env!("CARGO_PKG_VERSION"));

/// `https://HOST[:PORT]/PATH`.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpsUrl {
    pub text: String,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    /// `HOST[:PORT]` as written.
    authority: String,
    /// Path and query.
    target: String,
}

impl HttpsUrl {
    /// The error says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        const HINT: &str = "write https://HOST/PATH";
        let uri: Uri = text.parse().map_err(|error| format!("{error}; {HINT}"))?;
        let (Some("https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(HINT.to_owned());
        };
        if authority.as_str().contains('@') || text.contains('#') {
            return Err(format!("no user and no fragment has a place here; {HINT}"));
        }
        let port = match &authority.as_str()[authority.host().len()..] {
            "" => Some(PORT),
            port => port[1..].parse().ok().filter(|port| *port > 0),
        };
        Ok(Self {
            text: text.to_owned(),
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: port.ok_or(format!("a port is 1 to 65535; {HINT}"))?,
            authority: authority.to_string(),
            target: uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
        })
    }

    /// Where it leads that something has moved: on the same server only.
    fn moved(&self, location: &str) -> Result<Self, String> {
        let is_path = location.starts_with('/') && !location.starts_with("//");
        let next = if is_path {
            Self::parse(&format!("https://{}{location}", self.authority))
        } else {
            Self::parse(location)
        };
        let next = next.map_err(|_| "it redirects to what is no https URL".to_owned())?;
        let is_same = next.host.eq_ignore_ascii_case(&self.host) && next.port == self.port;
        if is_same { Ok(next) } else { Err(format!("it redirects to another host, {}", next.authority)) }
    }
}

/// Its bytes, at most so many.
pub async fn get(url: &HttpsUrl, tls: &Arc<ClientConfig>, bytes_max: usize) -> Result<Vec<u8>, String> {
    let mut at = url.clone();
    for _ in 0..=REDIRECTS_MAX {
        match ask(&at, tls, bytes_max).await? {
            Answer::Here(bytes) => return Ok(bytes),
            Answer::Moved(location) => at = at.moved(&location)?,
        }
    }
    Err(format!("it redirects more than {REDIRECTS_MAX} times"))
}

enum Answer {
    Here(Vec<u8>),
    Moved(String),
}

async fn ask(url: &HttpsUrl, tls: &Arc<ClientConfig>, bytes_max: usize) -> Result<Answer, String> {
    let stream = connect(url, tls).await.map_err(|error| format!("cannot connect: {error}"))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let request = Request::get(&url.target)
        .header(header::HOST, &url.authority)
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .header(header::USER_AGENT, USER_AGENT)
        .body(Body::empty())
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        if status.is_redirection() {
            let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
            let location = location.ok_or(format!("it answered {status} without a location"))?;
            return Ok(Answer::Moved(location.to_owned()));
        }
        if !status.is_success() {
            return Err(format!("it answered {status}"));
        }
        let body = to_bytes(Body::new(answer.into_body()), bytes_max).await;
        body.map(|bytes| Answer::Here(bytes.into())).map_err(|error| {
            format!("its answer cannot be read, or is longer than {bytes_max} bytes: {error}")
        })
    };
    // The connection moves the bytes of both.
    let (mut connection, mut exchange) = (pin!(connection), pin!(exchange));
    tokio::select! {
        answer = &mut exchange => answer,
        // What it brought is there yet.
        _ = &mut connection => exchange.await,
    }
}

async fn connect(url: &HttpsUrl, tls: &Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, String> {
    let stream = TcpStream::connect((&*url.host, url.port)).await.map_err(|error| error.to_string())?;
    let name = ServerName::try_from(url.host.clone()).map_err(|error| error.to_string())?;
    TlsConnector::from(tls.clone()).connect(name, stream).await.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gives_host_port_and_target() {
        for (text, host, port, target) in [
            ("https://id.example", "id.example", 443, "/"),
            ("https://id.example:8443/a/jwks.json?v=1", "id.example", 8443, "/a/jwks.json?v=1"),
            ("https://[::1]:1/a", "::1", 1, "/a"),
        ] {
            let url = HttpsUrl::parse(text).unwrap();
            assert_eq!((&*url.host, url.port, &*url.target), (host, port, target));
        }
        for bad in ["http://id.example/", "jwks.json", "https://me@id.example/", "https://id.example:0/", ""]
        {
            assert!(HttpsUrl::parse(bad).unwrap_err().contains("https://HOST/PATH"), "{bad}");
        }
    }

    #[test]
    fn nothing_leads_to_another_server() {
        let url = HttpsUrl::parse("https://id.example/a").unwrap();
        let moved = |location: &str| url.moved(location).map(|next| (next.authority, next.target));
        assert_eq!(moved("/b?c"), Ok(("id.example".to_owned(), "/b?c".to_owned())));
        assert_eq!(moved("https://ID.example:443/b").unwrap().1, "/b");
        for elsewhere in [
            "https://evil.example/a",
            "https://id.example:8443/a",
            "https://id.example.evil.example/a",
            "http://id.example/a",
            "//evil.example/a",
            "b",
            "https://id.example@evil.example/a",
        ] {
            assert!(moved(elsewhere).unwrap_err().contains("it redirects to"), "{elsewhere}");
        }
    }
}
