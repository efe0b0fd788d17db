//! `--topics` and `--interests`: what connections subscribe to.

use std::collections::HashSet;

use crate::judge::{catalog, topic};

/// A range in braces may stand for as many topics.
const RANGE_MAX: usize = 1_000_000;
/// Topics to choose from: all are numbered, and one of our own atomic groups takes two words.
const POOL_MAX: usize = catalog::WORDS_MAX / 2;

/// Of a number in a range.
const DIGITS_MAX: usize = 20;

/// `--interests`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InterestKind {
    /// A whole list of `--topics`, lists in turn.
    One,
    /// One of so many equal shares.
    Classes(usize),
    /// So many topics of the connection's own.
    Own { topics: usize, popularity: Popularity },
}

/// How likely a topic is in a list of a connection's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Popularity {
    Even,
    /// The n-th in the order of `--topics` in proportion to 1/n.
    Zipf,
}

impl InterestKind {
    /// `one`, `classes:K`, `random:K` or `zipf:K`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refuse = || format!("--interests {text}: write one, classes:K, random:K or zipf:K");
        let (kind, count) = match text.split_once(':') {
            Some((kind, count)) => (kind, count.parse().map_err(|_| refuse())?),
            None => (text, 1),
        };
        match kind {
            "one" if !text.contains(':') => Ok(Self::One),
            "classes" if count > 0 => Ok(Self::Classes(count)),
            "random" if count > 0 => Ok(Self::Own { topics: count, popularity: Popularity::Even }),
            "zipf" if count > 0 => Ok(Self::Own { topics: count, popularity: Popularity::Zipf }),
            _ => Err(refuse()),
        }
    }

    /// An error where single topics are to be chosen of patterns.
    pub fn chooses(self, lists: &[Vec<String>]) -> Result<(), String> {
        match lists.iter().flatten().find(|topic| topic.contains('*')) {
            Some(pattern) if matches!(self, Self::Own { .. }) => Err(format!(
                "--interests: {pattern} is no single topic to choose; write them out, for example 'tick.S{{0000..1999}}'"
            )),
            _ => Ok(()),
        }
    }

    /// Lists of patterns for connections in turn; for topics of one's own a single list to choose from.
    pub fn groups(self, lists: Vec<Vec<String>>) -> Result<Vec<Vec<String>>, String> {
        match self {
            Self::One => Ok(lists),
            Self::Classes(count) => {
                let all = lists.concat();
                if all.len() < count {
                    return Err(format!(
                        "--interests classes:{count}: --topics has only {} entries to share out",
                        all.len()
                    ));
                }
                let share = |n: usize| all[n * all.len() / count..(n + 1) * all.len() / count].to_vec();
                Ok((0..count).map(share).collect())
            }
            Self::Own { topics, .. } => {
                let mut all = lists.concat();
                if all.len() > POOL_MAX {
                    return Err(format!(
                        "--interests: --topics names {} topics to choose from, more than {POOL_MAX}; use a smaller range",
                        all.len()
                    ));
                }
                let mut seen = HashSet::new();
                all.retain(|topic| seen.insert(topic.clone()));
                if all.len() < topics {
                    return Err(format!("--interests: {topics} topics cannot be chosen of {}", all.len()));
                }
                Ok(vec![all])
            }
        }
    }
}

/// Fanwire's patterns of a comma-separated list, each range of numbers in braces written out.
pub fn patterns(list: &str) -> Result<Vec<String>, String> {
    let expanded = list.split(',').map(|pattern| expand(pattern.trim())).collect::<Result<Vec<_>, _>>()?;
    let patterns = expanded.concat();
    patterns.iter().try_for_each(|pattern| topic::check(pattern))?;
    Ok(patterns)
}

/// Another protocol's names of a comma-separated list: any texts. Braces around anything but a range are their own.
pub fn names(list: &str) -> Result<Vec<String>, String> {
    let names = list.split(',').map(str::trim).map(|name| match has_range(name) {
        _ if name.is_empty() => {
            Err(format!("--topics {list:?}: a name is empty; leave out the comma beside it"))
        }
        true => expand(name),
        false => Ok(vec![name.to_owned()]),
    });
    Ok(names.collect::<Result<Vec<_>, _>>()?.concat())
}

/// Whether all braces of `name` are around ranges, and there are some.
fn has_range(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_range = |text: &str| text.split_once("..").is_some_and(|(a, b)| is_number(a) && is_number(b));
    let mut parts =
        name.split('{').skip(1).map(|part| part.split_once('}').map(|(range, _)| range)).peekable();
    parts.peek().is_some() && parts.all(|range| range.is_some_and(is_range))
}

