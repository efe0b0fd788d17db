//! What each message would become, and why not: for whoever writes a map. Without a network.

use std::fmt::Write;

use engine::{
    json::{Node, skip_byte_order_mark},
    sequencer::seq::Before,
    topic::changes::{Base, Changes},
};
use serde_json::{Value, json};

use super::{
    braced::Filling,
    keys::Websocket,
    map::Entry,
    mapping::{MappedPublication, MappedValue, Odd, Said, Wholes, map, memory::Memory},
};

/// What a line quotes of a message.
const QUOTED_CHARS: usize = 80;

/// The messages of one connection, one after the other.
pub struct Explained<'a> {
    source: &'a Websocket,
    memory: Memory,
}

impl<'a> Explained<'a> {
    pub fn new(source: &'a Websocket) -> Self {
        Self { source, memory: Memory::new(source.memory_bytes) }
    }

    /// One JSON object for each thing that a message becomes or is answered with, or for why it becomes nothing.
    /// `before`: members that each begins with.
    pub fn lines(&mut self, message: &str, before: &str) -> Vec<String> {
        let line = |rest: String| format!("{{{before}{rest}}}");
        let message = match Node::parse(skip_byte_order_mark(message.as_bytes())) {
            Ok(message) => message,
            Err(error) => return vec![line(member("error", &format!("it is not JSON: {error}")))],
        };
        let with = Filling { hides_secrets: true, ..Filling::default() };
        let reply = self.source.replies.iter().find_map(|reply| reply.to(&message, &with));
        let mut lines: Vec<String> = reply.iter().map(|text| line(member("reply", text))).collect();
        let wholes = Wholes { wanted: &|_| true, is_hidden: true };
        match map(&self.source.map, self.source.names, &mut self.memory, wholes, &message) {
            Some(said) => lines.extend(said.iter().map(|said| line(self.said(said)))),
            None if reply.is_some() => {}
            None => lines.push(line(member("ignored", &self.why_ignored(&message)))),
        }
        lines
    }

    fn said(&self, said: &Result<Said<'_>, Odd<'_>>) -> String {
        match said {
            Ok(Said::Update(mapped)) => self.update(mapped),
            Ok(Said::Denied { topics, why }) => {
                let topics = Value::from(topics.iter().map(ToString::to_string).collect::<Vec<_>>());
                format!("\"gap\":{topics},{}", member("reason", why))
            }
            Ok(Said::Remembered(id)) => member("remembered", id),
            Err(odd) => {
                let topic = odd.topic.as_ref().map(|topic| format!("{},", member("topic", topic)));
                let (error, of) = (member("error", &odd.fault.to_string()), member("of", &quoted(odd.text)));
                format!("{}{error},{of}", topic.unwrap_or_default())
            }
        }
    }

    fn update(&self, mapped: &MappedPublication<'_>) -> String {
        let entry = &self.source.map[mapped.entry];
        let mut out = format!("\"entry\":{},{}", entry.line.0, member("topic", &mapped.topic));
        mapped.ts_us.iter().for_each(|ts| push(&mut out, "ts", ts));
        if let Some(seq) = mapped.seq {
            push(&mut out, "seq", seq.last);
            match seq.before {
                Before::First(first) if first != seq.last => push(&mut out, "seq_first", first),
                Before::Previous(previous) => push(&mut out, "seq_prev", previous),
                Before::First(_) | Before::Unknown => {}
            }
        }
        match &mapped.value {
            MappedValue::Data(json) => push(&mut out, "data", json),
            MappedValue::Changes(changes) => push_changes(&mut out, changes),
        }
        mapped.whole_at.iter().for_each(|url| push(&mut out, "snapshot", Value::from(&**url)));
        out
    }

    /// The entry that has most of its conditions met, and the first that is not.
    fn why_ignored(&self, message: &Node<'_>) -> String {
        let met = |entry: &Entry| entry.when.met(message);
        let Some(entry) = self.source.map.iter().rev().max_by_key(|entry| met(entry)) else {
            return "there is no entry".to_owned();
        };
        let line = entry.line.0;
        match entry.when.hold(message, None) {
            Err(pointer) if pointer.is_plain() => {
                let found =
                    message.find(&pointer.steps).map_or("nothing".to_owned(), |node| quoted(node.text()));
                format!("no entry applies; that of line {line} is nearest, but {pointer:?} leads to {found}")
            }
            _ => {
                format!("no entry applies; that of line {line} is nearest, but nothing was remembered for it")
            }
        }
    }
}

