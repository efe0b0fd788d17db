//! `GET /metrics`: what shards, sequencer and process count, as Prometheus text.

mod out;
mod process;
mod scraper;
pub mod watched;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use engine::{
    client::CloseReason,
    fanout::compress,
    sequencer::Counters,
    shard::{
        inbox::Bound,
        stats::{BUILD_WAITS, REFUSAL_STATUSES, Stats},
    },
};
use net::TlsFailure;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text},
    registry::Registry,
};

use super::{
    health,
    source::{
        SourceCounters,
        activity::Activity,
        websocket::counters::{Bad, Counters as Upstream, End},
    },
    state,
};
use crate::{
    http::counters::Counters as Admin,
    logs,
    metrics::{process::Process, watched::Watched},
    tls,
};
use out::Out;
pub use scraper::Scraper;
use scraper::{Scrape, Shard};

pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics as text, made once of what the shards said. `answer_bytes`: held for readers of the admin listener.
pub fn text(
    scrape: &Scrape,
    watched: &Watched,
    admin: &Arc<Admin>,
    answer_bytes: u64,
) -> Result<Bytes, fmt::Error> {
    let text = || {
        let Watched { publisher: sequencer, sources, health, state, tls, .. } = watched;
        let snapshot = Snapshot {
            answer_bytes,
            shards: scrape.shards.clone(),
            counters: sequencer.counters(),
            sources: sources.clone(),
            health: health.counters(),
            state: state.clone(),
            tls: tls.clone(),
            admin: admin.clone(),
            mono_us: sequencer.now().mono_us,
            process: Process::read(),
        };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(snapshot));
        let mut out = String::new();
        text::encode(&mut out, &registry)?;
        Ok(out.into())
    };
    scrape.text.get_or_init(text).clone()
}

#[derive(Debug)]
struct Snapshot {
    answer_bytes: u64,
    shards: Vec<Shard>,
    counters: Counters,
    sources: Arc<SourceCounters>,
    health: health::Counters,
    state: Arc<state::Counters>,
    tls: Option<Arc<tls::server::Counters>>,
    admin: Arc<Admin>,
    /// Now.
    mono_us: u64,
    process: Option<Process>,
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        let mut out = Out(encoder);
        self.gateway(&mut out)?;
        self.health(&mut out)?;
        self.state(&mut out)?;
        self.websockets(&mut out)?;
        self.admin(&mut out)?;
        self.clients(&mut out)?;
        self.fanout(&mut out)?;
        self.compression(&mut out)?;
        self.rings(&mut out)?;
        self.tls(&mut out)?;
        self.each_shard(&mut out)?;
        match &self.process {
            Some(process) => process_metrics(process, &mut out),
            None => Ok(()),
        }
    }
}

impl Snapshot {
    fn sum(&self, of: impl Fn(&Stats) -> u64) -> u64 {
        self.shards.iter().map(|shard| of(&shard.stats)).sum()
    }

