//! What the connections of a thread subscribe to, and the catalogs that their topics are numbered in.

use crate::{args::Args, judge::catalog::Catalog, watchlists::Watchlists};

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
    /// The catalog's words by place in the pool.
    words: Vec<u32>,
}

impl Interests {
    pub fn new(args: &Args) -> Self {
        let mut catalogs: Vec<Catalog> =
            args.groups.iter().map(|patterns| Catalog::new(patterns, &args.stream)).collect();
        if catalogs.is_empty() {
            // Other protocols have no topics.
            catalogs.push(Catalog::new(&[], &args.stream));
        }
        let own =
            Watchlists::new(args).map(|lists| Own { words: catalogs[0].number(&args.groups[0]), lists });
        Self { catalogs, own }
    }

    /// What connection `index`, which takes list `group`, subscribes to.
    pub fn topics<'a>(&self, args: &'a Args, index: u32, group: u16) -> Vec<&'a str> {
        let patterns = &args.groups[usize::from(group)];
        match &self.own {
            None => patterns.iter().map(String::as_str).collect(),
            Some(own) => own.lists.of(index as usize).iter().map(|at| &*patterns[*at as usize]).collect(),
        }
    }

    /// Whether connection `index` subscribed to all of `words` of its catalog.
    pub fn has(&self, index: u32, words: &[u32]) -> bool {
        self.own.as_ref().is_none_or(|own| {
            let list = own.lists.of(index as usize);
            let mine = |word: &u32| list.iter().any(|at| own.words[*at as usize] == *word);
            words.iter().all(mine)
        })
    }

    pub fn are_own(&self) -> bool {
        self.own.is_some()
    }
}
