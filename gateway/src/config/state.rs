//! `[state]`: what survives the process.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use engine::{keys, unit::show_size};

use crate::document::read::{Named, Section, contradicts, named};

const GIB: u64 = 1 << 30;

/// What survives the process.
#[derive(Debug, Clone, PartialEq)]
pub struct StateSettings {
    /// `None`: nothing does.
    pub path: Option<PathBuf>,
    pub checkpoint: Duration,
    pub state_bytes: u64,
}

keys! {
    /// What survives the process: last values, tables and counts.
    pub(super) struct StateKeys in "state" {
        /// A file of this gateway alone, made with mode 0600, relative to the configuration file. Default: nothing
        /// survives.
        path: String = text_or(""), example("\"fanwire.state\"");
        /// How often the file is written. A gateway that is killed loses at most so much.
        checkpoint: Duration = duration(10_000, 100..=3_600_000), reloaded;
        /// Bytes of the file. A longer state is not written; the gateway logs and counts that. Default: 1GiB, or
        /// `topics_bytes` where that is more.
        state_bytes: u64 = size(GIB, 1024..=1024 * GIB), reloaded;
    }
}

/// Files are relative to `dir`.
pub(super) fn state(
    mut section: Section,
    dir: &Path,
    chained: bool,
    topics_bytes: &Named<usize>,
) -> StateSettings {
    let keys: StateKeys = section.keys();
    let topics_bytes = Named { value: topics_bytes.value as u64, line: topics_bytes.line };
    let (path, state_bytes) = (named!(section, keys.path), named!(section, keys.state_bytes));
    if let (Some(_), Some(line)) = (contradicts(&topics_bytes, &state_bytes), state_bytes.line) {
        let (state, topics) = (show_size(state_bytes.value), show_size(topics_bytes.value));
        let text = format!(
            "state_bytes = \"{state}\" is below [limits] topics_bytes = \"{topics}\": a state of so many bytes would never be written; raise it to \"{topics}\", or lower that"
        );
        section.problem(line, text);
    }
    let state_bytes = state_bytes.or(|default| default.max(topics_bytes.value));
    let file = (!path.value.is_empty()).then(|| dir.join(&path.value));
    if let (Some(line), Some(file)) = (path.line, &file) {
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if file.is_dir() {
            section.problem(line, format!("path: {} is a directory; write a file in it", file.display()));
        } else if !parent.is_dir() {
            section.problem(line, format!("path: there is no directory {}; make it", parent.display()));
        }
        if chained {
            let text =
                "path: a gateway of kind = \"fanwire\" gets everything from its upstream; leave it out";
            section.problem(line, text);
        }
    }
    section.finish();
    StateSettings { path: file, checkpoint: keys.checkpoint, state_bytes }
}

impl From<&StateSettings> for StateKeys {
    fn from(state: &StateSettings) -> Self {
        let path = state.path.as_ref().map_or(String::new(), |path| path.display().to_string());
        Self { path, checkpoint: state.checkpoint, state_bytes: state.state_bytes }
    }
}
