//! `[log]`: what is logged.

use engine::keys;

use crate::{document::read::Section, logs};

keys! {
    /// What is logged.
    pub struct Log in "log" {
        /// From which level up, also by part of the program: "warn,gateway::http=debug". The variable RUST_LOG takes the
        /// place of it where it is set.
        filter: String = text_or("info"), reloaded;
    }
}

pub(super) fn log(mut section: Section) -> Log {
    let log: Log = section.keys();
    if let Err(error) = logs::check(&log.filter) {
        section.refuse(
            "filter",
            &format!("{error}; write a level like \"info\", or \"info,gateway::http=debug\""),
        );
    }
    section.finish();
    log
}