    fn gateway(&self, out: &mut Out) -> fmt::Result {
        let c = &self.counters;
        out.gauge("fanwire_topics", "Topics that exist", c.topics as u64)?;
        let help =
            "Bytes of all topics with their last values and tables, as [limits] topics_bytes counts them";
        out.gauge("fanwire_topics_bytes", help, c.topics_bytes as u64)?;
        let help = "Updates refused, since there were [limits] topics_bytes";
        out.counter("fanwire_topics_bytes_refused", help, c.topics_bytes_refused)?;
        out.gauge("fanwire_keys", "Keys of keyed topics", c.keys as u64)?;
        out.gauge("fanwire_tombstones", "Removed topics still remembered", c.tombstones as u64)?;
        let help = "Tombstones dropped, since there were more than [limits] tombstones";
        out.counter("fanwire_tombstones_dropped", help, c.tombstones_dropped)?;
        out.gauge("fanwire_version", "Position of the gateway", c.version)?;
        out.counter("fanwire_updates", "Updates numbered", c.updates)?;
        out.counter("fanwire_batches", "Batches of updates handed to the shards", c.batches)?;
        out.counter("fanwire_updates_refused", "Updates refused when published", c.refused)?;
        out.counter("fanwire_publish_waits", "Publishes that waited for room in an inbox", c.waits)?;
        let full = Bound::ALL.map(|bound| (bound.key(), c.full[bound as usize]));
        let help = "Times that those who publish found an inbox at this bound of [limits]";
        out.counters("fanwire_inbox_full", help, "bound", full)?;
        let help = "Updates left out, since their seq was not above the topic's";
        out.counter("fanwire_seq_repeats", help, c.repeats)?;
        out.counter("fanwire_seq_gaps", "Updates whose seq stepped by more than one", c.by_topics.gaps)?;
        out.counter("fanwire_seq_skipped", "Updates missing by their seq", c.by_topics.skipped)?;
        let help =
            "Counts that began anew: seq_reset, or a source's whole book whose seq was not above the topic's";
        out.counter("fanwire_seq_resets", help, c.by_topics.anew)?;
        out.counter("fanwire_held_back", "Updates that a deadband held back", c.by_topics.held_back)?;
        out.gauge("fanwire_held_values", "Values that deadbands hold back now", c.held_back as u64)?;
        out.counter("fanwire_topics_expired", "Topics that ended by [[topic]] expiry", c.by_topics.expired)?;
        let help = "Updates of live sources replaced by a newer one while an inbox was full";
        out.counter("fanwire_source_conflated", help, c.conflated)?;
        let help = "Log lines that were not written, since they repeat others";
        out.counter("fanwire_log_lines_left_out", help, logs::left_out())?;
        let errors = self.sources.errors.load(Ordering::Relaxed);
        out.counter("fanwire_source_errors", "Sources that stopped at an error", errors)?;
        out.gauge("fanwire_sources", "Sources that run", self.sources.running.load(Ordering::Relaxed))
    }

    fn health(&self, out: &mut Out) -> fmt::Result {
        let h = &self.health;
        let states = [("stale", h.stale), ("gap", h.gap)];
        out.gauges("fanwire_statuses", "Statuses that are not live", "state", states)?;
        out.counter("fanwire_status_changes", "Changes of statuses told to the shards", h.changes)?;
        out.gauge("fanwire_status_bytes", "Bytes of statuses that are not live", h.bytes)?;
        let help = "Statuses not told, since there were [limits] statuses or status_bytes";
        out.counter("fanwire_statuses_refused", help, h.refused)?;
        let age_s = |activity: &Activity| activity.age_us(self.mono_us) as f64 / 1e6;
        let ages = self.sources.activities.iter().map(|activity| (&activity.name, age_s(activity)));
        let help = "Since the source brought something last, or its start";
        out.gauges("fanwire_source_age_seconds", help, "source", ages)
    }

    fn state(&self, out: &mut Out) -> fmt::Result {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let s = &self.state;
        out.gauge(
            "fanwire_topics_unconfirmed",
            "Restored topics without an update yet",
            self.health.restored,
        )?;
        out.gauge("fanwire_state_restored", "Topics restored at the start", load(&s.restored))?;
        let help = "Topics of the state that were not restored, by limits or another mode";
        out.gauge("fanwire_state_left_out", help, load(&s.left_out))?;
        let help = "Topics that the state had at the start and that were lost by damage";
        out.gauge("fanwire_state_lost", help, load(&s.lost))?;
        out.counter("fanwire_state_errors", "Checkpoints that were not written", load(&s.errors))?;
        if load(&s.bytes) == 0 {
            return Ok(());
        }
        out.gauge("fanwire_state_bytes", "Length of the last checkpoint", load(&s.bytes))?;
        let age_s = self.mono_us.saturating_sub(load(&s.written_mono_us)) as f64 / 1e6;
        out.gauge_s("fanwire_state_age_seconds", "Since the last checkpoint was written", age_s)
    }

