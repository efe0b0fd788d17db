//! Values of keys as TOML has them: read, written, and what may be written.

use std::time::Duration;

use engine::{
    settings::{Kind, Value},
    unit::{Rate, parse_duration, parse_rate, parse_size, show_duration, show_rate, show_size},
};
use toml::{Spanned, de::DeValue};

/// Events of a rate; more are no limit.
const RATE_MAX: u64 = 1_000_000_000;

/// The error says what to write instead.
pub fn read(kind: &Kind, value: DeValue<'_>) -> Result<Value, String> {
    match kind {
        Kind::Count { range, .. } => in_range(to_int(&value)?, range, |n| n.to_string()).map(Value::Whole),
        Kind::Size { range, .. } => {
            let bytes = match &value {
                DeValue::String(text) => parse_size(text)?,
                _ => to_int(&value).map_err(|_| "write a size, like \"64KiB\"".to_owned())?,
            };
            in_range(bytes, range, quoted_size).map(Value::Whole)
        }
        Kind::Duration { range, .. } => {
            let duration = match &value {
                DeValue::String(text) => parse_duration(text)?,
                DeValue::Integer(number) => parse_duration(number.as_str())?,
                _ => return Err("write a duration, like \"5s\"".to_owned()),
            };
            let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            in_range(ms, range, quoted_duration).map(Value::Whole)
        }
        Kind::Number { range, .. } => {
            let number = match &value {
                DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
                DeValue::Integer(integer) => integer.as_str().parse::<f64>().ok(),
                _ => None,
            };
            let number = number.filter(|n| n.is_finite()).ok_or("write a number")?;
            in_range(number, range, |n| n.to_string()).map(Value::Number)
        }
        Kind::Rate { .. } => {
            let rate = match &value {
                DeValue::String(text) => parse_rate(text)?,
                _ => Rate::per_s(to_int(&value).map_err(|_| "write a rate, like \"100/s\"; 0 for no limit")?),
            };
            in_range(rate.count, &(0..=RATE_MAX), |n| n.to_string())?;
            Ok(Value::Rate(rate))
        }
        Kind::Flag { .. } => value.as_bool().map(Value::Flag).ok_or("write true or false".to_owned()),
        Kind::Text { instead, .. } => match value {
            DeValue::String(text) => Ok(Value::Text(text.into_owned())),
            _ => Err((*instead).to_owned()),
        },
        Kind::Choice { of, .. } => {
            let chosen = of.iter().find(|name| value.as_str() == Some(**name));
            chosen.map(|name| Value::Text((*name).to_owned())).ok_or_else(|| format!("write {}", or(of)))
        }
        Kind::Address { .. } => address(&value).map(Value::Text),
        Kind::Counts { .. } => {
            let DeValue::Array(array) = value else {
                return Err("write a list of whole numbers, like [0, 1]".to_owned());
            };
            array.iter().map(|value| to_int(value.get_ref())).collect::<Result<_, _>>().map(Value::Wholes)
        }
        Kind::Own => unreachable!("its owner reads it"),
        Kind::Texts { instead, .. } => {
            let text = |value: &Spanned<DeValue<'_>>| value.get_ref().as_str().map(str::to_owned);
            let texts = value.as_array().and_then(|array| array.iter().map(text).collect::<Option<_>>());
            texts.map(Value::Texts).ok_or_else(|| (*instead).to_owned())
        }
    }
}

/// `None`: there is nothing to write.
pub fn write(kind: &Kind, value: &Value) -> Option<String> {
    Some(match (kind, value) {
        (_, Value::None) => return None,
        (Kind::Size { .. }, Value::Whole(bytes)) => quoted_size(*bytes),
        (Kind::Duration { .. }, Value::Whole(ms)) => quoted_duration(*ms),
        (_, Value::Whole(number)) => number.to_string(),
        (_, Value::Rate(rate)) => show_rate(*rate).map_or("0".to_owned(), |rate| format!("\"{rate}\"")),
        (_, Value::Number(number)) => format!("{number:?}"),
        (_, Value::Flag(flag)) => flag.to_string(),
        (_, Value::Text(text)) => toml::Value::String(text.clone()).to_string(),
        (_, Value::Wholes(numbers)) => format!("{numbers:?}"),
        (_, Value::Texts(texts)) => list(texts.iter().map(|text| json(text))),
    })
}

/// What may be written, in words; `None`: that goes without saying.
pub fn range(kind: &Kind) -> Option<String> {
    Some(match kind {
        Kind::Count { range, .. } if *range.end() > i64::MAX as u64 => return None,
        Kind::Count { range, .. } => format!("From {} to {}", range.start(), range.end()),
        Kind::Size { range, .. } => {
            format!("From {} to {}", quoted_size(*range.start()), quoted_size(*range.end()))
        }
        Kind::Duration { range, .. } => {
            format!("From {} to {}", quoted_duration(*range.start()), quoted_duration(*range.end()))
        }
        Kind::Number { range, .. } => format!("From {} to {}", range.start(), range.end()),
        Kind::Choice { of, .. } => format!("One of {}", or(of)),
        Kind::Rate { .. }
        | Kind::Flag { .. }
        | Kind::Text { .. }
        | Kind::Address { .. }
        | Kind::Counts { .. }
        | Kind::Texts { .. }
        | Kind::Own => return None,
    })
}

pub fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// Of pairs like `key = value`.
pub fn table(pairs: impl Iterator<Item = String>) -> String {
    format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
}

/// A JSON string is a TOML string too, on one line and also as a key; only DEL has to be escaped besides.
pub fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

pub fn to_int(value: &DeValue<'_>) -> Result<u64, String> {
    let number = match value {
        DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
        _ => None,
    };
    // TOML readers agree on integers up to 2^63 - 1 only.
    number.filter(|n| *n <= i64::MAX as u64).ok_or_else(|| "write a whole number, 0 or more".to_owned())
}

/// An address and a port, or nothing.
fn address(value: &DeValue<'_>) -> Result<String, String> {
    let text = value.as_str().ok_or("write an address and a port in quotes")?;
    match text.is_empty() || text.parse::<std::net::SocketAddr>().is_ok() {
        true => Ok(text.to_owned()),
        false => Err("write an address and a port, like \"127.0.0.1:9001\"".to_owned()),
    }
}

fn in_range<T: PartialOrd + Copy>(
    value: T,
    range: &std::ops::RangeInclusive<T>,
    show: impl Fn(T) -> String,
) -> Result<T, String> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(format!("out of range; write {} to {}", show(*range.start()), show(*range.end())))
}

/// As TOML has it.
pub fn duration(duration: Duration) -> String {
    quoted_duration(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

fn quoted_size(bytes: u64) -> String {
    format!("\"{}\"", show_size(bytes))
}

fn quoted_duration(ms: u64) -> String {
    format!("\"{}\"", show_duration(Duration::from_millis(ms)))
}

/// `"a", "b" or "c"`
pub fn or(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
