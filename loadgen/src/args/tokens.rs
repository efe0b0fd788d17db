//! `--token`, `--token-file`, `--token-key`: what connections show to be let in.

use std::{borrow::Cow, fmt, path::Path, sync::Arc, time::Duration};

use serde_json::{Map, Value};

use super::{Flags, template::read_lines};
use crate::{
    measure::arrival::wall_us,
    server::token::{Algorithm, Signer},
};

const LIFE: Duration = Duration::from_secs(3600);
const LIFE_MIN: Duration = Duration::from_secs(1);
const LIFE_MAX: Duration = Duration::from_secs(1000 * 3600);

/// `Debug` does not tell them.
#[derive(Clone)]
pub enum Tokens {
    /// Those of the command line: a connection takes the one with its number, counted round.
    Given(Arc<[String]>),
    /// Everyone has its own, made as it is shown, and renews it.
    Own(Arc<Signer>),
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(tokens) => write!(f, "Given({})", tokens.len()),
            Self::Own(signer) => fmt::Debug::fmt(signer, f),
        }
    }
}

/// `None`: connections show none.
pub fn of(flags: &Flags) -> Result<Option<Tokens>, String> {
    let own_only = [
        ("--token-life", flags.token_life.is_some()),
        ("--token-claims", flags.token_claims.is_some()),
        ("--token-alg", flags.token_alg.is_some()),
    ];
    if let (None, Some((flag, _))) = (&flags.token_key, own_only.iter().find(|(_, given)| *given)) {
        return Err(format!("{flag} needs the --token-key FILE that tokens are signed with"));
    }
    match (&flags.token, &flags.token_file, &flags.token_key) {
        (None, None, None) => Ok(None),
        (Some(token), None, None) => {
            is_token(token).map_err(|why| format!("--token: {why}"))?;
            Ok(Some(Tokens::Given([token.clone()].into())))
        }
        (None, Some(path), None) => lines(path).map(|tokens| Some(Tokens::Given(tokens))),
        (None, None, Some(path)) => signer(flags, path).map(|signer| Some(Tokens::Own(signer.into()))),
        _ => {
            Err("--token, --token-file and --token-key: a connection shows one token; write one of them"
                .into())
        }
    }
}

fn lines(path: &Path) -> Result<Arc<[String]>, String> {
    let place = |why: String| format!("--token-file {}: {why}", path.display());
    let lines = read_lines(path).map_err(place)?;
    // A secret is not to be shown: the line's number will do.
    for (line, number) in lines.iter().zip(1..) {
        is_token(line).map_err(|why| place(format!("line {number}: {why}")))?;
    }
    Ok(lines)
}

fn is_token(text: &str) -> Result<(), &'static str> {
    match text {
        "" => Err("a token is missing; write one a line, and no blank line"),
        text if !text.bytes().all(|b| b.is_ascii_graphic()) => {
            Err("a token is ASCII without spaces; write it as its maker gives it, without Bearer")
        }
        _ => Ok(()),
    }
}

fn signer(flags: &Flags, path: &Path) -> Result<Signer, String> {
    let life = flags.token_life.unwrap_or(LIFE);
    if !(LIFE_MIN..=LIFE_MAX).contains(&life) {
        return Err(format!("--token-life {life:?}: write 1s to 1000h"));
    }
    let claims = match flags.token_claims.as_deref().map(serde_json::from_str) {
        None => Map::new(),
        Some(Ok(Value::Object(claims))) => claims,
        Some(_) => {
            return Err("--token-claims: write a JSON object, for example '{\"aud\":\"fanwire\"}'".into());
        }
    };
    Signer::read(flags.token_alg.unwrap_or(Algorithm::Hs256), path, life, claims)
}

impl Tokens {
    /// Whether they grant what their connection subscribes to.
    pub fn name_topics(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// What connection `conn` shows now, which subscribes to `topics`.
    pub fn token(&self, conn: u32, topics: &[&str]) -> Cow<'_, str> {
        match self {
            Self::Given(tokens) => Cow::Borrowed(&tokens[conn as usize % tokens.len()]),
            Self::Own(signer) => Cow::Owned(signer.token(conn, topics, wall_us())),
        }
    }

    /// The token that takes the place of one that expires; `None`: there is no other.
    pub fn renewed(&self, conn: u32, topics: &[&str]) -> Option<String> {
        match self {
            Self::Given(_) => None,
            Self::Own(signer) => Some(signer.token(conn, topics, wall_us())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::args::{Args, parse_with_scenario};

    fn check(flags: &[&str]) -> Result<Args, String> {
        let base = ["loadgen", "--url", "ws://127.0.0.1:1/ws", "--topics", "a"];
        let words: Vec<String> = base.iter().chain(flags).map(|word| (*word).to_owned()).collect();
        Args::check(parse_with_scenario(&words).unwrap())
    }

    fn file(text: &str) -> String {
        let path = std::env::temp_dir().join(format!("loadgen-tokens-{}", fastrand::u64(..)));
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_connection_takes_its_line_counted_round() {
        let path = file("red\r\ngreen\n");
        let args = check(&["--token-file", &path]).unwrap();
        fs::remove_file(path).unwrap();
        let tokens = args.opening.tokens.unwrap();
        assert_eq!([0, 1, 2].map(|conn| tokens.token(conn, &[]).into_owned()), ["red", "green", "red"]);
        assert_eq!((tokens.renewed(0, &[]), format!("{tokens:?}").as_str()), (None, "Given(2)"));
        let one = check(&["--token", "blue"]).unwrap().opening.tokens.unwrap();
        assert_eq!(one.token(7, &[]), "blue");
    }

    #[test]
    fn what_is_no_token_is_told_with_its_line_and_never_shown() {
        for (text, told) in [
            ("red\n\ngreen\n", "line 2: a token is missing"),
            ("red\nBearer green\n", "line 2: a token is ASCII"),
            ("", "no line"),
        ] {
            let path = file(text);
            let refusal = check(&["--token-file", &path]).unwrap_err();
            fs::remove_file(path).unwrap();
            assert!(refusal.starts_with("--token-file") && refusal.contains(told), "{refusal}");
            assert!(!refusal.contains("green"), "{refusal}");
        }
        assert!(check(&["--token-file", "/no/such/file"]).unwrap_err().contains("No such file"));
        assert!(check(&["--token", ""]).unwrap_err().contains("--token"));
    }

    #[test]
    fn flags_that_do_not_go_together_are_refused_with_a_remedy() {
        let secret = file("0123456789abcdef0123456789abcdef");
        for (flags, told) in [
            (&["--token", "a", "--token-key", &secret][..], "write one of them"),
            (&["--token-life", "5s"], "--token-key FILE"),
            (&["--token-claims", "{}"], "--token-key FILE"),
            (&["--token-alg", "ES256"], "--token-key FILE"),
            (&["--token-key", &secret, "--token-claims", "[]"], "JSON object"),
            (&["--token-key", &secret, "--token-life", "10ms"], "1s to 1000h"),
            (&["--token", "a", "--header", "authorization: Bearer b"], "--token"),
        ] {
            let refusal = check(flags).expect_err(told);
            assert!(refusal.contains(told), "{refusal}");
        }
        fs::remove_file(secret).unwrap();
    }
}
