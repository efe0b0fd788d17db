//! The final check: what was known when the window ended is held by everyone 2 s later.
//!
//! The feed may go on, so the measure is taken *at* the window's end: per topic the highest `v` that
//! any client had seen, and what `GET /topics` answered then. Clients may hold newer values, never
//! older ones; with a feed that has stopped this is equality.
//!
//! A client that lacks a topic altogether may be right, if the topic was removed before its last
//! snapshot. It is wrong where another client holds that topic at a position that is not below that
//! snapshot's: batches are complete, so the topic existed there.

use std::collections::{BTreeMap, HashMap};

use super::{
    holdings::{ClientHoldings, Holdings, Known},
    topic::Patterns,
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

/// The life of the gateway that most clients know: after a restart some may still be on their way.
pub fn present_epoch(holdings: &[Holdings]) -> Option<u64> {
    let epochs = epochs(holdings);
    epochs.iter().max_by_key(|(_, clients)| **clients).map(|(epoch, _)| *epoch)
}

/// Clients by the life that they know.
fn epochs(holdings: &[Holdings]) -> BTreeMap<u64, u64> {
    let clients = holdings.iter().flat_map(|thread| &thread.clients);
    clients.fold(BTreeMap::new(), |mut counts, client| {
        *counts.entry(client.epoch).or_default() += 1;
        counts
    })
}

/// Compares all clients with each other and with `gateway`: its topics as the window ended, and
/// still there now. `groups` are the lists of patterns; with `own` everyone holds topics of its own
/// out of the only one: those at the places that it gives for a client's number.
pub fn settle(
    holdings: &[Holdings],
    groups: &[Vec<String>],
    own: Option<&dyn Fn(usize) -> Vec<u32>>,
    gateway: Option<&BTreeMap<String, u64>>,
) -> Settled {
    let mut settled = Settled::default();
    let (present, epochs) = (present_epoch(holdings), epochs(holdings));
    for (group, patterns) in groups.iter().enumerate() {
        for &epoch in epochs.keys() {
            let gateway = gateway.filter(|_| Some(epoch) == present);
            let mut truths = Truths::new(holdings, group, patterns, epoch, gateway);
            truths.find_holders(holdings, group, epoch);
            truths.check(
                holdings,
                group,
                epoch,
                &|index| own.map(|places| places(index).iter().map(|at| &*patterns[*at as usize]).collect()),
                &mut settled,
            );
        }
    }
    settled
}

/// What the clients of one list of patterns should hold, in one life of the gateway.
struct Truths<'a> {
    truths: Vec<(&'a str, Truth)>,
    by_topic: HashMap<&'a str, usize>,
}

impl<'a> Truths<'a> {
    fn new(
        holdings: &'a [Holdings],
        group: usize,
        patterns: &[String],
        epoch: u64,
        gateway: Option<&'a BTreeMap<String, u64>>,
    ) -> Self {
        let patterns = Patterns::new(patterns);
        let mut all = Self { truths: Vec::new(), by_topic: HashMap::new() };
        for (topic, &v) in gateway.into_iter().flatten().filter(|(topic, _)| patterns.matches(topic)) {
            *all.of(topic) = Truth { v, holder: None, in_gateway: true };
        }
        for known in holdings.iter().map(|thread| &thread.at_end[group]).filter(|known| known.epoch == epoch)
        {
            for (topic, _, highest) in known.topics.iter().filter(|(_, _, highest)| highest.v > 0) {
                let truth = all.of(topic);
                truth.v = truth.v.max(highest.v);
            }
        }
        all
    }

    fn of(&mut self, topic: &'a str) -> &mut Truth {
        let next = self.truths.len();
        let at = *self.by_topic.entry(topic).or_insert(next);
        if at == next {
            self.truths.push((topic, Truth::default()));
        }
        &mut self.truths[at].1
    }

    fn find_holders(&mut self, holdings: &[Holdings], group: usize, epoch: u64) {
        for thread in holdings {
            let words: HashMap<u32, usize> =
                self.words(&thread.at_last[group]).map(|(at, word)| (word, at)).collect();
            for client in clients(thread, group, epoch) {
                for (word, v, _) in client.held.entries().filter(|(_, _, gone)| !gone) {
                    let Some(at) = words.get(&word) else { continue };
                    let truth = &mut self.truths[*at].1;
                    if v >= truth.v {
                        truth.holder = truth.holder.max(Some(client.position));
                    }
                }
            }
        }
    }

    /// `own`: the topics of a client by its number, where it has some of its own.
    fn check(
        &self,
        holdings: &[Holdings],
        group: usize,
        epoch: u64,
        own: &dyn Fn(usize) -> Option<Vec<&'a str>>,
        settled: &mut Settled,
    ) {
        for thread in holdings {
            let mut words = vec![None; self.truths.len()];
            self.words(&thread.at_last[group]).for_each(|(at, word)| words[at] = Some(word));
            for client in clients(thread, group, epoch) {
                settled.clients += 1;
                let mut check = |at: usize| {
                    let (topic, truth) = self.truths[at];
                    check_value(client, topic, words[at], truth, settled);
                };
                match own(client.index) {
                    None => (0..self.truths.len()).for_each(check),
                    Some(topics) => {
                        topics.iter().filter_map(|topic| self.by_topic.get(topic)).for_each(|at| check(*at));
                    }
                }
            }
        }
    }

    /// Places of truths with the words that they have in a catalog.
    fn words(&self, known: &Known) -> impl Iterator<Item = (usize, u32)> {
        known.topics.iter().filter_map(|(topic, word, _)| Some((*self.by_topic.get(&**topic)?, *word)))
    }
}

fn check_value(client: &ClientHoldings, topic: &str, word: Option<u32>, truth: Truth, settled: &mut Settled) {
    settled.values += 1;
    let v = word.and_then(|word| client.held.get(word)).map(|(v, _)| v);
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
                .push(format!("lost: {topic}: a client at version {at} holds {held}, not v {}", truth.v));
        }
    }
}

