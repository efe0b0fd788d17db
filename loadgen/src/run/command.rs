//! The command line as a report tells it: reports are shown around, so secrets are left out.

/// Flags whose value is a secret.
const SECRETS: [&str; 2] = ["--token", "--admin-key"];
const HIDDEN: &str = "…";
/// What a subprotocol that shows a token has before it, as `fanwire.token.` ends.
const TOKEN: &str = "token.";

/// What follows a flag.
enum Value {
    Any,
    Secret,
    /// `NAME: VALUE`.
    Header,
    Subprotocol,
    Url,
}

impl Value {
    fn of(flag: &str) -> Self {
        match flag {
            flag if SECRETS.contains(&flag) => Self::Secret,
            "--header" => Self::Header,
            "--subprotocol" => Self::Subprotocol,
            "--url" => Self::Url,
            _ => Self::Any,
        }
    }

    fn told(&self, text: String) -> String {
        match self {
            Self::Any => text,
            Self::Secret => HIDDEN.to_owned(),
            Self::Header => format!("{}: {HIDDEN}", text.split(':').next().unwrap_or_default()),
            Self::Subprotocol => match text.find(TOKEN) {
                Some(at) => format!("{}{HIDDEN}", &text[..at + TOKEN.len()]),
                None => text,
            },
            Self::Url => url(&text),
        }
    }
}

/// The words, of which those that may be secrets are names only.
pub fn told(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut value = Value::Any;
    let told = |word: String| match word.split_once('=') {
        Some((flag, text)) if flag.starts_with("--") => {
            format!("{flag}={}", Value::of(flag).told(text.to_owned()))
        }
        _ => std::mem::replace(&mut value, Value::of(&word)).told(word),
    };
    words.map(told).collect()
}

/// A URL with the names in its query alone, and without who asks.
pub fn url(text: &str) -> String {
    let (place, query) = text.split_once('?').map_or((text, None), |(place, query)| (place, Some(query)));
    let end = place.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = place.split_at(end);
    let host = rest.find('/').unwrap_or(rest.len());
    let user = rest[..host].rfind('@').map_or(0, |at| at + 1);
    let mut told = format!("{scheme}{}", &rest[user..]);
    for (at, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        let name = pair.split('=').next().unwrap_or_default();
        told.push(if at == 0 { '?' } else { '&' });
        told.push_str(&format!("{name}={HIDDEN}"));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_no_secret_of_the_command_line() {
        for (line, shown) in [
            (
                "--token a --token=b --admin-key c --admin-key=d",
                "--token … --token=… --admin-key … --admin-key=…",
            ),
            ("--token-file e --url ws://f/?--token=g", "--token-file e --url ws://f/?--token=…"),
            (
                "--url=wss://u:p@h:1/ws?t=a.b&topics=x,y --ramp 5s",
                "--url=wss://h:1/ws?t=…&topics=… --ramp 5s",
            ),
            ("--url ws://h/ws --topics a=b", "--url ws://h/ws --topics a=b"),
            ("--header X-Key:k --header=Cookie:s=1", "--header X-Key: … --header=Cookie: …"),
            (
                "--subprotocol fanwire.token.a.b.c --subprotocol=anycable-token.d --subprotocol v1",
                "--subprotocol fanwire.token.… --subprotocol=anycable-token.… --subprotocol v1",
            ),
        ] {
            assert_eq!(told(line.split(' ').map(str::to_owned)).join(" "), shown);
        }
    }
}
