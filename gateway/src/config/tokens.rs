//! `[access]`, what concerns tokens: where they are looked for, what they have to say, with which keys they are signed,
//! and what is granted.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use engine::{
    access::rules::{Csrf, Place, Rules},
    json::pointer::Pointer,
    keys,
    settings::Limits,
};

use ring::hmac;

use super::grants::{self, granted_of, roles};
use crate::{
    access::{
        key::{self, Key},
        key_file::{self, ALGORITHMS, KeyFile, KeyPlace},
        keys::{Given, Keys},
        published::{self, Jwks, JwksPlace},
    },
    document::{read::Section, write::Text},
    fetch::HttpUrl,
};

/// Keys of one gateway.
const KEYS_MAX: usize = 64;
/// That verify tokens with a public key.
const THREADS_MAX: usize = 8;
const SECRET_BYTES_MIN: usize = 32;
const JWKS_REFRESH: Duration = Duration::from_secs(600);
const TEXTS: &str = "write a list of texts, like [\"a\", \"b\"]";
const PLACES: &str = "write a list of \"authorization\", \"subprotocol\", \"op\", \"certificate\", \"cookie:NAME\" and \"query:NAME\"";
const NAMES: [&str; 12] = {
    let mut names = [""; 12];
    let mut at = 0;
    while at < names.len() {
        names[at] = ALGORITHMS[at].0;
        at += 1;
    }
    names
};

/// What concerns tokens.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TokenSettings {
    pub rules: Arc<Rules>,
    pub keys: Vec<KeyFile>,
    /// Where others are published.
    pub jwks: Option<Jwks>,
    /// The secret of codes beside cookies.
    pub csrf_secret: Option<PathBuf>,
}

impl TokenSettings {
    /// Reads the keys, and starts what verifies tokens with them. The error says which cannot be used.
    pub fn start_keys(&self, limits: &Limits, shards: usize) -> Result<Keys, String> {
        let threads = (shards / 2).clamp(1, THREADS_MAX);
        let keys = Keys::start(self.read_keys()?, limits, threads);
        keys.map_err(|error| format!("cannot start what verifies tokens: {error}"))
    }

    /// The keys, that of codes beside cookies too.
    pub fn read_keys(&self) -> Result<Given, String> {
        let keys = self.keys.iter().map(Key::read).collect::<Result<Vec<_>, _>>()?;
        let csrf = self.csrf_secret.as_deref().map(csrf_key).transpose()?;
        Ok(Given { keys, jwks: self.jwks.clone(), csrf })
    }
}

keys! {
    /// Tokens: JWT (RFC 7519).
    pub(super) struct TokenKeys in "access" {
        /// Where a token is looked for, in this order; the first that is found counts. "authorization": the header
        /// `Authorization: Bearer TOKEN`. "subprotocol": an offered subprotocol `fanwire.token.TOKEN`. "op": the op
        /// `auth`. "cookie:NAME" and "query:NAME": a cookie, a parameter of the URL. "certificate": that of a client of TLS,
        /// in place of a token, where `[server] tls_client_ca` is set.
        token_from: Vec<String> = texts(&["authorization", "subprotocol", "op"], PLACES), reloaded;
        /// Where grants stand in a token: a JSON pointer.
        claim: String = text_or("/fanwire"), reloaded;
        /// `iss` must be one of these. Empty: it is not looked at.
        issuer: Vec<String> = texts(&[], TEXTS), example("[\"https://id.example.com/\"]"), reloaded;
        /// `aud` must be, or hold, one of these. Empty: it is not looked at.
        audience: Vec<String> = texts(&[], TEXTS), example("[\"fanwire\"]"), reloaded;
        /// How far the clocks of who makes tokens and of this machine may be apart.
        leeway: Duration = duration(30_000, 0..=3_600_000), reloaded;
        /// A token that lives for longer, from `iat` or from now to `exp`, is refused. 0s: any life.
        lifetime_max: Duration = duration(86_400_000, 0..=315_360_000_000), reloaded;
        /// Public keys that somebody publishes as a set (JWKS, RFC 7517): an https URL or a file. Of a key's `alg`, or of
        /// its kind, are the tokens that are signed with it. A token with an unknown `kid` has the set read again, at most
        /// every 30 s.
        jwks: String = text_or(""), example("\"https://id.example.com/.well-known/jwks.json\""), reloaded;
        /// How often it is read. Keys that are gone from it hold for so long, too.
        jwks_refresh: Duration = duration(JWKS_REFRESH.as_millis() as u64, 1_000..=86_400_000), reloaded;
        /// With a cookie: a file with a secret of 32 bytes or more. The URL then has to carry the code of the cookie: its
        /// HMAC-SHA-256 as lower-case hex digits, which only the server that sets the cookie can put into its pages.
        csrf_secret_file: String = text_or(""), example("\"csrf.key\""), reloaded;
        /// Of which cookie. Default: the one with the token.
        csrf_cookie: String = text_or(""), example("\"session\""), reloaded;
        /// The parameter of the URL.
        csrf_param: String = text_or("csrf"), reloaded;
    }
}

