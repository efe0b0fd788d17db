//! `[server] tls…` and `[[certificate]]`.

use std::{net::SocketAddr, path::Path};

use engine::keys;

use super::server::{ServerKeys, Tls};
use crate::{
    document::read::{Named, Reader, Section, named},
    tls::files::Files,
};

keys! {
    /// One certificate more, for the host names that it holds; as many as there are.
    pub(super) struct CertificateKeys in "certificate" {
        /// PEM: the certificate and those that sign it.
        cert: String = text_or(""), example("\"other.pem\""), reloaded;
        /// PEM: its private key.
        key: String = text_or(""), example("\"other-key.pem\""), reloaded;
    }
}

impl From<&Files> for CertificateKeys {
    fn from(files: &Files) -> Self {
        let [cert, key] = [&files.cert, &files.key].map(|path| path.display().to_string());
        Self { cert, key }
    }
}

/// The keys of `[server]`, as they were named.
pub(super) struct Given {
    address: Named<Option<SocketAddr>>,
    cert: Named<String>,
    key: Named<String>,
    client_ca: Named<String>,
    admin: Named<bool>,
}

impl Given {
    pub fn new(section: &Section, keys: ServerKeys) -> Self {
        Self {
            address: named!(section, keys.tls),
            cert: named!(section, keys.tls_cert),
            key: named!(section, keys.tls_key),
            client_ca: named!(section, keys.tls_client_ca),
            admin: named!(section, keys.admin_tls),
        }
    }
}

/// Paths are relative to `dir`. Whatever is named is read once, so that a mistake is told before the start.
pub(super) fn tls(reader: &mut Reader, given: Given, dir: &Path) -> Option<Tls> {
    let Given { address, cert, key, client_ca, admin } = given;
    if let (Some(line), true, None) = (admin.line, admin.value, address.value) {
        reader
            .problem(line, "[server] admin_tls needs tls, whose certificates it shows; name both".to_owned());
    }
    let file = |path: &str| dir.join(path);
    let mut certificates = Vec::new();
    if !cert.value.is_empty() || !key.value.is_empty() {
        if let Some(line) = cert.line.or(key.line).filter(|_| cert.value.is_empty() || key.value.is_empty()) {
            reader.problem(line, "[server] tls_cert and tls_key go together; name both files".to_owned());
        }
        certificates.push((cert.line, Files { cert: file(&cert.value), key: file(&key.value) }));
    }
    for table in reader.sections("certificate") {
        let line = table.line();
        let mut section = reader.open("certificate", table);
        let CertificateKeys { cert, key } = section.keys();
        if cert.is_empty() || key.is_empty() {
            section.problem(line, "needs cert and key; name two PEM files");
        }
        if certificates.iter().any(|(_, files)| files.cert == file(&cert)) {
            section.problem(line, "names a cert that is named already; once is enough");
        }
        section.finish();
        certificates.push((Some(line), Files { cert: file(&cert), key: file(&key) }));
    }
    let Some(address_given) = address.value else {
        if let Some(line) = certificates.iter().find_map(|(line, _)| *line).or(client_ca.line) {
            let text = "certificates without a listener; write [server] tls = \"127.0.0.1:9443\"";
            reader.problem(line, text.to_owned());
        }
        return None;
    };
    if certificates.is_empty() {
        let text =
            format!("[server] tls = \"{address_given}\" needs tls_cert and tls_key; name two PEM files");
        reader.problem(address.line.unwrap_or(0), text);
        return None;
    }
    let client_file = (!client_ca.value.is_empty()).then(|| file(&client_ca.value));
    if reader.problems.is_empty() {
        for (line, files) in &certificates {
            if let Err(error) = crate::tls::certificate::Certificate::read(files) {
                reader.problem(line.unwrap_or(0), error);
            }
        }
        if let Some(Err(error)) = client_file.as_deref().map(crate::tls::pem::read_ca) {
            reader.problem(client_ca.line.unwrap_or(0), error);
        }
    }
    let certificates = certificates.into_iter().map(|(_, files)| files).collect();
    Some(Tls { address: address_given, certificates, client_ca: client_file })
}
