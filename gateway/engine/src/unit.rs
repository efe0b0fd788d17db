//! Durations, sizes and rates as text.

use std::time::Duration;

/// So many in so long. As many may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// 0: no limit.
    pub count: u64,
    pub per: Duration,
}

impl Rate {
    /// No limit.
    pub const NONE: Self = Self::per_s(0);

    pub const fn per_s(count: u64) -> Self {
        Self { count, per: Duration::from_secs(1) }
    }
}

/// `"100ms"`, `"5s"`, `"2m"`, `"1h"` or `"0"`. The error says what to write instead.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = divide(text);
    let number: u64 = number.parse().map_err(|_| DURATION_HINT.to_owned())?;
    let ms = match unit {
        "" if number == 0 => 0,
        "" => return Err(format!("the unit is missing; write \"{number}ms\" or \"{number}s\"")),
        "ms" => number,
        "s" => number.saturating_mul(1_000),
        "m" => number.saturating_mul(60_000),
        "h" => number.saturating_mul(3_600_000),
        _ => return Err(DURATION_HINT.to_owned()),
    };
    Ok(Duration::from_millis(ms))
}

/// The inverse of [`parse_duration`], in the largest unit that is exact.
pub fn show_duration(duration: Duration) -> String {
    match duration.as_millis() {
        0 => "0".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

/// `"512B"`, `"64KiB"`, `"1MiB"`, `"1GiB"` or a plain number of bytes. The error says what to write instead.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = divide(text);
    let number: u64 = number.parse().map_err(|_| SIZE_HINT.to_owned())?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "KB" | "kB" | "K" | "k" => return Err(format!("write \"{number}KiB\"")),
        "MB" | "M" => return Err(format!("write \"{number}MiB\"")),
        "GB" | "G" => return Err(format!("write \"{number}GiB\"")),
        _ => return Err(SIZE_HINT.to_owned()),
    };
    Ok(number.saturating_mul(factor))
}

/// The inverse of [`parse_size`], in the largest unit that is exact.
pub fn show_size(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        b if b % (1 << 30) == 0 => format!("{}GiB", b >> 30),
        b if b % (1 << 20) == 0 => format!("{}MiB", b >> 20),
        b if b % (1 << 10) == 0 => format!("{}KiB", b >> 10),
        b => format!("{b}B"),
    }
}

/// `"100/s"`, `"100/1m"` or `"5/10s"`. The error says what to write instead.
pub fn parse_rate(text: &str) -> Result<Rate, String> {
    let hint = || RATE_HINT.to_owned();
    let (count, per) = text.split_once('/').ok_or_else(hint)?;
    if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(hint());
    }
    let count = count.parse().map_err(|_| hint())?;
    let (number, unit) = divide(per);
    if unit.is_empty() {
        return Err(hint());
    }
    let per = if number.is_empty() { format!("1{unit}") } else { per.to_owned() };
    let per = parse_duration(&per).map_err(|_| hint())?;
    match (count, per) {
        (0, _) => Ok(Rate::NONE),
        (_, Duration::ZERO) => Err("nothing comes in no time; write \"100/s\"".to_owned()),
        (count, per) => Ok(Rate { count, per }),
    }
}

/// The inverse of [`parse_rate`]; `None`: there is no limit.
pub fn show_rate(rate: Rate) -> Option<String> {
    let per = if rate.per == Duration::from_secs(1) { "s".to_owned() } else { show_duration(rate.per) };
    (rate.count > 0).then(|| format!("{}/{per}", rate.count))
}

const DURATION_HINT: &str = "write a whole number with ms, s, m or h, like \"100ms\"";
const SIZE_HINT: &str = "write a whole number with B, KiB, MiB or GiB, like \"64KiB\"";
const RATE_HINT: &str = "write so many in so long, like \"100/s\" or \"5/10s\"; 0 for no limit";

fn divide(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown_alike() {
        for (text, ms) in
            [("0", 0), ("100ms", 100), ("5s", 5_000), ("2m", 120_000), ("1h", 3_600_000), ("90s", 90_000)]
        {
            let duration = parse_duration(text).unwrap();
            assert_eq!(duration, Duration::from_millis(ms), "{text}");
            assert_eq!(show_duration(duration), text);
        }
        assert_eq!(parse_duration("0ms").unwrap(), Duration::ZERO);
        assert!(parse_duration("10").unwrap_err().contains("\"10ms\" or \"10s\""));
        for bad in ["", "s", "-1s", "1.5s", "1 s", "1sec", "99999999999999999999s"] {
            assert_eq!(parse_duration(bad).unwrap_err(), DURATION_HINT, "{bad}");
        }
    }

    #[test]
    fn sizes_are_read_and_shown_alike() {
        for (text, bytes) in
            [("0", 0), ("512B", 512), ("64KiB", 65_536), ("16MiB", 16 << 20), ("1GiB", 1 << 30)]
        {
            assert_eq!(parse_size(text).unwrap(), bytes, "{text}");
            assert_eq!(show_size(bytes), text);
        }
        assert_eq!(parse_size("1000").unwrap(), 1000);
        assert_eq!(parse_size("64KB").unwrap_err(), "write \"64KiB\"");
        assert_eq!(parse_size("64 KiB").unwrap_err(), SIZE_HINT);
    }
    #[test]
    fn rates_are_read_and_shown_alike() {
        for (text, count, per_ms) in [("100/s", 100, 1_000), ("100/1m", 100, 60_000), ("5/10s", 5, 10_000)] {
            let rate = parse_rate(text).unwrap();
            assert_eq!(rate, Rate { count, per: Duration::from_millis(per_ms) }, "{text}");
            assert_eq!(show_rate(rate).as_deref(), Some(text));
        }
        assert_eq!(parse_rate("7/1s").unwrap(), Rate::per_s(7));
        assert_eq!(parse_rate("7/m").unwrap(), parse_rate("7/60s").unwrap());
        assert_eq!(parse_rate("0/10s").unwrap(), Rate::NONE);
        assert_eq!(show_rate(Rate::NONE), None);
        for bad in ["", "5", "/s", "5/", "5/10", "5/10x", "-5/s", "+5/s", "5 / s", "1.5/s", "5/s/s"] {
            assert_eq!(parse_rate(bad).unwrap_err(), RATE_HINT, "{bad}");
        }
        assert!(parse_rate("5/0s").unwrap_err().contains("no time"));
    }
}
