//! `[source.sign]`: how a login is signed.

use std::fmt;

use ring::hmac;

use super::braced::{self, Braced, Filling, May};
use crate::document::{read::Section, value::json, write::Text};

const ALGORITHMS: &[&str] = &["sha256", "sha384", "sha512"];
const FORMS: &[&str] = &["hex", "base64"];
const SECRET_FORMS: &[&str] = &["text", "hex", "base64"];

/// What `{sign}` stands for: an HMAC over a text, which may hold the time.
#[derive(Clone, PartialEq)]
pub struct Sign {
    algorithm: &'static str,
    form: &'static str,
    text: Braced,
    secret: String,
    secret_form: &'static str,
}

/// Without the secret.
impl fmt::Debug for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sign")
            .field("algorithm", &self.algorithm)
            .field("form", &self.form)
            .finish_non_exhaustive()
    }
}

impl Sign {
    /// A signature at a time: microseconds since the Unix epoch.
    pub fn sign(&self, now_us: i64) -> String {
        let algorithm = match self.algorithm {
            "sha384" => hmac::HMAC_SHA384,
            "sha512" => hmac::HMAC_SHA512,
            _ => hmac::HMAC_SHA256,
        };
        let secret = bytes(&self.secret, self.secret_form).unwrap_or_default();
        let text = self.text.fill(&Filling { now_us, ..Filling::default() });
        let tag = hmac::sign(&hmac::Key::new(algorithm, &secret), text.as_bytes());
        match self.form {
            "base64" => base64_simd::STANDARD.encode_to_string(tag.as_ref()),
            _ => tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

/// `None`: it is not of that form.
fn bytes(secret: &str, form: &str) -> Option<Vec<u8>> {
    match form {
        "base64" => base64_simd::STANDARD.decode_to_vec(secret).ok(),
        "hex" => {
            let pair = |at: usize| u8::from_str_radix(secret.get(at..at + 2)?, 16).ok();
            (0..secret.len()).step_by(2).map(pair).collect()
        }
        _ => Some(secret.as_bytes().to_vec()),
    }
}

/// Reads `[source.sign]` of a source; `None`: there is none, or its problems were reported.
pub fn sign(source: &mut Section) -> Option<Sign> {
    let table = source.subtable("sign", "source.sign")?;
    let mut section = source.open("source.sign", table);
    let secret = section.read_hidden("secret", String::new(), |value| {
        value.as_str().map(str::to_owned).ok_or_else(|| "write text in quotes".to_owned())
    });
    let algorithm = section.choice("algorithm", ALGORITHMS);
    let form = section.choice("form", FORMS);
    let secret_form = section.choice("secret_form", SECRET_FORMS);
    let text = braced::read(&mut section, "text", May::default(), |_| Ok(()));
    let missing = [
        ("secret", secret.line.is_none(), "{env:VENUE_SECRET}"),
        ("text", text.line.is_none(), "{time_s}GET/users/self/verify"),
    ];
    for (key, _, example) in missing.into_iter().filter(|(_, is_missing, _)| *is_missing) {
        section.problem(section.line(), format!("{key} is missing; write {key} = \"{example}\""));
    }
    if let (Some(line), None) = (secret.line, bytes(&secret.value, secret_form)) {
        section.problem(line, format!("secret is not {secret_form}, as secret_form says; look at both"));
    }
    section.finish();
    Some(Sign { algorithm, form, text: text.value?, secret: secret.value, secret_form })
}

pub fn write(text: &mut Text, sign: &Sign) {
    text.section("[source.sign]");
    text.quoted("algorithm", sign.algorithm);
    text.quoted("form", sign.form);
    text.plain("text", json(sign.text.as_str()));
    text.quoted("secret_form", sign.secret_form);
    text.plain("# secret", "(secret)");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::environment::Environment;

    fn signed(
        algorithm: &'static str,
        form: &'static str,
        secret: &str,
        secret_form: &'static str,
    ) -> String {
        let text = Braced::parse("what do ya want for nothing?", &Environment::default()).unwrap();
        Sign { algorithm, form, text, secret: secret.to_owned(), secret_form }.sign(0)
    }

    #[test]
    fn signatures_are_those_of_rfc_4231() {
        let sha256 = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signed("sha256", "hex", "Jefe", "text"), sha256);
        assert_eq!(signed("sha256", "hex", "4a656665", "hex"), sha256);
        assert_eq!(signed("sha256", "hex", "SmVmZQ==", "base64"), sha256);
        assert_eq!(
            signed("sha256", "base64", "Jefe", "text"),
            "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM="
        );
        assert!(
            signed("sha384", "hex", "Jefe", "text")
                .starts_with("af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47")
        );
        assert!(
            signed("sha512", "hex", "Jefe", "text")
                .starts_with("164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd6")
        );
        assert!(
            !format!(
                "{:?}",
                Sign {
                    algorithm: "sha256",
                    form: "hex",
                    text: Braced::parse("", &Environment::default()).unwrap(),
                    secret: "Jefe".to_owned(),
                    secret_form: "text"
                }
            )
            .contains("Jefe")
        );
    }

    #[test]
    fn what_is_signed_may_hold_the_time() {
        let text = Braced::parse("{time_s}GET/users/self/verify", &Environment::default()).unwrap();
        let sign =
            Sign { algorithm: "sha256", form: "hex", text, secret: "k".to_owned(), secret_form: "text" };
        assert_ne!(sign.sign(1_000_000), sign.sign(2_000_000));
        assert_eq!(sign.sign(1_000_000), sign.sign(1_999_999));
    }
}
