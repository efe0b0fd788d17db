//! A publication that may be applied.

use std::sync::Arc;

use crate::{
    sequencer::publication::{Body, Publication},
    topic::changes::Changes,
    update::TopicId,
};

/// What is known of a publication that may be applied.
#[derive(Debug, Clone, Default)]
pub struct Admitted {
    /// Its topic, by [`Topics::find`]; `None`: it is to be born.
    pub at: Option<TopicId>,
    /// What it changes where its topic is keyed.
    pub changes: Option<Arc<Changes>>,
}

impl Admitted {
    /// What the gateway itself brings about, which is not held against limits. `at`: its topic.
    pub fn of(publication: &Publication, at: Option<TopicId>) -> Self {
        let changes = match &publication.body {
            Body::Changes(changes) => Some(changes.clone()),
            Body::Data(_) | Body::Gone | Body::Unread(_) => None,
        };
        Self { at, changes }
    }
}
