//! What `levels` and whole tables need of their topics and of their source's messages.

use engine::{
    topic::{
        pattern::Pattern,
        policy::{Keyed, LEVEL_BYTES, Mode, Policies},
        template::{Part, Template},
    },
    unit::show_size,
};

use crate::{
    document::read::Section,
    source::websocket::map::{Body, Entry, book::Book, reset::Reset},
};

/// Which topics of a template a pattern matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Matched {
    None,
    /// It depends on what the venue names.
    Some,
    All,
}

/// Entries of a source: their levels need keyed topics, a book as deep as an entry keeps it has to fit its
/// topic, and a whole table a message. With whether the file names the `keys` of each topic.
pub fn check(
    section: &mut Section,
    map: &[Entry],
    message_bytes: usize,
    (topics, names_keys): &(Policies, Vec<bool>),
) {
    let mut told = false;
    for (n, entry) in map.iter().enumerate() {
        let Some(template) = &entry.topic else { continue };
        if entry.makes_keys() {
            check_mode(section, entry.line.0, template, topics);
            check_depths(section, entry, &map[..n]);
        }
        let Some(at) = topics.position(&template.sample()) else { continue };
        let Mode::Keyed(keyed) = &*topics.entries[at].mode else { continue };
        let pattern = topics.entries[at].pattern.as_str();
        check_depth(section, entry, keyed, pattern, names_keys[at]);
        let is_whole = match &entry.body {
            Body::Levels(_) | Body::Fields { .. } => {
                entry.reset() != Reset::Never || entry.snapshot.is_some()
            }
            Body::Data(_) => true,
            Body::Gap { .. } | Body::Remember(_) => false,
        };
        if is_whole && names_keys[at] && !keyed.fits(message_bytes) && !std::mem::replace(&mut told, true) {
            tell_message(section, keyed, pattern, message_bytes);
        }
    }
}

/// Tables of an upstream gateway of which `topics` are taken over.
pub fn check_tables(
    section: &mut Section,
    topics: &[Pattern],
    message_bytes: usize,
    (policies, names_keys): &(Policies, Vec<bool>),
) {
    let is_taken = |named: &Pattern| topics.iter().any(|topic| topic.overlaps(named));
    let mut named = policies.entries.iter().zip(names_keys).filter(|(_, names_keys)| **names_keys);
    let too_long = named.find_map(|(policy, _)| match &*policy.mode {
        Mode::Keyed(keyed) if is_taken(&policy.pattern) && !keyed.fits(message_bytes) => {
            Some((keyed, policy.pattern.as_str()))
        }
        _ => None,
    });
    if let Some((keyed, pattern)) = too_long {
        tell_message(section, keyed, pattern, message_bytes);
    }
}

fn tell_message(section: &mut Section, keyed: &Keyed, pattern: &str, message_bytes: usize) {
    let (whole, max) = (show_size(keyed.whole_bytes() as u64), show_size(message_bytes as u64));
    let text = format!(
        "message_bytes = \"{max}\": a whole book of keys = {}, as the [[topic]] {pattern:?} has, of \
         {LEVEL_BYTES} bytes each, has {whole}: raise it to \"{whole}\", or lower keys",
        keyed.keys
    );
    section.problem(section.line_of("message_bytes"), text);
}

/// Levels of topics that are certain not to be keyed. Another check reports that there is no keyed one at all.
fn check_mode(section: &mut Section, line: usize, template: &Template, topics: &Policies) {
    if !topics.entries.iter().any(|policy| matches!(*policy.mode, Mode::Keyed(_))) {
        return;
    }
    let mut because = "no [[topic]] matches it".to_owned();
    for policy in &topics.entries {
        let matched = matched(template, &policy.pattern);
        match &*policy.mode {
            _ if matched == Matched::None => {}
            Mode::Keyed(_) => return,
            mode if matched == Matched::All => {
                let pattern = policy.pattern.as_str();
                because =
                    format!("the [[topic]] {pattern:?}, the first that matches, is \"{}\"", mode.name());
                break;
            }
            _ => {}
        }
    }
    let text = format!(
        "map: levels become keys of a keyed topic, which {:?} is not: {because}; give it mode = \"keyed\" in a \
         [[topic]] before others that match",
        template.as_str()
    );
    section.problem(line, text);
}

