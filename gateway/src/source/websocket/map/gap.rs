//! `gap`: what a venue says that it will not bring.

use engine::{
    json::{pointer::Pointer, wanted::Wanted},
    topic::template::Template,
};
use toml::de::DeValue;

use super::{Body, Denied, Entry, LIST_MAX, Order, pointers::check_carets};
use crate::document::read::{Named, Section};

/// A list of topics or patterns, checked.
pub(super) fn denied(value: DeValue<'_>) -> Result<Vec<Denied>, String> {
    const HINT: &str =
        "write a list of topics or patterns, like [\"venue.book.{/symbol}\", \"venue.ticker.*\"]";
    let DeValue::Array(array) = value else { return Err(HINT.to_owned()) };
    if !(1..=LIST_MAX).contains(&array.len()) {
        return Err(format!("{} topics, 1 to {LIST_MAX} may be; {HINT}", array.len()));
    }
    let topic = |value: &toml::Spanned<DeValue<'_>>| Denied::parse(value.get_ref().as_str().ok_or(HINT)?);
    array.iter().map(topic).collect()
}

/// An entry that makes no topic. `others`: lines of keys that have no place in it.
pub(super) fn entry(
    section: &mut Section,
    gap: Named<Vec<Denied>>,
    reason: Named<Option<Pointer>>,
    (when, each, order): (Vec<(Pointer, Wanted)>, Named<Option<Pointer>>, Order),
    others: &[Option<usize>],
) -> Entry {
    if let Some(line) = others.iter().flatten().min().copied() {
        let text = "an entry with gap makes no topic; leave out all but when, each, gap and reason";
        section.problem(line, text);
    }
    let named = gap.value.iter().filter_map(|denied| denied.topic.as_ref()).flat_map(Template::pointers);
    let labels = named.chain(&reason.value).filter_map(|pointer| Some((gap.line?, pointer.clone())));
    check_carets(section, &each, &labels.collect::<Vec<_>>(), &[]);
    let body = Body::Gap { topics: gap.value, reason: reason.value };
    let (each, topic, seq_sparse) = (each.value, None, false);
    Entry { when, each, order, topic, ts: None, seq: None, seq_first: None, seq_sparse, body }
}
