//! `depth` and `best`: how many levels of each side stay, and at which end of a side the best price is.

use std::{borrow::Cow, sync::Arc};

use engine::{
    json::pointer::Pointer,
    topic::depth::{Best, Depth},
};
use toml::{Spanned, de::DeValue};

use super::book::{Key, Levels};
use crate::document::read::{Named, Section};

const HINT: &str = "write \"highest\" as of bids, \"lowest\" as of asks, or by side { buy = \"highest\", sell = \"lowest\" }";

/// `best` as it is written.
pub enum BestText {
    Fixed(Best),
    BySide(Vec<(String, Best)>),
}

pub fn parse_best(value: DeValue<'_>) -> Result<BestText, String> {
    let best = |value: &DeValue<'_>| value.as_str().and_then(Best::parse).ok_or_else(|| HINT.to_owned());
    let DeValue::Table(table) = value else { return best(&value).map(BestText::Fixed) };
    let side = |(side, value): (Spanned<Cow<'_, str>>, Spanned<DeValue<'_>>)| {
        Ok((side.into_inner().into_owned(), best(value.get_ref())?))
    };
    table.into_iter().map(side).collect::<Result<_, _>>().map(BestText::BySide)
}

/// Of each key of a list: as it is written, else as the names of its side tell.
pub fn best(
    section: &mut Section,
    named: Named<Option<BestText>>,
    key: &Key,
    path: &Pointer,
) -> Vec<Option<Best>> {
    let last_step = path.steps.last().map_or("", String::as_str);
    match (key, named.value) {
        (Key::Fixed(_), Some(BestText::Fixed(best))) => vec![Some(best)],
        (Key::Fixed(prefix), None) => vec![told_by(prefix).or_else(|| told_by(last_step))],
        (Key::BySide { keys, .. }, None) => {
            keys.iter().map(|(side, prefix)| told_by(side).or_else(|| told_by(prefix))).collect()
        }
        (Key::BySide { keys, .. }, Some(BestText::BySide(sides))) => {
            let best = |side: &String| sides.iter().find(|(name, _)| name == side).map(|(_, best)| *best);
            let unknown = sides.iter().find(|(name, _)| !keys.iter().any(|(side, _)| side == name));
            if let (Some((name, _)), Some(line)) = (unknown, named.line) {
                section
                    .problem(line, format!("best: key has no side {name:?}; write one for each side of key"));
            }
            keys.iter()
                .map(|(side, prefix)| best(side).or_else(|| told_by(side)).or_else(|| told_by(prefix)))
                .collect()
        }
        (key, Some(_)) => {
            let instead = match key {
                Key::Fixed(_) => "key is of one side; write best = \"highest\" or \"lowest\"",
                Key::BySide { .. } => "key is by side; write best = { buy = \"highest\", sell = \"lowest\" }",
            };
            section.problem(named.line.unwrap_or(section.line()), format!("best: {instead}"));
            Vec::new()
        }
    }
}

/// Bids and asks by the names that venues give them.
fn told_by(name: &str) -> Option<Best> {
    let word: String = name.chars().filter(char::is_ascii_alphabetic).collect();
    match word.to_ascii_lowercase().as_str() {
        "b" | "bid" | "bids" | "buy" | "buys" => Some(Best::Highest),
        "a" | "ask" | "asks" | "s" | "sell" | "sells" | "o" | "offer" | "offers" => Some(Best::Lowest),
        _ => None,
    }
}

/// `None`: there is none, or its problems were reported.
pub fn depth(section: &mut Section, levels: &Named<Option<u64>>, lists: &[Levels]) -> Option<Arc<Depth>> {
    let (line, levels) = (levels.line?, levels.value?);
    if lists.is_empty() {
        section.problem(
            line,
            "depth is how many levels of each side stay; write it beside levels, or leave it out",
        );
        return None;
    }
    let mut sides: Vec<(&str, Best)> = Vec::new();
    for (prefix, best) in lists.iter().flat_map(Levels::sides) {
        let Some(best) = best else {
            section.problem(line, format!("depth: whether the best price of key {prefix:?} is the highest or the lowest is not known; beside key write best = \"highest\" or \"lowest\""));
            return None;
        };
        match sides.iter().find(|(other, _)| prefix.starts_with(other) || other.starts_with(prefix)) {
            Some(same) if *same == (prefix, best) => {}
            Some((other, _)) => {
                section.problem(line, format!("depth: the keys of {other:?} and {prefix:?} cannot be told apart; give each side a prefix that no other begins with"));
                return None;
            }
            None => sides.push((prefix, best)),
        }
    }
    Some(Arc::new(Depth::new(levels as usize, sides.into_iter())))
}

#[cfg(test)]
mod tests {
    use crate::source::websocket::map::sides::*;

    #[test]
    fn the_names_of_a_side_tell_where_its_best_price_is() {
        for (name, best) in [
            ("b", Some(Best::Highest)),
            ("Bid:", Some(Best::Highest)),
            ("BUY", Some(Best::Highest)),
            ("asks", Some(Best::Lowest)),
            ("S", Some(Best::Lowest)),
            ("offer.", Some(Best::Lowest)),
            ("", None),
            ("y", None),
            ("base", None),
        ] {
            assert_eq!(told_by(name), best, "{name}");
        }
    }
}
