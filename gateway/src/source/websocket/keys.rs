//! `[[source]] kind = "websocket"`: what to send, and what becomes of what comes.

use std::time::Duration;

use engine::{
    keys,
    settings::Group,
    topic::{
        pattern::Pattern,
        policy::Mode,
        template::{Part, Template},
    },
};

use toml::de::DeValue;

use super::{
    braced::{Braced, May},
    frames::Encoding,
    headers::{self, Headers},
    map::{self, Entry, books},
    ping::{self, Ping},
    reference,
    reply::{self, Reply},
    sign::{self, Sign},
    token::{self, Token},
};
use crate::{
    document::{environment::Environment, read::Section, write::Text},
    names::Names,
    source::{
        kind::{Declared, Given},
        link::{Link, LinkKeys, LinkOf},
    },
};

/// Texts sent after connecting, and their bytes together.
const SEND_MAX: usize = 256;
const SEND_BYTES_MAX: usize = 1 << 20;
const SYMBOLS_MAX: usize = 10_000;
const SYMBOL_BYTES_MAX: usize = 255;
/// The name that stands for each of `symbols` in turn.
pub const SYMBOL: &str = "symbol";

const HOUR: u64 = 3_600_000;

keys! {
    /// of kind = "websocket": a venue's feed. Its `[[source.map]]` say what becomes of a message.
    pub struct WebsocketKeys in "source" {
        /// Texts sent in order after each connect, at most 256 of 1 MiB together. In braces may stand {time_s}, {time_ms}
        /// or {time_us}, {symbol}, {sign} and parts of what [source.token] answered, like {@token/data/token}.
        send: Vec<String> = texts(&[], "write a list of texts, like ['{\"op\":\"subscribe\"}']");
        /// How long to wait after each text of `send`.
        send_every: Duration = duration(0, 0..=HOUR);
        /// A text with {symbol} is sent once for each of these, at most 10000.
        symbols: Vec<String> = texts(&[], "write a list of texts, like [\"btcusd\"]");
        /// What binary frames are packed with. Text frames are as they are.
        encoding: Encoding = choice("none", Encoding::NAMES);
        /// The age at which a connection is followed by a new one. Before the old one ends the new one has said all of
        /// `send` and has every book whole that the old one has whole, or has waited for that as long as `idle`. 0: never.
        renew: Duration = duration(0, 0..=7 * 24 * HOUR);
        /// Bytes of changes that wait for snapshots, and of what a connection that is to follow brings before it takes over.
        snapshot_bytes: usize = size(64 << 20, 1024..=64 << 30);
        /// Bytes of what `remember` keeps: of messages, and as many of levels.
        memory_bytes: usize = size(64 << 20, 1024..=64 << 30);
        /// What becomes of bytes that no topic may hold, of what pointers in `topic` lead to. "encode": `@x` and two
        /// hexadecimal digits. "replace": `_`.
        names: Names = choice("encode", &["encode", "replace"]);
    }
}

/// A feed that is fetched by connecting to its server.
#[derive(Debug, Clone, PartialEq)]
pub struct Websocket {
    pub link: Link,
    /// Where it holds parts of what the token's server answers.
    pub url: Option<Braced>,
    pub headers: Headers,
    pub token: Option<Token>,
    pub sign: Option<Sign>,
    /// Sent in order after each connect.
    pub send: Vec<Braced>,
    pub send_every: Duration,
    pub symbols: Vec<String>,
    pub ping: Option<Ping>,
    pub replies: Vec<Reply>,
    pub encoding: Encoding,
    pub renew: Option<Duration>,
    /// Of changes that wait for snapshots.
    pub snapshot_bytes: usize,
    /// Of what was told once.
    pub memory_bytes: usize,
    /// Of topics' parts that the venue names.
    pub names: Names,
    /// Never empty.
    pub map: Vec<Entry>,
}

/// `unfilled`: as the file has them.
fn check_send(
    unfilled: Option<&DeValue<'_>>,
    environment: &Environment,
    may: May<'_>,
) -> Result<Vec<Braced>, String> {
    let texts = unfilled.and_then(DeValue::as_array).into_iter().flat_map(|texts| texts.iter());
    let texts: Vec<&str> = texts.filter_map(|text| text.get_ref().as_str()).collect();
    let bytes: usize = texts.iter().map(|text| text.len()).sum();
    if texts.len() > SEND_MAX || bytes > SEND_BYTES_MAX {
        let count = texts.len();
        return Err(format!(
            "{count} texts of {bytes} bytes; the most is {SEND_MAX} texts of {SEND_BYTES_MAX} bytes together"
        ));
    }
    let parse = |text: &&str| {
        let text = Braced::parse(text, environment)?;
        text.check(may).map(|()| text)
    };
    texts.iter().map(parse).collect()
}

