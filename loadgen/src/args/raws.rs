//! `--send`, `--stamp` and their kin: how a server that speaks another protocol is loaded.

use std::time::Duration;

use super::{
    Flags,
    opening::Opening,
    template::{Syntax, Template, Templates},
};
use crate::measure::{matcher::Matcher, stamp::Stamp};

const SEND_EVERY_MIN: Duration = Duration::from_millis(1);

/// How to load a server that speaks another protocol.
#[derive(Debug, Clone)]
pub struct Raws {
    pub send: Vec<Template>,
    /// What is repeated.
    pub repeat: Vec<Template>,
    /// µs between repetitions.
    pub send_every_us: Option<u64>,
    pub stamp: Stamp,
    /// The message that makes a connection established; `None`: the handshake does.
    pub ready: Option<Matcher>,
    pub replies: Vec<Reply>,
}

/// What a message that matches is answered.
#[derive(Debug, Clone)]
pub struct Reply {
    pub to: Matcher,
    pub text: Template,
}

/// Whether the server speaks another protocol.
pub fn are_given(flags: &Flags) -> bool {
    !flags.send.is_empty() || flags.stamp.is_some() || flags.ready.is_some() || !flags.reply.is_empty()
}

/// `None`: the server speaks Fanwire's protocol.
pub fn of(flags: &Flags, opening: &Opening, templates: &mut Templates) -> Result<Option<Raws>, String> {
    if flags.send.is_empty() && flags.repeat.is_empty() && flags.send_every.is_some() {
        return Err("--send-every needs the --send TEXT or --repeat TEXT that it repeats".into());
    }
    if !flags.repeat.is_empty() && flags.send_every.is_none() {
        return Err("--repeat needs --send-every TIME".into());
    }
    if flags.send_every.is_some_and(|every| every < SEND_EVERY_MIN) {
        return Err("--send-every: write 1ms or more".into());
    }
    if !are_given(flags) {
        return Ok(None);
    }
    let fanwire_only = [
        ("--interval-ms", flags.interval_ms.is_some()),
        ("--publish", flags.publish > 0.0),
        ("--since-reconnects", flags.since_reconnects > 0.0),
        ("--stream", !flags.stream.is_empty()),
        ("--msgpack", flags.msgpack),
        ("--sse", flags.sse),
    ];
    if let Some((flag, _)) = fanwire_only.iter().find(|(_, given)| *given) {
        return Err(format!(
            "{flag} does not go with --send, --stamp, --ready and --reply, which are for other protocols"
        ));
    }
    let mut texts = |flag: &str, texts: &[String]| {
        texts.iter().map(|text| templates.parse(flag, text, Syntax::Message)).collect::<Result<Vec<_>, _>>()
    };
    let (send, repeat) = (texts("--send", &flags.send)?, texts("--repeat", &flags.repeat)?);
    let reply = |text: &String| reply(text, templates);
    let replies = flags.reply.iter().map(reply).collect::<Result<Vec<_>, _>>()?;
    let mut said = send.iter().chain(&repeat).chain(replies.iter().map(|reply| &reply.text));
    let wanted = opening.has_topics() || said.any(Template::has_topics);
    match (wanted, flags.topics.is_empty()) {
        (true, true) => return Err("{topics} and {topic} need the --topics that they stand for".into()),
        (false, false) => {
            return Err("--topics goes with another protocol where {topics} or {topic} in --send or --reply, or {topics} in --url, says where they are put".into());
        }
        _ => {}
    }
    let stamp = flags.stamp.as_deref().map_or(Ok(Stamp::None), Stamp::parse)?;
    let send_every_us = flags.send_every.map(|every| every.as_micros() as u64);
    let repeat = if repeat.is_empty() { send.clone() } else { repeat };
    let ready = flags.ready.as_deref().map(|text| Matcher::parse("--ready", text)).transpose()?;
    Ok(Some(Raws { send, repeat, send_every_us, stamp, ready, replies }))
}

/// `MATCH=>TEXT`.
fn reply(text: &str, templates: &mut Templates) -> Result<Reply, String> {
    let (to, answer) = text
        .split_once("=>")
        .ok_or_else(|| format!("--reply {text}: write MATCH=>TEXT, for example 'PING=>PONG'"))?;
    let to = Matcher::parse("--reply", to)?;
    Ok(Reply { to, text: templates.parse("--reply", answer, Syntax::Message)? })
}

impl Raws {
    /// Whether the handshake alone makes no connection established.
    pub fn waits(&self) -> bool {
        self.ready.is_some()
    }

    /// Whether what the server says matters, beyond its send time.
    pub fn listens(&self) -> bool {
        self.ready.is_some() || !self.replies.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use crate::args::{Args, parse_with_scenario};

    fn check(flags: &[&str]) -> Result<Args, String> {
        let words: Vec<String> = ["loadgen"].iter().chain(flags).map(|word| (*word).to_owned()).collect();
        Args::check(parse_with_scenario(&words).unwrap())
    }

    #[test]
    fn topics_go_where_a_text_or_the_url_has_room_for_them() {
        let url = ["--url", "ws://127.0.0.1:1/ws"];
        let lists = ["--topics", "t{0..9}", "--interests", "zipf:3"];
        let own = check(&[&url[..], &lists, &["--send", "{topics}"]].concat()).unwrap();
        assert_eq!(own.groups[0].len(), 10);
        let by_url = ["--url", "ws://127.0.0.1:1/ws?ids={topics}", "--stamp", "none"];
        assert!(check(&[&by_url[..], &lists].concat()).is_ok());
        for (flags, named) in [
            (&[&url[..], &lists, &["--send", "x"]].concat(), "{topics}"),
            (&[&url[..], &["--send", "{topic}"]].concat(), "--topics"),
            (&[&url[..], &["--send", "x", "--interval-ms", "5"]].concat(), "--interval-ms"),
            (&[&url[..], &["--topics", "a", "--send-every", "1s"]].concat(), "--send TEXT"),
            (&[&url[..], &["--send", "x", "--send-every", "0s"]].concat(), "--send-every"),
            (&[&url[..], &["--send", "x", "--repeat", "y"]].concat(), "--send-every TIME"),
            (&[&url[..], &["--reply", "PING"]].concat(), "MATCH=>TEXT"),
            (&[&url[..], &["--reply", "json:a=>b"]].concat(), "begins with /"),
            (&[&url[..], &["--ready", "json:a"]].concat(), "begins with /"),
            (&[&url[..], &["--ready", "x", "--interval-ms", "5"]].concat(), "--interval-ms"),
        ] {
            let refusal = check(flags).expect_err(named);
            assert!(refusal.contains(named), "{refusal}");
        }
    }
}
