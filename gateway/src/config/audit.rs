//! `[audit]`: what was done and refused, in a file of its own.

use std::path::Path;

use engine::keys;

use crate::{audit::AuditSettings, document::read::Section};

keys! {
    /// What was done and refused, in a file of its own.
    pub(super) struct AuditKeys in "audit" {
        /// A file to which the gateway appends a line of JSON for each client that connects, each request that the data
        /// listener or a key refuses, each write of the admin listener, each revocation and each reload; relative to the
        /// configuration file, made with mode 0600. A reload opens it anew. Default: none.
        path: String = text_or(""), example("\"audit.jsonl\""), reloaded;
        /// Lines that wait to be written. More are dropped and counted.
        queue: usize = count(4096, 16..=1_000_000), reloaded;
    }
}

/// The file is relative to `dir`.
pub(super) fn audit(mut section: Section, dir: &Path) -> AuditSettings {
    let AuditKeys { path, queue } = section.keys();
    section.finish();
    AuditSettings { path: (!path.is_empty()).then(|| dir.join(path)), queue }
}

impl From<&AuditSettings> for AuditKeys {
    fn from(audit: &AuditSettings) -> Self {
        let path = audit.path.as_ref().map_or(String::new(), |path| path.display().to_string());
        Self { path, queue: audit.queue }
    }
}
