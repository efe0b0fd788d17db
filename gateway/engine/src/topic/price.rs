//! Keys that end with a price, which a venue may write in several ways: `b100`, `b100.0`.

use crate::json::{decimal::Decimal, scaled::scaled};

/// Zeros that may stand behind a price.
const ZEROS_MAX: usize = 8;
/// Exponents beyond are not written out.
const EXPONENT_MAX: i32 = 40;
/// Venues write small and large prices with an exponent from here on.
const EXPONENT_MIN: i32 = 5;

/// How else a key, a JSON string that ends with a price, may be written. Empty: it ends with none.
pub fn spellings(key: &[u8]) -> Vec<Vec<u8>> {
    let text = std::str::from_utf8(key).ok().and_then(|text| text.strip_suffix('"'));
    let Some((prefix, price)) = text.and_then(split) else { return Vec::new() };
    let Some(plain) = plain(price) else { return Vec::new() };
    let point = if plain.contains('.') { "" } else { "." };
    let zeros = (1..=ZEROS_MAX).map(|zeros| format!("{plain}{point}{}", "0".repeat(zeros)));
    let all = [plain.clone()].into_iter().chain(zeros).chain(with_exponents(&plain));
    all.filter(|other| other != price).map(|price| format!("{prefix}{price}\"").into_bytes()).collect()
}

/// What goes before the price, and the price.
fn split(text: &str) -> Option<(&str, &str)> {
    let at = text.char_indices().map(|(at, _)| at).find(|at| Decimal::parse(&text[*at..]).is_some())?;
    Some(text.split_at(at))
}

/// Without an exponent and without zeros that tell nothing.
fn plain(price: &str) -> Option<String> {
    let (mantissa, exponent) = price.split_once(['e', 'E']).unwrap_or((price, "0"));
    let exponent = exponent.parse::<i32>().ok().filter(|exponent| exponent.abs() <= EXPONENT_MAX)?;
    // There and back: a power of 0 leaves a number as it is written.
    let moved = scaled(&scaled(mantissa, exponent - 1)?, 1)?;
    let number = match moved.contains('.') {
        true => moved.trim_end_matches('0').trim_end_matches('.'),
        false => &moved,
    };
    Some(number.to_owned())
}

/// `0.00000017` is `1.7e-7`, `1.7e-07` and `1.7E-7` too.
fn with_exponents(plain: &str) -> Vec<String> {
    let digits: String = plain.chars().filter(char::is_ascii_digit).collect();
    let significant = digits.trim_matches('0');
    let whole = plain.trim_start_matches('-').split('.').next().unwrap_or_default();
    let exponent = match whole.trim_start_matches('0').len() {
        0 => -((digits.len() - whole.len() - digits[whole.len()..].trim_start_matches('0').len()) as i32) - 1,
        places => places as i32 - 1,
    };
    let Some(first) = significant.get(..1).filter(|_| exponent.abs() >= EXPONENT_MIN) else {
        return Vec::new();
    };
    let rest = &significant[1..];
    let sign = if plain.starts_with('-') { "-" } else { "" };
    let mantissa = format!("{sign}{first}{}{rest}", if rest.is_empty() { "" } else { "." });
    let plus = if exponent < 0 { "-" } else { "+" };
    let size = exponent.abs();
    vec![
        format!("{mantissa}e{exponent}"),
        format!("{mantissa}E{exponent}"),
        format!("{mantissa}e{plus}{size:02}"),
        format!("{mantissa}E{plus}{size:02}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_found_however_it_is_written() {
        for [held, deleted] in [
            ["b100.0", "b100"],
            ["b100", "b100.00"],
            ["a1.10", "a1.1"],
            ["a1.1", "a1.10000"],
            ["b1.7e-7", "b0.00000017"],
            ["b1.7E-07", "b0.000000170"],
            ["b0.00000017", "b1.7e-7"],
            ["b2000000", "b2e6"],
            ["b2e+06", "b2000000.0"],
            ["b5", "b5e0"],
            ["side:2:-0.5", "side:2:-.50"],
        ] {
            let found = spellings(format!("\"{deleted}\"").as_bytes());
            let texts: Vec<_> = found.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
            assert!(texts.contains(&format!("\"{held}\"")), "{held} is not {deleted}: {texts:?}");
            assert!(!texts.contains(&format!("\"{deleted}\"")));
        }
        for other in ["\"b10\"", "\"b1000\"", "\"a100\"", "\"b0.100\""] {
            assert!(!spellings(b"\"b100\"").contains(&other.as_bytes().to_vec()), "{other}");
        }
        for none in ["\"\"", "\"name\"", "\"b1e999\"", "b"] {
            assert!(spellings(none.as_bytes()).is_empty(), "{none}");
        }
    }
}
