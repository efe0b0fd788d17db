//! What is watched.

use std::sync::Arc;

use engine::shard::shared::Shared;

use super::growth::Baseline;
use crate::{
    access::keys::Keys, audit::Audit, health::Health, intake::publisher::Publisher, reload::ReloadCounters,
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
    /// Of tokens, and where revocations stand.
    pub keys: Arc<Keys>,
    pub revocation_file: Arc<state::revocations::RevocationFile>,
    /// What moves the shards' bytes.
    pub io: Arc<Choice>,
    /// What the process held without clients.
    pub baseline: Arc<Baseline>,
}
