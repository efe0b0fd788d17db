//! How much memory the limits allow: each bound with the keys that set it, and their sum.

use std::fmt;

use engine::{client::HEAD_BYTES, settings::Limits};

use super::Config;
use crate::system::ADMIN_RESERVE;

/// Of the process without clients and topics, and of each shard: code, threads, receive buffers, tables of sockets.
const PROCESS_BYTES: u64 = 32 << 20;
const SHARD_BYTES: u64 = 16 << 20;
/// Frames that a shard has built and not handed on, and what compresses and packs them.
const FRAMES_BUILT: u64 = 4;
/// A client: its connection, timers and subscriptions; input held while it is busy, 4 KiB, answers that wait, 12 KiB,
/// and pongs, 1 KiB.
const CLIENT_BYTES: u64 = (2 + 4 + 12 + 1) << 10;
/// The same with TLS: a session, a record in part, and the input of one record.
const TLS_CLIENT_BYTES: u64 = (8 + 64 + 16) << 10;
/// A pattern of an op that waits, beside its text, and of a class: its number, its place and who watches it.
const ASKED_PATTERN_BYTES: u64 = 48;
const NAMED_PATTERN_BYTES: u64 = 16;
/// A class, and a pattern with a name as long as may be, in a shard's tables.
const CLASS_BYTES: u64 = 512;
const PATTERN_BYTES: u64 = 640;
/// A topic in the list of a pattern, while the table of all lists grows.
const LISTED_BYTES: u64 = 40;
/// A topic in a shard's tables, and one that was removed, there and in the control plane's.
const TOPIC_BYTES: u64 = 600;
const TOMBSTONE_BYTES: u64 = 1 << 10;
/// A key that goes by itself, with a name as long as may be, or a connection that wrote it: its place, and when it ends.
const TIMED_KEY_BYTES: u64 = 448;
/// An update and a message in an inbox, beside what its bytes count.
const UPDATE_BYTES: u64 = 160;
const MESSAGE_BYTES: u64 = 128;
/// A status beside its texts.
const STATUS_BYTES: u64 = 512;
/// An address in one of five tables: handshakes, connections, patterns, builds, dictionaries.
const ADDRESS_BYTES: u64 = 64;
const ADDRESS_TABLES: u64 = 4;
/// A token that was verified and is remembered, one that is being verified, and one that was revoked.
const TOKEN_BYTES: u64 = HEAD_BYTES as u64;
const REVOCATION_BYTES: u64 = 512;
/// A connection of the admin listener: a head of up to 64 KiB, as much that was received, and as much to be sent.
const ADMIN_BYTES: u64 = 3 * (64 << 10);
/// A long body: as it came and as gzip makes it, and what is read of it.
const BODY_COPIES: u64 = 2;
/// An update of an array while it is taken in.
const PUBLICATION_BYTES: u64 = 512;
/// A publish of a client, beside its topic and value, until it is answered.
const WRITE_BYTES: u64 = 1 << 10;
/// A name of something written: a topic and a subject as long as may be.
const ONCE_BYTES: u64 = 2 * (512 + 256 + 64 + 128);
/// A line of the audit.
const AUDIT_LINE_BYTES: u64 = 1 << 10;

/// What some keys of `[limits]` (or of another section, which is named) let be taken at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub keys: &'static str,
    pub bytes: u64,
}

