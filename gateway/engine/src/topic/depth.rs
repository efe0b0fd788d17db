//! How many levels of each side of a book stay: what a venue leaves to its clients to forget.

use std::cmp::Ordering;

use crate::{json::decimal::Decimal, topic::key::write_key};

/// Where a side's best price is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Best {
    /// Of bids.
    Highest,
    /// Of asks.
    Lowest,
}

impl Best {
    pub fn name(self) -> &'static str {
        match self {
            Best::Highest => "highest",
            Best::Lowest => "lowest",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Best::Highest, Best::Lowest].into_iter().find(|best| best.name() == name)
    }
}

/// The best so many levels of each side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Depth {
    pub levels: usize,
    sides: Vec<Side>,
}

/// Keys that begin alike, with a price after it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Side {
    /// As the keys have it in JSON, with the quote before it.
    prefix: Vec<u8>,
    best: Best,
}

impl Depth {
    /// `sides`: what goes before the price, and where the best one is. None begins with another one.
    pub fn new<'a>(levels: usize, sides: impl Iterator<Item = (&'a str, Best)>) -> Self {
        let side = |(prefix, best)| {
            let mut json = Vec::new();
            write_key(&mut json, prefix);
            json.pop();
            Side { prefix: json, best }
        };
        Self { levels, sides: sides.map(side).collect() }
    }

    /// Keys that the table may hold without any that is beyond the depth.
    pub fn keys(&self) -> usize {
        self.levels.saturating_mul(self.sides.len())
    }

    /// Those of a table's keys, JSON strings, that are not among the best of their side. A key that is no
    /// price of a side stays.
    pub fn beyond<'k, K: Iterator<Item = &'k [u8]>>(&self, keys: impl Fn() -> K) -> Vec<&'k [u8]> {
        // Mostly there are few enough, which is seen without reading prices.
        let is_full = |side: &Side| keys().filter(|key| key.starts_with(&side.prefix)).count() > self.levels;
        if !self.sides.iter().any(is_full) {
            return Vec::new();
        }
        let mut prices: Vec<Vec<(Decimal<'k>, &'k [u8])>> = self.sides.iter().map(|_| Vec::new()).collect();
        for key in keys() {
            let price = |side: &Side| {
                let text = key.strip_prefix(&*side.prefix)?.strip_suffix(b"\"")?;
                Decimal::parse(std::str::from_utf8(text).ok()?)
            };
            if let Some((at, price)) =
                self.sides.iter().enumerate().find_map(|(at, side)| Some((at, price(side)?)))
            {
                prices[at].push((price, key));
            }
        }
        let mut beyond = Vec::new();
        for (side, mut prices) in self.sides.iter().zip(prices) {
            if prices.len() > self.levels {
                prices.select_nth_unstable_by(self.levels, |a, b| side.order(a, b));
                beyond.extend(prices[self.levels..].iter().map(|(_, key)| *key));
            }
        }
        beyond
    }
}

impl Side {
    /// The best first. Of a price that is written in two ways the order is fixed too.
    fn order(&self, a: &(Decimal<'_>, &[u8]), b: &(Decimal<'_>, &[u8])) -> Ordering {
        let by_price = match self.best {
            Best::Highest => b.0.cmp(&a.0),
            Best::Lowest => a.0.cmp(&b.0),
        };
        by_price.then_with(|| a.1.cmp(b.1))
    }
}

#[cfg(test)]
mod tests {
    use crate::topic::depth::*;

    fn beyond(levels: usize, sides: &[(&str, Best)], keys: &[&str]) -> Vec<String> {
        let depth = Depth::new(levels, sides.iter().copied());
        let json: Vec<String> = keys.iter().map(|key| format!("\"{key}\"")).collect();
        let beyond = depth.beyond(|| json.iter().map(|key| key.as_bytes()));
        let mut beyond: Vec<String> = beyond
            .into_iter()
            .map(|key| String::from_utf8(key[1..key.len() - 1].to_vec()).unwrap())
            .collect();
        beyond.sort();
        beyond
    }

    const BOOK: [(&str, Best); 2] = [("b", Best::Highest), ("a", Best::Lowest)];

    #[test]
    fn the_worst_of_each_side_are_beyond_and_prices_are_no_texts() {
        let keys = ["b9.5", "b10", "b100.0", "a9.5", "a10", "a1e2", "x1", "b", "bid"];
        assert_eq!(beyond(2, &BOOK, &keys), ["a1e2", "b9.5"]);
        assert_eq!(beyond(3, &BOOK, &keys), [""; 0]);
        assert_eq!(beyond(1, &BOOK, &["b-3", "b-2", "a-3", "a-2"]), ["a-2", "b-3"]);
    }

    #[test]
    fn prices_that_no_float_tells_apart_keep_their_order() {
        let keys = ["b100000000000000000000.1", "b100000000000000000000.2", "b99999999999999999999.9"];
        assert_eq!(beyond(1, &BOOK, &keys), ["b100000000000000000000.1", "b99999999999999999999.9"]);
        assert_eq!(beyond(1, &[("", Best::Lowest)], &["1e-400", "2e-400"]), ["2e-400"]);
    }

    #[test]
    fn one_price_written_in_two_ways_is_cut_in_the_same_way_each_time() {
        assert_eq!(beyond(1, &BOOK, &["b1.0", "b1"]), beyond(1, &BOOK, &["b1", "b1.0"]));
    }
}
