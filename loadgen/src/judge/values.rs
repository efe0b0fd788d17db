//! The final check of values: under one `v` of a topic everyone was given the same, and it is what
//! the gateway has.
//!
//! Each thread's catalogs note the value of the highest `v` of a topic, which stands for all clients
//! that received it (see [`fingerprint`]). A topic that moved on between the last frame and the
//! gateway's answer cannot be compared with it.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::catalog::{Highest, fingerprint};
use crate::{
    http::{self, Http},
    url::Url,
    worker::Outcome,
};

/// Topics that the gateway is asked for, evenly chosen.
const ASKED_MAX: usize = 4096;
/// Requests sent before their answers are read.
const PIPELINED_MAX: usize = 64;
/// Differences told on stderr, the first ones.
const EXAMPLES_MAX: usize = 5;

/// What the check found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Topics whose value differed under the same `v`, once for each pair that did.
    pub differ: u64,
    /// Topics whose `v` was the gateway's, so that the values could be compared.
    pub with_gateway: u64,
    pub examples: Vec<String>,
}

/// What the gateway has of `topics` now. Some may be gone meanwhile.
pub fn fetch(admin: &Url, topics: &[&str]) -> io::Result<HashMap<String, Highest>> {
    #[derive(Deserialize)]
    struct Item<'a> {
        v: u64,
        #[serde(borrow)]
        data: &'a RawValue,
    }
    let step = topics.len().div_ceil(ASKED_MAX).max(1);
    let asked: Vec<&str> = topics.iter().copied().step_by(step).collect();
    let mut http = Http::connect(admin)?;
    let mut values = HashMap::new();
    for some in asked.chunks(PIPELINED_MAX) {
        let mut requests = Vec::new();
        some.iter().for_each(|topic| http.ask(&mut requests, &format!("/topics/{}", http::encode(topic))));
        http.send(&requests)?;
        for topic in some {
            let answer = http.answer()?;
            if answer.status == 200 {
                let item: Item<'_> = serde_json::from_slice(&answer.body)?;
                let value = fingerprint(Some(item.data.get()));
                values.insert((*topic).to_owned(), Highest { v: item.v, value });
            }
        }
    }
    Ok(values)
}

/// Compares what the threads of `outcomes` saw in `epoch` with each other and with `gateway`.
pub fn compare(outcomes: &[Outcome], epoch: Option<u64>, gateway: &HashMap<String, Highest>) -> Compared {
    let mut compared = Compared::default();
    let mut seen: HashMap<&str, Highest> = HashMap::new();
    let catalogs = outcomes.iter().flat_map(|outcome| &outcome.at_last);
    for known in catalogs.filter(|known| Some(known.epoch) == epoch) {
        for (topic, _, highest) in known.topics.iter().filter(|(_, _, highest)| highest.v > 0) {
            match seen.entry(topic) {
                Entry::Vacant(vacant) => drop(vacant.insert(*highest)),
                Entry::Occupied(mut other) => {
                    compared.count(topic, *other.get(), *highest, "another client");
                    if highest.v > other.get().v {
                        other.insert(*highest);
                    }
                }
            }
        }
    }
    for (topic, theirs) in gateway {
        if let Some(ours) = seen.get(&**topic) {
            compared.with_gateway += u64::from(ours.v == theirs.v);
            compared.count(topic, *ours, *theirs, "the gateway");
        }
    }
    compared
}

impl Compared {
    fn count(&mut self, topic: &str, ours: Highest, theirs: Highest, whose: &str) {
        if ours.v != theirs.v || ours.value == theirs.value {
            return;
        }
        self.differ += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(format!("differs: {topic}: v {} is another value at {whose}", ours.v));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{tally::Tally, worker::Known};

    fn outcome(topic: &str, v: u64, data: &str) -> Outcome {
        let highest = Highest { v, value: fingerprint(Some(data)) };
        let known = Known { epoch: 7, topics: vec![(topic.to_owned(), 0, highest)] };
        Outcome { tally: Tally::default(), clients: Vec::new(), at_end: Vec::new(), at_last: vec![known] }
    }

    fn gateway(v: u64, data: &str) -> HashMap<String, Highest> {
        HashMap::from([("a".to_owned(), Highest { v, value: fingerprint(Some(data)) })])
    }

    #[test]
    fn the_same_v_must_be_the_same_value_everywhere() {
        let outcomes = [outcome("a", 5, "1"), outcome("a", 5, "2")];
        assert_eq!(compare(&outcomes, Some(7), &HashMap::new()).differ, 1);
        let outcomes = [outcome("a", 5, "1"), outcome("a", 4, "2"), outcome("b", 5, "2")];
        assert_eq!(compare(&outcomes, Some(7), &HashMap::new()), Compared::default());
    }

    #[test]
    fn the_gateway_is_compared_where_nothing_moved_on() {
        let outcomes = [outcome("a", 5, "1")];
        let compare = |gateway| compare(&outcomes, Some(7), &gateway);
        assert_eq!((compare(gateway(5, "1")).differ, compare(gateway(5, "1")).with_gateway), (0, 1));
        assert_eq!((compare(gateway(5, "1.0")).differ, compare(gateway(5, "1.0")).with_gateway), (1, 1));
        assert_eq!((compare(gateway(6, "2")).differ, compare(gateway(6, "2")).with_gateway), (0, 0));
    }

    #[test]
    fn another_life_of_the_gateway_is_not_compared() {
        let outcomes = [outcome("a", 5, "1"), outcome("a", 5, "2")];
        assert_eq!(compare(&outcomes, Some(8), &gateway(5, "3")), Compared::default());
    }
}
