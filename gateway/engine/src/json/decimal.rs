//! Decimal numbers of any length as JSON writes them, read and compared without rounding.

use std::cmp::Ordering;

/// A number as it is written: a sign, digits before and after the point, a power of ten.
#[derive(Debug, Clone, Copy)]
pub struct Decimal<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

/// Exponents beyond are as good as these: no text is long enough to make up for it.
const EXPONENT_MAX: i64 = 1 << 60;

impl<'a> Decimal<'a> {
    /// Takes what JSON takes, and besides `+1`, `.5`, `5.` and leading zeros, as venues write texts of
    /// numbers. `None`: it is no number.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent)?),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let are_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let is_number = are_digits(whole) && are_digits(fraction) && whole.len() + fraction.len() > 0;
        is_number.then_some(Self { negative, whole, fraction, exponent })
    }

    pub fn is_zero(&self) -> bool {
        self.magnitude().is_none()
    }

    /// It times ten to this power, without what is below 1. `None`: it is negative or does not fit.
    pub fn floor_scaled(&self, power: i64) -> Option<u64> {
        let Some(magnitude) = self.magnitude() else { return Some(0) };
        // 2^64 has 20 digits.
        match magnitude + power {
            _ if self.negative => None,
            ..0 => Some(0),
            places @ 0..20 => {
                let digits = self.significant().chain(std::iter::repeat(b'0')).take(places as usize + 1);
                let number = digits.fold(0u128, |number, digit| number * 10 + u128::from(digit - b'0'));
                number.try_into().ok()
            }
            20.. => None,
        }
    }

    /// Its digits from the first on that is not 0.
    fn significant(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.whole.bytes().chain(self.fraction.bytes()).skip_while(|digit| *digit == b'0')
    }

    /// The power of ten that its first digit other than 0 counts; `None`: it is zero.
    fn magnitude(&self) -> Option<i64> {
        let mut digits = self.whole.bytes().chain(self.fraction.bytes());
        let zeros = digits.position(|digit| digit != b'0')?;
        Some(self.exponent + self.whole.len() as i64 - 1 - zeros as i64)
    }

    /// As [`Ord::cmp`], without the signs.
    fn compare_sizes(&self, other: &Self) -> Ordering {
        self.magnitude().cmp(&other.magnitude()).then_with(|| {
            let (mut a, mut b) = (self.significant(), other.significant());
            loop {
                match (a.next(), b.next()) {
                    (None, None) => return Ordering::Equal,
                    (a, b) => match a.unwrap_or(b'0').cmp(&b.unwrap_or(b'0')) {
                        Ordering::Equal => {}
                        differ => return differ,
                    },
                }
            }
        })
    }
}

impl Ord for Decimal<'_> {
    /// By value: `1.50`, `15e-1` and `1.5` are equal.
    fn cmp(&self, other: &Self) -> Ordering {
        let is_negative = |number: &Self| number.negative && !number.is_zero();
        match (is_negative(self), is_negative(other)) {
            (false, false) => self.compare_sizes(other),
            (true, true) => other.compare_sizes(self),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Decimal<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Decimal<'_> {}

fn parse_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let size = digits.parse().map_or(EXPONENT_MAX, |size: i64| size.min(EXPONENT_MAX));
    Some(if negative { -size } else { size })
}

#[cfg(test)]
mod tests {
    use crate::json::decimal::*;

    fn decimal(text: &str) -> Decimal<'_> {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn what_is_no_number_is_not_read() {
        for bad in
            ["", "-", "+", ".", "e5", "1e", "1e+", "inf", "NaN", "0x1", "1,5", " 1", "1 ", "--1", "1.2.3"]
        {
            assert!(Decimal::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn numbers_compare_by_value_however_long_they_are_and_however_they_are_written() {
        let rising = [
            "-1e400",
            "-10",
            "-9.99999999999999999999",
            "-1e-400",
            "0",
            "1e-400",
            "0.00000017",
            "1.8e-7",
            "0.5",
            "0.50000000000000000000000000000001",
            "9",
            "10",
            "97000.1",
            "97000.10000000000000000001",
            "100000000000000000001.50",
            "100000000000000000002",
            "1e99999999999999999999",
        ];
        for (i, a) in rising.iter().enumerate() {
            for (j, b) in rising.iter().enumerate() {
                assert_eq!(decimal(a).cmp(&decimal(b)), i.cmp(&j), "{a} {b}");
            }
        }
        for same in
            [["1.7e-7", "0.00000017"], ["100.0", "1E+2"], ["0", "-0.00e7"], ["007", "+7."], [".5", "0.50"]]
        {
            assert_eq!(decimal(same[0]), decimal(same[1]), "{same:?}");
        }
    }

    #[test]
    fn scaling_cuts_off_what_is_below_one() {
        for (text, power, expected) in [
            ("1700000000.1234567", 6, Some(1_700_000_000_123_456)),
            ("1.7000000001234567891e18", -3, Some(1_700_000_000_123_456)),
            ("0.0000009", 6, Some(0)),
            ("1e-400", 6, Some(0)),
            ("1e30", -3, None),
            ("-1", 3, None),
            ("12", 2, Some(1200)),
        ] {
            assert_eq!(decimal(text).floor_scaled(power), expected, "{text}");
        }
    }
}
