//! What the keys of an entry say, each by itself.

use engine::{json::pointer::Pointer, topic::template::Template};
use toml::de::DeValue;

use super::{
    Denied, OnGap, Order,
    book::Levels,
    conditions::{Conditions, conditions},
    each::Each,
    levels::lists,
    pointers::{LIST_MAX, pointer, text},
    reset::{Reset, Whole},
    snapshot::{Snapshot, snapshot},
};
use crate::document::read::{Named, Section};

/// Levels of a side.
pub const DEPTH_MAX: u64 = 1_000_000;
/// Powers of ten.
const SCALE_MAX: i64 = 30;

/// What the keys of an entry say.
pub struct Said {
    pub when: Named<Conditions>,
    pub recall: Named<Option<Pointer>>,
    pub also: bool,
    pub each: Named<Option<Each>>,
    pub order: Named<Order>,
    pub gap: Named<Vec<Denied>>,
    pub reason: Named<Option<Pointer>>,
    pub remember: Named<Option<Pointer>>,
    pub topic: Named<Option<Template>>,
    pub ts: Named<Option<Pointer>>,
    pub seq: Named<Option<Pointer>>,
    pub seq_first: Named<Option<Pointer>>,
    pub seq_prev: Named<Option<Pointer>>,
    pub seq_sparse: Named<bool>,
    pub on_gap: Named<OnGap>,
    pub data: Named<Option<Pointer>>,
    pub fields: Named<Option<Pointer>>,
    pub levels: Named<Vec<Levels>>,
    pub reset: Named<Reset>,
    pub whole: Named<Whole>,
    pub scale: Named<i32>,
    pub depth: Named<Option<u64>>,
    pub snapshot: Named<Option<Snapshot>>,
}

impl Said {
    pub fn read(section: &mut Section) -> Self {
        let when = section.read("when", Conditions::default(), conditions);
        let each = section.read("each", None, |value| Each::parse(&text(value)?).map(Some));
        let names: Vec<&str> =
            when.value.names().chain(each.value.iter().flat_map(|each| each.names())).collect();
        let snapshot_table = section.subtable("snapshot", "source.map.snapshot");
        let snapshot_line = snapshot_table.as_ref().map(|table| table.line());
        let asked = snapshot_table.and_then(|table| {
            let mut section = section.open("source.map.snapshot", table);
            let asked = snapshot(&mut section, &names);
            section.finish();
            asked
        });
        let (levels_line, lists) = lists(section, "source.map.levels");
        let [recall, reason, remember] = ["recall", "reason", "remember"].map(|key| pointer(section, key));
        let [ts, data, fields] = ["ts", "data", "fields"].map(|key| pointer(section, key));
        let [seq, seq_first, seq_prev] = ["seq", "seq_first", "seq_prev"].map(|key| pointer(section, key));
        Self {
            recall,
            also: section.flag("also", false).value,
            order: section.read("order", Order::OldestFirst, |value| Order::parse(&text(value)?)),
            gap: section.read("gap", Vec::new(), denied),
            reason,
            remember,
            topic: section.read("topic", None, |value| Template::parse(&text(value)?).map(Some)),
            ts,
            seq,
            seq_first,
            seq_prev,
            seq_sparse: section.flag("seq_sparse", false),
            on_gap: section.read("on_gap", OnGap::Tell, |value| OnGap::parse(&text(value)?)),
            data,
            fields,
            levels: Named { value: lists, line: levels_line },
            reset: section.read("reset", Reset::Never, |value| Reset::parse(&value)),
            whole: section.read("whole", Whole::Compare, |value| Whole::parse(&text(value)?)),
            scale: section.read("scale", 0, scale),
            depth: section.count("depth", 1..=DEPTH_MAX),
            snapshot: Named { value: asked, line: snapshot_line },
            when,
            each,
        }
    }
}

fn scale(value: DeValue<'_>) -> Result<i32, String> {
    let power = match &value {
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).ok(),
        _ => None,
    };
    let power = power.filter(|power| (-SCALE_MAX..=SCALE_MAX).contains(power));
    let hint =
        || format!("write a whole number from -{SCALE_MAX} to {SCALE_MAX}, like -4: 12345 becomes 1.2345");
    Ok(power.ok_or_else(hint)? as i32)
}

/// A list of topics or patterns, checked.
fn denied(value: DeValue<'_>) -> Result<Vec<Denied>, String> {
    const HINT: &str =
        "write a list of topics or patterns, like [\"venue.book.{/symbol}\", \"venue.ticker.*\"]";
    let DeValue::Array(array) = value else { return Err(HINT.to_owned()) };
    if !(1..=LIST_MAX).contains(&array.len()) {
        return Err(format!("{} topics, 1 to {LIST_MAX} may be; {HINT}", array.len()));
    }
    let topic = |value: &toml::Spanned<DeValue<'_>>| Denied::parse(value.get_ref().as_str().ok_or(HINT)?);
    array.iter().map(topic).collect()
}
