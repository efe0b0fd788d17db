//! From a TOML document to a checked [`Config`]: section by section, in which keys bound each other.

use std::{net::SocketAddr, path::Path};

use super::{
    Config, Server,
    access::access,
    admin::{AdminAccess, admin},
    audit::audit,
    compression::compression,
    fanout::fanout,
    limits::limits,
    log::log,
    raw::raw_paths,
    server::{exposed, server},
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

const SECTIONS: [&str; 14] = [
    "server",
    "fanout",
    "limits",
    "log",
    "compression",
    "overload",
    "access",
    "admin",
    "audit",
    "certificate",
    "source",
    "topic",
    "raw",
    "state",
];

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
    let exposed = exposed(&section, &keys);
    let given = tls::Given::new(&section, keys);
    let admin_line = section.line_of("admin");
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
    let has_client_ca = server.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let access = access(reader.section("access"), exposed, has_client_ca, dir);
    let admin = admin(&mut reader, dir);
    let audit = audit(reader.section("audit"), dir);
    let log = log(reader.section("log"));
    check_guarded(&mut reader, &server, &admin, admin_line);
    let (topics, checks) = policies(&mut reader, &limits, dir);
    let raw_paths = raw_paths(&mut reader);
    let (sources, freshness) = sources(&mut reader, dir, &topics);
    let chained = sources.iter().any(|source| source.upstream().is_some());
    let state = state(reader.section("state"), dir, chained, &topics_bytes);
    reader.finish(&SECTIONS);
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
            admin,
            audit,
            log,
            sources,
            freshness,
            topics,
            raw_paths,
            checks: checks.into(),
            state,
            written: Written::of(layered.file(), layered.over(), environment),
        });
    }
    problems.sort_by_key(|problem| problem.line);
    Err(problems)
}

/// A listener that other machines reach wants keys. `line`: of its address.
fn check_guarded(reader: &mut Reader, server: &Server, admin: &AdminAccess, line: usize) {
    let is_open = |address: &SocketAddr| !address.ip().to_canonical().is_loopback();
    if let (Some(address), true) = (server.admin.filter(is_open), admin.keys.is_empty()) {
        let text = format!(
            "[server] admin = \"{address}\" is reached from other machines, and whoever reaches it may do everything: \
             write [[admin.key]] with a key of `gateway key`, or [admin] key_file = \"FILE\" for one that is made at \
             the start; or keep the listener on 127.0.0.1"
        );
        reader.problem(line, text);
    }
}
