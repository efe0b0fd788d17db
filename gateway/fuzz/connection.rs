//! One connection without a shard: bytes cut anyhow, sends that take their time, timers, the peer's end.

use bytes::Bytes;
use engine::{
    access::{
        bad::Bad,
        rules::{Csrf, Place, Rules},
        verify::{Check, Credential, Named, Verdict, Verify},
    },
    address::Address,
    client::{
        ClientCounters, ClientLimits, CloseReason, Connection, Due, Ended, Hold, Next, Said, State, Terms,
        Tools, Upgrade, dictionaries::Dictionaries, handshake::Situation, handshakes::Handshakes,
    },
    clock::Now,
    fanout::compress::Compress,
    http::proxies::{Forwarded, Proxies},
    minutely::Minutely,
    protocol,
};
use gateway::config::Config;
use net::Networks;
use proto::deflate::Inflater;

/// Steps of one moment; more are an endless loop.
const STEPS_MAX: usize = 100_000;
const PONG: u8 = 0x8a;
const CLOSE: u8 = 0x88;

/// Knows the code of a cookie. What else a token is worth is for a shard to find out.
#[derive(Debug)]
struct Codes;

impl Verify for Codes {
    fn has_keys(&self) -> bool {
        true
    }

    fn verify(&self, _token: &str) -> Verdict {
        Verdict::Known(Err(Bad::Signature))
    }

    fn begin(&self, check: Check) {
        (check.then)(Err(Bad::Signature));
    }

    fn named_by(&self, _certificate: &[u8]) -> Result<Named, Bad> {
        Err(Bad::Unreadable)
    }

    fn is_code_of(&self, cookie: &str, shown: &str) -> bool {
        shown.strip_prefix("code-of-") == Some(cookie)
    }
}

/// A token is needed, wherever it stands; beside a cookie its code too.
fn rules() -> Rules {
    let (cookie, query) = (Place::Cookie("t".to_owned()), Place::Query("t".to_owned()));
    Rules {
        is_open: false,
        from: vec![Place::Authorization, Place::Subprotocol, cookie, query],
        csrf: Some(Csrf { cookie: None, param: "csrf".to_owned() }),
        ..Rules::default()
    }
}

/// The first byte's top bit: frames of an open WebSocket follow, not a request. Without it bit 5: the request needs a token.
/// The lower ones seed the cuts.
pub fn connection(data: &[u8]) {
    let Some((&first, input)) = data.split_first() else { return };
    let mut bytes = Vec::new();
    if first & 0x80 != 0 {
        proto::handshake::request(&mut bytes, "h", "/ws", [0; 16], &[], first & 0x40 != 0);
    }
    bytes.extend_from_slice(input);
    let seed = data
        .iter()
        .fold(0x9e37_79b9, |seed: u64, byte| (seed ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    let mut config = Config::embedded_demo();
    if first & 0xa0 == 0x20 {
        config.access.tokens.rules = rules().into();
    }
    let whole = said_to(&config, &bytes, None);
    assert_eq!(whole, said_to(&config, &bytes, Some(Dice(seed))), "the same input cut otherwise");
    anything_goes(&config, &bytes, Dice(seed));
}

/// Ops and replies of a connection whose sends are done at once.
fn said_to(config: &Config, bytes: &[u8], cuts: Option<Dice>) -> (Vec<String>, Vec<Vec<u8>>) {
    let mut driver = Driver::new(config);
    let (mut rest, mut cuts) = (bytes, cuts);
    while !rest.is_empty() {
        let len = cuts.as_mut().map_or(rest.len(), |dice| 1 + dice.below(rest.len().min(40)));
        let (part, later) = rest.split_at(len);
        rest = later;
        driver.receive(&mut part.to_vec());
        driver.drive(true);
    }
    let mut frames = driver.frames();
    frames.retain(|frame| frame[0] != PONG);
    (driver.ops, frames)
}

/// Whatever happens in between, the connection keeps its rules and comes to its end.
fn anything_goes(config: &Config, bytes: &[u8], mut dice: Dice) {
    let mut driver = Driver::new(config);
    let mut rest = bytes;
    while !rest.is_empty() && driver.connection.state() < State::Closed {
        let len = 1 + dice.below(rest.len().min(100));
        let (part, later) = rest.split_at(len);
        rest = later;
        driver.receive(&mut part.to_vec());
        driver.happen(&mut dice);
        driver.drive(dice.below(3) > 0);
    }
    driver.connection.hold(Hold::Nothing);
    for _ in 0..100 {
        driver.drive(true);
        driver.now.mono_us += 100_000_000;
        driver.due();
        driver.drive(true);
    }
    assert_eq!(driver.connection.state(), State::Closed, "a silent peer without a subscription");
    assert_eq!(driver.ended, 1, "an end is told once");
    let (sent, asked) = (driver.out.len(), driver.ops.len());
    driver.receive(&mut bytes.to_vec());
    driver.drive(true);
    assert_eq!((driver.out.len(), driver.ops.len()), (sent, asked), "nothing is said or heard after the end");
    driver.frames();
}

/// Numbers that follow from the input.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }
}

struct Driver<'c> {
    config: &'c Config,
    connection: Connection,
    limits: ClientLimits,
    inflater: Option<Box<Inflater>>,
    compress: Compress,
    dictionaries: Dictionaries,
    handshakes: Handshakes,
    hosts_told: Minutely,
    origins_told: Minutely,
    proxies: Proxies,
    counters: ClientCounters,
    now: Now,
    state: State,
    /// A send is under way.
    sends: bool,
    ended: usize,
    ops: Vec<String>,
    out: Vec<u8>,
}