/// `a{08..10}b` is a08b, a09b, a10b: as many digits as the first number has.
fn expand(pattern: &str) -> Result<Vec<String>, String> {
    let Some((head, rest)) = pattern.split_once('{') else { return Ok(vec![pattern.to_owned()]) };
    let refuse = || format!("{pattern}: write a range as {{0000..1999}}");
    let (range, tail) = rest.split_once('}').ok_or_else(refuse)?;
    let (from, to) = range.split_once("..").ok_or_else(refuse)?;
    let digits = from.len();
    let (from, to): (usize, usize) = (from.parse().map_err(|_| refuse())?, to.parse().map_err(|_| refuse())?);
    if from > to || to - from >= RANGE_MAX || digits > DIGITS_MAX {
        return Err(refuse());
    }
    let tails = expand(tail)?;
    if tails.len() * (to - from + 1) > RANGE_MAX {
        return Err(format!("{pattern}: more than {RANGE_MAX} topics"));
    }
    let number = |n: usize| tails.iter().map(move |tail| format!("{head}{n:0digits$}{tail}"));
    Ok((from..=to).flat_map(number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_written_out_with_their_digits() {
        assert_eq!(patterns("a.S{08..10}, b.*").unwrap(), ["a.S08", "a.S09", "a.S10", "b.*"]);
        assert_eq!(patterns("x{0..1}.y{5..6}").unwrap(), ["x0.y5", "x0.y6", "x1.y5", "x1.y6"]);
        for bad in [
            "a{1..",
            "a{1}",
            "a{3..2}",
            "a{x..3}",
            "a{0..1000000}",
            "a{0000000000000000000000000..1}",
            "a{0..999}{0..9999}",
        ] {
            assert!(patterns(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_other_protocols_are_any_text_but_none() {
        assert_eq!(
            names(r#"ticks.>, user#42,ticks(symbol:"A"),t { bid },u{8..9}"#).unwrap(),
            ["ticks.>", "user#42", r#"ticks(symbol:"A")"#, "t { bid }", "u8", "u9"]
        );
        assert_eq!(names("a{,b}c").unwrap(), ["a{", "b}c"]);
        assert!(names("a,,b").unwrap_err().contains("empty") && names("").is_err());
        assert!(names("a{3..2}").is_err(), "a range that runs backwards");
    }

    #[test]
    fn classes_are_equal_shares_of_all_topics() {
        let groups =
            InterestKind::parse("classes:3").unwrap().groups(vec![patterns("t{0..6}").unwrap()]).unwrap();
        assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 3]);
        assert_eq!(groups.concat(), patterns("t{0..6}").unwrap());
        assert!(InterestKind::Classes(8).groups(groups).unwrap_err().contains("only 7"));
    }

    #[test]
    fn topics_of_ones_own_are_chosen_of_single_topics() {
        let own = InterestKind::parse("zipf:2").unwrap();
        assert_eq!(own, InterestKind::Own { topics: 2, popularity: Popularity::Zipf });
        assert_eq!(own.groups(vec![vec!["a".into()], vec!["b".into()]]).unwrap(), [["a", "b"]]);
        assert!(own.chooses(&[vec!["a".into(), "b.*".into()]]).unwrap_err().contains("b.*"));
        assert!(InterestKind::One.chooses(&[vec!["b.*".into()]]).is_ok());
        assert!(own.groups(vec![vec!["a".into()]]).unwrap_err().contains("2 topics"));
        assert_eq!(own.groups(vec![patterns("b,a,b").unwrap()]).unwrap(), [["b", "a"]]);
        assert!(own.groups(vec![patterns("b,b").unwrap()]).unwrap_err().contains("of 1"), "a repeat is none");
    }

    #[test]
    fn more_topics_to_choose_from_than_can_be_numbered_are_refused() {
        let own = InterestKind::Own { topics: 1, popularity: Popularity::Even };
        let pool = vec!["a".to_owned(); POOL_MAX + 1];
        assert!(own.groups(vec![pool]).unwrap_err().contains("smaller range"));
    }

    #[test]
    fn other_kinds_are_refused() {
        for bad in ["two", "one:1", "classes", "random:0", "zipf:x", ""] {
            let refused = InterestKind::parse(bad);
            assert!(refused.is_err() || bad == "classes", "{bad}");
        }
    }
}