fn clients(thread: &Holdings, group: usize, epoch: u64) -> impl Iterator<Item = &ClientHoldings> {
    thread.clients.iter().filter(move |client| usize::from(client.group) == group && client.epoch == epoch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{catalog::Highest, row::Row};

    fn client(position: u64, snapshot_at: u64, held: &[u64]) -> ClientHoldings {
        ClientHoldings {
            index: 0,
            group: 0,
            epoch: 1,
            position,
            snapshot_at,
            held: Row::Dense(held.to_vec()),
            tables: Vec::new(),
        }
    }

    /// Topics a (word 0) and b (word 1) with the highest `v` at the window's end.
    fn thread(highest: [u64; 2], clients: Vec<ClientHoldings>) -> Holdings {
        let highest = |at: usize| Highest { v: highest[at], value: 0 };
        let topics = vec![("a".to_owned(), 0, highest(0)), ("b".to_owned(), 1, highest(1))];
        let known = || vec![Known { epoch: 1, topics: topics.clone() }];
        Holdings { clients, at_end: known(), at_last: known() }
    }

    fn lost(holdings: &[Holdings], gateway: Option<&[(&str, u64)]>) -> u64 {
        let gateway: Option<BTreeMap<String, u64>> =
            gateway.map(|topics| topics.iter().map(|(topic, v)| ((*topic).to_owned(), *v)).collect());
        settle(holdings, &[vec!["*".into()]], None, gateway.as_ref()).lost
    }

    #[test]
    fn newer_than_known_at_the_end_is_right_and_older_is_lost() {
        let holdings = [
            thread([5, 2], vec![client(90, 10, &[5, 2]), client(95, 10, &[7, 2])]),
            thread([4, 2], vec![client(90, 10, &[4, 2])]),
        ];
        assert_eq!(lost(&holdings, None), 1);
    }

    #[test]
    fn a_value_that_only_the_gateway_knows_is_lost_by_everyone() {
        let holdings = [thread([5, 2], vec![client(90, 10, &[5, 2]), client(90, 10, &[5, 2])])];
        assert_eq!(lost(&holdings, Some(&[("a", 5), ("b", 3)])), 2);
        assert_eq!(lost(&holdings, Some(&[("a", 5), ("b", 2), ("c", 1)])), 2);
        assert_eq!(lost(&holdings, Some(&[("a", 5), ("b", 2)])), 0);
    }

    #[test]
    fn a_topic_born_as_the_window_ends_is_held_by_who_was_told_of_it_after() {
        let mut thread = thread([5, 2], vec![client(90, 10, &[5, 2, 1]), client(90, 10, &[5, 2])]);
        let highest = Highest { v: 1, value: 0 };
        thread.at_last[0].topics.push(("c".to_owned(), 2, highest));
        assert_eq!(lost(&[thread], Some(&[("a", 5), ("b", 2), ("c", 1)])), 1, "by one of them");
    }

    #[test]
    fn lacking_a_topic_is_right_only_after_it_was_removed() {
        let holder = client(90, 10, &[5, 2]);
        let joined_later = client(120, 100, &[5, 0]);
        assert_eq!(lost(&[thread([5, 2], vec![holder, joined_later])], None), 0);
        let holder = client(120, 10, &[5, 2]);
        let joined_before = client(120, 100, &[5, 0]);
        assert_eq!(lost(&[thread([5, 2], vec![holder, joined_before])], None), 1);
    }

    #[test]
    fn a_missed_removal_is_lost() {
        let gone = 3 | 1 << 63;
        let holdings = [thread([5, 3], vec![client(90, 10, &[5, gone]), client(90, 10, &[5, 2])])];
        assert_eq!(lost(&holdings, None), 1);
    }

    #[test]
    fn another_life_of_the_gateway_is_judged_by_itself() {
        let mut old = thread([500, 200], vec![client(90, 10, &[500, 200])]);
        old.at_end[0].epoch = 7;
        old.clients[0].epoch = 7;
        let new = thread([1, 1], vec![client(3, 1, &[1, 1]), client(3, 1, &[1, 1])]);
        assert_eq!(lost(&[old, new], Some(&[("a", 1), ("b", 1)])), 0);
    }

    #[test]
    fn topics_of_ones_own_are_judged_and_no_others() {
        let pool = ["a".to_owned(), "b".into()];
        let own = |index: usize| vec![index as u32 % 2];
        let holder = |index: usize, v: u64| {
            let mut held = Row::Sparse(Vec::new());
            held.set(own(index)[0], v, false);
            ClientHoldings { index, held, ..client(90, 10, &[]) }
        };
        let b = 3;
        let settle = |clients, gateway: &BTreeMap<String, u64>| {
            let holdings = [thread([5, 2], clients)];
            let settled = settle(&holdings, &[pool.to_vec()], Some(&own), Some(gateway));
            (settled.clients, settled.values, settled.lost)
        };
        let gateway = BTreeMap::from([("a".to_owned(), 5), ("b".to_owned(), 2)]);
        assert_eq!(settle(vec![holder(b, 2)], &gateway), (1, 1, 0), "a is not its topic");
        assert_eq!(settle(vec![holder(b, 1)], &gateway), (1, 1, 1), "b at v 1 is older than 2");
        let nothing = ClientHoldings { held: Row::Sparse(Vec::new()), ..holder(b, 2) };
        assert_eq!(settle(vec![nothing], &gateway), (1, 1, 1), "b is in the gateway");
    }
}
