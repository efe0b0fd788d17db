//! Bad tokens, all of which are refused: the vectors of RFC 7515, 7519 and 8037 changed, the known confusions, mutations.
#![forbid(unsafe_code)]

mod jose;
#[path = "bad_tokens/vectors.rs"]
mod vectors;

use std::{
    fs,
    path::PathBuf,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};

use engine::access::{
    bad::Bad,
    claims::Token,
    rules::Rules,
    verify::{Check, Compact, Verdict, Verified, Verify},
};
use gateway::{
    access::{
        key::Key,
        key_file::{ALGORITHMS, KeyFile, KeyPlace},
        keys::{Given, Keys},
    },
    config::Config,
};
use jose::{b64, from_b64, hs256, part};
use jsonwebtoken::Algorithm;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{self, EcdsaKeyPair, Ed25519KeyPair},
};
use serde_json::json;
use vectors::{CLAIMS, ED25519, ED25519_X, ES256_X, ES256_Y, HS256, HS256_KEY, RS256_N, VECTORS_US};

/// When tokens of these tests are looked at.
const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const NOW_S: i64 = 1_700_000_000;
const SECRET: &[u8] = b"a secret of thirty-two bytes, no less than that";

/// DER: a tag, the length and what it holds.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let mut out = vec![tag];
    match len {
        0..128 => out.push(len as u8),
        128..256 => out.extend([0x81, len as u8]),
        _ => out.extend([0x82, (len >> 8) as u8, len as u8]),
    }
    out.extend_from_slice(content);
    out
}

/// A public key as PEM: its kind as DER, and its bits.
fn pem(kind: &[u8], bits: &[u8]) -> String {
    let info = der(0x30, &[der(0x30, kind), der(0x03, &[&[0], bits].concat())].concat());
    let text = b64(&info).replace('-', "+").replace('_', "/");
    let padding = "=".repeat((4 - text.len() % 4) % 4);
    format!("-----BEGIN PUBLIC KEY-----\n{text}{padding}\n-----END PUBLIC KEY-----\n")
}

