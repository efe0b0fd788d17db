//! What decides does no IO, takes no time and draws no chance. Each name of the standard library that `engine`
//! and `proto` use is listed here, so a way to wait, to read or to ask the system is not taken unseen.

use std::collections::BTreeSet;

use super::{imports::Workspace, workspace};

/// Names, and with `::` at the end all below them.
const MAY: &[&str] = &[
    "std::borrow::",
    "std::cell::",
    "std::cmp::",
    "std::collections::BTreeMap",
    "std::collections::BTreeMap::",
    "std::collections::BTreeSet",
    "std::collections::BTreeSet::",
    "std::collections::BinaryHeap",
    "std::collections::BinaryHeap::",
    "std::collections::HashMap",
    "std::collections::HashMap::",
    "std::collections::HashSet",
    "std::collections::HashSet::",
    "std::collections::VecDeque",
    "std::collections::VecDeque::",
    "std::collections::btree_map::",
    "std::collections::hash_map::Entry",
    "std::collections::hash_map::Entry::",
    "std::fmt",
    "std::fmt::",
    "std::hash::BuildHasher",
    "std::hash::Hash",
    "std::hash::Hasher",
    "std::io",
    "std::io::ErrorKind::",
    "std::io::Write",
    "std::iter::",
    "std::mem::",
    "std::net::IpAddr",
    "std::net::IpAddr::",
    "std::net::Ipv4Addr",
    "std::net::Ipv4Addr::",
    "std::net::Ipv6Addr",
    "std::net::Ipv6Addr::",
    "std::net::SocketAddr",
    "std::num::",
    "std::ops::",
    "std::rc::",
    "std::str::",
    // What is shared with other threads is guarded for a moment: no `Condvar`, no channel.
    "std::sync::Arc",
    "std::sync::Arc::",
    "std::sync::Mutex",
    "std::sync::Mutex::",
    "std::sync::MutexGuard",
    "std::sync::PoisonError",
    "std::sync::PoisonError::",
    "std::sync::atomic::",
    "std::time::Duration",
    "std::time::Duration::",
    "std::vec::",
];

/// What may stand in one file or below one directory.
const MAY_IN: &[(&str, &str)] = &[
    ("proto/src/mask/", "std::arch::"),
    // Where a key lies in a table, as in the maps of the standard library: it decides nothing.
    ("gateway/engine/src/topic/table.rs", "std::hash::RandomState"),
    ("gateway/engine/src/topic/table.rs", "std::hash::RandomState::"),
    // The program opens what a setting names.
    ("gateway/engine/src/settings/value.rs", "std::path::PathBuf"),
];

/// Macros that write where the process writes.
const MACROS: [&str; 5] = ["dbg!", "eprint!", "eprintln!", "print!", "println!"];

/// Files of `net` for who decides: commands and events, counters, what wakes a shard, and prefixes of addresses.
const OF_NET: [&str; 6] = ["socket.rs", "conn_id.rs", "metric.rs", "counters.rs", "waker.rs", "networks.rs"];

fn is_named(path: &str, may: &str) -> bool {
    path == may || may.ends_with("::") && path.starts_with(may)
}

/// What a crate names and may not, with the file.
pub fn forbidden<'a>(workspace: &'a Workspace, name: &str) -> BTreeSet<(&'a str, String)> {
    let foreign = workspace.foreign(name).into_iter().map(|(file, path)| {
        let of_std = ["core::", "alloc::"].into_iter().find_map(|root| path.strip_prefix(root));
        let path = of_std.map_or(path.clone(), |rest| format!("std::{rest}"));
        (file, path)
    });
    foreign
        .filter(|(file, path)| {
            let is_std = path == "std" || path.starts_with("std::");
            let is_listed = MAY.iter().any(|may| is_named(path, may))
                || MAY_IN.iter().any(|(place, may)| file.starts_with(place) && is_named(path, may));
            let draws = path.starts_with("fastrand::") || path.starts_with("rand::");
            (is_std && !is_listed) || draws || MACROS.contains(&path.as_str())
        })
        .collect()
}

#[test]
fn what_decides_names_nothing_that_waits_or_asks_the_system() {
    let workspace = workspace();
    for name in ["engine", "proto"] {
        assert!(workspace.foreign(name).len() > 100, "{name} was not read whole");
        let forbidden = forbidden(&workspace, name);
        assert!(forbidden.is_empty(), "{name} names what it may not: {forbidden:#?}");
    }
}

#[test]
fn what_decides_knows_of_net_its_commands_events_and_counters() {
    let edges = workspace().edges();
    let others: Vec<_> = edges
        .iter()
        .filter(|(from, _)| from.starts_with("gateway/engine/src/"))
        .filter(|(_, to)| to.strip_prefix("gateway/net/src/").is_some_and(|file| !OF_NET.contains(&file)))
        .collect();
    assert!(others.is_empty(), "{others:#?}");
}
