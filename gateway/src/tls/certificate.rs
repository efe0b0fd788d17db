//! A certificate of the gateway's own, from two PEM files, and what it says of itself.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    pki_types::{PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::{
    certificate::{Validity, X509Certificate},
    extensions::GeneralName,
    prelude::FromDer,
};

use super::{
    files::Files,
    pem::{read_chain, read_pem, told},
    provider::provider,
};

#[derive(Debug)]
pub struct Certificate {
    /// The chain and its key.
    pub signed: Arc<CertifiedKey>,
    /// Host names in lower case, also `*.rest`.
    pub names: Vec<String>,
    validity: Validity,
    file: String,
}

impl Certificate {
    /// The error says which file and why.
    pub fn read(files: &Files) -> Result<Self, String> {
        let file = files.cert.display().to_string();
        let failed = |error: &dyn std::fmt::Display| format!("cannot read the certificate {file}: {error}");
        let chain = read_chain(&files.cert).map_err(|error| failed(&error))?;
        let (_, parsed) = X509Certificate::from_der(&chain[0]).map_err(|error| failed(&error))?;
        let (names, validity) = (names(&parsed), parsed.validity().clone());
        let shown = files.key.display();
        let key = read_pem(&files.key)
            .and_then(|text| PrivateKeyDer::from_pem_slice(&text).map_err(|error| told(&error, &text)))
            .map_err(|error| format!("cannot read the private key {shown}: {error}"))?;
        let signed = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                format!("{shown} is not the key of the first certificate in {file}; that has to be its own")
            }
            error => {
                format!("{file} and {shown} cannot be used: {error}; take ECDSA P-256, or RSA of 2048 bits")
            }
        })?;
        Ok(Self { signed: signed.into(), names, validity, file })
    }

    /// Seconds since the Unix epoch.
    pub fn expires_s(&self) -> i64 {
        self.validity.not_after.timestamp()
    }

    /// Why clients will not take it at this time, if so.
    pub fn untimely(&self) -> Option<String> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (now_s, file) = (since_epoch.as_secs() as i64, &self.file);
        let Validity { not_before, not_after } = &self.validity;
        if now_s > not_after.timestamp() {
            Some(format!(
                "the certificate {file} expired on {not_after}, so that clients refuse it; renew it"
            ))
        } else if now_s < not_before.timestamp() {
            Some(format!("the certificate {file} holds from {not_before} on only; look at this host's clock"))
        } else {
            None
        }
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    let hosts = names.filter_map(|name| match name {
        GeneralName::DNSName(host) => Some(host.to_ascii_lowercase()),
        _ => None,
    });
    hosts.collect()
}
