//! `--expect`: `KEY OP NUMBER[UNIT]` against the report.

use serde_json::Value;

use super::{
    figures::{self, Report},
    outcome::Outcome,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

/// Longer spellings first: `<=` must not be read as `<`.
const OPS: [(&str, Op); 6] = [
    ("<=", Op::LessOrEqual),
    (">=", Op::GreaterOrEqual),
    ("==", Op::Equal),
    ("!=", Op::NotEqual),
    ("<", Op::Less),
    (">", Op::Greater),
];

/// Suffixes of report keys that may be left out of an expectation: `visible.p99` is `visible_ms.p99`.
const KEY_UNITS: [&str; 4] = ["", "_ms", "_bytes", "_percent"];

/// A checked expectation.
#[derive(Debug, Clone)]
pub struct Expect {
    text: String,
    /// Full keys of the report, outermost first.
    path: Vec<String>,
    op: Op,
    /// In the key's own unit.
    bound: f64,
}

impl Expect {
    /// Refuses unknown keys and units at once, not after the run.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refuse = |why: String| format!("--expect '{text}': {why}");
        let (at, (spelling, op)) = text
            .char_indices()
            .find_map(|(at, _)| OPS.iter().find(|(s, _)| text[at..].starts_with(s)).map(|found| (at, *found)))
            .ok_or_else(|| refuse("no < <= > >= == or != in it, write for example updates.lost==0".into()))?;
        let (key, bound) = (text[..at].trim(), text[at + spelling.len()..].trim());
        let path = resolve(key, &Report::default().to_json()).ok_or_else(|| {
            refuse(format!("the report has no figure {key:?}; figures are {}", figures::names().join(", ")))
        })?;
        let split = bound.find(|c: char| c.is_ascii_alphabetic() || c == '%').unwrap_or(bound.len());
        let (number, unit) = bound.split_at(split);
        let number: f64 = number.trim().parse().map_err(|_| refuse(format!("{number:?} is not a number")))?;
        let scale = scale(&path, unit).ok_or_else(|| refuse(format!("{unit:?} is no unit of {key}")))?;
        Ok(Self { text: text.to_owned(), path, op, bound: number * scale })
    }

    /// Compares with `report`. A figure that is missing or null never satisfies an expectation.
    pub fn check(&self, report: &Value) -> Outcome {
        let value = self.path.iter().try_fold(report, |value, key| value.get(key)).and_then(Value::as_f64);
        let holds = value.is_some_and(|value| match self.op {
            Op::Less => value < self.bound,
            Op::LessOrEqual => value <= self.bound,
            Op::Greater => value > self.bound,
            Op::GreaterOrEqual => value >= self.bound,
            Op::Equal => value == self.bound,
            Op::NotEqual => value != self.bound,
        });
        Outcome { expect: self.text.clone(), value, bound: self.bound, holds }
    }
}

/// The full path of `key` in `report`, where each segment may lack its unit; it must end at a figure.
fn resolve(key: &str, report: &Value) -> Option<Vec<String>> {
    let mut path = Vec::new();
    let mut value = report;
    for segment in key.split('.') {
        let full =
            KEY_UNITS.iter().map(|unit| format!("{segment}{unit}")).find(|full| value.get(full).is_some())?;
        value = value.get(&full)?;
        path.push(full);
    }
    (!value.is_object() && !value.is_array()).then_some(path)
}

/// What `unit` is worth in the unit of the figure at `path`.
fn scale(path: &[String], unit: &str) -> Option<f64> {
    let ends = |suffix: &str| path.iter().any(|key| key.ends_with(suffix));
    let bytes = ends("_bytes") || path.first().is_some_and(|key| key == "bytes");
    let seconds = path.last().is_some_and(|key| key == "seconds");
    Some(match unit {
        "" => 1.0,
        "us" if ends("_ms") => 0.001,
        "ms" if ends("_ms") => 1.0,
        "s" if ends("_ms") => 1000.0,
        "ms" if seconds => 0.001,
        "s" if seconds => 1.0,
        "KiB" if bytes => 1024.0,
        "MiB" if bytes => 1024.0 * 1024.0,
        "GiB" if bytes => 1024.0 * 1024.0 * 1024.0,
        "%" if ends("_percent") => 1.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(text: &str, report: &Value) -> bool {
        Expect::parse(text).unwrap().check(report).holds
    }

    #[test]
    fn keys_may_lack_their_unit_and_bounds_may_carry_one() {
        let report = json!({"visible_ms": {"p99": 249.5}, "setup": {"handshake_ms": {"p99": 1500.0}},
            "updates": {"lost": 0}, "frames": {"per_s": 101.0}, "server": {"rss_bytes": 1048576}});
        for text in [
            "visible.p99<250ms",
            "visible_ms.p99 < 0.25s",
            "visible.p99 >= 249.5",
            "setup.handshake.p99<=1.5s",
            "updates.lost==0",
            "frames.per_s>100",
            "server.rss <= 1MiB",
            "server.rss!=2",
        ] {
            assert!(holds(text, &report), "{text}");
        }
        assert!(!holds("visible.p99<249ms", &report) && !holds("updates.lost>0", &report));
    }

    #[test]
    fn a_missing_figure_satisfies_nothing() {
        let report = json!({"visible_ms": {"p99": null}});
        assert!(!holds("visible.p99<250ms", &report) && !holds("server.cpu>=0", &report));
    }

    #[test]
    fn nonsense_is_refused_at_the_start() {
        for bad in
            ["visible.p98<1", "visible<1", "updates.lost", "updates.lost==none", "frames.total<3ms", ""]
        {
            assert!(Expect::parse(bad).is_err(), "{bad:?}");
        }
    }
}
