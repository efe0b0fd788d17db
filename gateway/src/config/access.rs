//! `[access]`: whom listeners answer.

use engine::http::host::Host;

use super::read::Section;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Access {
    /// Hosts that a listener on a loopback address answers to besides those of loopback.
    pub hosts: Vec<Host>,
}

pub(super) fn access(mut section: Section) -> Access {
    let named = section.texts("hosts", &[]);
    let mut hosts = Vec::new();
    for text in &named.value {
        // As a browser would send it, or without the brackets that only URLs need.
        match Host::parse(text).or_else(|| Host::parse(&format!("[{text}]"))) {
            Some(host) => hosts.push(host),
            None => section.problem(
                named.line.unwrap_or(0),
                format!(
                    "hosts: {text:?} is no host; write a name as it stands in a URL, without scheme, port and path, \
                     like \"ops.example\""
                ),
            ),
        }
    }
    section.finish();
    Access { hosts }
}
