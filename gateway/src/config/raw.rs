//! `[[raw]]`: other paths for the bare values of topics.

use engine::{http::raw_path::RawPath, keys};

use crate::document::read::Reader;

/// Entries of one gateway: each is looked at for a path that is none of the gateway's own.
const ENTRIES_MAX: usize = 1000;

keys! {
    /// Another path for `/raw/TOPIC`: a WebSocket there gets the bare values of one topic.
    pub(super) struct RawKeys in "raw" {
        /// A name in braces stands for a whole segment, whatever is in it.
        path: Option<String> = text(), example("\"/chat/{room}\""), reloaded;
        /// The topic, with names of the path in braces. What no topic may hold, and dots and slashes, are encoded.
        topic: Option<String> = text(), example("\"chat.{room}\""), reloaded;
    }
}

pub(super) fn raw_paths(reader: &mut Reader) -> Vec<RawPath> {
    let tables = reader.sections("raw");
    if tables.len() > ENTRIES_MAX {
        let (line, have) = (tables[ENTRIES_MAX].line(), tables.len());
        reader.problem(line, format!("there are {have} [[raw]] entries; the most is {ENTRIES_MAX}"));
    }
    let mut paths: Vec<RawPath> = Vec::new();
    for table in tables {
        let line = table.line();
        let mut section = reader.open("raw", table);
        let RawKeys { path, topic } = section.keys();
        match (path, topic) {
            (Some(path), Some(topic)) => match RawPath::parse(&path, &topic) {
                Ok(raw) if paths.iter().any(|other| other.written().0 == path) => {
                    let path = raw.written().0;
                    section.problem(
                        line,
                        format!("path: {path:?} stands in another [[raw]] already; name each once"),
                    );
                }
                Ok(raw) => paths.push(raw),
                Err(reason) => section.problem(line, reason),
            },
            (None, _) => section.problem(line, "path is missing; write a path like \"/chat/{room}\""),
            (_, None) => section.problem(line, "topic is missing; write a topic like \"chat.{room}\""),
        }
        section.finish();
    }
    paths
}

impl From<&RawPath> for RawKeys {
    fn from(raw: &RawPath) -> Self {
        let (path, topic) = raw.written();
        Self { path: Some(path.to_owned()), topic: Some(topic.to_owned()) }
    }
}
