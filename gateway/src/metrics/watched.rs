//! What is watched.

use std::sync::Arc;

use engine::shard::shared::Shared;

use crate::{
    audit::Audit, health::Health, intake::publisher::Publisher, reload::ReloadCounters,
    source::running::SourceCounters, state, system::Choice, tls,
};

/// What the gateway is made of, for whoever asks how it is.
#[derive(Debug, Clone)]
pub struct Watched {
    pub publisher: Arc<Publisher>,
    pub shared: Arc<Shared>,
    pub sources: Arc<SourceCounters>,
    pub health: Arc<Health>,
    pub state: Arc<state::StateCounters>,
    /// Where there is a TLS listener.
    pub tls: Option<Arc<tls::server::CertificateCounters>>,
    pub reloads: Arc<ReloadCounters>,
    pub audit: Arc<Audit>,
    /// What moves the shards' bytes.
    pub io: Arc<Choice>,
    /// Resident memory before the first client.
    pub before_bytes: Option<u64>,
}
