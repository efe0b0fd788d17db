//! What a source has brought, topic by topic: after its connection was made anew a topic can be relied upon
//! again when it was itself brought again.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use engine::{
    sequencer::{Body, Publication},
    topic::{changes::Base, pattern::Pattern},
};

/// Topics that a venue's refusals name at once. More are only counted.
const REFUSED_MAX: usize = 1000;

/// What came to [`Brought`] since it was last asked.
#[derive(Debug, Default)]
pub struct News {
    /// A connection has ended since.
    pub is_lost: bool,
    /// Topics that are back, or new, since the connection was made anew while others are not back.
    pub back: Vec<Arc<str>>,
    /// What a venue refuses, and why; `None`: they came after all, or it is asked again.
    pub refused: Vec<(Pattern, Option<String>)>,
}

/// Topics of one source.
#[derive(Debug, Default)]
pub struct Brought {
    /// Whether each was ever brought whole, as a book is.
    topics: HashMap<Arc<str>, bool>,
    /// Those brought on an earlier connection and not on this one.
    left: HashSet<Arc<str>>,
    refused: BTreeSet<Pattern>,
    news: News,
}

/// What an update says of its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Portion {
    /// All of it.
    Whole,
    /// A change that is counted, so that a hole before it shows.
    Counted,
    /// A change that may follow upon a hole.
    Change,
}

impl Portion {
    pub fn of(publication: &Publication) -> Self {
        match &publication.body {
            Body::Changes(changes) if changes.base == Base::Held => match publication.seq {
                Some(seq) if seq.is_counted() => Portion::Counted,
                _ => Portion::Change,
            },
            _ => Portion::Whole,
        }
    }
}

impl Brought {
    /// An update of the topic was taken. What is refused of it ends, it and the patterns that select it, unless
    /// the update may follow upon a hole; gives what has ended.
    pub fn end_refusals(&mut self, topic: &Arc<str>, portion: Portion) -> Vec<Pattern> {
        let may_lack = portion == Portion::Change && self.topics.get(topic) == Some(&true);
        if self.refused.is_empty() || may_lack {
            return Vec::new();
        }
        let prefixes = topic.match_indices('.').map(|(at, _)| format!("{}.*", &topic[..at]));
        let names = prefixes.chain([topic.to_string(), "*".to_owned()]);
        let ended: Vec<Pattern> = names.filter_map(|name| self.refused.take(&*name)).collect();
        self.news.refused.extend(ended.iter().map(|refused| (refused.clone(), None)));
        ended
    }

    /// An update of the topic was taken, or the topic's last one confirmed. At most `max` topics are remembered.
    pub fn bring(&mut self, topic: &Arc<str>, portion: Portion, max: usize) {
        let is_whole = portion == Portion::Whole;
        let is_new = match self.topics.get_mut(topic) {
            // A book that comes whole after each connect is not back before it does.
            Some(true) if portion == Portion::Change && self.left.contains(topic) => return,
            Some(was_whole) => {
                *was_whole |= is_whole;
                false
            }
            None => {
                if self.topics.len() < max {
                    self.topics.insert(topic.clone(), is_whole);
                }
                true
            }
        };
        if !self.left.is_empty() && (is_new || self.left.remove(topic)) {
            self.news.back.push(topic.clone());
        }
    }

    /// The connection has ended: every topic that `exists` is to be brought again. What was refused will be
    /// asked for again.
    pub fn lose(&mut self, exists: impl Fn(&str) -> bool) {
        // Nothing may have come since the last time.
        if self.left.len() < self.topics.len() {
            self.topics.retain(|topic, _| exists(topic));
            self.left = self.topics.keys().cloned().collect();
        }
        self.news.is_lost = true;
        self.news.back.clear();
        let refused = std::mem::take(&mut self.refused);
        self.news.refused.extend(refused.into_iter().map(|topic| (topic, None)));
    }

    /// The topic exists no more, so it is not to be brought again.
    pub fn forget(&mut self, topic: &Arc<str>) {
        self.topics.remove(topic);
        if self.left.remove(topic) {
            self.news.back.push(topic.clone());
        }
    }

    /// A venue refuses a topic or a pattern. `false`: too many are refused, it is not told.
    pub fn refuse(&mut self, topic: Pattern, why: String) -> bool {
        let is_told = self.refused.len() < REFUSED_MAX || self.refused.contains(&topic);
        if is_told {
            self.refused.insert(topic.clone());
            self.news.refused.push((topic, Some(why)));
        }
        is_told
    }

