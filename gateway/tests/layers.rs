//! The tree shows the architecture: no files import each other in a circle, and none imports from a layer above
//! its own.
#![forbid(unsafe_code)]

#[path = "layers/imports.rs"]
mod imports;

use std::path::Path;

use imports::{Crate, Edges, Workspace, circles};

const CRATES: [Crate; 6] = [
    Crate { name: "proto", src: "proto/src" },
    Crate { name: "net", src: "gateway/net/src" },
    Crate { name: "engine", src: "gateway/engine/src" },
    Crate { name: "gateway", src: "gateway/src" },
    Crate { name: "loadgen", src: "loadgen/src" },
    Crate { name: "benches", src: "benches/src" },
];

fn edges() -> Edges {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    Workspace::read(root, &CRATES).edges()
}

#[test]
#[ignore = "the last circles are being taken apart"]
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
