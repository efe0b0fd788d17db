//! From a TOML document to a checked [`Config`]: section by section, in which keys bound each other.

use std::path::Path;

use super::{
    Config,
    access::access,
    compression::compression,
    fanout::fanout,
    limits::limits,
    server::server,
    sources::sources,
    state::state,
    tls::{self, tls},
    topic::policies,
};
use crate::{
    document::{
        environment::{Environment, Layered},
        read::{Problem, Reader, named},
        written::Written,
    },
    system::Machine,
};

/// Paths in the file are relative to `dir`.
pub(super) fn check(
    layered: &Layered,
    environment: &Environment,
    dir: &Path,
    machine: &Machine,
) -> Result<Config, Vec<Problem>> {
    let mut reader = Reader::new(layered, environment).map_err(|problem| vec![problem])?;
    let mut section = reader.section("server");
    let (mut server, keys) = server(&mut section, machine);
    let given = tls::Given::new(&section, keys);
    section.finish();
    server.tls = tls(&mut reader, given, dir);
    let mut section = reader.section("fanout");
    let fanout = fanout(&mut section);
    let frame_bytes = named!(section, fanout.frame_bytes_max);
    section.finish();
    let (limits, topics_bytes) = limits(reader.section("limits"), &frame_bytes, &server, machine);
    let compression = compression(reader.section("compression"));
    let mut section = reader.section("overload");
    let overload = section.keys();
    section.finish();
    let access = access(reader.section("access"));
    let topics = policies(&mut reader, &limits);
    let (sources, freshness) = sources(&mut reader, dir, &topics);
    let chained = sources.iter().any(|source| source.upstream().is_some());
    let state = state(reader.section("state"), dir, chained, &topics_bytes);
    reader.finish(&[
        "server",
        "fanout",
        "limits",
        "compression",
        "overload",
        "access",
        "certificate",
        "source",
        "topic",
        "state",
    ]);
    let mut problems = reader.problems;
    if problems.is_empty() {
        let (topics, _) = topics;
        return Ok(Config {
            server,
            fanout,
            limits,
            compression,
            overload,
            access,
            sources,
            freshness,
            topics,
            state,
            written: Written::of(layered.file(), layered.over(), environment),
        });
    }
    problems.sort_by_key(|problem| problem.line);
    Err(problems)
}