keys! {
    /// A key that tokens are signed with; as many as there are, at most 64. A token with a `kid` is tried with the keys of
    /// that `kid`, then with those that have none; a token without one with all of its `alg`.
    pub(super) struct KeyKeys in "access.key" {
        /// Which one it is. Default: none.
        kid: Option<String> = text(), example("\"2026-a\""), reloaded;
        /// The algorithm of tokens that are signed with it. Others are refused.
        alg: Option<String> = choice_needed(&NAMES), example("\"HS256\""), reloaded;
        /// Of HS256, HS384 and HS512: a file whose bytes are the secret, without one newline at its end.
        secret_file: String = text_or(""), example("\"hs.key\""), reloaded;
        /// Or a variable of the environment whose bytes are.
        secret_env: String = text_or(""), example("\"FANWIRE_TOKEN_SECRET\""), reloaded;
        /// Of the others: PEM, a public key.
        public_file: String = text_or(""), example("\"key.pem\""), reloaded;
    }
}

/// Files are relative to `dir`. `is_open`: `clients = "open"`.
pub(super) fn tokens(section: &mut Section, is_open: bool, dir: &Path) -> TokenSettings {
    let keys: TokenKeys = section.keys();
    let from = places(section, &keys.token_from);
    check_claim(section, &keys.claim);
    let csrf_secret = csrf_secret(section, &keys, &from, dir);
    let anonymous = section.subtable("anonymous", "access.anonymous");
    let anonymous = anonymous.map(|table| granted_of(section, "access.anonymous", table));
    let everyone = section.subtable("everyone", "access.everyone");
    let everyone = everyone.map(|table| granted_of(section, "access.everyone", table)).unwrap_or_default();
    let roles = roles(section);
    let key_files = key_files(section, dir);
    let jwks = jwks(section, &keys, dir);
    let named = section.named("clients", ());
    if let (false, Some(line)) = (is_open, named.line)
        && key_files.is_empty()
        && jwks.is_none()
        && !from.contains(&Place::Certificate)
        && anonymous.is_none()
    {
        let text = "clients = \"token\" needs a key that tokens are signed with; write [[access.key]] with alg and \
                    secret_file or public_file, or jwks = \"https://…\"";
        section.problem(line, text);
    }
    let us = |duration: Duration| duration.as_micros() as i64;
    let csrf = csrf_secret.as_ref().map(|_| Csrf {
        cookie: Some(keys.csrf_cookie.clone()).filter(|name| !name.is_empty()),
        param: keys.csrf_param.clone(),
    });
    let rules = Rules {
        is_open,
        from,
        csrf,
        claim: keys.claim,
        issuer: keys.issuer,
        audience: keys.audience,
        leeway_us: us(keys.leeway),
        lifetime_max_us: Some(us(keys.lifetime_max)).filter(|us| *us > 0),
        anonymous,
        everyone,
        roles,
    };
    TokenSettings { rules: rules.into(), keys: key_files, jwks, csrf_secret }
}

