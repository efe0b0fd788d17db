//! `[fanout]`.

use std::time::Duration;

use engine::settings::Fanout;

use crate::document::read::Section;

const HOUR_MS: u128 = 3_600_000;

pub(super) fn fanout(section: &mut Section) -> Fanout {
    let mut fanout: Fanout = section.keys();
    let ms = |interval: &Duration| interval.as_millis();
    let interval = section.named("interval_ms", ms(&fanout.interval));
    let min = section.named("interval_ms_min", ms(&fanout.interval_min));
    let menu = section.named("interval_ms_menu", fanout.interval_menu.iter().map(ms).collect::<Vec<_>>());

    if let (Some(line), Some(_), true) = (interval.line, min.line, interval.value < min.value) {
        let (interval, min) = (interval.value, min.value);
        section.problem(
            line,
            format!("interval_ms = {interval} is below interval_ms_min = {min}; raise it to {min}"),
        );
    }
    if let Some(line) = menu.line {
        if let Some(pair) = menu.value.windows(2).find(|pair| pair[0] >= pair[1]) {
            let (a, b) = (pair[0], pair[1]);
            section.problem(line, format!("interval_ms_menu: {b} comes after {a}; write rising numbers"));
        }
        if let Some(most) = menu.value.iter().find(|ms| **ms > HOUR_MS) {
            section.problem(line, format!("interval_ms_menu: {most} is out of range; write 0 to {HOUR_MS}"));
        }
        if let (Some(first), Some(_), true) =
            (menu.value.first(), min.line, menu.value.first() < Some(&min.value))
        {
            let min = min.value;
            section.problem(
                line,
                format!("interval_ms_menu: {first} is below interval_ms_min = {min}; drop it"),
            );
        }
        if let (Some(last), Some(line), true) =
            (menu.value.last(), interval.line, menu.value.last() < Some(&interval.value))
        {
            let interval = interval.value;
            section.problem(
                line,
                format!("interval_ms = {interval} is above the menu's last, {last}; write at most {last}"),
            );
        }
    }
    // Where only one side of a relation is named, the other side's default follows it.
    let highest = fanout.interval_menu.last().copied().unwrap_or(Duration::MAX);
    let least = fanout.interval_min;
    fanout.interval = interval.map(fanout.interval).or(|default| default.min(highest).max(least));
    fanout
}