fn push_changes(out: &mut String, changes: &Changes) {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if changes.base != Base::Held {
        push(out, "whole", true);
    }
    let (mut set, mut del) = (Vec::new(), Vec::new());
    for change in changes.iter() {
        match change.value {
            Some(value) => set.push(format!("{}:{}", text(change.key), text(value))),
            None => del.push(text(change.key)),
        }
    }
    push(out, "set", format!("{{{}}}", set.join(",")));
    if !del.is_empty() {
        push(out, "del", format!("[{}]", del.join(",")));
    }
}

fn push(out: &mut String, key: &str, value: impl std::fmt::Display) {
    write!(out, ",\"{key}\":{value}").expect("writing to memory does not fail");
}

fn member(key: &str, text: &str) -> String {
    format!("\"{key}\":{}", json!(text))
}

fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::{config::Config, source::Source, system::Machine};

    use super::*;

    const CONFIG: &str = r#"
        [[source]]
        kind = "websocket"
        url = "ws://127.0.0.1:1/"
        [[source.reply]]
        when = { "/ping" = "*" }
        send = '{"pong":{/ping}}'
        [[source.map]]
        when = { "/e" = "sub" }
        remember = "/id"
        [[source.map]]
        when = { "/e" = "book", "/n" = 1 }
        topic = "x.book.{/s}"
        ts = "/t"
        seq = "/u"
        seq_prev = "/pu"
        levels = [{ path = "/b", key = "b" }]
        [source.map.snapshot]
        url = "https://h/{/s}"
        seq = "/u"
        levels = [{ path = "/b", key = "b" }]
        [[source.map]]
        when = { "/e" = "no" }
        gap = ["x.book.{/s}"]
        [[source.map]]
        when = { "/e" = "tick" }
        topic = "x.tick"
        data = "/d"
        [[topic]]
        pattern = "x.book.*"
        mode = "keyed"
    "#;

    #[test]
    fn each_message_says_what_it_becomes_or_why_not() {
        let machine = Machine::this().unwrap();
        let config = Config::parse(CONFIG, "x.toml", Path::new(""), &machine).unwrap();
        let Source::Websocket(source) = &config.sources[0] else { panic!("{:?}", config.sources) };
        let mut explained = Explained::new(source);
        for (message, expected) in [
            (r#"{"ping":7}"#, r#"{"line":1,"reply":"{\"pong\":7}"}"#),
            (r#"{"e":"sub","id":5}"#, r#"{"line":1,"remembered":"5"}"#),
            (
                r#"{"e":"book","n":1,"s":"a/b","t":1700000000,"u":9,"pu":7,"b":[["1","2"],["3","0"]]}"#,
                r#"{"line":1,"entry":11,"topic":"x.book.a/b","ts":1700000000000000,"seq":9,"seq_prev":7,"set":{"b1":"2"},"del":["b3"],"snapshot":"https://h/a%2Fb"}"#,
            ),
            (r#"{"e":"no","s":"a"}"#, r#"{"line":1,"gap":["x.book.a"],"reason":"the venue refuses it"}"#),
            (r#"{"e":"tick","d":1.50}"#, r#"{"line":1,"entry":25,"topic":"x.tick","data":1.50}"#),
            (
                r#"{"e":"tick"}"#,
                r#"{"line":1,"topic":"x.tick","error":"\"/d\" leads nowhere, or not to a value","of":"{\"e\":\"tick\"}"}"#,
            ),
            (
                r#"{"e":"book","n":2}"#,
                r#"{"line":1,"ignored":"no entry applies; that of line 11 is nearest, but \"/n\" leads to 2"}"#,
            ),
        ] {
            assert_eq!(explained.lines(message, "\"line\":1,"), [expected], "{message}");
        }
        assert!(explained.lines("{", "").concat().contains("it is not JSON"));
    }
}
