//! The final check: what was known when the window ended is held by everyone 2 s later.
//!
//! The feed may go on, so the measure is taken *at* the window's end: per topic the highest `v` that
//! any client had seen, and what `GET /topics` answered then. Clients may hold newer values, never
//! older ones; with a feed that has stopped this is equality.
//!
//! A client that lacks a topic altogether may be right, if the topic was removed before its last
//! snapshot. It is wrong where another client holds that topic at a position that is not below that
//! snapshot's: batches are complete, so the topic existed there.

use std::{
    collections::{BTreeMap, HashMap},
    io,
};

use serde::Deserialize;

use crate::{
    http::{self, Http},
    judge::{held, topic},
    url::Url,
    worker::{Final, Known, Outcome},
};

/// Losses told on stderr, the first ones.
const EXAMPLES_MAX: usize = 5;

/// What the final check found.
#[derive(Debug, Default)]
pub struct Settled {
    /// Values not held, one per client and topic.
    pub lost: u64,
    /// Clients and values that were compared.
    pub clients: u64,
    pub values: u64,
    pub examples: Vec<String>,
}

/// What all should hold of one topic.
#[derive(Debug, Clone, Copy, Default)]
struct Truth {
    v: u64,
    /// The highest position of a client that holds the topic at `v` or above; `None`: nobody does.
    holder: Option<u64>,
    /// `GET /topics` had it, before and after the check.
    in_gateway: bool,
}

/// `topic` and `v` of all topics of the gateway, in topic order.
pub fn topics(admin: &Url) -> io::Result<BTreeMap<String, u64>> {
    #[derive(Deserialize)]
    struct Item {
        topic: String,
        v: u64,
    }
    let mut http = Http::connect(admin)?;
    let mut topics: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let after = topics
            .last_key_value()
            .map_or(String::new(), |(last, _)| format!("&after={}", http::encode(last)));
        let answer = http.get(&format!("/topics?limit=1000{after}"))?;
        if answer.status != 200 {
            return Err(io::Error::other(format!("GET /topics answered {}", answer.status)));
        }
        let page: Vec<Item> = serde_json::from_slice(&answer.body)?;
        let (before, whole) = (topics.len(), page.len() < 1000);
        topics.extend(page.into_iter().map(|item| (item.topic, item.v)));
        // A page that brings nothing new would be asked for again and again.
        if whole || topics.len() == before {
            return Ok(topics);
        }
    }
}

/// Compares all clients with each other and with `gateway`: its topics as the window ended, and
/// still there now. `groups` are the lists of patterns.
pub fn settle(
    outcomes: &[Outcome],
    groups: &[Vec<String>],
    gateway: Option<&BTreeMap<String, u64>>,
) -> Settled {
    let mut settled = Settled::default();
    let epochs: BTreeMap<u64, u64> =
        outcomes.iter().flat_map(|outcome| &outcome.clients).fold(BTreeMap::new(), |mut counts, client| {
            *counts.entry(client.epoch).or_default() += 1;
            counts
        });
    // After a restart of the gateway some may still be on their way: its topics are those of most.
    let present = epochs.iter().max_by_key(|(_, clients)| **clients).map(|(epoch, _)| *epoch);
    for (group, patterns) in groups.iter().enumerate() {
        for &epoch in epochs.keys() {
            let gateway = gateway.filter(|_| Some(epoch) == present);
            check_group(outcomes, group, patterns, epoch, gateway, &mut settled);
        }
    }
    settled
}

fn check_group(
    outcomes: &[Outcome],
    group: usize,
    patterns: &[String],
    epoch: u64,
    gateway: Option<&BTreeMap<String, u64>>,
    settled: &mut Settled,
) {
    let mut truths: HashMap<&str, Truth> = HashMap::new();
    for (topic, &v) in gateway.into_iter().flatten().filter(|(topic, _)| topic::matches_any(patterns, topic))
    {
        truths.insert(topic, Truth { v, holder: None, in_gateway: true });
    }
    for known in outcomes.iter().map(|outcome| &outcome.catalogs[group]).filter(|known| known.epoch == epoch)
    {
        for (topic, _, v) in &known.topics {
            let truth = truths.entry(topic).or_default();
            truth.v = truth.v.max(*v);
        }
    }
    for outcome in outcomes {
        let rows: Vec<(u32, &str)> = words(&outcome.catalogs[group]);
        for client in clients(outcome, group, epoch) {
            for &(word, topic) in &rows {
                if let Some((v, false)) = held(&client.held, word)
                    && let Some(truth) = truths.get_mut(topic)
                    && v >= truth.v
                {
                    truth.holder = truth.holder.max(Some(client.position));
                }
            }
        }
    }
    for outcome in outcomes {
        let known: HashMap<&str, u32> =
            words(&outcome.catalogs[group]).into_iter().map(|(w, t)| (t, w)).collect();
        let rows: Vec<(&str, Option<u32>, Truth)> =
            truths.iter().map(|(topic, truth)| (*topic, known.get(topic).copied(), *truth)).collect();
        for client in clients(outcome, group, epoch) {
            settled.clients += 1;
            for &(topic, word, truth) in &rows {
                check_value(client, topic, word, truth, settled);
            }
        }
    }
}

