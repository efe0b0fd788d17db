//! What the connections of a thread subscribe to, and the catalogs that their topics are numbered in.

use std::sync::Arc;

use super::watchlists::Watchlists;
use crate::{
    args::Args,
    judge::{catalog::Catalog, table::KeyBudget},
};

/// Lists of patterns, one catalog each.
#[derive(Debug)]
pub struct Interests {
    /// By list.
    pub catalogs: Vec<Catalog>,
    own: Option<Own>,
}

/// Where everyone has topics of its own out of one pool, whose catalog all share.
#[derive(Debug)]
struct Own {
    lists: Watchlists,
    /// The catalog's words by place in the pool, rising.
    words: Vec<u32>,
}

impl Interests {
    pub fn new(args: &Args, key_budget: &Arc<KeyBudget>) -> Self {
        let catalog = |patterns: &[String]| Catalog::new(patterns, &args.stream, key_budget.clone());
        let mut catalogs: Vec<Catalog> = args.groups.iter().map(|patterns| catalog(patterns)).collect();
        if catalogs.is_empty() {
            // Other protocols have no topics.
            catalogs.push(catalog(&[]));
        }
        let own =
            Watchlists::new(args).map(|lists| Own { words: catalogs[0].number(&args.groups[0]), lists });
        Self { catalogs, own }
    }

    /// What connection `index`, which takes list `group`, subscribes to; another protocol may have none.
    pub fn topics<'a>(&self, args: &'a Args, index: u32, group: u16) -> Vec<&'a str> {
        let Some(patterns) = args.groups.get(usize::from(group)) else { return Vec::new() };
        match &self.own {
            None => patterns.iter().map(String::as_str).collect(),
            Some(own) => own.lists.of(index as usize).iter().map(|at| &*patterns[*at as usize]).collect(),
        }
    }

    /// Whether connection `index` subscribed to all of `words` of its catalog.
    pub fn has(&self, index: u32, words: &[u32]) -> bool {
        self.own.as_ref().is_none_or(|own| {
            let list = own.lists.of(index as usize);
            let mine = |word: &u32| list.binary_search_by_key(word, |at| own.words[*at as usize]).is_ok();
            words.iter().all(mine)
        })
    }

    pub fn are_own(&self) -> bool {
        self.own.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;

    fn args(interests: &str) -> Args {
        let flags = ["loadgen", "--url", "ws://127.0.0.1:1/ws", "--topics", "t{00..99}", "--seed", "7"];
        let words: Vec<String> =
            flags.iter().chain(&["--interests", interests]).map(|word| (*word).to_owned()).collect();
        Args::check(args::parse_with_scenario(&words).unwrap()).unwrap()
    }

    #[test]
    fn a_connection_has_the_topics_that_it_asks_for_and_no_others() {
        let args = args("random:20");
        let mut interests = Interests::new(&args, &Arc::default());
        for index in 0..50 {
            let mine = interests.topics(&args, index, 0);
            let has: Vec<&str> = args.groups[0]
                .iter()
                .map(String::as_str)
                .filter(|topic| {
                    let word = interests.catalogs[0].place(topic).unwrap().word;
                    interests.has(index, &[word])
                })
                .collect();
            assert!(mine.len() == 20 && mine == has, "{mine:?} {has:?}");
        }
    }

    #[test]
    fn a_shared_list_is_asked_for_as_it_stands() {
        let args = args("classes:2");
        let interests = Interests::new(&args, &Arc::default());
        assert!(!interests.are_own() && interests.has(1, &[3]));
        assert_eq!(interests.topics(&args, 1, 1), args.groups[1]);
    }
}