impl<'c> Driver<'c> {
    fn new(config: &'c Config) -> Self {
        let now = Now { mono_us: 1_000_000, wall_us: 1_700_000_000_000_000 };
        Self {
            config,
            connection: Connection::new(now),
            limits: ClientLimits::new(&config.limits, &config.compression),
            inflater: None,
            compress: Compress::new(&config.compression),
            dictionaries: Dictionaries::new(1 << 20, 0),
            handshakes: Handshakes::new(&config.limits),
            hosts_told: Minutely::default(),
            origins_told: Minutely::default(),
            proxies: Proxies {
                trusted: Networks(vec!["0.0.0.0/0".parse().expect("a network")]),
                forwarded: Some(Forwarded::Forwarded),
            },
            counters: ClientCounters::default(),
            now,
            state: State::Connecting,
            sends: false,
            ended: 0,
            ops: Vec::new(),
            out: Vec::new(),
        }
    }

    fn receive(&mut self, bytes: &mut [u8]) {
        let mut at = 0;
        while at < bytes.len() {
            let situation = Situation {
                peer: Address::V4([127, 0, 0, 1]),
                is_proxied: true,
                is_loopback: false,
                hosts: &[],
                origins: &self.config.access.origins,
                refusing: self.config.server.refusing,
                proxies: Some(&self.proxies),
                refused: None,
                draining: false,
                warming: false,
                behind: None,
                silent: false,
                admin: None,
                admin_tls: false,
                patterns_max: self.config.limits.patterns,
                rules: &self.config.access.tokens.rules,
                verifier: Some(&Codes),
                has_certificate: false,
                compression: &self.config.compression,
                dictionaries: &self.dictionaries,
                handshakes: &self.handshakes,
                hosts_told: &self.hosts_told,
                origins_told: &self.origins_told,
                raw_paths: &[],
                now: self.now,
                echo: false,
            };
            let mut admit = |_| Ok(());
            let tools = Tools {
                limits: &self.limits,
                situation,
                admit: &mut admit,
                inflater: &mut self.inflater,
                compress: &mut self.compress,
                counters: &mut self.counters,
            };
            let (used, said) = self.connection.receive(&mut bytes[at..], tools, self.now);
            assert!((1..=bytes.len() - at).contains(&used), "{used} of {} bytes", bytes.len() - at);
            at += used;
            self.on_said(said);
            self.check_state();
        }
    }

    fn reply(&mut self, json: &[u8]) {
        let encoding = self.connection.wire().encoding;
        self.connection.queue(encoding.framed(json, self.limits.fragment_bytes));
    }

    fn on_said(&mut self, said: Said) {
        match said {
            Said::Nothing | Said::Pause => {}
            Said::Upgrade(upgrade) => {
                let Upgrade { head, wire, deflate, token, .. } = *upgrade;
                assert!(token.is_some() || self.config.access.tokens.rules.is_open, "in without a token");
                if let Some(Credential::Token(token)) = token {
                    self.ops.push(token.0);
                }
                self.connection.open(head, wire, deflate, self.now);
                assert_eq!(self.connection.state(), State::Open);
            }
            Said::Refused { status, ended, .. } => {
                assert!(status >= 400, "{status}");
                self.end(ended);
            }
            Said::Op(Ok(request)) => {
                self.ops.push(format!("{request:?}"));
                self.reply(&protocol::reply::pong(request.id.as_deref(), self.now.wall_us));
            }
            Said::Op(Err(refused)) => {
                self.ops.push(refused.reason.clone());
                let error = protocol::reply::error(
                    refused.id.as_deref(),
                    protocol::reply::BAD_REQUEST,
                    &refused.reason,
                );
                self.reply(&error);
                if self.connection.note_malformed(self.now) {
                    let ended = self.connection.close(CloseReason::Malformed, self.now);
                    self.end(ended);
                }
            }
            Said::Raw(text) => self.ops.push(text),
            Said::Ended(ended) => self.end(ended),
            Said::HangUp(reason) => self.hang_up(reason),
        }
    }