    fn websockets(&self, out: &mut Out) -> fmt::Result {
        let sources = &self.sources.websockets;
        if sources.is_empty() {
            return Ok(());
        }
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut each = |name, help, of: fn(&Upstream) -> &AtomicU64| {
            out.counters(name, help, "source", sources.iter().map(|s| (s.name(), load(of(s)))))
        };
        each("fanwire_source_messages", "Messages received from the source's server", |s| &s.messages)?;
        each("fanwire_source_items", "Items that messages became", |s| &s.publications)?;
        each("fanwire_source_ignored", "Messages that no [[source.map]] applies to", |s| &s.ignored)?;
        each("fanwire_source_connects", "Connects begun", |s| &s.connects)?;
        each("fanwire_source_waits", "Times that receiving stopped as an inbox was full", |s| &s.waits)?;
        let again = sources.iter().map(|s| (s.name(), load(&s.established).saturating_sub(1)));
        let help = "Connections established after an earlier one had ended";
        out.counters("fanwire_source_reconnects", help, "source", again)?;
        let kinds =
            |s: &Upstream| Bad::ALL.map(|bad| (s.name().to_owned(), bad.name(), load(&s.bad[bad as usize])));
        let help = "Messages and items that were not published";
        out.pairs("fanwire_source_bad", help, ["source", "kind"], sources.iter().flat_map(|s| kinds(s)))?;
        let ends = |s: &Upstream| {
            End::ALL.map(|end| (s.name().to_owned(), end.name(), load(&s.ended[end as usize])))
        };
        let help = "Connects that failed and connections that ended";
        out.pairs("fanwire_source_ended", help, ["source", "reason"], sources.iter().flat_map(|s| ends(s)))?;
        let connected = |s: &Upstream| u64::from(s.connected.load(Ordering::Relaxed));
        let connected = sources.iter().map(|s| (s.name(), connected(s)));
        out.gauges("fanwire_source_connected", "Whether the source is connected", "source", connected)
    }

    fn admin(&self, out: &mut Out) -> fmt::Result {
        let help = "Bytes of long answers that readers of the admin listener hold";
        out.gauge("fanwire_admin_answer_bytes", help, self.answer_bytes)?;
        let mut counter =
            |name, help, value: &AtomicU64| out.counter(name, help, value.load(Ordering::Relaxed));
        let c = &self.admin;
        let help = "Connections of the admin listener reset since all [limits] admin_connections were busy: the oldest or too long in reserve, or behind with reading answers";
        counter("fanwire_admin_connections_reset", help, &c.connections_reset)?;
        let help = "Idle connections of the admin listener closed for a new one";
        counter("fanwire_admin_connections_evicted", help, &c.connections_evicted)?;
        let help =
            "Requests of the admin listener refused with 503, since all [limits] admin_connections were busy";
        counter("fanwire_admin_connections_refused", help, &c.connections_refused)?;
        let help = "Connections of the admin listener closed, since no whole request head came within [limits] handshake";
        counter("fanwire_admin_heads_late", help, &c.heads_late)?;
        let help =
            "Connections of the admin listener closed, since they asked nothing for [limits] admin_idle";
        counter("fanwire_admin_connections_idle", help, &c.connections_idle)?;
        let help = "Requests of the admin listener refused, since they named another host or came from a page of another site";
        counter("fanwire_admin_pages_refused", help, &c.pages_refused)?;
        counter(
            "fanwire_admin_tls_failed",
            "TLS handshakes of the admin listener that failed",
            &c.tls_failed,
        )?;
        let help = "Bodies over 64 KiB that waited, since there were [limits] admin_publishes of them";
        counter("fanwire_admin_publishes_waited", help, &c.publishes_waited)?;
        let help = "Publishes refused, since their body took longer than [limits] admin_body";
        counter("fanwire_admin_bodies_late", help, &c.bodies_late)?;
        let help = "Bodies refused, since less of them came than [limits] admin_bytes_per_s";
        counter("fanwire_admin_bodies_slow", help, &c.bodies_slow)?;
        let help = "Publishes refused with 503, since no inbox had room within [limits] admin_body";
        counter("fanwire_admin_publishes_late", help, &c.publishes_late)?;
        let help = "Connections of the admin listener reset, since they read less of an answer than [limits] admin_bytes_per_s";
        counter("fanwire_admin_answers_slow", help, &c.answers_slow)?;
        let help = "Requests refused with 503, since [limits] admin_answer_bytes were held";
        counter("fanwire_admin_answers_refused", help, &c.answers_refused)
    }