fn rsa_pem(n: &[u8]) -> String {
    let numbers = [der(0x02, &[&[0], n].concat()), der(0x02, &[1, 0, 1])].concat();
    pem(b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00", &der(0x30, &numbers))
}

fn p256_pem(point: &[u8]) -> String {
    pem(b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", point)
}

fn ed25519_pem(key: &[u8]) -> String {
    pem(b"\x06\x03\x2b\x65\x70", key)
}

/// A key of a file with this text.
fn read(
    kid: Option<&str>,
    alg: Algorithm,
    place: fn(PathBuf) -> KeyPlace,
    text: impl AsRef<[u8]>,
) -> Result<Key, String> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = format!("fanwire-bad-tokens-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    fs::write(&path, text).unwrap();
    let read = Key::read(&KeyFile { kid: kid.map(str::to_owned), alg, place: place(path.clone()) });
    fs::remove_file(path).unwrap();
    read
}

fn public(kid: Option<&str>, alg: Algorithm, pem: &str) -> Key {
    read(kid, alg, KeyPlace::Public, pem).unwrap()
}

fn secret(kid: Option<&str>, alg: Algorithm, secret: &[u8]) -> Key {
    Key::of_secret(kid.map(str::to_owned), alg, secret).unwrap()
}

fn keys(keys: Vec<Key>) -> Keys {
    Keys::start(Given { keys, ..Given::default() }, &Config::embedded_demo().limits, 2).unwrap()
}

/// Whether the signature is good, however long that takes.
fn verify(keys: &Keys, token: &str) -> Verified {
    match keys.verify(token) {
        Verdict::Known(verified) => verified,
        Verdict::Later => {
            let (tell, told) = mpsc::channel();
            let then = Box::new(move |verified: Verified| tell.send(verified).unwrap());
            keys.begin(Check { token: Compact(token.to_owned()), then });
            told.recv().unwrap()
        }
    }
}

/// Whether a client that shows it is let in.
fn accept(keys: &Keys, token: &str, now_us: i64) -> Result<Token, Bad> {
    Token::read(&verify(keys, token)?, &Rules::default(), now_us)
}

fn good_claims() -> String {
    json!({ "sub": "alice", "exp": NOW_S + 600 }).to_string()
}

/// A token, or nothing, is let in now.
fn is_accepted(keys: &Keys, token: &str) -> bool {
    accept(keys, token, NOW_S * 1_000_000).is_ok()
}

/// Those of the vectors.
fn keys_of_vectors() -> Vec<Key> {
    let point = [&[4], &*from_b64(ES256_X), &*from_b64(ES256_Y)].concat();
    vec![
        secret(None, Algorithm::HS256, &from_b64(HS256_KEY)),
        public(None, Algorithm::RS256, &rsa_pem(&from_b64(RS256_N))),
        public(None, Algorithm::ES256, &p256_pem(&point)),
        public(None, Algorithm::EdDSA, &ed25519_pem(&from_b64(ED25519_X))),
    ]
}

/// Each with one character changed, or cut off before one, and where.
fn changed(token: &str, random: &mut fastrand::Rng) -> Vec<(String, usize)> {
    let mut all = Vec::new();
    for at in 0..token.len() {
        let mut changed = token.as_bytes().to_vec();
        while changed == token.as_bytes() {
            changed[at] = *random.choice(BASE64URL).unwrap();
        }
        all.extend([(String::from_utf8(changed).unwrap(), at), (token[..at].to_owned(), at)]);
    }
    let behind = ["=", "A", ".", ".AA", " ", "\n", "\0"];
    all.extend(behind.map(|more| (format!("{token}{more}"), token.len())));
    all
}

#[test]
fn the_vectors_of_the_rfcs_are_good_and_each_changed_character_makes_them_bad() {
    let all = keys(keys_of_vectors());
    let mut random = fastrand::Rng::with_seed(7);
    for (name, token) in vectors::good() {
        assert!(accept(&all, &token, VECTORS_US).is_ok(), "{name}");
        assert_eq!(accept(&all, &token, VECTORS_US + 410_000_000), Err(Bad::Expired), "{name}");
        for (changed, at) in changed(&token, &mut random) {
            assert!(verify(&all, &changed).is_err(), "{name}, changed at {at}");
        }
    }
    // What is signed is no JSON, which is seen only behind a good signature.
    let seen = Err(Bad::Malformed("a part is not the JSON of a token"));
    assert_eq!(verify(&all, ED25519), seen);
    for (changed, at) in changed(ED25519, &mut random) {
        let refused = verify(&all, &changed);
        assert!(refused.is_err() && refused != seen, "EdDSA, changed at {at}: {refused:?}");
    }
    for other in vectors::OTHERS {
        assert!(verify(&all, other).is_err(), "{other}");
    }
}

/// A change of a token, or of what stands in one of its parts, or parts of several tokens.
fn mutated(tokens: &[String], random: &mut fastrand::Rng) -> String {
    let token = random.choice(tokens).unwrap();
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    match random.u8(..4) {
        0 => {
            let at = random.usize(..parts.len());
            let mut bytes = from_b64(&parts[at]);
            (0..random.usize(1..4)).for_each(|_| mutate(&mut bytes, b"\"{}:,01ae\0", random));
            parts[at] = b64(&bytes);
            parts.join(".")
        }
        1 => {
            for (at, part) in parts.iter_mut().enumerate() {
                let other = random.choice(tokens).unwrap();
                *part = other.split('.').nth(at).unwrap().to_owned();
            }
            if random.bool() {
                parts.swap(random.usize(..3), random.usize(..3));
            }
            parts.join(".")
        }
        _ => {
            let mut bytes = token.clone().into_bytes();
            (0..random.usize(1..4)).for_each(|_| mutate(&mut bytes, b"Aa0-_.={\"", random));
            String::from_utf8_lossy(&bytes).into_owned()
        }
    }
}

fn mutate(bytes: &mut Vec<u8>, inserted: &[u8], random: &mut fastrand::Rng) {
    let len = bytes.len();
    let at = random.usize(..len.max(1));
    match random.u8(..6) {
        0 | 1 if len > 0 => bytes[at] ^= 1 << random.u8(..7),
        2 if len > 0 => drop(bytes.remove(at)),
        3 if len > 0 => bytes.swap(at, (at + 1) % len),
        // Most of a token that is cut short far from its end is like any other.
        4 if len > 0 && random.u8(..8) == 0 => bytes.truncate(at),
        _ => bytes.insert(at, *random.choice(inserted).unwrap()),
    }
}

#[test]
fn a_hundred_thousand_mutations_are_refused() {
    const MUTATIONS: usize = 100_000;
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let mut held = keys_of_vectors();
    held.push(public(None, Algorithm::EdDSA, &pair.public_key_pem()));
    let all = keys(held);
    let message = format!("{}.{CLAIMS}", part(&json!({ "alg": "EdDSA" })));
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pair.serialize_der()).unwrap();
    let mut tokens: Vec<String> = vectors::good().into_iter().map(|(_, token)| token).collect();
    tokens.push(format!("{message}.{}", b64(key.sign(message.as_bytes()).as_ref())));
    assert!(tokens.iter().all(|token| accept(&all, token, VECTORS_US).is_ok()));
    let mut random = fastrand::Rng::with_seed(1);
    let mut tried = 0;
    while tried < MUTATIONS {
        let mutated = mutated(&tokens, &mut random);
        // Some come out as they were.
        if !tokens.contains(&mutated) {
            assert!(verify(&all, &mutated).is_err(), "{mutated}");
            tried += 1;
        }
    }
}

#[test]
fn no_confusion_of_algorithms_lets_anybody_in() {
    let rsa = rsa_pem(&from_b64(RS256_N));
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let all = keys(vec![
        secret(Some("hs"), Algorithm::HS256, SECRET),
        public(Some("rs"), Algorithm::RS256, &rsa),
        public(Some("es"), Algorithm::ES256, &pair.public_key_pem()),
    ]);
    assert!(is_accepted(&all, &hs256(r#"{"alg":"HS256","kid":"hs"}"#, &good_claims(), SECRET)));
    let claims = b64(good_claims().as_bytes());
    for none in ["none", "None", "NONE", "nOnE", "", "null", "HS256 ", "hs256", "HS999", "ES512"] {
        let header = part(&json!({ "alg": none, "typ": "JWT" }));
        for code in ["", "AA", HS256.1] {
            assert!(!is_accepted(&all, &format!("{header}.{claims}.{code}")), "{none:?} {code:?}");
        }
        assert!(
            !is_accepted(&all, &hs256(&json!({ "alg": none }).to_string(), &good_claims(), SECRET)),
            "{none}"
        );
    }
    // A public key is no secret, in whatever form it is taken for one.
    let point = pair.public_key_raw().to_vec();
    for (what, taken) in [
        ("the PEM", rsa.clone().into_bytes()),
        ("the PEM without its end", rsa.trim_end().as_bytes().to_vec()),
        ("the modulus", from_b64(RS256_N)),
        ("the PEM of the curve", pair.public_key_pem().into_bytes()),
        ("the point", point),
        ("nothing", Vec::new()),
    ] {
        for kid in [json!("rs"), json!("es"), json!("hs"), json!(null), json!("")] {
            let header = json!({ "alg": "HS256", "kid": kid }).to_string();
            assert!(
                !is_accepted(&all, &hs256(&header, &good_claims(), &taken)),
                "{what} as secret, kid {kid}"
            );
        }
    }
    // The right secret, under another name or another hash.
    for header in [
        r#"{"alg":"HS384","kid":"hs"}"#,
        r#"{"alg":"HS512","kid":"hs"}"#,
        r#"{"alg":"RS256","kid":"hs"}"#,
        r#"{"alg":"ES256","kid":"hs"}"#,
        r#"{"alg":"HS256","kid":"rs"}"#,
        r#"{"alg":"HS256","kid":"es"}"#,
        r#"{"alg":["HS256"],"kid":"hs"}"#,
        r#"{"alg":{"HS256":null},"kid":"hs"}"#,
        r#"{"alg":0,"kid":"hs"}"#,
        r#"{"kid":"hs"}"#,
        r#"{"alg":"none","alg":"HS256","kid":"hs"}"#,
        r#"{"alg":"HS256","alg":"none","kid":"hs"}"#,
        r#"{"alg":"HS256","kid":"hs"} x"#,
        r#"["HS256"]"#,
        r#"["HS256","hs",null]"#,
        r#"["JWT","HS256",null,null,null,"hs"]"#,
        "null",
        "",
    ] {
        assert!(!is_accepted(&all, &hs256(header, &good_claims(), SECRET)), "{header}");
    }
}

#[test]
fn no_header_leads_to_another_key() {
    let all = keys(vec![secret(Some("hs"), Algorithm::HS256, SECRET)]);
    let theirs = b"a secret that somebody else has chosen, long enough";
    let kids = [
        "../../../../etc/hostname",
        "/dev/null",
        "' OR '1'='1",
        "hs\0",
        "HS",
        "hs ",
        "http://evil.example/keys",
        "gateway-0000000000000000",
    ];
    for kid in kids.map(str::to_owned).into_iter().chain(["k".repeat(10_000)]) {
        let header = json!({ "alg": "HS256", "kid": kid }).to_string();
        assert!(!is_accepted(&all, &hs256(&header, &good_claims(), SECRET)), "{kid}");
        assert!(!is_accepted(&all, &hs256(&header, &good_claims(), b"")), "{kid}, of nothing");
    }
    for header in [
        json!({ "alg": "HS256", "jwk": { "kty": "oct", "k": b64(theirs) } }),
        json!({ "alg": "HS256", "jku": "https://evil.example/jwks.json", "kid": "hs" }),
        json!({ "alg": "HS256", "x5u": "https://evil.example/cert.pem" }),
        json!({ "alg": "HS256", "kid": "hs", "x5c": ["AAAA"] }),
    ] {
        assert!(!is_accepted(&all, &hs256(&header.to_string(), &good_claims(), theirs)), "{header}");
    }
    for header in [
        json!({ "alg": "HS256", "crit": ["exp"] }),
        json!({ "alg": "HS256", "crit": ["b64"], "b64": false }),
        json!({ "alg": "HS256", "b64": false }),
        json!({ "alg": "HS256", "crit": ["unknown"], "unknown": 1 }),
        json!({ "alg": "HS256", "crit": "exp" }),
        json!({ "alg": "HS256", "kid": 7 }),
        json!({ "alg": "HS256", "kid": ["hs"] }),
    ] {
        assert!(!is_accepted(&all, &hs256(&header.to_string(), &good_claims(), SECRET)), "{header}");
    }
}

#[test]
fn claims_that_only_look_like_claims_are_refused() {
    let all = keys(vec![secret(None, Algorithm::HS256, SECRET)]);
    let late = NOW_S + 600;
    for claims in [
        format!(r#"{{"exp":"{late}"}}"#),
        format!(r#"{{"exp":[{late}]}}"#),
        format!(r#"{{"exp":{{"exp":{late}}}}}"#),
        format!(r#"{{"EXP":{late}}}"#),
        format!(r#"{{"claims":{{"exp":{late}}}}}"#),
        format!(r#"[{{"exp":{late}}}]"#),
        format!(r#"{{"exp":{late},"exp":1}}"#),
        format!(r#"{{"exp":1,"exp":{late}}}"#),
        format!(r#"{{"exp":{late},"nbf":"{late}"}}"#),
        format!(r#"{{"exp":{late}}}}}"#),
        format!(r#"{{"exp":{late}"#),
        r#"{"exp":null}"#.to_owned(),
        r#"{"exp":true}"#.to_owned(),
        r#"{"exp":1e999}"#.to_owned(),
        r#"{"exp":-1}"#.to_owned(),
        r#"{"exp":NaN}"#.to_owned(),
        r#"{}"#.to_owned(),
        r#""exp""#.to_owned(),
        String::new(),
        format!(r#"{{"exp":{late},"a":{}{}}}"#, "[".repeat(50_000), "]".repeat(50_000)),
    ] {
        let token = hs256(r#"{"alg":"HS256"}"#, &claims, SECRET);
        assert!(!is_accepted(&all, &token), "{}", &claims[..claims.len().min(80)]);
    }
}

#[test]
fn what_has_not_three_parts_is_refused() {
    let all = keys(vec![secret(None, Algorithm::HS256, SECRET)]);
    let good = hs256(r#"{"alg":"HS256"}"#, &good_claims(), SECRET);
    let parts: Vec<&str> = good.split('.').collect();
    for token in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        parts[0].to_owned(),
        parts[..2].join("."),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{}", parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}..{}", parts[0], parts[2]),
        format!("{}.{}.{}.{}.{}", parts[0], parts[1], parts[1], parts[1], parts[2]),
        format!(" {good}"),
        good.replace('.', "\n."),
        good.replace('.', "=."),
    ] {
        assert!(!is_accepted(&all, &token), "{token:?}");
    }
    // One that holds another (RFC 7519, section 5.2).
    assert!(!is_accepted(&all, &hs256(r#"{"alg":"HS256","cty":"JWT"}"#, &good, SECRET)));
    // As the other forms of RFC 7515 write it.
    let json = json!({ "payload": parts[1], "protected": parts[0], "signature": parts[2] });
    assert!(!is_accepted(&all, &json.to_string()));
}

#[test]
fn signatures_of_curves_are_taken_in_one_form_only() {
    let random = SystemRandom::new();
    for (alg, of_pair, signing, asn1) in [
        (
            "ES256",
            &PKCS_ECDSA_P256_SHA256,
            &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
            &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
        ),
        (
            "ES384",
            &PKCS_ECDSA_P384_SHA384,
            &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
        ),
    ] {
        let pair = KeyPair::generate_for(of_pair).unwrap();
        let named = ALGORITHMS.iter().find(|(name, _)| *name == alg).unwrap().1;
        let all = keys(vec![public(None, named, &pair.public_key_pem())]);
        let message = format!("{}.{}", part(&json!({ "alg": alg })), b64(good_claims().as_bytes()));
        let sign = |signing| {
            let key = EcdsaKeyPair::from_pkcs8(signing, &pair.serialize_der(), &random).unwrap();
            key.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec()
        };
        let good = sign(signing);
        assert!(is_accepted(&all, &format!("{message}.{}", b64(&good))), "{alg}");
        // Found the second time, too, and no other token with it.
        assert!(is_accepted(&all, &format!("{message}.{}", b64(&good))), "{alg}");
        let zeros = vec![0; good.len()];
        for bad in [sign(asn1), zeros, good[1..].to_vec(), [&*good, &[0]].concat(), Vec::new()] {
            assert!(!is_accepted(&all, &format!("{message}.{}", b64(&bad))), "{alg} {bad:?}");
        }
    }
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let all = keys(vec![public(None, Algorithm::EdDSA, &pair.public_key_pem())]);
    let message = format!("{}.{}", part(&json!({ "alg": "EdDSA" })), b64(good_claims().as_bytes()));
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pair.serialize_der()).unwrap();
    let good = key.sign(message.as_bytes()).as_ref().to_vec();
    assert!(is_accepted(&all, &format!("{message}.{}", b64(&good))));
    assert!(!is_accepted(&all, &format!("{message}.{}", b64(&[0; 64]))));
}

#[test]
fn keys_that_are_too_short_or_of_another_kind_are_refused_at_the_start() {
    let short = |alg, bytes: usize| Key::of_secret(None, alg, &vec![b'x'; bytes]);
    for (alg, least) in [(Algorithm::HS256, 32), (Algorithm::HS384, 48), (Algorithm::HS512, 64)] {
        assert!(short(alg, least).is_ok());
        let error = short(alg, least - 1).unwrap_err();
        assert!(error.contains(&least.to_string()) && !error.contains("xxx"), "{error}");
    }
    let rsa = rsa_pem(&from_b64(RS256_N));
    let curve = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().public_key_pem();
    let edwards = KeyPair::generate_for(&PKCS_ED25519).unwrap().public_key_pem();
    let weak = rsa_pem(&from_b64(RS256_N)[..128]);
    let [long, longest] = [1025, 1024].map(|len| rsa_pem(&[&[0x81; 1][..], &vec![1; len - 1]].concat()));
    assert!(read(None, Algorithm::RS256, KeyPlace::Public, longest).is_ok());
    // secp256k1, whose points are as long.
    let other_curve = pem(b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x0a", &[4; 65]);
    for (alg, pem) in [
        (Algorithm::RS256, &*curve),
        (Algorithm::RS256, &*weak),
        (Algorithm::PS512, &*weak),
        (Algorithm::RS256, &*long),
        (Algorithm::ES256, &*rsa),
        (Algorithm::ES256, &*edwards),
        (Algorithm::ES256, &*other_curve),
        (Algorithm::ES384, &*curve),
        (Algorithm::EdDSA, &*curve),
        (Algorithm::HS256, &*rsa),
        (Algorithm::RS256, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        (Algorithm::RS256, ""),
    ] {
        let error = read(None, alg, KeyPlace::Public, pem).unwrap_err();
        assert!(error.contains("cannot use the public key") && !error.contains("AAAA"), "{error}");
    }
    assert!(read(None, Algorithm::RS256, KeyPlace::Secret, SECRET).is_err());
    // The key is the file's bytes, less one newline.
    for end in ["\n", ""] {
        let key = read(None, Algorithm::HS256, KeyPlace::Secret, [SECRET, end.as_bytes()].concat()).unwrap();
        assert!(is_accepted(&keys(vec![key]), &hs256(r#"{"alg":"HS256"}"#, &good_claims(), SECRET)));
    }
    let key = read(None, Algorithm::HS256, KeyPlace::Secret, [SECRET, b"\n\n"].concat()).unwrap();
    assert!(!is_accepted(&keys(vec![key]), &hs256(r#"{"alg":"HS256"}"#, &good_claims(), SECRET)));
}

#[test]
fn a_token_is_tried_with_the_keys_of_its_kid_then_with_those_without_one() {
    let other: &[u8] = b"another secret of thirty-two bytes or even more";
    let all = keys(vec![
        secret(Some("a"), Algorithm::HS256, SECRET),
        secret(Some("a"), Algorithm::HS256, b"an older secret of thirty-two bytes or even more"),
        secret(None, Algorithm::HS256, other),
    ]);
    for (header, secret, is_good) in [
        (r#"{"alg":"HS256","kid":"a"}"#, SECRET, true),
        (r#"{"alg":"HS256","kid":"a"}"#, &b"an older secret of thirty-two bytes or even more"[..], true),
        (r#"{"alg":"HS256","kid":"a"}"#, other, true),
        (r#"{"alg":"HS256","kid":"b"}"#, other, true),
        (r#"{"alg":"HS256","kid":"b"}"#, SECRET, false),
        (r#"{"alg":"HS256"}"#, SECRET, true),
        (r#"{"alg":"HS256"}"#, other, true),
    ] {
        assert_eq!(is_accepted(&all, &hs256(header, &good_claims(), secret)), is_good, "{header}");
    }
}

#[test]
fn keys_that_are_replaced_hold_no_more_and_what_was_remembered_is_forgotten() {
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let all = keys(vec![public(None, Algorithm::EdDSA, &pair.public_key_pem())]);
    let message = format!("{}.{}", part(&json!({ "alg": "EdDSA" })), b64(good_claims().as_bytes()));
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pair.serialize_der()).unwrap();
    let token = format!("{message}.{}", b64(key.sign(message.as_bytes()).as_ref()));
    assert!(is_accepted(&all, &token));
    let is_remembered = || matches!(all.verify(&token), Verdict::Known(Ok(_)));
    assert!(is_remembered());
    let ours = public(None, Algorithm::EdDSA, &pair.public_key_pem());
    let another = secret(None, Algorithm::HS256, SECRET);
    all.replace(Given { keys: vec![another, ours], ..Given::default() });
    assert!(is_remembered(), "its key holds still");
    all.replace(Given { keys: vec![secret(None, Algorithm::HS256, SECRET)], ..Given::default() });
    assert!(!is_accepted(&all, &token));
    assert!(all.has_keys() && is_accepted(&all, &hs256(r#"{"alg":"HS256"}"#, &good_claims(), SECRET)));
    all.replace(Given::default());
    assert!(!all.has_keys());
}

#[test]
fn the_code_of_a_cookie_is_its_hmac_in_lower_case() {
    let csrf = hmac::Key::new(hmac::HMAC_SHA256, b"a secret for codes beside cookies, long enough");
    let start = |given| Keys::start(given, &Config::embedded_demo().limits, 1).unwrap();
    let all = start(Given { csrf: Some(csrf.clone()), ..Given::default() });
    let code = hmac::sign(&csrf, b"cookie");
    let hex: String = code.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(all.is_code_of("cookie", &hex));
    for bad in [&*hex.to_uppercase(), &hex[..62], "", "zz", &*format!("{hex}00")] {
        assert!(!all.is_code_of("cookie", bad), "{bad}");
    }
    assert!(!all.is_code_of("other", &hex));
    assert!(!start(Given::default()).is_code_of("cookie", &hex));
}
