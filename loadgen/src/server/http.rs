//! As much of an HTTP/1.1 client as the admin listener needs: one connection, kept alive.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use super::admin::Admin;

/// For connecting, and for each read and write.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A page of 1,000 topics is about 300 KiB.
const BODY_BYTES_MAX: usize = 16 << 20;
const LINE_BYTES_MAX: u64 = 16 << 10;

/// A connection to the admin listener.
pub struct Http {
    host: String,
    key: Option<Arc<str>>,
    stream: BufReader<TcpStream>,
}

/// Status and body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body of what was asked for; another answer than 200 is an error.
    pub fn good(self, route: &str) -> io::Result<Vec<u8>> {
        match self.status {
            200 => Ok(self.body),
            status @ (401 | 403) => {
                let remedy = "name a key that may, by --admin-key or FANWIRE_ADMIN_KEY";
                Err(io::Error::other(format!("GET {route} answered {status}: {remedy}")))
            }
            status => Err(io::Error::other(format!("GET {route} answered {status}"))),
        }
    }
}

impl Http {
    pub fn connect(admin: &Admin) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&admin.url.addr, TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let (host, key) = (admin.url.host.clone(), admin.key.clone());
        Ok(Self { host, key, stream: BufReader::new(stream) })
    }

    pub fn get(&mut self, target: &str) -> io::Result<Answer> {
        let mut request = Vec::new();
        self.ask(&mut request, target);
        self.send(&request)?;
        self.answer()
    }

    /// Writes a GET to `out`; several may be sent together, as with [`Http::post`].
    pub fn ask(&self, out: &mut Vec<u8>, target: &str) {
        self.begin(out, "GET", target);
        out.extend_from_slice(b"\r\n");
    }

    /// Writes a POST of JSON to `out`; several may be sent together ([`Http::send`]), and their
    /// answers read one by one.
    pub fn post(&self, out: &mut Vec<u8>, target: &str, body: &str) {
        self.begin(out, "POST", target);
        let bytes = body.len();
        let _ = write!(out, "Content-Type: application/json\r\nContent-Length: {bytes}\r\n\r\n{body}");
    }

    fn begin(&self, out: &mut Vec<u8>, method: &str, target: &str) {
        let _ = write!(out, "{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.host);
        if let Some(key) = &self.key {
            let _ = write!(out, "X-API-Key: {key}\r\n");
        }
    }

    pub fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(requests)
    }

    /// The next answer.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let line = self.line()?;
        let status = line
            .strip_prefix("HTTP/1.")
            .and_then(|rest| rest.get(2..5)?.parse().ok())
            .ok_or_else(|| malformed(format!("not an HTTP status line: {line:?}")))?;
        let (mut length, mut chunked) = (None, false);
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) =
                line.split_once(':').ok_or_else(|| malformed(format!("bad header {line:?}")))?;
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse::<usize>().ok(),
                "transfer-encoding" => chunked = value.to_ascii_lowercase().contains("chunked"),
                _ => {}
            }
        }
        let mut body = Vec::new();
        match length {
            _ if chunked => self.chunks(&mut body)?,
            Some(length) => self.exactly(&mut body, length)?,
            None => return Err(malformed("an answer without Content-Length".into())),
        }
        Ok(Answer { status, body })
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let bytes =
                usize::from_str_radix(size, 16).map_err(|_| malformed(format!("bad chunk size {size:?}")))?;
            self.exactly(body, bytes)?;
            if !self.line()?.is_empty() {
                return Err(malformed("a chunk that does not end where it should".into()));
            }
            if bytes == 0 {
                return Ok(());
            }
        }
    }

    fn exactly(&mut self, body: &mut Vec<u8>, bytes: usize) -> io::Result<()> {
        let whole = body.len().saturating_add(bytes);
        if whole > BODY_BYTES_MAX {
            return Err(malformed(format!("a body of {whole} bytes, more than {BODY_BYTES_MAX}")));
        }
        let from = body.len();
        body.resize(whole, 0);
        self.stream.read_exact(&mut body[from..])
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        (&mut self.stream).take(LINE_BYTES_MAX).read_line(&mut line)?;
        if !line.ends_with('\n') {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection ended within an answer",
            ));
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}

fn malformed(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Percent-encodes a topic or prefix for a query.
pub fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
            out.push(byte.into());
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}
