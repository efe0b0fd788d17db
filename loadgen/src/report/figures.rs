//! The figures of a report, as JSON.
//!
//! Its keys are those that loadgen/README.md lists and more; keys may be added, none may go. A figure that
//! was not measured is null, never 0.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::outcome::Outcome;

/// Counts by what they count, told in the words of whoever refused, closed or failed.
pub type Kinds = BTreeMap<String, u64>;

/// All that a run found out. Figures that were not measured are null; keys may be added.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "Report of loadgen")]
pub struct Report {
    pub run: Run,
    pub connections: Connections,
    pub setup: Setup,
    pub window: Window,
    pub frames: Frames,
    pub updates: Updates,
    pub clients: Clients,
    pub bytes: Bytes,
    /// Arrival minus a batch's `oldest`, one sample a batch: the figure to judge by.
    pub visible_ms: Quantiles,
    /// Arrival minus an update's `ts`.
    pub arrival_ms: Quantiles,
    pub negative: Negative,
    pub slow: Slow,
    pub r#final: Final,
    pub publish: Publish,
    pub restart: Restart,
    pub pings: Pings,
    #[serde(default)]
    pub tokens: Tokens,
    /// What became of hostile connections: by kind, then by how they ended.
    pub hostile: BTreeMap<String, Kinds>,
    pub server: Server,
    pub loadgen: Own,
    pub host: Host,
    /// What makes the figures doubtful, each with a remedy.
    pub warnings: Vec<String>,
    /// Broken promises that have no count of their own.
    pub violations: Kinds,
    /// First connects that came to nothing.
    pub failures: Kinds,
    /// Closes that we did not ask for.
    pub closes: Kinds,
    /// `error` messages.
    pub errors: Kinds,
    /// `notice` messages.
    pub notices: Kinds,
    pub expect: Vec<Outcome>,
    /// About one entry a second, over the whole run.
    pub timeline: Vec<Moment>,
    pub curves: Curves,
}

/// What was run.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// Of the load generator.
    pub version: String,
    /// Start, seconds since the Unix epoch.
    pub began_at: u64,
    pub url: String,
    /// The command line, without the program's name.
    pub flags: Vec<String>,
    pub seed: u64,
    /// Processor, number of CPUs and kernel of the generator's host.
    pub machine: String,
    /// Ended by a signal: the figures cover what was measured so far.
    pub interrupted: bool,
}

/// Over the whole run.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Connections {
    pub requested: u64,
    pub established: u64,
    /// First connects that came to nothing.
    pub failed: u64,
    /// Established ones that ended without our asking.
    pub closed: u64,
    /// Of churn and reconnects: left, and back.
    pub left: u64,
    pub returned: u64,
    /// Of the established ones: agreed on permessage-deflate.
    pub deflating: u64,
    /// Connects tried again after a failure.
    pub retries: u64,
    /// Returns with `since` that were answered with a snapshot.
    pub resumed_by_snapshot: u64,
}

/// First connects.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Setup {
    /// From the start to the last established connection.
    pub seconds: f64,
    pub per_s: f64,
    /// From the intended start of a first connect to the 101.
    pub handshake_ms: Quantiles,
    /// From the intended start of a first connect to the end of the first snapshot.
    pub snapshot_ms: Quantiles,
}

/// What was measured: from the moment all connections are ready, as long as `--duration` says.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    pub seconds: f64,
    pub threads: u64,
    /// The longest that the server granted.
    pub interval_ms: u64,
}

/// Batches (of another protocol: messages) within the window, a part counting as one; `snapshots` over the whole run.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Frames {
    pub total: u64,
    pub per_s: f64,
    pub snapshots: u64,
}