    fn clients(&self, out: &mut Out) -> fmt::Result {
        out.gauge("fanwire_sockets", "Sockets of clients in any state", self.sum(|s| s.sockets))?;
        let help = "Slots of the shards' tables that no socket has";
        out.gauge("fanwire_slots_free", help, self.sum(|s| s.slots_free))?;
        let help = "Sockets that are only being refused";
        out.gauge("fanwire_sockets_refused", help, self.sum(|s| s.sockets_refused))?;
        let help = "Connections over a limit that were reset at once, since half of the slots kept for telling such were taken";
        out.counter("fanwire_refused_reset", help, self.sum(|s| s.refused_reset))?;
        let help = "Bytes of input held for clients that do not take what they are sent";
        out.gauge("fanwire_held_bytes", help, self.sum(|s| s.held_bytes))?;
        let help = "Times that receiving from such a client stopped";
        out.counter("fanwire_receive_pauses", help, self.sum(|s| s.receive_pauses))?;
        out.gauge("fanwire_subscriptions", "Subscriptions", self.sum(|s| s.subscriptions))?;
        out.counter("fanwire_accepted", "Handshakes that ended in 101", self.sum(|s| s.accepted))?;
        out.counter(
            "fanwire_accept_failures",
            "Connections no listener could take",
            self.sum(|s| s.accept_failures),
        )?;
        let ended = CloseReason::ALL.map(|reason| (reason.label(), self.sum(|s| s.ended[reason as usize])));
        out.counters("fanwire_ended", "Connections that ended", "reason", ended)?;
        let refused = REFUSAL_STATUSES.iter().enumerate();
        let refused = refused.map(|(i, status)| (status.to_string(), self.sum(|s| s.refused[i])));
        out.counters("fanwire_refused", "Requests refused on the data listener", "status", refused)?;
        out.counter("fanwire_messages_in", "Messages of clients", self.sum(|s| s.messages_in))?;
        out.counter("fanwire_errors_out", "Errors answered to clients", self.sum(|s| s.errors_out))?;
        out.counter("fanwire_bytes_in", "Bytes received from clients", self.sum(|s| s.bytes_in))
    }

