//! The gateway's own binary, and its two listeners over std TCP.
#![allow(dead_code, reason = "each test uses its part")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use proto::encode::{Opcode, masked_frame};
use serde_json::Value;

/// Nothing that a test waits for takes longer.
const WAIT: Duration = Duration::from_secs(10);
pub const UPGRADE: &str = "Host: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// Of [`ADMIN`], which may do everything.
pub const ADMIN_KEY: &str = "[[admin.key]]\nname = \"test\"\nallow = [\"admin\"]\n\
    sha256 = \"0c9422dc8c558351c01a617c9804b97d21d91ddb7fa46035c6e47d79d8ef5d20\"\n";
pub const ADMIN: &str = "X-API-Key: fw_test_key_that_may_all\r\n";

/// Waits until that holds, for a while.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + WAIT;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A configuration file of its own for every test.
pub fn config_file(text: &str) -> PathBuf {
    static FILES: AtomicU32 = AtomicU32::new(0);
    let name = format!("contract-{}-{}.toml", std::process::id(), FILES.fetch_add(1, Ordering::Relaxed));
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path
}

pub fn command(config: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.arg("--config").arg(config_file(config)).env("RUST_LOG", "error");
    command
}

/// Runs until it ends by itself, which a command with little to say does soon: one that serves instead
/// is ended, and told in the panic.
pub fn output(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let end = Instant::now() + WAIT;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("runs on after {WAIT:?}: {:?}", child.wait_with_output().unwrap());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

pub struct Gateway {
    child: Child,
    pub first_line: String,
    pub data: String,
    pub admin: String,
    pub tls: String,
}

impl Gateway {
    /// On free ports; `server` are further keys of `[server]`, `rest` the other sections.
    pub fn start(server: &str, rest: &str) -> Self {
        Self::start_config(&format!(
            "[server]\ndata = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n{server}\n{rest}"
        ))
    }

    pub fn start_config(config: &str) -> Self {
        Self::spawn(&mut command(config))
    }

    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut first_line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first_line).unwrap();
        let word = |name: &str| {
            let mut words = first_line.split_whitespace();
            words.find_map(|word| word.strip_prefix(name)).unwrap_or_default().to_owned()
        };
        let (data, admin, tls) = (word("data="), word("admin="), word("tls="));
        Self { child, first_line, data, admin, tls }
    }

    pub fn publish(&self, topic: &str, data: &str) {
        let body = format!(r#"{{"topic":"{topic}","data":{data}}}"#);
        let answer = http(&self.admin, "POST", "/publish", "Content-Type: application/json\r\n", &body);
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"accepted":1}"#));
    }

    pub fn signal(&self, name: &str) {
        let kill = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(kill.unwrap().success());
    }

    /// The exit code, when it ends within `limit`.
    pub fn exit_code(&mut self, limit: Duration) -> Option<i32> {
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Lower case.
    pub head: String,
    pub body: String,
}

impl Answer {
    /// One line of JSON with the status and a reason, and the end of the connection.
    pub fn assert_refusal(&self, status: u16, what: &str) {
        assert!(self.head.contains("\r\nconnection: close"), "{what}: {self:?}");
        self.assert_refusal_open(status, what);
    }

    /// The same where the connection may go on.
    pub fn assert_refusal_open(&self, status: u16, what: &str) {
        assert_eq!(self.status, status, "{what}: {self:?}");
        assert_eq!(self.body.trim_end().lines().count(), 1, "{what}: {self:?}");
        let body: Value = serde_json::from_str(&self.body).unwrap();
        assert_eq!(body["code"], status, "{what}");
        assert!(!body["reason"].as_str().unwrap().is_empty(), "{what}");
    }
}

pub fn dial(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    // What is written in parts would wait for the other side's acknowledgements.
    stream.set_nodelay(true).unwrap();
    stream
}

