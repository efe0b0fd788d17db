//! `[compression]`.

use proto::deflate::WINDOW_BITS;

use super::{Compression, check::contradicts, read::Section, unit::show_size};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Safari's versions whose permessage-deflate is broken (uWebSockets passes over the same).
const SAFARI_15: [&str; 4] = ["Version/15.0 ", "Version/15.1 ", "Version/15.2 ", "Version/15.3 "];

/// The section `[compression]`.
pub(super) fn compression(mut section: Section) -> Compression {
    let window = *WINDOW_BITS.start() as u64..=*WINDOW_BITS.end() as u64;
    let dictionaries = section.size("dictionaries", 64 * MIB, 0..=64 * GIB);
    let per_ip = section.size("dictionaries_per_ip", 32 * MIB, 0..=64 * GIB);
    if let Some(line) = contradicts(&per_ip, &dictionaries) {
        let (per_ip, all) = (show_size(per_ip.value), show_size(dictionaries.value));
        let text = format!(
            "dictionaries_per_ip = \"{per_ip}\" is above dictionaries = \"{all}\": an address could take all of it; write at most \"{all}\", or 0 for no limit"
        );
        section.problem(line, text);
    }
    // Where only one of the two is named, the other's default follows it.
    let share = per_ip.line.map_or(0, |_| per_ip.value);
    let dictionaries = dictionaries.or(|default| default.max(share));
    let compression = Compression {
        enabled: section.flag("enabled", true).value,
        level: section.int("level", 1, 1..=9).value as u8,
        window_bits: section.int("window_bits", 15, window).value as u8,
        bytes_min: section.size("bytes_min", 256, 1..=GIB).value as usize,
        catch_up_bytes: section.size("catch_up_bytes", 256 * KIB, 1..=GIB).value as usize,
        inflate_ratio: section.int("inflate_ratio", 100, 1..=100_000).value as usize,
        dictionaries: dictionaries as usize,
        dictionaries_per_ip: per_ip.or(|_| dictionaries / 2) as usize,
        user_agents_off: section.texts("user_agents_off", &SAFARI_15).value,
    };
    section.finish();
    compression
}
