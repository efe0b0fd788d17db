//! `[access]`: whom listeners answer.

use engine::{http::host::Host, keys};

use crate::document::read::Section;

const TEXTS: &str = "write a list of texts, like [\"a\", \"b\"]";

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Access {
    /// Hosts that the admin listener answers to besides those of loopback.
    pub hosts: Vec<Host>,
}

keys! {
    /// Whom the listeners answer.
    pub(super) struct AccessKeys in "access" {
        /// Names, as a URL has them without the port, that the admin listener answers to beside localhost and loopback
        /// addresses. The name of a proxy or a tunnel stands here. On an address that is not of loopback it answers to
        /// any address too, and where no name stands here to any name.
        hosts: Vec<String> = texts(&[], TEXTS);
    }
}

pub(super) fn access(mut section: Section) -> Access {
    let keys: AccessKeys = section.keys();
    let mut hosts = Vec::new();
    if check_texts(&mut section, "hosts", &keys.hosts) {
        for text in &keys.hosts {
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
    section.finish();
    Access { hosts }
}

/// Whether none of the list `key` is empty; that one is has been told.
pub(super) fn check_texts(section: &mut Section, key: &'static str, texts: &[String]) -> bool {
    let is_good = texts.iter().all(|text| !text.is_empty());
    if !is_good {
        section.refuse(key, TEXTS);
    }
    is_good
}

impl From<&Access> for AccessKeys {
    fn from(access: &Access) -> Self {
        Self { hosts: access.hosts.iter().map(ToString::to_string).collect() }
    }
}
