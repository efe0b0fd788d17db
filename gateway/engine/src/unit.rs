//! Durations and sizes as text.

use std::time::Duration;

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

const DURATION_HINT: &str = "write a whole number with ms, s, m or h, like \"100ms\"";
const SIZE_HINT: &str = "write a whole number with B, KiB, MiB or GiB, like \"64KiB\"";

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
}