fn check_symbols(symbols: Vec<String>) -> Result<Vec<String>, String> {
    if symbols.len() > SYMBOLS_MAX {
        return Err(format!("{} symbols; the most is {SYMBOLS_MAX}", symbols.len()));
    }
    let is_good = |symbol: &String| {
        (1..=SYMBOL_BYTES_MAX).contains(&symbol.len()) && !symbol.contains(char::is_control)
    };
    match symbols.iter().find(|symbol| !is_good(symbol)) {
        Some(bad) => Err(format!("{bad:?}: a symbol is a text of 1 to {SYMBOL_BYTES_MAX} bytes")),
        None => Ok(symbols),
    }
}

impl Declared for Websocket {
    const NAME: &'static str = "websocket";
    const GROUPS: &'static [Group] = &[
        Group::of::<LinkKeys>(),
        Group::of::<WebsocketKeys>(),
        reference::SOURCE,
        reference::TOKEN,
        reference::SIGN,
        reference::REPLY,
        map::keys::ENTRY,
        map::keys::LEVELS,
        map::keys::SNAPSHOT,
    ];

    fn read(section: &mut Section, given: &Given) -> Option<Self> {
        let environment = section.environment();
        let [url, send] = ["url", "send"].map(|key| section.unfilled(key));
        let url =
            url.as_ref().and_then(DeValue::as_str).map(|url| Braced::parse(url, environment)).transpose();
        let keys: WebsocketKeys = section.keys();
        let sign = sign::sign(section);
        let signs = May { sign: sign.is_some(), ..May::default() };
        let (token, has_token) = token::token(section, signs);
        let may = May { token: has_token, ..signs };
        let symbols = section.convert("symbols", Some(keys.symbols), check_symbols).unwrap_or_default();
        let names: &[&str] = if symbols.is_empty() { &[] } else { &[SYMBOL] };
        let said = May { names, ..may };
        let send = section.convert("send", Some(()), |()| check_send(send.as_ref(), environment, said));
        let headers = headers::headers(section, may).value;
        let ping = ping::ping(section, may);
        let replies = reply::replies(section, signs);
        let map = map::entries(section);
        let (dir, name) = (given.dir, given.name);
        let of = LinkOf { dir, name, example: "ws://HOST:PORT/PATH", message_bytes: 4 << 20 };
        let link = Link::read(section, of, |text| {
            let Some(url) = url.as_ref().map_err(String::clone)? else { return Ok(text.to_owned()) };
            url.check(may)?;
            Ok(if url.is_plain() { text.to_owned() } else { token::sample(url) })
        })?;
        books::check(section, &map, link.message_bytes, given.policies);
        let is_keyed = given.policies.0.entries.iter().any(|policy| matches!(*policy.mode, Mode::Keyed(_)));
        if map.iter().any(Entry::makes_keys) && !is_keyed {
            let text = "levels become keys of a keyed topic, of which there is none; add a [[topic]] with \
                        pattern and mode = \"keyed\"";
            section.problem(section.line(), text);
        }
        Some(Self {
            url: url.ok().flatten().filter(|url| !url.is_plain()),
            link,
            headers,
            token,
            sign,
            send: send.unwrap_or_default(),
            send_every: keys.send_every,
            symbols,
            ping,
            replies,
            encoding: keys.encoding,
            renew: Some(keys.renew).filter(|renew| !renew.is_zero()),
            snapshot_bytes: keys.snapshot_bytes,
            memory_bytes: keys.memory_bytes,
            names: keys.names,
            map,
        })
    }
}

impl Websocket {
    /// Its own keys with their values.
    pub fn write_keys(&self, text: &mut Text) {
        self.link.write(text);
        text.keys(&WebsocketKeys {
            send: self.send.iter().map(|text| text.as_str().to_owned()).collect(),
            send_every: self.send_every,
            symbols: self.symbols.clone(),
            encoding: self.encoding,
            renew: self.renew.unwrap_or_default(),
            snapshot_bytes: self.snapshot_bytes,
            memory_bytes: self.memory_bytes,
            names: self.names,
        });
        headers::write(text, &self.headers);
        self.ping.iter().for_each(|ping| ping::write(text, ping));
    }

    /// Tables within it.
    pub fn write_parts(&self, text: &mut Text) {
        self.token.iter().for_each(|token| token::write(text, token));
        self.sign.iter().for_each(|sign| sign::write(text, sign));
        self.replies.iter().for_each(|reply| reply::write(text, reply));
        self.map.iter().for_each(|entry| map::write::entry(text, entry));
    }
}

/// The narrowest pattern of all topics that a template makes.
pub fn pattern_of(template: &Template) -> Pattern {
    let mut fixed = String::new();
    for part in &template.parts {
        match part {
            Part::Text(text) => fixed.push_str(text),
            Part::Value(_) | Part::Name(_) => {
                let segments = fixed.rfind('.').map_or(0, |dot| dot + 1);
                fixed.truncate(segments);
                fixed.push('*');
                break;
            }
        }
    }
    Pattern::parse(&fixed).expect("what a template begins with begins a topic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_stands_for_what_lies_below_its_fixed_segments() {
        for (template, pattern) in
            [("a.b", "a.b"), ("a.b.{/s}", "a.b.*"), ("a.b-{/s}.c", "a.*"), ("{/s}", "*")]
        {
            assert_eq!(pattern_of(&Template::parse(template).unwrap()).as_str(), pattern);
        }
    }
}
