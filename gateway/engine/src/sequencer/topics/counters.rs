//! What topics count.

use net::metric::Metric;

/// What topics count beside their updates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TopicCounters {
    /// Publishers' counts that stepped by more than one, and the updates missing by them.
    pub gaps: u64,
    pub skipped: u64,
    /// Publishers' counts that began anew beside the one that was held.
    pub anew: u64,
    /// Updates that a deadband held back, also those that a newer one took the place of.
    pub held_back: u64,
    /// Topics, and keys, that ended by themselves.
    pub expired: u64,
    pub keys_expired: u64,
    /// Changes of topics' states that were not told, since too many came at once.
    pub state_changes_dropped: u64,
}

impl TopicCounters {
    pub const METRICS: &[Metric<Self>] = &[
        Metric::counter("fanwire_seq_gaps", "Updates whose seq stepped by more than one", |c| c.gaps),
        Metric::counter("fanwire_seq_skipped", "Updates missing by their seq", |c| c.skipped),
        Metric::counter(
            "fanwire_seq_resets",
            "Counts that began anew: seq_reset, or a source's whole book whose seq was not above the topic's",
            |c| c.anew,
        ),
        Metric::counter("fanwire_held_back", "Updates that a deadband held back", |c| c.held_back),
        Metric::counter("fanwire_topics_expired", "Topics that ended by [[topic]] expiry", |c| c.expired),
        Metric::counter(
            "fanwire_keys_expired",
            "Keys that ended by [[topic]] key_expiry, or since the connections that they were bound to had gone",
            |c| c.keys_expired,
        ),
    ];

    /// A step of a publisher's count.
    pub(super) fn count(&mut self, skipped: u64, is_anew: bool) {
        self.gaps += u64::from(skipped > 0);
        // Each is whatever a publisher claims.
        self.skipped = self.skipped.saturating_add(skipped);
        self.anew += u64::from(is_anew);
    }
}