/// What the batches of the window held, and the promises that were broken over the whole run; of another
/// protocol nothing is judged but RFC 6455, and the counts of broken promises are null.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Updates {
    pub total: u64,
    pub per_s: f64,
    /// Values replaced by newer ones on the way; no fault.
    pub conflated: u64,
    /// Batches that began above the position and what was missing never came, updates of a stream
    /// that no gap told, and final values that were not received.
    pub lost: Option<u64>,
    /// Batches and values that had come before.
    pub duplicated: Option<u64>,
    /// What came after what follows it.
    pub reordered: Option<u64>,
    /// Atomic groups whose members differed after a whole batch.
    pub torn: Option<u64>,
    /// Every other broken promise; the report's `violations` names them.
    pub violations: u64,
}

/// Evenness over the connections that were held for the whole window and read at full speed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Clients {
    pub judged: u64,
    /// Window ÷ interval; null where the interval is 0 or unknown.
    pub expected_frames: Option<f64>,
    /// Fewest frames with updates that one of them got.
    pub frames_min: Option<u64>,
    /// `frames_min` ÷ `expected_frames`.
    pub ratio_min: Option<f64>,
    /// Longest time without a frame with updates, the window's ends included, of any of them.
    pub gap_ms_max: Option<f64>,
}

/// Received within the window: payloads of batches, and all that came over TCP.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Bytes {
    pub payload: u64,
    pub wire: u64,
}

/// Of merged histograms, in ms; null without samples.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Quantiles {
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
    pub p999: Option<f64>,
    pub max: Option<f64>,
}

/// Ages below zero: clocks that disagree. They enter the histograms as 0.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Negative {
    pub visible: u64,
    pub arrival: u64,
}

/// Readers that were slowed down on purpose.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Slow {
    pub visible_ms: Quantiles,
}

/// The check of what everyone held in the end; null where nothing was judged.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Final {
    pub clients: u64,
    /// Values whose `v` was compared, one per client and topic.
    pub values: u64,
    pub lost: Option<u64>,
    /// Topics of which the same `v` was another value for other clients, or for the gateway.
    pub differ: Option<u64>,
    /// Topics that could be compared with the gateway's own value: those that had not moved on.
    pub gateway_values: u64,
    /// Clients' tables of keyed topics that were compared, key by key, with another client's or the
    /// gateway's of the same `v`; those that differ are in `differ`.
    #[serde(default)]
    pub tables: u64,
}

/// Atomic groups of `--publish`, over the whole run.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Publish {
    pub accepted: u64,
    pub refused: u64,
    /// Groups whose answer never came, as their connection broke.
    pub unanswered: u64,
    /// Groups that were due and never sent: there was no connection, or it fell behind.
    pub unsent: u64,
    pub per_s: f64,
    /// From a group's intended time to its answer.
    pub answered_ms: Quantiles,
}

/// Connections that the server cut and that came back.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Restart {
    pub cut: u64,
    pub returned: u64,
    /// From the first cut until the last was back; null while some are missing, or without a cut.
    pub seconds: Option<f64>,
}

/// WebSocket pings of `--pings`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Pings {
    pub sent: u64,
    pub answered: u64,
    /// Without a pong when the connection ended or the run was over.
    pub unanswered: u64,
    pub answered_ms: Quantiles,
}

/// Of connections that show a token, over the whole run.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Tokens {
    /// Tokens that the server accepted: one for each connect, and renewals.
    pub authorized: u64,
    /// Of them those that were shown on an open connection in place of one that expired.
    pub renewed: u64,
    /// Those that it did not: by HTTP 401, by a close 4401 before the first answer, by an `error` to a renewal.
    pub refused: u64,
    /// Connections that it ended for their token's sake: by a close 4005, or 4401 later on.
    pub dropped: u64,
    /// From a renewal to its answer.
    pub answered_ms: Quantiles,
}