    fn fanout(&self, out: &mut Out) -> fmt::Result {
        out.gauge("fanwire_classes", "Classes of subscriptions", self.sum(|s| s.classes))?;
        out.gauge("fanwire_patterns", "Different patterns subscribed to", self.sum(|s| s.patterns))?;
        let help = "Subscriptions refused because there were [limits] classes already";
        out.counter("fanwire_classes_refused", help, self.sum(|s| s.classes_refused))?;
        let help = "Subscriptions refused because there were [limits] shard_patterns already";
        out.counter("fanwire_patterns_refused", help, self.sum(|s| s.patterns_refused))?;
        let help = "Addresses that hold patterns and classes, once a shard, where [limits] patterns_per_ip or classes_per_ip is on";
        out.gauge("fanwire_addresses", help, self.sum(|s| s.addresses))?;
        let help = "Subscriptions refused because the address held [limits] patterns_per_ip or classes_per_ip already";
        out.counter("fanwire_shares_refused", help, self.sum(|s| s.shares_refused))?;
        let help = "Tombstones of deleted keys dropped, since a topic had [[topic]] key_tombstones";
        out.counter("fanwire_key_tombstones_dropped", help, self.sum(|s| s.key_tombstones_dropped))?;
        let help =
            "Updates dropped from the rings of stream topics ([[topic]] ring_updates, ring_bytes, ring_age)";
        out.counter("fanwire_stream_dropped", help, self.sum(|s| s.stream_dropped))?;
        let help = "Times that a topic gave older updates or deleted keys back, since there were [limits] history_bytes";
        out.counter("fanwire_histories_dropped", help, self.sum(|s| s.histories_dropped))?;
        out.counter("fanwire_gaps", "Gaps in streams told in frames built", self.sum(|s| s.gaps))?;
        out.counter(
            "fanwire_updates_framed",
            "Updates put into frames, once a frame",
            self.sum(|s| s.updates_framed),
        )?;
        out.counter("fanwire_frames_built", "Frames built", self.sum(|s| s.frames_built))?;
        out.counter(
            "fanwire_conflated",
            "Updates overwritten before a flush of a class",
            self.sum(|s| s.conflated),
        )?;
        out.counter("fanwire_frames_out", "Frames handed to clients", self.sum(|s| s.frames_out))?;
        out.counter("fanwire_updates_out", "Updates handed to clients", self.sum(|s| s.updates_out))?;
        out.counter("fanwire_bytes_out", "Bytes handed to clients", self.sum(|s| s.bytes_out))?;
        let waiting = [("client", self.sum(|s| s.build_clients)), ("class", self.sum(|s| s.build_classes))];
        let help = "Clients and classes that wait for a frame to be built";
        out.gauges("fanwire_builds_waiting", help, "kind", waiting)?;
        let waits = BUILD_WAITS.iter().enumerate();
        let waits = waits.map(|(i, why)| (*why, self.sum(|s| s.build_waits[i])));
        let help = "Times that a frame had to wait to be built";
        out.counters("fanwire_build_waits", help, "reason", waits)?;
        out.counter("fanwire_built_bytes", "Bytes of JSON made into frames", self.sum(|s| s.built_bytes))?;
        let help = "Flushes that passed over a client whose last frame was still in flight";
        out.counter("fanwire_skipped_busy", help, self.sum(|s| s.skipped_busy))?;
        out.counter("fanwire_snapshots_out", "Snapshots sent", self.sum(|s| s.snapshots_out))?;
        out.counter("fanwire_catchups_out", "Catch-up frames sent", self.sum(|s| s.catchups_out))?;
        let help = "From the due time of a flush to its last send";
        out.histogram("fanwire_fanout_seconds", help, self.shards.iter().map(|s| &s.stats.fanout_us))?;
        let help = "From the due time of the oldest update of a batch to its flush";
        out.histogram("fanwire_age_seconds", help, self.shards.iter().map(|s| &s.stats.age_us))
    }

    fn compression(&self, out: &mut Out) -> fmt::Result {
        let sum = |of: fn(&compress::Counters) -> u64| self.sum(|s| of(&s.compress));
        let frames = [("smaller", sum(|c| c.compressed)), ("not_smaller", sum(|c| c.incompressible))];
        out.counters(
            "fanwire_compressed_frames",
            "Frames that were compressed, once each",
            "result",
            frames,
        )?;
        let bytes = [("before", sum(|c| c.bytes_before)), ("after", sum(|c| c.bytes_after))];
        out.counters("fanwire_compressed_bytes", "Payload of those that got smaller", "side", bytes)?;
        let help = "Snapshots and catch-up frames that were not compressed, since a turn compresses [compression] catch_up_bytes";
        out.counter("fanwire_compression_passed_over", help, sum(|c| c.passed_over))?;
        out.counter("fanwire_inflated_messages", "Compressed messages of clients", self.sum(|s| s.inflated))?;
        let help = "Bytes held for what clients' compressed messages may refer back to";
        out.gauge("fanwire_dictionary_bytes", help, self.sum(|s| s.dictionary_bytes))?;
        let help = "Handshakes without the compression offered, since nine tenths of [compression] dictionaries, or of the address's share, were taken";
        out.counter("fanwire_compression_declined", help, self.sum(|s| s.compression_declined))
    }

    fn rings(&self, out: &mut Out) -> fmt::Result {
        let help = "System calls of the shards' rings, those of sleeping included";
        out.counter("fanwire_ring_enters", help, self.sum(|s| s.ring.enters))?;
        out.counter("fanwire_ring_sends", "Sends begun", self.sum(|s| s.ring.sends))?;
        let help = "Further sends for what the kernel took in part";
        out.counter("fanwire_ring_sends_continued", help, self.sum(|s| s.ring.sends_continued))?;
        let help = "Times that a connection waited for a free receive buffer";
        out.counter("fanwire_ring_receive_waits", help, self.sum(|s| s.ring.enobufs))?;
        let help = "Times that completions did not fit the completion queue";
        out.counter("fanwire_ring_overflows", help, self.sum(|s| s.ring.cq_overflows))
    }

