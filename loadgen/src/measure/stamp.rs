//! Where a message of another protocol carries its send time.

use super::{arrival::Arrival, pointer};

/// `--stamp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stamp {
    None,
    /// Keys (or indexes of arrays) that lead to a number since the Unix epoch. Its unit follows
    /// from its size: seconds, milliseconds, microseconds or nanoseconds. The JSON begins at the
    /// first brace or bracket: what other protocols put before it is skipped.
    Json(Vec<String>),
    /// `"KEY":`, quotes and colon included: the number behind it, where it stands first, in a unit
    /// that follows in the same way. The rest of the message is not looked at.
    Key(Box<[u8]>),
    /// The first 8 bytes, little-endian: nanoseconds of the sender's `CLOCK_MONOTONIC`, which both
    /// ends share on one host.
    Bin8Mono,
}

impl Stamp {
    /// `json:a.b.0`, `key:ts`, `bin8:mono` or `none`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("json", path)) if !path.is_empty() => {
                Ok(Self::Json(path.split('.').map(str::to_owned).collect()))
            }
            Some(("key", key)) if !key.is_empty() && !key.contains('"') => {
                Ok(Self::Key(format!("\"{key}\":").into_bytes().into()))
            }
            Some(("bin8", "mono")) => Ok(Self::Bin8Mono),
            None if text == "none" => Ok(Self::None),
            _ => Err(format!(
                "--stamp {text}: write json:PATH (json:data.ts), key:NAME (key:ts), bin8:mono or none"
            )),
        }
    }

    /// µs from the send time in `payload` to `arrival`; `None` where it carries none. A time in
    /// the future counts as 0.
    pub fn age_us(&self, payload: &[u8], arrival: Arrival) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Json(path) => {
                let sent = pointer::value(path, payload).filter(|sent| *sent >= 0.0)?;
                Some(arrival.wall_us.saturating_sub(to_us(sent)))
            }
            Self::Key(key) => {
                let at = payload.windows(key.len()).position(|text| *text == **key)?;
                let sent = leading_number(payload[at + key.len()..].trim_ascii_start())?;
                Some(arrival.wall_us.saturating_sub(to_us(sent as f64)))
            }
            Self::Bin8Mono => {
                let sent_ns = u64::from_le_bytes(*payload.first_chunk()?);
                Some(arrival.mono_ns.saturating_sub(sent_ns) / 1000)
            }
        }
    }
}

/// Digits up to what is none; a message may end, or its next part begin, among them.
fn leading_number(text: &[u8]) -> Option<u64> {
    let digits = text.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&text[..digits]).ok()?.parse().ok()
}

/// Present times lie near 1.7e9 s: three decimal places tell each unit from the next.
fn to_us(sent: f64) -> u64 {
    let us = match sent {
        s if s < 1e11 => s * 1e6,
        ms if ms < 1e14 => ms * 1e3,
        us if us < 1e17 => us,
        ns => ns / 1e3,
    };
    us as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARRIVAL: Arrival = Arrival { wall_us: 1_700_000_000_500_000, mono_ns: 7_000_000 };

    #[test]
    fn a_json_path_is_followed_in_any_unit() {
        let stamp = Stamp::parse("json:data.1.ts").unwrap();
        for (sent, age_us) in
            [("1700000000", 500_000), ("1700000000400", 100_000), ("1700000000499000", 1000)]
        {
            let text = format!(r#"{{"x":"y","data":[{{"ts":1}},{{"a":[1,2],"ts":{sent}}},null],"z":true}}"#);
            assert_eq!(stamp.age_us(text.as_bytes(), ARRIVAL), Some(age_us), "{text}");
        }
        let framed = b"MSG ticks 1 40\r\n{\"data\":[0,{\"ts\":1700000000499000}]}\r\n";
        assert_eq!(stamp.age_us(framed, ARRIVAL), Some(1000));
        assert_eq!(stamp.age_us(br#"{"data":[]}"#, ARRIVAL), None);
        assert_eq!(stamp.age_us(b"not json", ARRIVAL), None);
    }

    #[test]
    fn a_binary_stamp_is_the_senders_monotonic_clock() {
        let stamp = Stamp::parse("bin8:mono").unwrap();
        let mut payload = 2_000_000u64.to_le_bytes().to_vec();
        payload.extend_from_slice(b"rest");
        assert_eq!(stamp.age_us(&payload, ARRIVAL), Some(5000));
        assert_eq!(stamp.age_us(&payload[..7], ARRIVAL), None);
    }

    #[test]
    fn a_key_is_taken_where_it_stands_first() {
        let stamp = Stamp::parse("key:ts").unwrap();
        let text = br#"MSG t 1 9\r\n{"tsx":1,"ts": 1700000000499000,"data":{"ts":5}}"#;
        assert_eq!(stamp.age_us(text, ARRIVAL), Some(1000));
        for without in [&br#"{"tsx":1}"#[..], br#"{"ts":"soon"}"#, br#"{"ts":17000000004"#, b""] {
            assert_eq!(stamp.age_us(without, ARRIVAL), None);
        }
    }

    #[test]
    fn an_unknown_stamp_is_refused() {
        assert!(Stamp::parse("key:").is_err() && Stamp::parse("key:\"").is_err());
        assert!(Stamp::parse("json:").is_err() && Stamp::parse("bin4:mono").is_err());
    }
}