fn places(section: &mut Section, texts: &[String]) -> Vec<Place> {
    let mut places = Vec::new();
    for text in texts {
        let place = match (text.as_str(), text.split_once(':')) {
            ("authorization", _) => Place::Authorization,
            ("subprotocol", _) => Place::Subprotocol,
            ("op", _) => Place::Op,
            ("certificate", _) => Place::Certificate,
            (_, Some(("cookie", name))) if !name.is_empty() => Place::Cookie(name.to_owned()),
            (_, Some(("query", name))) if !name.is_empty() => Place::Query(name.to_owned()),
            _ => {
                section.refuse("token_from", PLACES);
                break;
            }
        };
        places.push(place);
    }
    places
}

fn check_claim(section: &mut Section, claim: &str) {
    let wrong = match Pointer::parse(claim) {
        Ok(pointer) if !pointer.is_plain() || pointer.steps.is_empty() => {
            "write a pointer like \"/fanwire\"".to_owned()
        }
        Ok(_) => return,
        Err(wrong) => wrong,
    };
    section.refuse("claim", &wrong);
}

/// A file is read once, so that a mistake is told before the start.
fn jwks(section: &mut Section, keys: &TokenKeys, dir: &Path) -> Option<Jwks> {
    if keys.jwks.is_empty() {
        return None;
    }
    let place = if keys.jwks.contains("://") {
        let url = HttpUrl::parse_https(&keys.jwks);
        // What is wrong is not quoted: a user or a query may be a secret.
        let told = url.map_err(|wrong| section.problem(section.line_of("jwks"), format!("jwks: {wrong}")));
        JwksPlace::Url(told.ok()?)
    } else {
        let path = dir.join(&keys.jwks);
        published::read_file(&path).map_err(|wrong| section.refuse("jwks", &wrong)).ok()?;
        JwksPlace::File(path)
    };
    Some(Jwks { place, refresh: keys.jwks_refresh })
}

fn csrf_secret(section: &mut Section, keys: &TokenKeys, from: &[Place], dir: &Path) -> Option<PathBuf> {
    if keys.csrf_secret_file.is_empty() {
        return None;
    }
    let path = dir.join(&keys.csrf_secret_file);
    let line = section.line_of("csrf_secret_file");
    if !from.iter().any(|place| matches!(place, Place::Cookie(_))) {
        let text = "csrf_secret_file is for a token in a cookie; write token_from = [\"cookie:NAME\"]";
        section.problem(line, text);
    }
    if let Err(error) = csrf_key(&path) {
        section.problem(line, error);
    }
    Some(path)
}

/// The key of codes beside cookies.
fn csrf_key(path: &Path) -> Result<hmac::Key, String> {
    let failed = |why: String| format!("cannot use the secret {}: {why}", path.display());
    let secret = key::read_secret(path).map_err(failed)?;
    if secret.len() < SECRET_BYTES_MIN {
        let bytes = secret.len();
        return Err(failed(format!(
            "it has {bytes} bytes; make one with openssl rand -hex {SECRET_BYTES_MIN}"
        )));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &secret))
}

fn key_files(section: &mut Section, dir: &Path) -> Vec<KeyFile> {
    let tables = section.sections("key", "access.key");
    if tables.len() > KEYS_MAX {
        let text = format!("there are {} [[access.key]]; the most is {KEYS_MAX}", tables.len());
        section.problem(section.line(), text);
    }
    let mut key_files = Vec::new();
    for table in tables {
        let mut section = section.open("access.key", table);
        key_files.extend(key_file(&mut section, dir));
        section.finish();
    }
    key_files
}