fn check_value(client: &Final, topic: &str, word: Option<u32>, truth: Truth, settled: &mut Settled) {
    settled.values += 1;
    let v = word.and_then(|word| held(&client.held, word)).map(|(v, _)| v);
    let lost = match v {
        Some(v) => v < truth.v,
        None => truth.in_gateway || truth.holder.is_some_and(|position| position >= client.snapshot_at),
    };
    if lost {
        settled.lost += 1;
        if settled.examples.len() < EXAMPLES_MAX {
            let (held, at) = (v.map_or("nothing".into(), |v| format!("v {v}")), client.position);
            settled
                .examples
                .push(format!("{topic}: a client at version {at} holds {held}, not v {}", truth.v));
        }
    }
}

fn words(known: &Known) -> Vec<(u32, &str)> {
    known.topics.iter().map(|(topic, word, _)| (*word, &**topic)).collect()
}

fn clients(outcome: &Outcome, group: usize, epoch: u64) -> impl Iterator<Item = &Final> {
    outcome.clients.iter().filter(move |client| usize::from(client.group) == group && client.epoch == epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Tally;

    fn client(position: u64, snapshot_at: u64, held: &[u64]) -> Final {
        Final { group: 0, epoch: 1, position, snapshot_at, held: held.to_vec() }
    }

    /// Topics a (word 0) and b (word 1) with the highest `v` at the window's end.
    fn outcome(highest: [u64; 2], clients: Vec<Final>) -> Outcome {
        let topics = vec![("a".to_owned(), 0, highest[0]), ("b".to_owned(), 1, highest[1])];
        Outcome { tally: Tally::default(), clients, catalogs: vec![Known { epoch: 1, topics }] }
    }

    fn lost(outcomes: &[Outcome], gateway: Option<&[(&str, u64)]>) -> u64 {
        let gateway: Option<BTreeMap<String, u64>> =
            gateway.map(|topics| topics.iter().map(|(topic, v)| ((*topic).to_owned(), *v)).collect());
        settle(outcomes, &[vec!["*".into()]], gateway.as_ref()).lost
    }

    #[test]
    fn newer_than_known_at_the_end_is_right_and_older_is_lost() {
        let outcomes = [
            outcome([5, 2], vec![client(90, 10, &[5, 2]), client(95, 10, &[7, 2])]),
            outcome([4, 2], vec![client(90, 10, &[4, 2])]),
        ];
        assert_eq!(lost(&outcomes, None), 1);
    }

    #[test]
    fn a_value_that_only_the_gateway_knows_is_lost_by_everyone() {
        let outcomes = [outcome([5, 2], vec![client(90, 10, &[5, 2]), client(90, 10, &[5, 2])])];
        assert_eq!(lost(&outcomes, Some(&[("a", 5), ("b", 3)])), 2);
        assert_eq!(lost(&outcomes, Some(&[("a", 5), ("b", 2), ("c", 1)])), 2);
        assert_eq!(lost(&outcomes, Some(&[("a", 5), ("b", 2)])), 0);
    }

    #[test]
    fn lacking_a_topic_is_right_only_after_it_was_removed() {
        let holder = client(90, 10, &[5, 2]);
        let joined_later = client(120, 100, &[5, 0]);
        assert_eq!(lost(&[outcome([5, 2], vec![holder, joined_later])], None), 0);
        let holder = client(120, 10, &[5, 2]);
        let joined_before = client(120, 100, &[5, 0]);
        assert_eq!(lost(&[outcome([5, 2], vec![holder, joined_before])], None), 1);
    }

    #[test]
    fn a_missed_removal_is_lost() {
        let gone = 3 | 1 << 63;
        let outcomes = [outcome([5, 3], vec![client(90, 10, &[5, gone]), client(90, 10, &[5, 2])])];
        assert_eq!(lost(&outcomes, None), 1);
    }

    #[test]
    fn another_life_of_the_gateway_is_judged_by_itself() {
        let mut old = outcome([500, 200], vec![client(90, 10, &[500, 200])]);
        old.catalogs[0].epoch = 7;
        old.clients[0].epoch = 7;
        let new = outcome([1, 1], vec![client(3, 1, &[1, 1]), client(3, 1, &[1, 1])]);
        assert_eq!(lost(&[old, new], Some(&[("a", 1), ("b", 1)])), 0);
    }
}
