//! Tokens of simulated clients: a verifier that believes them, at once or later, and what a model knows of one.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Mutex, PoisonError},
};

use engine::{
    access::{
        bad::Bad,
        grant::Grant,
        rules::{Granted, Role, Rules},
        verify::{Check, Named, Verdict, Verified, Verify},
    },
    json::wanted::Wanted,
    protocol::request::AUTO,
    topic::pattern::Pattern,
};
use serde_json::{Value, json};

use super::subscriber::{Asked, AskedOp, Frame, Judge, Subscriber};

/// Believes what begins so: at once, or when it is told to go on.
const NOW: &str = "now.";
const LATER: &str = "later.";

/// Stands in for keys.
#[derive(Debug, Default)]
pub struct Believer {
    checks: Mutex<VecDeque<Check>>,
}

impl Believer {
    /// Finishes the check that was begun first. `false`: there is none.
    pub fn finish(&self) -> bool {
        let next = self.checks.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some(Check { token, then }) = next else { return false };
        then(payload(&token.0));
        true
    }

    pub fn waiting(&self) -> usize {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Verify for Believer {
    fn has_keys(&self) -> bool {
        true
    }

    fn verify(&self, token: &str) -> Verdict {
        if token.starts_with(LATER) { Verdict::Later } else { Verdict::Known(payload(token)) }
    }

    fn begin(&self, check: Check) {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner).push_back(check);
    }

    fn named_by(&self, _certificate: &[u8]) -> Result<Named, Bad> {
        Err(Bad::Unreadable)
    }

    fn is_code_of(&self, cookie: &str, shown: &str) -> bool {
        shown == format!("code-of-{cookie}")
    }
}

fn payload(token: &str) -> Verified {
    let hex = token.strip_prefix(NOW).or(token.strip_prefix(LATER)).ok_or(Bad::Signature)?;
    let bytes: Option<Vec<u8>> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(Bad::Signature)?;
    Ok(text.into())
}

/// A token that says so.
pub fn token(claims: &Value, is_late: bool) -> String {
    let hex: String = claims.to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{}{hex}", if is_late { LATER } else { NOW })
}

/// Patterns that a table grants to subscribe to, and as `auto`.
pub fn granted(subscribe: &[&str], auto: &[&str]) -> Granted {
    let grants = |texts: &[&str]| texts.iter().map(|text| Grant::parse(text).unwrap()).collect();
    Granted { subscribe: grants(subscribe), auto: grants(auto), ..Granted::default() }
}

/// What a model knows of a token that was shown for its client.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Pass {
    pub sub: Option<String>,
    pub jti: String,
    /// Seconds since the Unix epoch.
    pub exp_s: i64,
    pub subscribe: Vec<String>,
    pub auto: Vec<String>,
    pub interval_ms_min: Option<u64>,
    /// Connections that its subject may have.
    pub connections: Option<usize>,
    /// It is one that no gateway may accept.
    pub is_bad: bool,
}

impl Pass {
    pub fn claims(&self) -> Value {
        let mut claims = json!({
            "jti": self.jti, "exp": self.exp_s,
            "fanwire": { "subscribe": self.subscribe, "auto": self.auto },
        });
        if let Some(sub) = &self.sub {
            claims["sub"] = json!(sub);
        }
        if let Some(ms) = self.interval_ms_min {
            claims["fanwire"]["interval_ms_min"] = json!(ms);
        }
        if let Some(connections) = self.connections {
            claims["fanwire"]["connections"] = json!(connections);
        }
        claims
    }

    pub fn token(&self, is_late: bool) -> String {
        if self.is_bad { "forged".to_owned() } else { token(&self.claims(), is_late) }
    }
}

/// Whose role it is: those of simulations are of one subject each.
fn subject(role: &Role) -> &str {
    match &role.when[..] {
        [(_, Wanted::Text(subject))] => subject,
        other => panic!("a role of {other:?}"),
    }
}

/// A subject as one segment of a topic.
fn encoded(sub: &str) -> String {
    sub.replace('.', "@x2E").replace('/', "@x2F")
}

impl Subscriber {
    /// What it has, in the words of the rules: what may it subscribe to?
    pub(super) fn may(&self, pattern: &str, judge: &Judge<'_>) -> bool {
        let covers = |grant: &str| Pattern::parse(grant).unwrap().covers(&Pattern::parse(pattern).unwrap());
        if judge.rules.is_open {
            return true;
        }
        let own = self.pass.as_ref().map_or(&[][..], |pass| &pass.subscribe);
        own.iter().any(|grant| covers(grant))
            || self.configured(judge, |granted| &granted.subscribe).iter().any(|g| covers(g))
    }

