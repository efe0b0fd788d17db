//! Paths under which clients have the bare values of topics: `/raw/TOPIC`, and those of `[[raw]]`.

use super::query::decode;
use crate::topic::{encoded::segment, name::check_topic};

/// What stands before a topic's name.
const PREFIX: &str = "/raw/";
/// Paths that lead elsewhere.
const TAKEN: [&str; 8] = ["/", "/ws", "/sse", "/stream", "/raw", "/livez", "/readyz", "/healthz"];

/// `[[raw]]`: `path = "/chat/{room}"`, `topic = "chat.{room}"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPath {
    path: String,
    topic: String,
    segments: Vec<Part>,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
}

impl RawPath {
    /// The error names the key, and says what to write instead.
    pub fn parse(path: &str, topic: &str) -> Result<Self, String> {
        const PATH: &str = "write a path like \"/chat/{room}\"";
        const TOPIC: &str = "write a topic like \"chat.{room}\"";
        let Some(rest) = path.strip_prefix('/').filter(|_| !path.contains(['?', '#', ' '])) else {
            return Err(format!("path: {path:?} is no path; {PATH}"));
        };
        if TAKEN.contains(&path) || path.starts_with(PREFIX) {
            return Err(format!("path: {path:?} leads elsewhere; {PATH}"));
        }
        let segments: Vec<Part> = rest.split('/').map(part_of_path).collect::<Option<_>>().ok_or(format!(
            "path: a name in braces has to be a whole segment, of letters, digits and _; {PATH}"
        ))?;
        let parts = parts_of_topic(topic)
            .ok_or(format!("topic: braces have to hold a name of letters, digits and _; {TOPIC}"))?;
        if let Some(Part::Name(name)) =
            parts.iter().find(|part| matches!(part, Part::Name(_)) && !segments.contains(part))
        {
            return Err(format!("topic: path has no {{{name}}}; {TOPIC}"));
        }
        let raw = Self { path: path.to_owned(), topic: topic.to_owned(), segments, parts };
        // With any value in place of the names: what is wrong then is always wrong.
        check_topic(&raw.fill(|_| "x".to_owned())).map_err(|bad| format!("topic: {bad}; {TOPIC}"))?;
        Ok(raw)
    }

    /// As they were written.
    pub fn written(&self) -> (&str, &str) {
        (&self.path, &self.topic)
    }

    /// The topic of a request's path, still percent-encoded, if it is one of these.
    fn topic_of(&self, path: &str) -> Option<Result<String, String>> {
        let mut values: Vec<(&str, String)> = Vec::new();
        let mut given = path.strip_prefix('/')?.split('/');
        for part in &self.segments {
            let given = given.next()?;
            match (part, decode(given)) {
                (Part::Text(text), Some(decoded)) if *text == decoded => {}
                (Part::Text(_), _) => return None,
                (Part::Name(name), Some(decoded)) => values.push((name, decoded.into_owned())),
                (Part::Name(_), None) => return Some(Err(not_encoded(given))),
            }
        }
        if given.next().is_some() {
            return None;
        }
        if let Some((name, _)) = values.iter().find(|(_, value)| value.is_empty()) {
            return Some(Err(format!("{{{name}}} of {} is empty in the URL", self.path)));
        }
        let value = |name: &str| values.iter().find(|(of, _)| *of == name).map_or("", |(_, value)| value);
        Some(checked(self.fill(|name| segment(value(name)))))
    }

    fn fill(&self, value: impl Fn(&str) -> String) -> String {
        let text = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Name(name) => value(name),
        };
        self.parts.iter().map(text).collect()
    }
}

/// The topic whose values a request's path asks for; an error says why there is none. `None`: it asks for none.
pub fn topic_of(path: &str, paths: &[RawPath]) -> Option<Result<String, String>> {
    match path.strip_prefix(PREFIX) {
        Some(topic) => {
            let decoded = decode(topic).ok_or_else(|| not_encoded(topic));
            Some(decoded.and_then(|topic| checked(topic.into_owned())))
        }
        None => paths.iter().find_map(|raw| raw.topic_of(path)),
    }
}

fn checked(topic: String) -> Result<String, String> {
    check_topic(&topic).map_err(|bad| bad.to_string())?;
    Ok(topic)
}

fn not_encoded(text: &str) -> String {
    let shown: String = text.chars().take(80).collect();
    format!("bad path: {shown} (not percent-encoded UTF-8)")
}

/// One segment of a path; `None`: it has braces in it, not around it.
fn part_of_path(segment: &str) -> Option<Part> {
    match segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        Some(name) => is_name(name).then(|| Part::Name(name.to_owned())),
        None => (!segment.contains(['{', '}'])).then(|| Part::Text(segment.to_owned())),
    }
}

fn parts_of_topic(mut rest: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    while let Some((plain, braced)) = rest.split_once('{') {
        let (name, after) = braced.split_once('}').filter(|(name, _)| is_name(name))?;
        parts.extend([Part::Text(plain.to_owned()), Part::Name(name.to_owned())]);
        rest = after;
    }
    parts.push(Part::Text(rest.to_owned()));
    (!rest.contains('}')).then_some(parts)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(path: &str) -> Option<Result<String, String>> {
        let chat = RawPath::parse("/chat/{room}", "chat.{room}").unwrap();
        let deep = RawPath::parse("/v1/{venue}/last/{pair}", "{venue}.last.{pair}").unwrap();
        topic_of(path, &[chat, deep])
    }

    #[test]
    fn a_path_stands_for_a_topic_and_what_it_names_for_one_segment_of_it() {
        for (path, expected) in [
            ("/raw/fx.EURUSD", Some("fx.EURUSD")),
            ("/raw/kraken.book.BTC/USD", Some("kraken.book.BTC/USD")),
            ("/raw/kraken.book.BTC%2FUSD", Some("kraken.book.BTC/USD")),
            ("/chat/lobby", Some("chat.lobby")),
            ("/chat/a.b", Some("chat.a@x2Eb")),
            ("/chat/%C3%A5%20b", Some("chat.@xC3@xA5@x20b")),
            ("/%63hat/x%2Fy", Some("chat.x@x2Fy")),
            ("/chat/*", Some("chat.@x2A")),
            ("/v1/kraken/last/BTC", Some("kraken.last.BTC")),
            ("/chat", None),
            ("/chat/a/b", None),
            ("/chatter/a", None),
            ("/raw", None),
            ("/other", None),
        ] {
            assert_eq!(topic(path).map(Result::unwrap).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_topic_is_told() {
        let long = format!("/chat/{}", "%2E".repeat(64));
        for path in ["/raw/", "/raw/a..b", "/raw/a.*", "/raw/%zz", "/raw/%E9", "/chat/", "/chat/%zz", &long] {
            assert!(topic(path).unwrap().is_err(), "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused_with_what_to_write() {
        for (path, topic) in [
            ("chat/{room}", "chat.{room}"),
            ("/ws", "a"),
            ("/raw/{room}", "a.{room}"),
            ("/chat/x{room}", "chat.{room}"),
            ("/chat/{room}", "chat.{other}"),
            ("/chat/{room}", "chat.{room"),
            ("/chat/{room}", "chat.room}"),
            ("/chat/{room}", "chat..{room}"),
            ("/chat/{}", "chat.a"),
            ("/chat?x={room}", "chat.{room}"),
        ] {
            let refused = RawPath::parse(path, topic).unwrap_err();
            assert!(refused.contains("write a "), "{path} {topic}: {refused}");
        }
    }
}