/// `None`: its problem was reported.
fn key_file(section: &mut Section, dir: &Path) -> Option<KeyFile> {
    let KeyKeys { kid, alg, secret_file, secret_env, public_file } = section.keys();
    if section.named("alg", ()).line.is_none() {
        section.problem(section.line(), "alg is missing; write alg = \"HS256\", or that of your tokens");
    }
    let alg = ALGORITHMS.iter().find(|(name, _)| Some(*name) == alg.as_deref())?.1;
    let places = [
        Some(KeyPlace::Secret(dir.join(&secret_file))).filter(|_| !secret_file.is_empty()),
        Some(KeyPlace::Variable(secret_env.clone())).filter(|_| !secret_env.is_empty()),
        Some(KeyPlace::Public(dir.join(&public_file))).filter(|_| !public_file.is_empty()),
    ];
    let mut places = places.into_iter().flatten();
    let (Some(place), None) = (places.next(), places.next()) else {
        section.problem(section.line(), "needs one of secret_file, secret_env and public_file");
        return None;
    };
    let key_file = KeyFile { kid, alg, place };
    // Whatever is named is read once, so that a mistake is told before the start.
    if let Err(error) = Key::read(&key_file) {
        section.problem(section.line(), error);
    }
    Some(key_file)
}

/// `[access]` as far as it concerns tokens goes on, with its tables.
pub(super) fn render(text: &mut Text, tokens: &TokenSettings) {
    let rules = &tokens.rules;
    text.keys(&TokenKeys::from(tokens));
    grants::render(text, rules);
    for key in &tokens.keys {
        text.section("[[access.key]]");
        let keys = KeyKeys::from(key);
        text.keys_where(&keys, |name| match name {
            "secret_file" => !keys.secret_file.is_empty(),
            "secret_env" => !keys.secret_env.is_empty(),
            "public_file" => !keys.public_file.is_empty(),
            _ => true,
        });
    }
}

impl From<&TokenSettings> for TokenKeys {
    fn from(tokens: &TokenSettings) -> Self {
        let rules = &*tokens.rules;
        let place = |place: &Place| match place {
            Place::Authorization => "authorization".to_owned(),
            Place::Subprotocol => "subprotocol".to_owned(),
            Place::Op => "op".to_owned(),
            Place::Certificate => "certificate".to_owned(),
            Place::Cookie(name) => format!("cookie:{name}"),
            Place::Query(name) => format!("query:{name}"),
        };
        let duration = |us: i64| Duration::from_micros(us.unsigned_abs());
        let csrf = rules.csrf.as_ref();
        Self {
            token_from: rules.from.iter().map(place).collect(),
            claim: rules.claim.clone(),
            issuer: rules.issuer.clone(),
            audience: rules.audience.clone(),
            leeway: duration(rules.leeway_us),
            lifetime_max: duration(rules.lifetime_max_us.unwrap_or(0)),
            jwks: tokens.jwks.as_ref().map_or(String::new(), |jwks| jwks.place.text()),
            jwks_refresh: tokens.jwks.as_ref().map_or(JWKS_REFRESH, |jwks| jwks.refresh),
            csrf_secret_file: tokens
                .csrf_secret
                .as_ref()
                .map_or(String::new(), |path| path.display().to_string()),
            csrf_cookie: csrf.and_then(|csrf| csrf.cookie.clone()).unwrap_or_default(),
            csrf_param: csrf.map_or("csrf".to_owned(), |csrf| csrf.param.clone()),
        }
    }
}

impl From<&KeyFile> for KeyKeys {
    fn from(key: &KeyFile) -> Self {
        let path = |path: &PathBuf| path.display().to_string();
        let [mut secret_file, mut secret_env, mut public_file] = [const { String::new() }; 3];
        match &key.place {
            KeyPlace::Secret(file) => secret_file = path(file),
            KeyPlace::Variable(name) => secret_env.clone_from(name),
            KeyPlace::Public(file) => public_file = path(file),
        }
        let alg = Some(key_file::name(key.alg).to_owned());
        Self { kid: key.kid.clone(), alg, secret_file, secret_env, public_file }
    }
}
