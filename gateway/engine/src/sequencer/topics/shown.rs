//! Topics as they are asked for: last values, where they stand, lists.

use std::{ops::Bound, sync::Arc};

use bytes::Bytes;
use serde::Serialize;

use super::Topics;
use crate::{
    protocol::update,
    sequencer::{published::Written, table},
};

/// A topic as `GET /topics` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TopicRow {
    pub topic: Arc<str>,
    pub v: u64,
    /// Microseconds since the Unix epoch.
    pub ts: i64,
    /// It comes from an earlier run and had no update in this one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
}

impl Topics {
    /// The topic's last update as JSON; `None` where there is no such topic.
    pub fn get(&self, name: &str) -> Option<Bytes> {
        let topic = self.directory.by_name(name).filter(|t| !t.gone)?;
        let mut json = match &topic.table {
            None => topic.json.clone(),
            Some(table) => {
                let mut json = topic.json.to_vec();
                update::write_data(&mut json, &table::object(table));
                json.into()
            }
        };
        if topic.is_restored {
            json = update::stale(&json).into();
        }
        Some(json)
    }

    /// The same where it is held as it is shown.
    pub fn get_held(&self, name: &str) -> Option<Bytes> {
        let topic =
            self.directory.by_name(name).filter(|t| !t.gone && t.table.is_none() && !t.is_restored)?;
        Some(topic.json.clone())
    }

    /// Where a topic stands that is there, or was lately.
    pub fn written(&self, name: &str) -> Option<Written> {
        self.directory.by_name(name).map(|topic| Written { v: topic.v, version: topic.version })
    }

    /// What tells two states of a topic that is there apart: its last version, and whether it is restored.
    pub fn state_of(&self, name: &str) -> Option<String> {
        let topic = self.directory.by_name(name).filter(|t| !t.gone)?;
        Some(format!("{}{}", topic.version, if topic.is_restored { " stale" } else { "" }))
    }

    /// At most `limit` topics whose names begin with `prefix` and come after `after`, in order.
    pub fn list(&self, prefix: &str, after: &str, limit: usize) -> Vec<TopicRow> {
        let from = if after >= prefix && !after.is_empty() {
            Bound::Excluded(after)
        } else {
            Bound::Included(prefix)
        };
        self.directory
            .range(from)
            .take_while(|t| t.name.starts_with(prefix))
            .filter(|t| !t.gone)
            .take(limit)
            .map(|t| TopicRow { topic: t.name.clone(), v: t.v, ts: t.ts_us, stale: t.is_restored })
            .collect()
    }
}