/// The server's process, where it runs on this host.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Server {
    pub pid: Option<u32>,
    /// At the window's end, while all are connected.
    pub rss_bytes: Option<u64>,
    /// The most that was seen in the window.
    pub rss_bytes_max: Option<u64>,
    /// Of one core, over the window.
    pub cpu_percent: Option<f64>,
    pub context_switches_voluntary: Option<u64>,
    pub context_switches_involuntary: Option<u64>,
    /// `GET /metrics` at the window's end minus at its begin, gauges as they were at the end.
    pub metrics: BTreeMap<String, f64>,
}

/// The generator itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Own {
    pub rss_bytes: Option<u64>,
    /// Of it what no file backs, as the window began: what its difference between two numbers of
    /// connections is divided by their difference is the memory of one.
    pub anonymous_bytes: Option<u64>,
    /// Of one core, over the window.
    pub cpu_percent: Option<f64>,
    /// Of the CPUs that it may use.
    pub cpu_share: Option<f64>,
    /// Of one core, by its busiest thread.
    pub thread_percent_max: Option<f64>,
    /// Turns of its threads' loops: what arrives meanwhile is seen late by as much.
    pub turn_ms: Quantiles,
}

/// The generator's host, over the window.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Busy share of each CPU, interrupts included.
    pub cpu_percent: Vec<f64>,
    /// Kernel memory of all TCP sockets at the window's end.
    pub socket_memory_bytes: Option<u64>,
    /// The server's wall clock minus ours, estimated where it is another host.
    pub clock_offset_ms: Option<f64>,
    /// The estimate may be off by as much either way.
    pub clock_error_ms: Option<f64>,
}

/// One point of the timeline.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Moment {
    /// Seconds since the start of the run.
    pub at_s: f64,
    pub open: u64,
    pub failed: u64,
    pub frames_per_s: f64,
    pub updates_per_s: f64,
    pub visible_p50_ms: Option<f64>,
    pub visible_p99_ms: Option<f64>,
    pub server_cpu_percent: Option<f64>,
    pub server_rss_bytes: Option<u64>,
    pub loadgen_cpu_percent: Option<f64>,
}

/// Percentile curves: pairs of quantile (0 to 1) and ms.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Curves {
    pub visible: Vec<(f64, f64)>,
    pub arrival: Vec<(f64, f64)>,
    pub handshake: Vec<(f64, f64)>,
}

impl Report {
    /// The figures without what is long: what fits on the last line of stdout.
    pub fn without_series(&self) -> Report {
        let server = Server { metrics: BTreeMap::new(), ..self.server.clone() };
        Report { timeline: Vec::new(), curves: Curves::default(), server, ..self.clone() }
    }

    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("a report of plain figures")
    }
}

/// The JSON schema of a report: what `loadgen schema` prints.
pub fn schema() -> String {
    format!("{:#}\n", schemars::schema_for!(Report).to_value())
}

/// The dotted names of all single figures.
pub fn names() -> Vec<String> {
    let mut names = Vec::new();
    collect(&Report::default().to_json(), "", &mut names);
    names
}

fn collect(value: &Value, name: &str, names: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let dot = if name.is_empty() { "" } else { "." };
                collect(value, &format!("{name}{dot}{key}"), names);
            }
        }
        Value::Array(_) | Value::String(_) => {}
        _ => names.push(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_contract_is_there() {
        let promised = "connections.requested connections.established connections.failed connections.closed \
            setup.seconds setup.per_s setup.handshake_ms.p50 setup.handshake_ms.p99 setup.handshake_ms.max \
            frames.total frames.per_s updates.total updates.per_s updates.conflated updates.lost \
            updates.duplicated updates.reordered updates.torn bytes.payload bytes.wire \
            visible_ms.p50 visible_ms.p90 visible_ms.p95 visible_ms.p99 visible_ms.p999 visible_ms.max \
            arrival_ms.p50 arrival_ms.p90 arrival_ms.p99 arrival_ms.p999 arrival_ms.max \
            server.rss_bytes server.cpu_percent";
        let figures = names();
        for key in promised.split_whitespace() {
            assert!(figures.iter().any(|figure| figure == key), "{key} is missing");
        }
    }
}
