//! `--send`, `--stamp` and their kin: how a server that speaks another protocol is loaded.

use std::time::Duration;

use super::{
    Flags,
    opening::Opening,
    template::{Fill, Syntax, Template, Templates},
};
use crate::measure::stamp::Stamp;

const SEND_EVERY_MIN: Duration = Duration::from_millis(1);

/// How to load a server that speaks another protocol.
#[derive(Debug, Clone)]
pub struct Raws {
    pub send: Vec<Template>,
    /// µs between repetitions of `send`.
    pub send_every_us: Option<u64>,
    pub stamp: Stamp,
}

/// Whether the server speaks another protocol.
pub fn are_given(flags: &Flags) -> bool {
    !flags.send.is_empty() || flags.stamp.is_some()
}

/// `None`: the server speaks Fanwire's protocol.
pub fn of(flags: &Flags, opening: &Opening, templates: &mut Templates) -> Result<Option<Raws>, String> {
    if flags.send.is_empty() && flags.send_every.is_some() {
        return Err("--send-every needs the --send TEXT that it repeats".into());
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
    ];
    if let Some((flag, _)) = fanwire_only.iter().find(|(_, given)| *given) {
        return Err(format!("{flag} does not go with --send and --stamp, which are for other protocols"));
    }
    let mut texts = |text: &String| templates.parse("--send", text, Syntax::Message);
    let send = flags.send.iter().map(&mut texts).collect::<Result<Vec<_>, _>>()?;
    let wanted = opening.has_topics() || send.iter().any(Template::has_topics);
    match (wanted, flags.topics.is_empty()) {
        (true, true) => return Err("{topics} and {topic} need the --topics that they stand for".into()),
        (false, false) => {
            return Err("--topics goes with --send and --stamp where {topics} or {topic} in --send, or {topics} in --url, says where they are put".into());
        }
        _ => {}
    }
    let stamp = flags.stamp.as_deref().map_or(Ok(Stamp::None), Stamp::parse)?;
    let send_every_us = flags.send_every.map(|every| every.as_micros() as u64);
    Ok(Some(Raws { send, send_every_us, stamp }))
}

impl Raws {
    /// The texts of `--send` as one connection says them.
    pub fn texts(&self, fill: Fill<'_>) -> impl Iterator<Item = String> {
        self.send.iter().map(move |text| text.text(&fill))
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
        ] {
            let refusal = check(flags).expect_err(named);
            assert!(refusal.contains(named), "{refusal}");
        }
    }
}
