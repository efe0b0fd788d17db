//! The tree shows the architecture: no files import each other in a circle, none imports from a layer above its
//! own, and what decides names nothing that waits.
#![forbid(unsafe_code)]

#[path = "layers/forms.rs"]
mod forms;
#[path = "layers/imports.rs"]
mod imports;
#[path = "layers/paths.rs"]
mod paths;
#[path = "layers/pure.rs"]
mod pure;

use std::path::Path;

use imports::{Crate, Edges, Sources, Workspace, circles, sources};

const CRATES: [Crate; 6] = [
    Crate { name: "proto", src: "proto/src" },
    Crate { name: "net", src: "gateway/net/src" },
    Crate { name: "engine", src: "gateway/engine/src" },
    Crate { name: "gateway", src: "gateway/src" },
    Crate { name: "loadgen", src: "loadgen/src" },
    Crate { name: "benches", src: "benches/src" },
];

/// Rooms from the lowest up: directories, or files where one is a room by itself. A longer path is nearer.
const LAYERS: &[&str] = &[
    "benches/src",
    "proto/src",
    "gateway/net/src",
    // What decides: clock, addresses and units, then what updates are made of, up to who gets them.
    "gateway/engine/src",
    "gateway/engine/src/json",
    "gateway/engine/src/topic",
    "gateway/engine/src/http",
    "gateway/engine/src/access",
    "gateway/engine/src/settings",
    "gateway/engine/src/update.rs",
    "gateway/engine/src/protocol",
    "gateway/engine/src/fanout",
    "gateway/engine/src/client",
    "gateway/engine/src/shard",
    "gateway/engine/src/sequencer",
    // The program: its configuration, what runs shards, what waits, and who is told of it.
    "gateway/src/admin_key.rs",
    "gateway/src/audit.rs",
    "gateway/src/clock.rs",
    "gateway/src/names.rs",
    "gateway/src/logs",
    "gateway/src/system.rs",
    "gateway/src/sockets.rs",
    "gateway/src/supervisor.rs",
    "gateway/src/tls/files.rs",
    "gateway/src/tls/provider.rs",
    "gateway/src/tls/pem.rs",
    "gateway/src/tls/certificate.rs",
    "gateway/src/tls/client.rs",
    "gateway/src/fetch",
    "gateway/src/access",
    "gateway/src/document",
    "gateway/src/intake",
    "gateway/src/health",
    "gateway/src/source",
    "gateway/src/config",
    "gateway/src/key_file.rs",
    "gateway/src/tls",
    "gateway/src/livez.rs",
    "gateway/src/executor",
    "gateway/src/fit.rs",
    "gateway/src/state",
    "gateway/src/reload",
    "gateway/src/http/counters.rs",
    "gateway/src/metrics",
    "gateway/src/http",
    "gateway/src/reloader.rs",
    "gateway/src/control.rs",
    "gateway/src/run.rs",
    "gateway/src/main.rs",
    // The load generator: what it judges and measures, what it does, what it says of it.
    "loadgen/src/exit.rs",
    "loadgen/src/judge",
    "loadgen/src/measure",
    "loadgen/src/server",
    "loadgen/src/host",
    "loadgen/src/report",
    "loadgen/src/args",
    "loadgen/src/worker",
    "loadgen/src/run",
    "loadgen/src/search",
    "loadgen/src/manual.rs",
    "loadgen/src/main.rs",
    // A benchmark that drives the program's parts.
    "benches/src/bin/costs",
];

/// The layer of a file: its place in [`LAYERS`].
fn layer(file: &str) -> usize {
    let is_in =
        |room: &str| file.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let rooms = LAYERS.iter().enumerate().filter(|(_, room)| is_in(room));
    let (layer, _) =
        rooms.max_by_key(|(_, room)| room.len()).unwrap_or_else(|| panic!("{file} has no layer"));
    layer
}

fn workspace() -> Workspace {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut texts = Sources::new();
    CRATES.iter().for_each(|each| sources(root, Path::new(each.src), &mut texts));
    Workspace::read(&texts, &CRATES)
}

fn edges() -> Edges {
    workspace().edges()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let edges = edges();
    assert!(edges.len() > 500, "{} imports: the sources were not read whole", edges.len());
    let circles = circles(&edges);
    let within = |circle: &[String]| -> Vec<String> {
        let inside = edges.iter().filter(|(from, to)| circle.contains(from) && circle.contains(to));
        inside.map(|(from, to)| format!("  {from} -> {to}")).collect()
    };
    let shown: Vec<String> = circles.iter().map(|circle| within(circle).join("\n")).collect();
    assert!(circles.is_empty(), "{} circles:\n{}", circles.len(), shown.join("\n\n"));
}

#[test]
fn no_file_imports_from_a_layer_above_its_own() {
    let up: Vec<String> = edges()
        .iter()
        .filter(|(from, to)| layer(from) < layer(to))
        .map(|(from, to)| format!("  {from} -> {to}"))
        .collect();
    assert!(up.is_empty(), "{} imports from a layer above:\n{}", up.len(), up.join("\n"));
}
