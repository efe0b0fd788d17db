//! The final check of values: under one `v` of a topic everyone was given the same, and it is what
//! the gateway has.
//!
//! Each thread's catalogs note the value of the highest `v` of a topic, which stands for all clients
//! that received it (see [`fingerprint`]). A topic that moved on between the last frame and the
//! gateway's answer cannot be compared with it.

use std::collections::{HashMap, hash_map::Entry};

use serde_json::value::RawValue;

use super::{
    catalog::{Highest, KEYED, fingerprint},
    holdings::Holdings,
    table::Members,
};

/// Differences told on stderr, the first ones.
const EXAMPLES_MAX: usize = 5;

/// What the check found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Topics whose value differed under the same `v`, once for each pair that did.
    pub differ: u64,
    /// Topics whose `v` was the gateway's, so that the values could be compared.
    pub with_gateway: u64,
    /// Clients' tables of keyed topics that were compared with another client's or the gateway's.
    pub tables: u64,
    pub examples: Vec<String>,
}

/// What the gateway has of a topic.
#[derive(Debug, Clone, Copy)]
pub struct GatewayValue {
    pub highest: Highest,
    /// The sum of its members, where it is an object.
    pub table: Option<u64>,
}

impl GatewayValue {
    pub fn new(v: u64, data: &RawValue) -> Self {
        Self {
            highest: Highest { v, value: fingerprint(Some(data.get())) },
            table: serde_json::from_str(data.get()).ok().map(|members: Members| members.sum()),
        }
    }
}

/// Compares what the threads of `holdings` saw in `epoch` with each other and with `gateway`.
pub fn compare(
    holdings: &[Holdings],
    epoch: Option<u64>,
    gateway: &HashMap<String, GatewayValue>,
) -> Compared {
    let mut compared = Compared::default();
    let mut seen: HashMap<&str, Highest> = HashMap::new();
    let catalogs = holdings.iter().flat_map(|thread| &thread.at_last);
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
        if let Some(ours) = seen.get(&**topic).filter(|ours| ours.value != KEYED) {
            compared.with_gateway += u64::from(ours.v == theirs.highest.v);
            compared.count(topic, *ours, theirs.highest, "the gateway");
        }
    }
    compared.tables(holdings, epoch, gateway);
    compared
}

impl Compared {
    /// Tables of the same topic at the same `v` hold the same, at every client and at the gateway.
    fn tables(&mut self, holdings: &[Holdings], epoch: Option<u64>, gateway: &HashMap<String, GatewayValue>) {
        let mut sums: HashMap<(&str, u64), (u64, &str)> = HashMap::new();
        for (topic, fetched) in gateway {
            if let Some(sum) = fetched.table {
                sums.insert((topic, fetched.highest.v), (sum, "the gateway"));
            }
        }
        for thread in holdings {
            let names: Vec<HashMap<u32, &str>> = thread
                .at_last
                .iter()
                .map(|known| known.topics.iter().map(|(topic, word, _)| (*word, &**topic)).collect())
                .collect();
            for client in thread.clients.iter().filter(|client| Some(client.epoch) == epoch) {
                for (word, v, sum) in &client.tables {
                    let Some(topic) = names[usize::from(client.group)].get(word) else { continue };
                    let (other, whose) = match sums.entry((topic, *v)) {
                        Entry::Vacant(vacant) => {
                            vacant.insert((*sum, "another client"));
                            continue;
                        }
                        Entry::Occupied(known) => *known.get(),
                    };
                    self.tables += 1;
                    self.count(topic, Highest { v: *v, value: *sum }, Highest { v: *v, value: other }, whose);
                }
            }
        }
    }

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
    use crate::judge::{
        holdings::{ClientHoldings, Known},
        row::Row,
    };

    fn thread(topic: &str, v: u64, data: &str) -> Holdings {
        let highest = Highest { v, value: fingerprint(Some(data)) };
        let known = Known { epoch: 7, topics: vec![(topic.to_owned(), 0, highest)] };
        Holdings { at_last: vec![known], ..Holdings::default() }
    }

    fn gateway(v: u64, data: &str) -> HashMap<String, GatewayValue> {
        let highest = Highest { v, value: fingerprint(Some(data)) };
        HashMap::from([("a".to_owned(), GatewayValue { highest, table: None })])
    }

    #[test]
    fn the_same_v_must_be_the_same_value_everywhere() {
        let holdings = [thread("a", 5, "1"), thread("a", 5, "2")];
        assert_eq!(compare(&holdings, Some(7), &HashMap::new()).differ, 1);
        let holdings = [thread("a", 5, "1"), thread("a", 4, "2"), thread("b", 5, "2")];
        assert_eq!(compare(&holdings, Some(7), &HashMap::new()), Compared::default());
    }

    #[test]
    fn the_gateway_is_compared_where_nothing_moved_on() {
        let holdings = [thread("a", 5, "1")];
        let compare = |gateway| compare(&holdings, Some(7), &gateway);
        assert_eq!((compare(gateway(5, "1")).differ, compare(gateway(5, "1")).with_gateway), (0, 1));
        assert_eq!((compare(gateway(5, "1.0")).differ, compare(gateway(5, "1.0")).with_gateway), (1, 1));
        assert_eq!((compare(gateway(6, "2")).differ, compare(gateway(6, "2")).with_gateway), (0, 0));
    }

    #[test]
    fn tables_at_the_same_v_must_be_the_same_everywhere() {
        let client = |v, sum| ClientHoldings {
            index: 0,
            group: 0,
            epoch: 7,
            position: 1,
            snapshot_at: 1,
            held: Row::default(),
            tables: vec![(0, v, sum)],
        };
        let mut thread = thread("a", 5, "1");
        thread.at_last[0].topics[0].2.value = KEYED;
        let mut compared = |clients, gateway: HashMap<String, GatewayValue>| {
            thread.clients = clients;
            let compared = compare(std::slice::from_ref(&thread), Some(7), &gateway);
            (compared.tables, compared.differ)
        };
        assert_eq!(compared(vec![client(5, 1), client(5, 1), client(4, 9)], HashMap::new()), (1, 0));
        assert_eq!(compared(vec![client(5, 1), client(5, 2)], HashMap::new()), (1, 1));
        let gateway = |json: &str| {
            let mut gateway = gateway(5, json);
            let sum = serde_json::from_str::<Members>(json).unwrap().sum();
            gateway.get_mut("a").unwrap().table = Some(sum);
            (gateway, sum)
        };
        let (held, sum) = gateway(r#"{"k":1}"#);
        assert_eq!(compared(vec![client(5, sum)], held.clone()), (1, 0));
        assert_eq!(compared(vec![client(5, sum + 1), client(6, 3)], held), (1, 1));
    }

    #[test]
    fn another_life_of_the_gateway_is_not_compared() {
        let holdings = [thread("a", 5, "1"), thread("a", 5, "2")];
        assert_eq!(compare(&holdings, Some(8), &gateway(5, "3")), Compared::default());
    }
}