    /// Does what the connection wants of its socket. `at_once`: the socket takes all that it is given.
    fn drive(&mut self, at_once: bool) {
        for _ in 0..STEPS_MAX {
            if self.sends && at_once {
                self.sends = false;
                self.connection.sent(1, true, self.now);
            }
            match self.connection.next(&self.limits, self.now) {
                Next::Wait | Next::Free if self.sends && at_once => {}
                Next::Wait | Next::Free => return self.check_state(),
                Next::Send(bytes) => self.send(&bytes),
                Next::Receive(mut held) => self.receive(&mut held),
                Next::Resume | Next::QueryUnsent => {}
                Next::Shutdown => assert_eq!(self.connection.state(), State::Closing),
                Next::HangUp(reason) => self.hang_up(reason),
            }
            self.check_state();
        }
        panic!("the connection does not come to rest");
    }

    fn send(&mut self, bytes: &[u8]) {
        assert!(!self.sends, "one send at a time");
        assert!(self.connection.state() < State::Closed, "nothing is sent after the end");
        self.sends = true;
        self.out.extend_from_slice(bytes);
    }

    /// Something beside the client's bytes.
    fn happen(&mut self, dice: &mut Dice) {
        self.now.mono_us += dice.below(3) as u64 * 1_000_000;
        match dice.below(12) {
            0 if self.sends => self.connection.sent(1, false, self.now),
            1 if self.connection.is_open() => self.connection.hold(Hold::Input),
            2 if self.connection.is_open() => self.connection.hold(Hold::All),
            3 | 4 => self.connection.hold(Hold::Nothing),
            5 if self.connection.is_free() => {
                let frame = self.connection.give(
                    Bytes::from_static(b"\x81\x02{}"),
                    self.limits.fragment_bytes,
                    self.now,
                );
                self.send(&frame);
            }
            6 => self.due(),
            7 => {
                let bytes = dice.below(3) as u32;
                match self.connection.unsent(bytes, &self.limits, self.now) {
                    None => {}
                    Some(reason) if reason.resets() => self.hang_up(reason),
                    Some(reason) => {
                        let ended = self.connection.close(reason, self.now);
                        self.end(ended);
                    }
                }
            }
            8 if dice.below(8) == 0 => {
                if let Some(reason) = self.connection.receive_ended(dice.below(2) == 0) {
                    self.hang_up(reason);
                }
            }
            9 if dice.below(8) == 0 => match self.connection.broke(self.now) {
                Ok(ended) => self.end(ended),
                Err(reason) => self.hang_up(reason),
            },
            _ => {}
        }
        self.check_state();
    }

    fn due(&mut self) {
        let terms = Terms {
            limits: &self.limits,
            is_refused: false,
            is_subscribed: false,
            aged_us: u64::MAX,
            drain: None,
        };
        match self.connection.due(terms, self.now) {
            Due::Nothing { again_us } => assert!(again_us > self.now.mono_us, "it is looked at later"),
            Due::Never | Due::QueryUnsent { .. } | Due::Age | Due::Leave => {}
            Due::HangUp(reason) => self.hang_up(reason),
            Due::Close(reason) => {
                let ended = self.connection.close(reason, self.now);
                self.end(ended);
            }
            Due::Send { bytes, .. } => self.send(&bytes),
        }
        self.check_state();
    }

    fn hang_up(&mut self, reason: CloseReason) {
        let ended = self.connection.hang_up(reason);
        self.end(ended);
        self.sends = false;
    }

    fn end(&mut self, ended: Option<Ended>) {
        self.ended += usize::from(ended.is_some());
        assert!(self.ended <= 1, "an end is told once");
        assert!(self.connection.state() >= State::Closing, "who has ended is closing");
    }

    fn check_state(&mut self) {
        let state = self.connection.state();
        assert!(state >= self.state, "from {:?} to {state:?}", self.state);
        self.state = state;
        assert!(state == State::Open || !self.connection.is_free(), "{state:?} and free");
    }

    /// What was sent, an HTTP answer first, then frame by frame. A close frame is the last.
    fn frames(&self) -> Vec<Vec<u8>> {
        let head = self.out.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
        let is_upgrade = self.out.starts_with(b"HTTP/1.1 101");
        let (head, mut rest) = self.out.split_at(if is_upgrade { head } else { self.out.len() });
        let mut frames = vec![head.to_vec()];
        frames.retain(|head| !head.is_empty());
        while !rest.is_empty() {
            let (start, len) = match rest[1] {
                126 => (4, usize::from(u16::from_be_bytes([rest[2], rest[3]]))),
                len => (2, usize::from(len)),
            };
            let (frame, later) = rest.split_at(start + len);
            assert!(frame[0] != CLOSE || later.is_empty(), "{} bytes after a close frame", later.len());
            frames.push(frame.to_vec());
            rest = later;
        }
        frames
    }
}
