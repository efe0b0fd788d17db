//! What is to be written once, though it may come again: it is named by whoever writes it.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use super::publication::Publication;
use crate::settings::Limits;

/// Whose names they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Whose {
    /// A subject's, as one segment of a topic.
    Subject(Arc<str>),
    /// Of a connection without one.
    Connection(u64),
    /// Of a key of the admin listener, by its name; of all where there are no keys.
    Publisher(Option<Box<str>>),
}

/// A name of something written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    pub whose: Whose,
    pub topic: Arc<str>,
    pub once: Box<str>,
}

/// What is to be done with something named. `W`: who waits for the answer, `A`.
#[derive(Debug, PartialEq, Eq)]
pub enum Begun<W, A> {
    /// It is the first: it is to be written, and then [`Once::end`] called.
    First(W),
    /// The first is under way; [`Once::end`] will give the waiter back.
    Waits,
    /// It was written.
    Written(W, A),
    /// As many names are remembered as may be.
    Full(W),
}

#[derive(Debug)]
enum State<W, A> {
    UnderWay(Vec<W>),
    Written(A),
}

/// How many names are remembered, and for how long after they were written.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    pub names_max: usize,
    pub keep: Duration,
}

impl Bounds {
    pub fn of(limits: &Limits) -> Self {
        Self { names_max: limits.once_names, keep: limits.once_for }
    }
}

/// Names that are remembered.
#[derive(Debug)]
pub struct Once<W, A> {
    names: HashMap<Name, State<W, A>>,
    /// Those that were written, and when. µs, monotonic.
    written: VecDeque<(u64, Name)>,
}

impl<W, A> Default for Once<W, A> {
    fn default() -> Self {
        Self { names: HashMap::new(), written: VecDeque::new() }
    }
}

impl Name {
    /// Of a publication that has one. `publisher`: the key of whoever publishes over HTTP.
    pub fn of(publication: &Publication, publisher: Option<&str>) -> Option<Self> {
        let whose = match (&publication.by, publication.writer) {
            (_, None) => Whose::Publisher(publisher.map(Box::from)),
            (Some(by), _) => Whose::Subject(by.clone()),
            (None, Some(conn)) => Whose::Connection(conn),
        };
        let once = publication.once.clone()?;
        Some(Self { whose, topic: publication.topic.clone(), once })
    }
}

impl<W, A: Clone> Once<W, A> {
    /// `bounds`: what `[limits]` says now.
    pub fn begin(&mut self, name: &Name, waiter: W, bounds: Bounds, now_us: u64) -> Begun<W, A> {
        self.forget(bounds.keep, now_us);
        let is_full = self.names.len() >= bounds.names_max;
        match self.names.entry(name.clone()) {
            Entry::Occupied(held) => match held.into_mut() {
                State::UnderWay(waiters) => {
                    waiters.push(waiter);
                    Begun::Waits
                }
                State::Written(answer) => Begun::Written(waiter, answer.clone()),
            },
            Entry::Vacant(_) if is_full => Begun::Full(waiter),
            Entry::Vacant(vacant) => {
                vacant.insert(State::UnderWay(Vec::new()));
                Begun::First(waiter)
            }
        }
    }

    /// The first has its answer, or was refused (`None`), which is forgotten. Gives those that wait for the same.
    pub fn end(&mut self, name: Name, answer: Option<A>, now_us: u64) -> Vec<W> {
        let Some(State::UnderWay(waiters)) = self.names.remove(&name) else {
            unreachable!("what ends was begun: {name:?}");
        };
        if let Some(answer) = answer {
            self.names.insert(name.clone(), State::Written(answer));
            self.written.push_back((now_us, name));
        }
        waiters
    }

    /// Names that are remembered.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn forget(&mut self, keep: Duration, now_us: u64) {
        let keep_us = keep.as_micros() as u64;
        while self.written.front().is_some_and(|(at_us, _)| at_us + keep_us <= now_us)
            && let Some((_, name)) = self.written.pop_front()
        {
            self.names.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Bounds = Bounds { names_max: 2, keep: Duration::from_secs(2) };

    fn name(once: &str) -> Name {
        Name { whose: Whose::Connection(7), topic: "a".into(), once: once.into() }
    }

    #[test]
    fn what_comes_again_is_answered_as_the_first_was_and_for_so_long_as_it_is_remembered() {
        let mut once = Once::<u32, u64>::default();
        assert_eq!(once.begin(&name("x"), 1, TWO, 0), Begun::First(1));
        assert_eq!(once.begin(&name("x"), 2, TWO, 0), Begun::Waits);
        assert_eq!(once.end(name("x"), Some(5), 1), [2]);
        assert_eq!(once.begin(&name("x"), 3, TWO, 2_000_000), Begun::Written(3, 5));
        assert_eq!(once.begin(&name("x"), 4, TWO, 2_000_001), Begun::First(4));
        // A shorter time holds at once.
        once.end(name("x"), Some(6), 2_000_001);
        let short = Bounds { keep: Duration::from_secs(1), ..TWO };
        assert_eq!(once.begin(&name("x"), 5, short, 3_000_001), Begun::First(5));
    }

    #[test]
    fn a_refused_first_is_forgotten_and_who_waited_for_it_is_refused_too() {
        let mut once = Once::<u32, u64>::default();
        assert_eq!(once.begin(&name("x"), 1, TWO, 0), Begun::First(1));
        assert_eq!(once.begin(&name("x"), 2, TWO, 0), Begun::Waits);
        assert_eq!(once.end(name("x"), None, 0), [2]);
        assert!(once.is_empty());
        assert_eq!(once.begin(&name("x"), 3, TWO, 0), Begun::First(3));
    }

    #[test]
    fn names_are_of_whoever_gives_them_and_of_a_topic_and_no_more_than_may_be() {
        let mut once = Once::<u32, u64>::default();
        let other = Name { whose: Whose::Subject("7".into()), ..name("x") };
        let elsewhere = Name { topic: "b".into(), ..name("x") };
        assert_eq!(once.begin(&name("x"), 1, TWO, 0), Begun::First(1));
        assert_eq!(once.begin(&other, 2, TWO, 0), Begun::First(2));
        assert_eq!(once.begin(&elsewhere, 3, TWO, 0), Begun::Full(3));
        assert_eq!(once.begin(&name("x"), 4, TWO, 0), Begun::Waits);
        once.end(name("x"), Some(1), 0);
        assert_eq!(once.begin(&elsewhere, 5, TWO, 1_999_999), Begun::Full(5));
        assert_eq!(once.begin(&elsewhere, 6, TWO, 2_000_000), Begun::First(6));
        assert_eq!(once.len(), 2);
    }
}
