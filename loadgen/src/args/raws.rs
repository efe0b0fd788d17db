//! `--send`, `--stamp` and their kin: how a server that speaks another protocol is loaded.

use std::time::Duration;

use super::Flags;
use crate::{measure::stamp::Stamp, server::url::Url};

/// What stands for a connection's own in `--send` and in the path of `--url`.
pub const TOPICS: &str = "{topics}";
const TOPIC: &str = "{topic}";
const PLACE: &str = "{place}";
const CONNECTION: &str = "{connection}";
const NOW_US: &str = "{now_us}";

const SEND_EVERY_MIN: Duration = Duration::from_millis(1);

/// How to load a server that speaks another protocol.
#[derive(Debug, Clone)]
pub struct Raws {
    pub send: Vec<String>,
    /// µs between repetitions of `send`.
    pub send_every_us: Option<u64>,
    pub stamp: Stamp,
}

/// `None`: the server speaks Fanwire's protocol.
pub fn of(flags: &Flags, url: &Url) -> Result<Option<Raws>, String> {
    if flags.send.is_empty() && flags.send_every.is_some() {
        return Err("--send-every needs the --send TEXT that it repeats".into());
    }
    if flags.send_every.is_some_and(|every| every < SEND_EVERY_MIN) {
        return Err("--send-every: write 1ms or more".into());
    }
    if flags.send.is_empty() && flags.stamp.is_none() {
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
    let said = |text: &String| text.contains(TOPICS) || text.contains(TOPIC);
    let wanted = flags.send.iter().any(said) || url.target.contains(TOPICS);
    match (wanted, flags.topics.is_empty()) {
        (true, true) => return Err("{topics} and {topic} need the --topics that they stand for".into()),
        (false, false) => {
            return Err("--topics goes with --send and --stamp where {topics} or {topic} in --send, or {topics} in --url, says where they are put".into());
        }
        _ => {}
    }
    let stamp = flags.stamp.as_deref().map_or(Ok(Stamp::None), Stamp::parse)?;
    let send_every_us = flags.send_every.map(|every| every.as_micros() as u64);
    Ok(Some(Raws { send: flags.send.clone(), send_every_us, stamp }))
}

impl Raws {
    /// The texts of `--send` as connection number `connection` says them, `now_us` after the Unix epoch.
    pub fn texts(&self, topics: &[&str], connection: u32, now_us: u64) -> impl Iterator<Item = String> {
        let say = move |text: &String| {
            let text = text.replace(CONNECTION, &connection.to_string());
            let text = text.replace(NOW_US, &now_us.to_string());
            if text.contains(TOPIC) {
                let each = topics.iter().zip(1..);
                let of = |(topic, place): (&&str, u32)| {
                    text.replace(TOPIC, topic).replace(PLACE, &place.to_string())
                };
                return each.map(of).collect();
            }
            if text.contains(TOPICS) {
                return text.replace(TOPICS, &serde_json::json!(topics).to_string());
            }
            text
        };
        self.send.iter().map(say)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, parse_with_scenario};

    fn check(flags: &[&str]) -> Result<Args, String> {
        let words: Vec<String> = ["loadgen"].iter().chain(flags).map(|word| (*word).to_owned()).collect();
        Args::check(parse_with_scenario(&words).unwrap())
    }

    fn texts(send: &str) -> Vec<String> {
        let raws = Raws { send: vec![send.into()], send_every_us: None, stamp: Stamp::None };
        raws.texts(&["a.b", "c"], 7, 1234).collect()
    }

    #[test]
    fn a_text_names_its_connections_topics() {
        assert_eq!(texts(r#"{"watch":{topics}}"#), [r#"{"watch":["a.b","c"]}"#]);
        assert_eq!(texts("SUB {topic} {place}\r\n"), ["SUB a.b 1\r\nSUB c 2\r\n"]);
        assert_eq!(texts("SUB in.{connection} 1 {now_us}"), ["SUB in.7 1 1234"]);
        assert_eq!(texts("{\"verbose\":false}"), ["{\"verbose\":false}"]);
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