    /// Where there is a TLS listener.
    fn tls(&self, out: &mut Out) -> fmt::Result {
        let Some(files) = &self.tls else { return Ok(()) };
        let sum = |of: fn(&net::TlsCounters) -> u64| self.sum(|s| of(&s.tls));
        out.gauge("fanwire_tls_sessions", "Connections that speak TLS", sum(|t| t.sessions))?;
        out.gauge(
            "fanwire_tls_sealed_bytes",
            "Sealed bytes the kernel has not taken",
            sum(|t| t.sealed_bytes),
        )?;
        out.counter("fanwire_tls_handshakes", "TLS handshakes that ended well", sum(|t| t.handshakes))?;
        out.counter("fanwire_tls_resumed", "Of them with a ticket of an earlier one", sum(|t| t.resumed))?;
        let failed =
            TlsFailure::ALL.map(|failure| (failure.name(), self.sum(|s| s.tls.failed[failure as usize])));
        out.counters("fanwire_tls_failed", "TLS sessions that failed", "reason", failed)?;
        let help = "Handshake messages put off, since a turn answers [limits] handshakes_per_turn";
        out.counter("fanwire_tls_deferred", help, sum(|t| t.deferred))?;
        let help = "Records that are short, since there were [limits] sealed_bytes";
        out.counter("fanwire_tls_shortened", help, sum(|t| t.shortened))?;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        out.counter(
            "fanwire_certificate_reloads",
            "Times certificates were read again",
            load(&files.reloads),
        )?;
        let help = "Times certificates could not be read again and stayed as they were";
        out.counter("fanwire_certificate_reload_errors", help, load(&files.reload_errors))?;
        let expires = files.expires_s.iter().map(|(cert, at_s)| (cert, at_s.load(Ordering::Relaxed)));
        let help = "When the certificate expires, in seconds since the Unix epoch";
        out.gauges("fanwire_certificate_expires_seconds", help, "cert", expires)
    }

    fn each_shard(&self, out: &mut Out) -> fmt::Result {
        let mut each = |name, help, of: fn(&Shard) -> u64| {
            let values = self.shards.iter().enumerate().map(|(index, shard)| (index.to_string(), of(shard)));
            out.gauges(name, help, "shard", values)
        };
        each("fanwire_shard_up", "Whether the shard answers", |s| u64::from(s.up))?;
        each("fanwire_connections", "WebSocket connections", |s| s.stats.connections)?;
        each("fanwire_inbox_updates", "Updates waiting for the shard", |s| s.stats.inbox_depth)?;
        each("fanwire_inbox_bytes", "Bytes of updates waiting for the shard", |s| s.stats.inbox_bytes)?;
        let help = "Bytes of older updates and deleted keys, as [limits] history_bytes counts them";
        each("fanwire_history_bytes", help, |s| s.stats.history_bytes)?;
        each("fanwire_inbox_messages", "Messages waiting for the shard", |s| s.stats.inbox_messages)?;
        each("fanwire_pinned_bytes", "Bytes of frames held by the shard", |s| s.stats.pinned_bytes)?;
        each("fanwire_shard_version", "Position of the shard", |s| s.stats.version)
    }
}

fn process_metrics(process: &Process, out: &mut Out) -> fmt::Result {
    out.gauge("process_resident_memory_bytes", "Resident memory", process.resident_bytes)?;
    out.seconds("process_cpu_seconds", "User and system CPU time", process.cpu_s)?;
    out.gauge_s("process_start_time_seconds", "Start since the Unix epoch", process.start_s)?;
    out.gauge("process_open_fds", "Open file descriptors", process.open_fds)?;
    out.gauge("process_max_fds", "Soft limit of file descriptors", process.max_fds)
}
