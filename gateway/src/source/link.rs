//! `[[source]]` of a kind that connects: where to, and when to give up.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use engine::{keys, unit::show_duration};

use super::{token_file, url::Url};
use crate::document::{
    read::{Section, named},
    write::Text,
};

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;

const HOST: &str = "write HOST or HOST:PORT";

keys! {
    /// of kind = "websocket" or "fanwire": a server that the gateway connects to, again and again.
    pub struct LinkKeys in "source" {
        /// Where to connect, `ws://` or `wss://`.
        url: Option<String> = text(), example("\"wss://ws-feed.exchange.coinbase.com\"");
        /// PEM: who is trusted for a wss:// url. Default: those that this host trusts.
        ca: String = text_or(""), example("\"ca.pem\"");
        /// The `Host` header. Default: HOST:PORT of `url`.
        host: Option<String> = text_like(HOST), example("\"ws-feed.exchange.coinbase.com\"");
        /// A file with a token, for a server that wants one, as another gateway does: shown as `Authorization: Bearer TOKEN`.
        /// It is read again before each connect, and where a gateway says that the token expires. Default: none.
        token_file: String = text_or(""), example("\"feed.jwt\"");
        /// How long to wait before the first new try, and twice as long after each that came to nothing. Of every wait
        /// up to half is left out at random.
        backoff_min: Duration = duration(500, 1..=HOUR);
        /// The longest wait before a new try.
        backoff_max: Duration = duration(30 * SECOND, 1..=HOUR);
        /// A connection that brought nothing for so long is pinged, and given up after as long again.
        idle: Duration = duration(30 * SECOND, 100..=HOUR);
        /// Bytes of a message. A longer one ends the connection with 1009. Default: 4MiB of kind "websocket", 64MiB of
        /// kind "fanwire".
        message_bytes: Option<usize> = size_found(128..=1 << 30), example("\"16MiB\"");
    }
}

/// A server to connect to, again and again.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// What logs and metrics call it; no two are alike.
    pub name: String,
    pub url: Url,
    /// Of a `wss` URL: the certificates trusted in place of those that the host trusts.
    pub ca: Option<PathBuf>,
    /// The `Host` header.
    pub host: String,
    /// Where the token stands that the server wants.
    pub token_file: Option<PathBuf>,
    /// Between two tries; doubled after each that came to nothing.
    pub backoff_min: Duration,
    pub backoff_max: Duration,
    /// A silent connection is pinged after it, and given up after it once more.
    pub idle: Duration,
    /// Longest message.
    pub message_bytes: usize,
}

/// What the kind of a source says of its link.
#[derive(Debug, Clone, Copy)]
pub struct LinkOf<'a> {
    /// Paths are relative to it.
    pub dir: &'a Path,
    /// Of the source, where the file has one.
    pub name: Option<&'a str>,
    /// Of a url.
    pub example: &'a str,
    /// The default.
    pub message_bytes: usize,
}

impl Link {
    /// `sample`: a url, with something in place of what is filled in later. `None`: its problems were reported.
    pub fn read(
        section: &mut Section,
        LinkOf { dir, name, example, message_bytes }: LinkOf<'_>,
        sample: impl FnOnce(&str) -> Result<String, String>,
    ) -> Option<Self> {
        let keys: LinkKeys = section.keys();
        if section.named("url", ()).line.is_none() {
            section.problem(section.line(), format!("url is missing; write url = \"{example}\""));
        }
        let url = section.convert("url", keys.url, |text| {
            let url = Url::parse(&sample(&text)?)?;
            Ok(Url { text, ..url })
        });
        let host = section.convert("host", keys.host, check_host);
        let (min, max) = (named!(section, keys.backoff_min), named!(section, keys.backoff_max));
        if let (Some(line), Some(_), true) = (min.line, max.line, min.value > max.value) {
            let (min, max) = (show_duration(min.value), show_duration(max.value));
            let text =
                format!("backoff_min = \"{min}\" is above backoff_max = \"{max}\"; write at most \"{max}\"");
            section.problem(line, text);
        }
        let url = url?;
        let ca = (!keys.ca.is_empty()).then(|| dir.join(&keys.ca));
        if let (Some(line), Some(file)) = (section.named("ca", ()).line, &ca) {
            if !url.is_tls {
                section.problem(line, "ca goes with a wss:// url");
            } else if let Err(error) = crate::tls::pem::read_ca(file) {
                section.problem(line, error);
            }
        }
        let token_file = (!keys.token_file.is_empty()).then(|| dir.join(&keys.token_file));
        if let (Some(line), Some(file)) = (section.named("token_file", ()).line, &token_file)
            && let Err(error) = token_file::read_now(file)
        {
            section.problem(line, format!("token_file: {error}"));
        }
        // Where only one of the two is named, the other's default follows it.
        let (least, most) = (min.value, max.value);
        Some(Self {
            name: name.map_or_else(|| url.address.clone(), str::to_owned),
            host: host.unwrap_or_else(|| url.host.clone()),
            url,
            ca,
            token_file,
            backoff_min: min.or(|default| default.min(most)),
            backoff_max: max.or(|default| default.max(least)),
            idle: keys.idle,
            message_bytes: keys.message_bytes.unwrap_or(message_bytes),
        })
    }

    /// How long to wait after so many failures in a row: twice as long after each. Half of it is drawn at random, so
    /// that many gateways do not come back together.
    pub fn backoff(&self, failures: u32) -> Duration {
        let doubled = self.backoff_min.saturating_mul(1 << failures.saturating_sub(1).min(20));
        doubled.min(self.backoff_max).mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Its keys with their values.
    pub fn write(&self, text: &mut Text) {
        text.keys_where(&LinkKeys::from(self), |key| match key {
            "ca" => self.ca.is_some(),
            "token_file" => self.token_file.is_some(),
            _ => true,
        });
    }
}

fn check_host(host: String) -> Result<String, String> {
    match Url::parse(&format!("ws://{host}/")) {
        Ok(url) if url.host == host && url.target == "/" => Ok(url.host),
        Err(bad) if bad.contains("punycode") => Err(bad),
        _ => Err(HOST.to_owned()),
    }
}

impl From<&Link> for LinkKeys {
    fn from(link: &Link) -> Self {
        Self {
            url: Some(link.url.text.clone()),
            ca: link.ca.as_ref().map_or(String::new(), |ca| ca.display().to_string()),
            token_file: link.token_file.as_ref().map_or(String::new(), |file| file.display().to_string()),
            host: Some(link.host.clone()),
            backoff_min: link.backoff_min,
            backoff_max: link.backoff_max,
            idle: link.idle,
            message_bytes: Some(link.message_bytes),
        }
    }
}
