//! `[access]`: whom listeners answer.

use std::path::Path;

use engine::{
    access::rules::Place,
    http::{host::Host, origin::Origins},
    keys,
};

use super::tokens::{TokenSettings, tokens};
use crate::document::read::Section;

const TEXTS: &str = "write a list of texts, like [\"a\", \"b\"]";

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Access {
    pub clients: Clients,
    /// Whose pages may connect.
    pub origins: Origins,
    /// Hosts that a listener answers to besides those of loopback.
    pub hosts: Vec<Host>,
    pub tokens: TokenSettings,
}

/// What clients have to show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Clients {
    /// Nothing: all topics may be read.
    #[default]
    Open,
    /// A token.
    Token,
}

keys! {
    /// Whom the listeners answer.
    pub(super) struct AccessKeys in "access" {
        /// "open": whoever reaches a listener of subscribers may read all topics. "token": who shows a token may read
        /// what that grants. Where `data` or `tls` is not an address of loopback, this has to be written out.
        clients: String = choice("open", &["open", "token"]), reloaded;
        /// Whose pages may connect. "same-host": those of the host that is asked, whatever the port. "none": who sends
        /// no `Origin`, as browsers do. "any": every page. "https://app.example.com": the pages there.
        /// "https://*.example.com": those of the hosts below.
        origins: Vec<String> = texts(&["same-host", "none"], TEXTS), reloaded;
        /// Names, as a URL has them without the port, that listeners answer to beside localhost and loopback addresses.
        /// The name of a proxy or a tunnel stands here. A data listener on an address that is not of loopback answers to
        /// any name. There the admin listener answers to any address too, and where no name stands here to any name.
        hosts: Vec<String> = texts(&[], TEXTS), reloaded;
    }
}

/// `exposed`: a listener of subscribers that others than this machine reach, as its key and address, and its line.
/// `has_client_ca`: clients of TLS have certificates.
/// Files are relative to `dir`.
pub(super) fn access(
    mut section: Section,
    exposed: Option<(String, usize)>,
    has_client_ca: bool,
    dir: &Path,
) -> Access {
    let keys: AccessKeys = section.keys();
    let clients = if keys.clients == "token" { Clients::Token } else { Clients::Open };
    check_clients(&mut section, exposed);
    let origins = origins(&mut section, &keys.origins);
    let hosts = hosts(&mut section, &keys.hosts);
    let tokens = tokens(&mut section, clients == Clients::Open, dir);
    check_cookies(&mut section, &keys.origins, &tokens);
    check_certificates(&mut section, &keys.origins, &tokens, has_client_ca);
    section.finish();
    Access { clients, origins, hosts, tokens }
}

/// Who listens where others than this machine connect says whom that is for.
fn check_clients(section: &mut Section, exposed: Option<(String, usize)>) {
    let named = section.named("clients", ());
    if let (Some((listener, line)), None) = (exposed, named.line) {
        let text = format!(
            "clients: [server] {listener} is reached by others than this machine, and clients is not written out; write \
             clients = \"open\" if whoever gets there may read all topics, or clients = \"token\""
        );
        section.problem(line, text);
    }
}

/// A browser sends a cookie with what any page asks, so it is to be known whose pages ask.
fn check_cookies(section: &mut Section, origins: &[String], tokens: &TokenSettings) {
    let has_cookie = tokens.rules.from.iter().any(|place| matches!(place, Place::Cookie(_)));
    if let (true, Some(wide)) = (has_cookie, origins.iter().find(|text| matches!(&***text, "any" | "none"))) {
        let text = format!(
            "token_from: browsers send a cookie for any page that asks, so origins must not have {wide:?}; write \
             origins = [\"same-host\"], or those of your pages"
        );
        section.problem(section.line_of("token_from"), text);
    }
}

/// It shows a certificate likewise.
fn check_certificates(
    section: &mut Section,
    origins: &[String],
    tokens: &TokenSettings,
    has_client_ca: bool,
) {
    if !tokens.rules.from.contains(&Place::Certificate) {
        return;
    }
    let line = section.line_of("token_from");
    if !has_client_ca {
        let text =
            "token_from: \"certificate\" needs [server] tls_client_ca, which says whose certificates count";
        section.problem(line, text);
    }
    if origins.iter().any(|text| text == "any") {
        let text = "token_from: browsers show a certificate for any page that asks, so origins must not have \"any\"; \
                    write those of your pages";
        section.problem(line, text);
    }
}

fn origins(section: &mut Section, texts: &[String]) -> Origins {
    Origins::parse(texts).unwrap_or_else(|bad| {
        let line = section.line_of("origins");
        section.problem(line, format!("origins: {bad}"));
        Origins::default()
    })
}

fn hosts(section: &mut Section, texts: &[String]) -> Vec<Host> {
    let mut hosts = Vec::new();
    if check_texts(section, "hosts", texts) {
        for text in texts {
            // As a browser would send it, or without the brackets that only URLs need.
            match Host::parse(text).or_else(|| Host::parse(&format!("[{text}]"))) {
                Some(host) => hosts.push(host),
                None => section.problem(
                    section.line_of("hosts"),
                    format!(
                        "hosts: {text:?} is no host; write a name as it stands in a URL, without scheme, port and path, \
                         like \"ops.example\""
                    ),
                ),
            }
        }
    }
    hosts
}

/// Whether none of the list `key` is empty; that one is has been told.
pub(super) fn check_texts(section: &mut Section, key: &'static str, texts: &[String]) -> bool {
    let is_good = texts.iter().all(|text| !text.is_empty());
    if !is_good {
        section.refuse(key, TEXTS);
    }
    is_good
}

impl Clients {
    fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Token => "token",
        }
    }
}

impl From<&Access> for AccessKeys {
    fn from(access: &Access) -> Self {
        Self {
            clients: access.clients.name().to_owned(),
            origins: access.origins.texts().collect(),
            hosts: access.hosts.iter().map(ToString::to_string).collect(),
        }
    }
}