/// `connections`: the limit that holds on this machine.
pub(super) fn parts(config: &Config, connections: usize) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut add = |keys, bytes| parts.push(Part { keys, bytes });
    let Limits { classes, shard_patterns, patterns, topics, .. } = config.limits;
    let limits = &config.limits;
    let [shards, connections] = [config.server.shards, connections].map(|count| count as u64);
    let [classes, shard_patterns, patterns, topics] =
        [classes, shard_patterns, patterns, topics].map(|count| count as u64);
    let has_tls = config.server.tls.is_some();
    let frame_bytes = config.fanout.frame_bytes_max as u64;
    add("[server] shards", PROCESS_BYTES + shards * (SHARD_BYTES + FRAMES_BUILT * frame_bytes));
    // A head, a message in part or an op that waits: one of them.
    let said = limits.message_bytes.max(HEAD_BYTES) as u64 + patterns * ASKED_PATTERN_BYTES;
    let of_tls = if has_tls { TLS_CLIENT_BYTES } else { 0 };
    add("connections, message_bytes, patterns", connections * (CLIENT_BYTES + said + of_tls));
    add("connections, handshake_addresses", addresses(limits, shards, connections));
    let tables = shards * (classes * CLASS_BYTES + shard_patterns * PATTERN_BYTES);
    let named = (shards * classes).min(connections) * patterns * NAMED_PATTERN_BYTES;
    add("classes, shard_patterns, patterns", tables + named);
    add("pattern_topics", shards * limits.pattern_topics as u64 * LISTED_BYTES);
    add("kept_pattern_bytes", shards * limits.kept_pattern_bytes as u64);
    let topics_bytes = limits.topics_bytes as u64;
    add("topics_bytes, topics", (1 + shards) * topics_bytes + shards * topics * TOPIC_BYTES);
    add("tombstones", (1 + shards) * limits.tombstones as u64 * TOMBSTONE_BYTES);
    add("timed_keys", limits.timed_keys as u64 * TIMED_KEY_BYTES);
    add("history_bytes", shards * limits.history_bytes as u64);
    let inbox = limits.inbox_bytes as u64 + limits.inbox_updates as u64 * UPDATE_BYTES;
    add(
        "inbox_bytes, inbox_updates, inbox_messages",
        shards * (inbox + limits.inbox_messages as u64 * MESSAGE_BYTES),
    );
    // A frame that is longer than all of it goes alone.
    let pinned = limits.pinned_bytes as u64;
    add("pinned_bytes", pinned.max(pinned / 8 + topics_bytes));
    if has_tls {
        add("sealed_bytes", shards * limits.sealed_bytes as u64 + connections * (1 << 10));
    }
    add("[compression] dictionaries", config.compression.dictionaries as u64);
    let statuses = limits.status_bytes as u64 + limits.statuses as u64 * STATUS_BYTES;
    add("status_bytes, statuses", (1 + shards) * statuses);
    let tokens = (limits.token_checks + limits.token_cache) as u64 * TOKEN_BYTES;
    add("token_cache, token_checks, revocations", tokens + limits.revocations as u64 * REVOCATION_BYTES);
    add("write_bytes, writes", limits.write_bytes as u64 + limits.writes as u64 * WRITE_BYTES);
    // Of clients, and of publishers.
    add("once_names", 2 * limits.once_names as u64 * ONCE_BYTES);
    if config.server.admin.is_some() {
        let admin_connections = (limits.admin_connections + ADMIN_RESERVE) as u64;
        let bodies = (limits.admin_publishes as u64 + 1) * limits.publish_bytes as u64 * BODY_COPIES;
        let arrays = limits.admin_publishes as u64 * limits.atomic_updates as u64 * PUBLICATION_BYTES;
        add("admin_connections", admin_connections * ADMIN_BYTES);
        add("admin_publishes, publish_bytes, atomic_updates", bodies + arrays);
        // One answer is taken whole while the others are below their bound.
        add("admin_answer_bytes", limits.admin_answer_bytes as u64 + topics_bytes / 4);
    }
    if config.audit.path.is_some() {
        add("[audit] queue", config.audit.queue as u64 * AUDIT_LINE_BYTES);
    }
    parts
}

fn addresses(limits: &Limits, shards: u64, connections: u64) -> u64 {
    (limits.handshake_addresses as u64 + (1 + shards) * ADDRESS_TABLES * connections) * ADDRESS_BYTES
}

/// All of them, as lines of comment.
pub(super) struct Told<'a>(pub &'a [Part]);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum: u64 = self.0.iter().map(|part| part.bytes).sum();
        writeln!(f, "# at most {sum} bytes of memory, {}, as the limits allow:", rounded(sum))?;
        self.0.iter().try_for_each(|part| writeln!(f, "# {:>9}  {}", rounded(part.bytes), part.keys))
    }
}

fn rounded(bytes: u64) -> String {
    let (unit, name) = if bytes < 1 << 30 { (1 << 20, "MiB") } else { (1 << 30, "GiB") };
    format!("{:.1}{name}", bytes as f64 / f64::from(unit))
}
