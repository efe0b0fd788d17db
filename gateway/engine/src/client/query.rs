//! What rides on the URL of a subscriber.

use std::borrow::Cow;

use crate::{
    http::query,
    protocol::request::{self, Subscribe},
};

/// What the URL asks for: `topics=a.b,c.*&interval_ms=100&since=EPOCH:VERSION&compress=0`. Other parameters are
/// ignored, as unknown fields are.
#[derive(Debug, Default)]
pub(super) struct Query {
    /// Where there are `topics`.
    pub subscribe: Option<Subscribe>,
    /// By `compress=0`.
    pub uncompressed: bool,
}

fn decoded<'a>(name: &str, value: &'a str) -> Result<Cow<'a, str>, String> {
    query::decode(value).ok_or_else(|| format!("bad {name} in the URL: not percent-encoded UTF-8"))
}

/// Of `name=0` and `name=1`.
fn flag(name: &str, value: &str) -> Result<bool, String> {
    match &*decoded(name, value)? {
        "0" => Ok(false),
        "1" => Ok(true),
        other => Err(format!("bad {name}: {other} (0 or 1)")),
    }
}

impl Query {
    pub fn parse(query: &str, patterns_max: usize) -> Result<Self, String> {
        let (mut subscribe, mut uncompressed) = (Subscribe::default(), false);
        let (mut topics, mut others) = (None, false);
        for (name, value) in query::pairs(query) {
            match &*name {
                "topics" => {
                    let named = decoded(&name, value)?;
                    topics.get_or_insert_with(Vec::new).extend(named.split(',').map(str::to_owned));
                }
                "interval_ms" => {
                    subscribe.interval_ms = Some(request::parse_interval(&decoded(&name, value)?)?);
                    others = true;
                }
                "since" => {
                    subscribe.since = Some(request::parse_since(&decoded(&name, value)?)?);
                    others = true;
                }
                "compress" => uncompressed = !flag(&name, value)?,
                _ => {}
            }
        }
        match topics {
            Some(topics) => {
                subscribe.topics = request::parse_topics(&topics)?;
                if subscribe.topics.len() > patterns_max {
                    let named = subscribe.topics.len();
                    return Err(format!("{named} patterns in the URL ({patterns_max} are the most)"));
                }
                Ok(Self { subscribe: Some(subscribe), uncompressed })
            }
            None if others => Err("interval_ms or since without topics".into()),
            None => Ok(Self { subscribe: None, uncompressed }),
        }
    }

    /// Of a topic's values alone: `interval_ms=100&snapshot=1&compress=0`.
    pub fn parse_raw(query: &str, topic: &str) -> Result<Self, String> {
        let topics = request::parse_topics(&[topic.to_owned()])?;
        let mut subscribe = Subscribe { topics, skips_snapshot: true, ..Subscribe::default() };
        let mut uncompressed = false;
        for (name, value) in query::pairs(query) {
            match &*name {
                "interval_ms" => {
                    subscribe.interval_ms = Some(request::parse_interval(&decoded(&name, value)?)?);
                }
                "snapshot" => subscribe.skips_snapshot = !flag(&name, value)?,
                "compress" => uncompressed = !flag(&name, value)?,
                _ => {}
            }
        }
        Ok(Self { subscribe: Some(subscribe), uncompressed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::pattern::Pattern;

    fn texts(patterns: &[Pattern]) -> Vec<&str> {
        patterns.iter().map(Pattern::as_str).collect()
    }

    #[test]
    fn a_subscription_rides_on_the_url() {
        let query = "topics=a.b,c.%2A&interval_ms=100&since=8f0c2a77d1e94b02:7&x=1";
        let subscribe = Query::parse(query, 2).unwrap().subscribe.unwrap();
        assert_eq!(texts(&subscribe.topics), ["a.b", "c.*"]);
        assert_eq!(subscribe.interval_ms, Some(100));
        assert_eq!(subscribe.since.unwrap().version, 7);
        assert_eq!(Query::parse("", 2).unwrap().subscribe, None);
    }

    #[test]
    fn bad_values_are_named() {
        for query in [
            "topics=",
            "topics=a..b",
            "topics=a,b,c",
            "topics=%zz",
            "topics=a&interval_ms=x",
            "compress=no",
            "topics=a&compress",
            "compress=%zz",
            "topics=a&since=1",
            "since=8f0c2a77d1e94b02:7",
        ] {
            assert!(Query::parse(query, 2).is_err(), "{query}");
        }
    }

    #[test]
    fn whatever_stands_in_parameters_of_others_is_ignored() {
        for query in ["topics=a.b&discount=100%", "x=%E9&topics=a.b", "topics=a.b&%zz=1", "%&topics=a.b&=%"] {
            let subscribe = Query::parse(query, 2).unwrap().subscribe.unwrap();
            assert_eq!(texts(&subscribe.topics), ["a.b"], "{query}");
        }
    }

    #[test]
    fn what_counts_is_what_escapes_stand_for() {
        let query = Query::parse("%74opics=%61.b%2Cc&interval%5Fms=%31%30&%63ompress=%30", 2).unwrap();
        assert!(query.uncompressed);
        let subscribe = query.subscribe.unwrap();
        assert_eq!((texts(&subscribe.topics), subscribe.interval_ms), (vec!["a.b", "c"], Some(10)));
        assert!(!Query::parse("compress=%31", 2).unwrap().uncompressed);
    }
}
