//! Whole numbers, however JSON writes them: `100`, `100.0` and `1e2` are one.

use serde_json::value::RawValue;

/// Digits of the longest number that fits an `i128` whatever they are.
const DIGITS_MAX: usize = 38;

/// The number that a JSON number stands for, digit by digit, never through a float; `None`: it is not whole,
/// no number, or has more than 38 digits.
pub fn parse(text: &str) -> Option<i128> {
    let (is_negative, significant, power) = parts(text)?;
    if significant.is_empty() {
        return Some(0);
    }
    let power = usize::try_from(power).ok()?;
    if significant.len().saturating_add(power) > DIGITS_MAX {
        return None;
    }
    let number = significant.parse::<i128>().ok()? * 10i128.pow(power as u32);
    Some(if is_negative { -number } else { number })
}

/// Whether a JSON number is whole, however large it is.
pub fn is_whole(text: &str) -> bool {
    parts(text).is_some_and(|(_, significant, power)| significant.is_empty() || power >= 0)
}

/// Whether it is negative, its digits without zeros around them, and the power of ten that they are to be
/// multiplied with.
fn parts(text: &str) -> Option<(bool, String, i64)> {
    let (is_negative, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, text),
    };
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let unsigned_exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let are_digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if ![before, after, unsigned_exponent].into_iter().all(are_digits) {
        return None;
    }
    let digits = [before, after].concat();
    let significant = digits.trim_end_matches('0');
    let zeros = digits.len() - significant.len();
    let significant = significant.trim_start_matches('0');
    // One beyond 64 bits makes it far too large, or a fraction, whatever the digits are.
    let beyond = if exponent.starts_with('-') { i64::MIN } else { i64::MAX };
    let exponent = exponent.parse().unwrap_or(beyond);
    let power = exponent.saturating_add(zeros as i64).saturating_sub(after.len() as i64);
    Some((is_negative, significant.to_owned(), power))
}

/// As [`parse`], of a type with bounds.
pub fn parse_as<N: TryFrom<i128>>(text: &str) -> Option<N> {
    parse(text).and_then(|number| number.try_into().ok())
}

/// A field that holds one; an error names the field and says what was wanted.
pub fn field<N: TryFrom<i128>>(name: &str, raw: &RawValue, wanted: &str) -> Result<N, String> {
    parse_as(raw.get()).ok_or_else(|| refusal(name, raw, wanted))
}

/// That a field holds something else than what was wanted.
pub fn refusal(name: &str, raw: &RawValue, wanted: &str) -> String {
    let shown: String = raw.get().chars().take(40).collect();
    format!("{name} = {shown}: write {wanted}")
}

#[cfg(test)]
mod tests {
    use crate::json::whole::*;

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        for text in ["100", "100.0", "1e2", "1E+2", "1.00e2", "10e1", "1000e-1", "0.1e3", "100.000", "0100"] {
            assert_eq!(parse(text), Some(100), "{text}");
        }
        for (text, number) in [
            ("0", 0),
            ("-0", 0),
            ("0.0", 0),
            ("0e99999999999999999999", 0),
            ("-1.5e1", -15),
            ("9007199254740993", 9_007_199_254_740_993),
            ("9007199254740993.0", 9_007_199_254_740_993),
            ("9.007199254740993e15", 9_007_199_254_740_993),
            ("1.700000000000001e15", 1_700_000_000_000_001),
            ("18446744073709551616", 1 << 64),
            ("99999999999999999999999999999999999999", 99_999_999_999_999_999_999_999_999_999_999_999_999),
        ] {
            assert_eq!(parse(text), Some(number), "{text}");
        }
        assert_eq!(parse_as::<u64>("18446744073709551615.0"), Some(u64::MAX));
        assert_eq!(parse_as::<u64>("18446744073709551616"), None);
        assert_eq!(parse_as::<u64>("-1.0"), None);
    }

    #[test]
    fn a_number_is_whole_however_large_it_is() {
        for text in [
            "0",
            "-1.50e1",
            "1e38",
            "1e308",
            "-1.5E+400",
            "1e99999999999999999999",
            "0e-99999999999999999999",
        ] {
            assert!(is_whole(text), "{text}");
        }
        assert!(is_whole(&"1".repeat(400)));
        for text in ["1.5", "15e-2", "1e-99999999999999999999", "", "-", "1e", "x", "\"1\""] {
            assert!(!is_whole(text), "{text}");
        }
    }

    #[test]
    fn what_is_not_whole_or_no_number_is_none() {
        for text in [
            "1.5",
            "1e-1",
            "0.1",
            "15e-2",
            "1e39",
            "1e400",
            "1e99999999999999999999",
            "1e-99999999999999999999",
            "",
            "-",
            ".",
            "1.",
            ".5",
            "e2",
            "1e",
            "1e+",
            "1e+-2",
            "+1",
            "--1",
            "0x10",
            "1_000",
            " 1",
            "1 ",
            "NaN",
            "\"1\"",
            "null",
            "१",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        let long = "1".repeat(1_000_000);
        assert_eq!(parse(&long), None);
    }
}