    /// The tables of the configuration that are for it.
    fn tables<'a>(&self, judge: &Judge<'a>) -> impl Iterator<Item = &'a Granted> {
        let first = match &self.pass {
            Some(_) => Some(&judge.rules.everyone),
            None => judge.rules.anonymous.as_ref(),
        };
        let held = judge.rules.roles.iter().filter(|role| self.roles.contains(subject(role)));
        first.into_iter().chain(held.map(|role| &role.granted))
    }

    /// The shortest interval that it may have.
    pub(super) fn least_ms(&self, judge: &Judge<'_>) -> u64 {
        let own = self.pass.as_ref().and_then(|pass| pass.interval_ms_min);
        own.or(self.tables(judge).next().and_then(|table| table.interval_ms_min)).unwrap_or(0)
    }

    /// Patterns of the tables of the configuration, with its names put in.
    fn configured(&self, judge: &Judge<'_>, of: impl Fn(&Granted) -> &Vec<Grant>) -> Vec<String> {
        let sub = self.pass.as_ref().and_then(|pass| pass.sub.as_deref()).map(encoded);
        let texts = self.tables(judge).flat_map(of).map(Grant::as_str);
        let texts = texts.filter(|text| sub.is_some() || !text.contains("{sub}"));
        let (sub, conn) = (sub.as_deref().unwrap_or(""), self.conn.as_deref().unwrap_or(""));
        texts.map(|text| text.replace("{sub}", sub).replace("{conn}", conn)).collect()
    }

    /// Other rules hold: of its roles it keeps those that still ask for the same.
    pub fn on_rules(&mut self, rules: &Rules) {
        let asked: BTreeSet<&str> = rules.roles.iter().map(subject).collect();
        self.roles.retain(|role| asked.contains(&**role));
        (self.may_be_judged, self.doubtful) =
            (true, self.asked.iter().filter(|asked| asked.id.is_some()).count());
    }

    /// The gateway does something that its client has not asked: other rules hold, or it breaks the contract.
    pub(super) fn expect_judged(&mut self, judge: &Judge<'_>) {
        let is_next = self.asked.front().is_some_and(Asked::is_own);
        if !is_next && std::mem::take(&mut self.may_be_judged) {
            self.expect_own(judge);
        }
    }

    /// It was judged by the rules that hold: what it holds is granted.
    pub fn check_grants(&mut self, judge: &Judge<'_>) {
        self.may_be_judged = false;
        let auto = self.auto(judge);
        for sub in &self.subs {
            let is_granted = |pattern: &String| match sub.name.as_str() {
                AUTO => auto.contains(pattern),
                _ => self.may(pattern, judge),
            };
            let lost = sub.patterns.iter().find(|pattern| !is_granted(pattern));
            assert_eq!(lost, None, "{:?} holds what is not granted any more", sub.name);
        }
    }

    /// What is subscribed for it.
    fn auto(&self, judge: &Judge<'_>) -> BTreeSet<String> {
        let own = self.pass.iter().flat_map(|pass| pass.auto.iter().cloned());
        own.chain(self.configured(judge, |granted| &granted.auto)).collect()
    }

    /// Whether it has to show a token.
    pub(super) fn waits(&self, judge: &Judge<'_>) -> bool {
        !judge.rules.is_open && judge.rules.anonymous.is_none() && self.pass.is_none()
    }

    /// What follows is what the gateway has to take and to give, before anything else is answered.
    pub(super) fn on_authorized(&mut self, frame: &Frame<'_>, judge: &Judge<'_>) {
        let AskedOp::Auth { pass } = self.answered(frame) else { panic!("{frame:?} answers no auth") };
        assert!(!pass.is_bad, "{pass:?} was accepted");
        let held = self.pass.as_ref();
        assert!(held.is_none_or(|held| held.sub == pass.sub), "{pass:?} in place of {held:?}");
        assert_eq!(frame.sub, pass.sub.as_deref());
        assert_eq!(frame.exp, Some(pass.exp_s * 1_000_000));
        assert_eq!(frame.encoded.map(str::to_owned), pass.sub.as_deref().map(encoded));
        let conn = frame.conn.expect("the connection has a name").to_owned();
        assert!(self.conn.as_ref().is_none_or(|known| *known == conn), "another name for a connection");
        (self.conn, self.pass, self.is_told) = (Some(conn), Some(pass), false);
        self.declines_auto = false;
        let sub = self.pass.as_ref().and_then(|pass| pass.sub.as_deref());
        let held = judge.rules.roles.iter().map(subject).filter(|role| Some(*role) == sub);
        self.roles = held.map(str::to_owned).collect();
        self.accepted += 1;
        self.expect_own(judge);
    }

    /// What the gateway asks for its client by itself: now that it is let in, or has another token.
    pub fn expect_own(&mut self, judge: &Judge<'_>) {
        let mut auto = self.auto(judge);
        let mut own = Vec::new();
        for sub in &self.subs {
            let is_auto = sub.name == AUTO;
            let stays =
                |pattern: &&String| if is_auto { auto.contains(*pattern) } else { self.may(pattern, judge) };
            let lost: Vec<String> = sub.patterns.iter().filter(|pattern| !stays(pattern)).cloned().collect();
            if is_auto {
                auto.retain(|pattern| !sub.patterns.contains(pattern));
            }
            if !lost.is_empty() {
                self.taken += 1;
                own.push(AskedOp::Unsubscribe { sub: sub.name.clone(), topics: Some(lost) });
            }
        }
        if !auto.is_empty() && !self.declines_auto {
            let topics = auto.into_iter().collect();
            own.push(AskedOp::Subscribe { sub: AUTO.to_owned(), topics, interval_ms: None, since: None });
        }
        own.into_iter().rev().for_each(|op| self.asked.push_front(Asked { id: None, op }));
    }

    pub(super) fn on_expiring(&mut self, frame: &Frame<'_>, judge: &Judge<'_>) {
        let pass = self.pass.as_ref().expect("only who has a token is told that it expires");
        assert_eq!(frame.exp, Some(pass.exp_s * 1_000_000));
        assert!(!self.is_told, "told twice that a token expires");
        // It may have waited behind what was sent before.
        assert!(judge.wall_us >= pass.exp_s * 1_000_000 - 60_100_000, "told too early");
        self.is_told = true;
    }
}
