//! `--interests random:K` and `zipf:K`: topics of each connection's own, drawn from the seed and its number.

use fastrand::Rng;

use crate::args::{Args, InterestKind, Popularity};

/// Draws that may hit what was drawn before, for each topic wanted, until the rest is filled in order.
const DRAWS_PER_TOPIC: usize = 64;

/// How lists are drawn; they are not kept.
#[derive(Debug)]
pub struct Watchlists {
    seed: u64,
    /// Topics to choose from, and how many of them a list has.
    pool: usize,
    topics: usize,
    /// By Zipf's law: the sum of 1/n up to each topic. Empty: all are as likely.
    weights: Vec<f64>,
}

impl Watchlists {
    /// `None` where connections share lists.
    pub fn new(args: &Args) -> Option<Self> {
        let InterestKind::Own { topics, popularity } = args.interests else { return None };
        let pool = args.groups.first()?.len();
        let weights = match popularity {
            Popularity::Even => Vec::new(),
            Popularity::Zipf => zipf(pool),
        };
        Some(Self { seed: args.seed, pool, topics, weights })
    }

    /// The list of connection `index`: places in the pool, rising, each once. Always the same.
    pub fn of(&self, index: usize) -> Vec<u32> {
        let mut rng = Rng::with_seed(self.seed ^ (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut list = Vec::with_capacity(self.topics);
        let take = |list: &mut Vec<u32>, topic: u32| {
            if let Err(at) = list.binary_search(&topic) {
                list.insert(at, topic);
            }
        };
        for _ in 0..self.topics * DRAWS_PER_TOPIC {
            if list.len() == self.topics {
                return list;
            }
            let topic = self.draw(&mut rng);
            take(&mut list, topic);
        }
        // Nearly the whole pool is wanted: the first that are missing complete it.
        for topic in 0..self.pool as u32 {
            if list.len() == self.topics {
                break;
            }
            take(&mut list, topic);
        }
        list
    }

    fn draw(&self, rng: &mut Rng) -> u32 {
        let Some(sum) = self.weights.last() else { return rng.u32(..self.pool as u32) };
        let point = rng.f64() * sum;
        let at = self.weights.partition_point(|weight| *weight <= point);
        at.min(self.pool - 1) as u32
    }
}

fn zipf(pool: usize) -> Vec<f64> {
    let mut sum = 0.0;
    let weight = |n: usize| {
        sum += 1.0 / n as f64;
        sum
    };
    (1..=pool).map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(pool: usize, topics: usize, zipf_law: bool) -> Watchlists {
        Watchlists { seed: 7, pool, topics, weights: if zipf_law { zipf(pool) } else { Vec::new() } }
    }

    #[test]
    fn lists_have_their_length_no_repeats_and_come_again() {
        for zipf_law in [false, true] {
            let lists = lists(2000, 20, zipf_law);
            for index in 0..200 {
                let list = lists.of(index);
                assert!(list.len() == 20 && list.is_sorted_by(|a, b| a < b), "{list:?}");
                assert_eq!(list, lists.of(index));
            }
            assert_ne!(lists.of(0), lists.of(1));
        }
    }

    #[test]
    fn the_whole_pool_may_be_wanted() {
        for zipf_law in [false, true] {
            assert_eq!(lists(500, 500, zipf_law).of(3), (0..500).collect::<Vec<u32>>());
        }
    }

    #[test]
    fn zipf_favours_the_first_topics_and_even_does_not() {
        let share = |zipf_law| {
            let lists = lists(1000, 5, zipf_law);
            (0..1000).filter(|index| lists.of(*index).contains(&0)).count()
        };
        let (zipf, even) = (share(true), share(false));
        // 5 draws at 1/7.49 each, less repeats; 5 of 1,000.
        assert!((400..600).contains(&zipf) && even < 30, "{zipf} {even}");
    }
}
