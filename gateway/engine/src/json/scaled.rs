//! Moves the decimal point of numbers as they are written, digit by digit.

/// The number times ten to this power; `text` is one as [`Decimal`](super::decimal::Decimal) takes it.
/// `None`: its exponent is beyond all that are counted.
pub fn scaled(text: &str, power: i32) -> Option<String> {
    if power == 0 {
        return Some(text.to_owned());
    }
    if let Some((mantissa, exponent)) = text.split_once(['e', 'E']) {
        let exponent = exponent.parse::<i64>().ok()?.checked_add(power.into())?;
        return Some(format!("{mantissa}e{exponent}"));
    }
    let (sign, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (if text.starts_with('-') { "-" } else { "" }, digits),
        None => ("", text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    let point = whole.len() as i64 + i64::from(power);
    let places = all.len() as i64;
    let (before, after) = match point {
        ..=0 => ("0".to_owned(), format!("{}{all}", "0".repeat(point.unsigned_abs() as usize))),
        _ if point >= places => (format!("{all}{}", "0".repeat((point - places) as usize)), String::new()),
        _ => (all[..point as usize].to_owned(), all[point as usize..].to_owned()),
    };
    let trimmed = before.trim_start_matches('0');
    let before = if trimmed.is_empty() { "0" } else { trimmed };
    let point = if after.is_empty() { "" } else { "." };
    Some(format!("{sign}{before}{point}{after}"))
}

#[cfg(test)]
mod tests {
    use super::scaled;

    #[test]
    fn the_point_moves_and_no_digit_is_lost() {
        for (text, power, expected) in [
            ("345475000", -4, "34547.5000"),
            ("5", -4, "0.0005"),
            ("12345", -4, "1.2345"),
            ("1234", -4, "0.1234"),
            ("0", -4, "0.0000"),
            ("-50", -1, "-5.0"),
            ("+50", -1, "5.0"),
            ("1.5", -2, "0.015"),
            ("1.5", 1, "15"),
            ("1.5", 3, "1500"),
            ("0.0015", 3, "1.5"),
            (".5", 2, "50"),
            ("1e3", -4, "1e-1"),
            ("100000000000000000000001", -8, "1000000000000000.00000001"),
            ("7", 0, "7"),
        ] {
            assert_eq!(scaled(text, power).as_deref(), Some(expected), "{text} {power}");
        }
    }

    #[test]
    fn an_exponent_that_no_number_holds_is_no_zero() {
        for (text, power, expected) in [
            ("1e+3", -4, Some("1e-1")),
            ("1E-3", 1, Some("1e-2")),
            ("1e99999999999999999999", -4, None),
            ("1e-99999999999999999999", -4, None),
            ("1e9223372036854775807", 1, None),
            ("1e9223372036854775807", -1, Some("1e9223372036854775806")),
        ] {
            assert_eq!(scaled(text, power).as_deref(), expected, "{text} {power}");
        }
    }
}
