//! `[compression]`.

use engine::{settings::Compression, unit::show_size};

use super::access::check_texts;
use crate::document::read::{Section, contradicts, named};

/// The section `[compression]`.
pub(super) fn compression(mut section: Section) -> Compression {
    let mut compression: Compression = section.keys();
    check_texts(&mut section, "user_agents_off", &compression.user_agents_off);
    let dictionaries = named!(section, compression.dictionaries);
    let per_ip = named!(section, compression.dictionaries_per_ip);
    if let Some(line) = contradicts(&per_ip, &dictionaries) {
        let [per_ip, all] = [per_ip.value, dictionaries.value].map(|bytes| show_size(bytes as u64));
        let text = format!(
            "dictionaries_per_ip = \"{per_ip}\" is above dictionaries = \"{all}\": an address could take all of it; write at most \"{all}\", or 0 for no limit"
        );
        section.problem(line, text);
    }
    // Where only one of the two is named, the other's default follows it.
    let share = per_ip.line.map_or(0, |_| per_ip.value);
    compression.dictionaries = dictionaries.or(|default| default.max(share));
    compression.dictionaries_per_ip = per_ip.or(|_| compression.dictionaries / 2);
    section.finish();
    compression
}