    /// Those brought on an earlier connection and not on this one, sorted.
    pub fn left(&self) -> Vec<Arc<str>> {
        let mut left: Vec<Arc<str>> = self.left.iter().cloned().collect();
        left.sort();
        left
    }

    pub fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }
}

#[cfg(test)]
mod tests {
    use crate::source::brought::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    fn bring(brought: &mut Brought, topic: &str, portion: Portion) {
        brought.bring(&topic.into(), portion, 3);
    }

    fn back(brought: &mut Brought) -> Vec<String> {
        brought.take_news().back.iter().map(|topic| topic.to_string()).collect()
    }

    fn left(brought: &Brought) -> Vec<String> {
        brought.left().iter().map(|topic| topic.to_string()).collect()
    }

    #[test]
    fn after_a_new_connect_each_topic_is_back_by_itself_and_a_book_when_it_is_whole() {
        let mut brought = Brought::default();
        bring(&mut brought, "book", Portion::Whole);
        bring(&mut brought, "book", Portion::Change);
        bring(&mut brought, "tick", Portion::Whole);
        bring(&mut brought, "depth", Portion::Change);
        assert_eq!((left(&brought), back(&mut brought)), (vec![], vec![]));
        brought.lose(|_| true);
        assert_eq!(left(&brought), ["book", "depth", "tick"]);
        bring(&mut brought, "book", Portion::Change);
        bring(&mut brought, "tick", Portion::Whole);
        bring(&mut brought, "depth", Portion::Change);
        bring(&mut brought, "new", Portion::Change);
        assert_eq!(
            (left(&brought), back(&mut brought)),
            (vec!["book".into()], vec!["tick".into(), "depth".into(), "new".into()])
        );
        bring(&mut brought, "book", Portion::Whole);
        assert_eq!((left(&brought), back(&mut brought)), (vec![], vec!["book".to_owned()]));
        brought.lose(|topic| topic == "book");
        bring(&mut brought, "book", Portion::Counted);
        assert_eq!(left(&brought), [""; 0], "a count tells what is missing; the others exist no more");
        bring(&mut brought, "tick", Portion::Whole);
        brought.lose(|_| true);
        back(&mut brought);
        brought.forget(&"tick".into());
        assert_eq!((left(&brought), back(&mut brought)), (vec!["book".to_owned()], vec!["tick".to_owned()]));
    }

    #[test]
    fn what_is_refused_ends_when_it_comes_or_the_connection_ends() {
        let mut brought = Brought::default();
        for topic in ["a", "b.*"] {
            brought.refuse(pattern(topic), "no such symbol".to_owned());
        }
        let told = |brought: &mut Brought| {
            let told = brought.take_news().refused.into_iter();
            told.map(|(topic, why)| (topic.to_string(), why.is_some())).collect::<Vec<_>>()
        };
        assert_eq!(told(&mut brought), [("a".to_owned(), true), ("b.*".to_owned(), true)]);
        bring(&mut brought, "a", Portion::Whole);
        assert!(told(&mut brought).is_empty(), "what only confirms what is held ends nothing");
        assert_eq!(brought.end_refusals(&"a".into(), Portion::Change), []);
        assert_eq!(brought.end_refusals(&"a".into(), Portion::Whole), [pattern("a")]);
        assert_eq!(brought.end_refusals(&"a".into(), Portion::Whole), []);
        assert_eq!(told(&mut brought), [("a".to_owned(), false)]);
        brought.end_refusals(&"b".into(), Portion::Whole);
        brought.end_refusals(&"bc.d".into(), Portion::Whole);
        assert_eq!(told(&mut brought), []);
        brought.lose(|_| true);
        assert_eq!(told(&mut brought), [("b.*".to_owned(), false)]);
        // One that names no topic ends with the first topic of it.
        for topic in ["b.*", "b.c.*", "b.c.d.*", "*", "c.*"] {
            brought.refuse(pattern(topic), "busy".to_owned());
        }
        brought.take_news();
        let ended = brought.end_refusals(&"b.c.d".into(), Portion::Change);
        assert_eq!(ended, ["b.*", "b.c.*", "*"].map(pattern));
        assert_eq!(brought.end_refusals(&"b.c.d".into(), Portion::Change), []);
        assert_eq!(told(&mut brought), ["b.*", "b.c.*", "*"].map(|topic| (topic.to_owned(), false)));
        brought.lose(|_| true);
        assert_eq!(told(&mut brought), ["b.c.d.*", "c.*"].map(|topic| (topic.to_owned(), false)));
        for n in 0..2 * REFUSED_MAX {
            brought.refuse(pattern(&n.to_string()), String::new());
        }
        assert_eq!(told(&mut brought).len(), REFUSED_MAX);
    }
}