fn matched(template: &Template, pattern: &Pattern) -> Matched {
    let Some(first) = template.parts.iter().position(|part| !matches!(part, Part::Text(_))) else {
        let is_one = pattern.matches(template.as_str());
        return if is_one { Matched::All } else { Matched::None };
    };
    let texts = template.parts[..first].iter();
    let fixed: String = texts.map(|part| if let Part::Text(text) = part { text } else { "" }).collect();
    // What stands behind the last dot may go on in the value.
    let fixed = fixed.rsplit_once('.').map_or("", |(whole, _)| whole);
    let mut parts = pattern.as_str().split('.').peekable();
    for segment in fixed.split('.').filter(|segment| !segment.is_empty()) {
        match parts.next() {
            Some("*") if parts.peek().is_none() => return Matched::All,
            Some(part) if part == "*" || part == segment => {}
            _ => return Matched::None,
        }
    }
    match (parts.next(), parts.next()) {
        (None, _) => Matched::None,
        (Some("*"), None) => Matched::All,
        _ => Matched::Some,
    }
}

/// A depth is of a topic's sides, so all entries that bring them have the same.
fn check_depths(section: &mut Section, entry: &Entry, before: &[Entry]) {
    let Body::Levels(Book { lists, depth, .. }) = &entry.body else { return };
    let prefixes = || lists.iter().flat_map(|levels| levels.sides()).map(|(prefix, _)| prefix);
    let levels = depth.as_ref().map(|depth| depth.levels);
    for other in before.iter().filter(|other| other.topic == entry.topic) {
        let Body::Levels(Book { lists, depth, .. }) = &other.body else { continue };
        let others = depth.as_ref().map(|depth| depth.levels);
        let mut sides = lists.iter().flat_map(|levels| levels.sides());
        if others == levels || !sides.any(|(prefix, _)| prefixes().any(|this| this == prefix)) {
            continue;
        }
        let has =
            |levels: Option<usize>| levels.map_or("none".to_owned(), |levels| format!("depth = {levels}"));
        let text = format!(
            "map: the entry of line {} brings levels of the same topic and has {}, this one has {}: \
             write the same in both",
            other.line.0,
            has(others),
            has(levels)
        );
        section.problem(entry.line.0, text);
        return;
    }
}

fn check_depth(section: &mut Section, entry: &Entry, keyed: &Keyed, pattern: &str, names_keys: bool) {
    let Body::Levels(Book { depth: Some(depth), .. }) = &entry.body else { return };
    let line = entry.line.0;
    let (levels, needed) = (depth.levels, depth.keys());
    if needed > keyed.keys {
        let keys = keyed.keys;
        let text = format!(
            "map: depth = {levels} of each side makes {needed} keys, but keys of the [[topic]] {pattern:?} is \
             {keys}: raise that to {needed}, or lower depth"
        );
        section.problem(line, text);
    } else if !names_keys && !keyed.fits_depth(needed) {
        // Where keys are named the check of keys has reported it.
        let [whole, max] = [needed * LEVEL_BYTES, keyed.table_bytes].map(|bytes| show_size(bytes as u64));
        let text = format!(
            "map: depth = {levels} of each side makes {needed} keys, of {LEVEL_BYTES} bytes each {whole}, but \
             table_bytes of the [[topic]] {pattern:?} is {max}: raise that to \"{whole}\", or lower depth"
        );
        section.problem(line, text);
    }
}

#[cfg(test)]
mod tests {
    use crate::source::websocket::map::books::*;

    #[test]
    fn a_pattern_matches_all_topics_of_a_template_or_some_or_none() {
        for (template, pattern, expected) in [
            ("a.b", "a.*", Matched::All),
            ("a.b", "a.c", Matched::None),
            ("a.{/s}", "a.*", Matched::All),
            ("a.{/s}", "*", Matched::All),
            ("a.b.{/s}", "a.*", Matched::All),
            ("a.{/s}", "a", Matched::None),
            ("a.{/s}", "b.*", Matched::None),
            ("a.{/s}", "a.b", Matched::Some),
            ("a.{/s}.c", "a.*.c", Matched::Some),
            ("a.b{/s}", "a.b", Matched::Some),
            ("{/s}.a", "*.a", Matched::Some),
            ("{/s}", "*", Matched::All),
        ] {
            let (template, pattern) = (Template::parse(template).unwrap(), Pattern::parse(pattern).unwrap());
            assert_eq!(matched(&template, &pattern), expected, "{template:?} {pattern}");
        }
    }
}
