//! Times as venues write them.

use engine::json::{Node, decimal::Decimal};
use toml::value::{Datetime, Offset};

/// Microseconds since the Unix epoch: of an RFC 3339 text, or of a number (also within quotes)
/// whose unit follows from its size.
pub fn stamp_us(node: &Node<'_>) -> Option<i64> {
    let text = node.scalar()?;
    number_us(&text).or_else(|| if node.is_string() { rfc3339_us(&text) } else { None })
}

/// Present times lie near 1.7e9 s: three decimal places tell each unit from the next. What is below a
/// microsecond is cut off.
fn number_us(text: &str) -> Option<i64> {
    let number = Decimal::parse(text)?;
    let power = match number.floor_scaled(0)? {
        0..100_000_000_000 => 6,
        100_000_000_000..100_000_000_000_000 => 3,
        100_000_000_000_000..100_000_000_000_000_000 => 0,
        _ => -3,
    };
    number.floor_scaled(power)?.try_into().ok()
}

/// TOML writes a date and a time as RFC 3339 does.
fn rfc3339_us(text: &str) -> Option<i64> {
    let Datetime { date: Some(date), time: Some(time), offset: Some(offset) } = text.parse().ok()? else {
        return None;
    };
    let offset_min = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let days = days_since_epoch(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let minutes = (days * 24 + i64::from(time.hour)) * 60 + i64::from(time.minute) - offset_min;
    let seconds = minutes * 60 + i64::from(time.second?);
    Some(seconds * 1_000_000 + i64::from(time.nanosecond.unwrap_or(0)) / 1_000)
}

/// Of a date of the Gregorian calendar. Years begin in March here, so that the leap day is their last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use crate::source::websocket::stamp::*;

    fn stamp(json: &str) -> Option<i64> {
        stamp_us(&Node::parse(json.as_bytes()).unwrap())
    }

    #[test]
    fn a_number_has_the_unit_that_its_size_says() {
        for (json, us) in [
            ("1700000000", 1_700_000_000_000_000),
            ("1700000000123", 1_700_000_000_123_000),
            ("1700000000123456", 1_700_000_000_123_456),
            ("1700000000123456789", 1_700_000_000_123_456),
            ("1700000000.123456", 1_700_000_000_123_456),
            ("\"1700000000.5\"", 1_700_000_000_500_000),
            ("\"1700000000123\"", 1_700_000_000_123_000),
            ("1.7e9", 1_700_000_000_000_000),
            ("1700000000123.0", 1_700_000_000_123_000),
            ("1.7000000001234567891e18", 1_700_000_000_123_456),
            ("\"1.700000000123456E+15\"", 1_700_000_000_123_456),
        ] {
            assert_eq!(stamp(json), Some(us), "{json}");
        }
    }

    #[test]
    fn a_text_is_rfc_3339() {
        for (text, us) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2023-11-14T22:13:20Z", 1_700_000_000_000_000),
            ("2023-11-14T22:13:20.123456Z", 1_700_000_000_123_456),
            ("2023-11-14T22:13:20.123456789Z", 1_700_000_000_123_456),
            ("2023-11-14T23:13:20.5+01:00", 1_700_000_000_500_000),
            ("2023-11-14T16:43:20-05:30", 1_700_000_000_000_000),
            ("2024-02-29T12:00:00Z", 1_709_208_000_000_000),
            ("2000-03-01T00:00:00Z", 951_868_800_000_000),
            ("1969-12-31T23:59:59Z", -1_000_000),
        ] {
            assert_eq!(stamp(&format!("\"{text}\"")), Some(us), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_time() {
        for json in [
            "null",
            "true",
            "-1",
            "\"\"",
            "\"yesterday\"",
            "\"2023-11-14\"",
            "\"2023-11-14T22:13:20\"",
            "\"2023-02-30T00:00:00Z\"",
            "\"nan\"",
            "\"inf\"",
            "1e300",
            "{}",
        ] {
            assert_eq!(stamp(json), None, "{json}");
        }
    }
}