/// All that a raw request is answered until the end.
pub fn raw(address: &str, request: &str) -> String {
    let mut stream = dial(address);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// `headers`: whole lines.
pub fn http(address: &str, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut stream = dial(address);
    let host = if headers.contains("Host:") { "" } else { "Host: localhost\r\nConnection: close\r\n" };
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let request = format!("{method} {path} HTTP/1.1\r\n{host}{headers}{length}\r\n{body}");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// The head of what an upgrade is answered, in lower case. `headers`: whole lines.
pub fn upgrade(address: &str, path: &str, headers: &str) -> String {
    let mut stream = BufReader::new(dial(address));
    stream.get_mut().write_all(format!("GET {path} HTTP/1.1\r\n{headers}\r\n").as_bytes()).unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "no whole head: {head:?}");
    }
    head.to_lowercase()
}

/// A subscriber.
pub struct Socket<S: Read + Write = TcpStream>(BufReader<S>);

impl Socket {
    /// `Err`: the status of the refusal; 0: a reset.
    pub fn connect(address: &str, path: &str) -> Result<Self, u16> {
        Self::over(dial(address), path)
    }
}

impl<S: Read + Write> Socket<S> {
    /// The same over an established stream.
    pub fn over(stream: S, path: &str) -> Result<Self, u16> {
        Self::with(stream, path, "")
    }

    /// The same with more headers, whole lines.
    pub fn with(stream: S, path: &str, headers: &str) -> Result<Self, u16> {
        let mut stream = BufReader::new(stream);
        let request = format!("GET {path} HTTP/1.1\r\n{UPGRADE}{headers}\r\n");
        if stream.get_mut().write_all(request.as_bytes()).is_err() {
            return Err(0);
        }
        let mut status = 0;
        loop {
            let mut line = String::new();
            match stream.read_line(&mut line) {
                Ok(read) => assert!(read > 0, "it ended within its answer"),
                Err(_) => return Err(0),
            }
            match line.trim_end() {
                "" => break,
                line if status == 0 => status = line.split(' ').nth(1).unwrap().parse().unwrap(),
                _ => {}
            }
        }
        if status == 101 { Ok(Self(stream)) } else { Err(status) }
    }

    /// Behind a handshake.
    pub fn established(stream: S) -> Self {
        Self(BufReader::new(stream))
    }

    pub fn stream(&mut self) -> &mut S {
        self.0.get_mut()
    }

    pub fn send(&mut self, text: &str) {
        let mut frame = Vec::new();
        masked_frame(&mut frame, Opcode::Text, text.as_bytes(), [1, 2, 3, 4]);
        self.0.get_mut().write_all(&frame).unwrap();
    }

    /// First byte and payload of the next frame.
    pub fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).unwrap();
        let mut length = [0; 8];
        let bytes = match head[1] {
            126 => 2,
            127 => 8,
            n => {
                length[7] = n;
                0
            }
        };
        self.0.read_exact(&mut length[8 - bytes..]).unwrap();
        let mut payload = vec![0; u64::from_be_bytes(length) as usize];
        self.0.read_exact(&mut payload).unwrap();
        (head[0], payload)
    }

    /// Payload of the next message, its fragments joined, or of a control frame between messages.
    pub fn message(&mut self) -> Vec<u8> {
        let (mut first, mut message) = self.frame();
        while first & 0x80 == 0 {
            let (next, payload) = self.frame();
            if next & 8 == 0 {
                message.extend(payload);
                first = next;
            }
        }
        message
    }

    /// The newest update of `topic`, once `wanted` holds for it. Of one subscriber ask for rising states only.
    pub fn update(&mut self, topic: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let payload = self.message();
            let frame: Value = serde_json::from_slice(&payload).unwrap();
            let updates = frame["updates"].as_array().map(Vec::as_slice).unwrap_or_default();
            if let Some(update) = updates.iter().find(|u| u["topic"] == topic && wanted(u)) {
                return update.clone();
            }
        }
    }

    /// The next text frame with this op.
    pub fn until(&mut self, op: &str) -> Value {
        loop {
            let payload = self.message();
            let frame: Value = serde_json::from_slice(&payload).unwrap();
            if frame["op"] == op {
                return frame;
            }
        }
    }

    /// The code of the close frame, passing over what comes before it.
    pub fn close_code(&mut self) -> u16 {
        loop {
            let (first, payload) = self.frame();
            if first == 0x88 {
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
    }
}
