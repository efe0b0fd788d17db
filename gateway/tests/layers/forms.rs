//! The reader of imports on small workspaces: each form of a path that names another file.

use std::path::PathBuf;

use super::{
    imports::{Crate, Sources, Workspace},
    pure::forbidden,
};

const CRATES: [Crate; 2] = [Crate { name: "net", src: "net" }, Crate { name: "engine", src: "engine" }];

/// A workspace in which `engine/a.rs` is `text`.
fn with(text: &str) -> Workspace {
    let files = [
        ("net/lib.rs", "pub mod ring;"),
        ("net/ring.rs", "pub struct Ring; pub fn begin() {}"),
        ("engine/lib.rs", "mod a; mod b;"),
        ("engine/a.rs", text),
        ("engine/b/mod.rs", "pub mod c; mod d; pub use d::Deep; pub const X: u8 = 1; pub struct Plain;"),
        ("engine/b/c.rs", "pub fn call() {} pub struct C; pub enum Kind { One }"),
        ("engine/b/d.rs", "pub struct Deep;"),
    ];
    let sources: Sources =
        files.map(|(path, text)| (PathBuf::from(path), text.to_owned())).into_iter().collect();
    Workspace::read(&sources, &CRATES)
}

/// What `engine/a.rs` imports where it is `text`.
fn imports(text: &str) -> Vec<String> {
    let edges = with(text).edges();
    edges.into_iter().filter(|(from, _)| from == "engine/a.rs").map(|(_, to)| to).collect()
}

#[test]
fn every_form_of_a_path_is_an_import_of_the_file_that_defines_what_it_names() {
    const B: &str = "engine/b/mod.rs";
    const C: &str = "engine/b/c.rs";
    const D: &str = "engine/b/d.rs";
    const RING: &str = "net/ring.rs";
    let cases: [(&str, &[&str]); 28] = [
        ("use crate::b::X;", &[B]),
        ("use super::b::c::C;", &[C]),
        ("use crate::b::{self, c::{C, Kind as K}};", &[C]),
        ("use crate::b::Deep;", &[D]),
        ("use net::ring::Ring;", &[RING]),
        ("use ::net::ring::Ring;", &[RING]),
        ("fn f() { ::net::ring::begin() }", &[RING]),
        ("fn f(_: crate::b::c::C) {}", &[C]),
        ("fn f() { if let crate::b::c::Kind::One = g() {} }", &[C]),
        ("use crate::b; fn f() -> u8 { b::X }", &[B]),
        ("use crate::b as other; fn f() { other::c::call() }", &[C]),
        // All names of a module: its file, and what it gives on.
        ("use crate::b::*;", &[D, B]),
        ("use crate::b::c::*;", &[C]),
        ("use crate::b::c::Kind::*;", &[C]),
        ("use crate::b::*; fn f() { c::call() }", &[C, D, B]),
        // Within a function.
        ("fn f() { use crate::b::c::C; }", &[C]),
        ("fn f() { use crate::b::c; c::call() }", &[C]),
        ("impl S { fn f() { use crate::b::c::*; } }", &[C]),
        // Within a macro's call.
        ("fn f() { assert!(crate::b::X > 0) }", &[B]),
        ("use crate::b::c; fn f() { assert!(g(&[c::call()])) }", &[C]),
        ("fn f() { vec![<Vec::<crate::b::c::C>>::new(), ::net::ring::begin()] }", &[C, RING]),
        ("macro_rules! m { () => { $crate::b::c::call() } }", &[C]),
        ("m! { use crate::b::{Deep, c::C}; }", &[C, D]),
        ("m! { use crate::b::c::*; }", &[C]),
        // What is given on to the same crate is imported; what is given on to all is counted where it is used.
        ("pub(crate) use crate::b::c::C;", &[C]),
        ("pub(super) use crate::b::c::*;", &[C]),
        ("pub use crate::b::c::C;", &[]),
        ("pub use crate::b::c::*;", &[]),
    ];
    for (text, expected) in cases {
        assert_eq!(imports(text), expected, "{text}");
    }
}

#[test]
fn what_is_for_tests_imports_nothing() {
    for text in [
        "#[cfg(test)] mod tests { use crate::b::X; }",
        "#[cfg(test)] use crate::b::X;",
        "#[cfg(test)] fn f() -> u8 { crate::b::X }",
        "#[cfg(all(test, unix))] impl S { fn f() -> u8 { crate::b::X } }",
        "impl S { #[cfg(test)] fn f() -> u8 { crate::b::X } }",
        "m!(a::b, c : d, \"crate::b::X\"); // crate::b::X",
    ] {
        assert_eq!(imports(text), [""; 0], "{text}");
    }
    assert_eq!(imports("#[cfg(not(test))] use crate::b::X;"), ["engine/b/mod.rs"]);
}

#[test]
fn every_way_to_wait_or_to_ask_the_system_is_seen() {
    for text in [
        "fn f() { std::fs::copy(a, b) }",
        "use std::fs; fn f() { fs::copy(a, b) }",
        "use std::fs::*;",
        "use std::*;",
        "use std::{fs as files};",
        "use std::net::{IpAddr, TcpStream};",
        "use std::net; fn f() { net::TcpStream::connect_timeout(a, b) }",
        "use std::net::ToSocketAddrs;",
        "use std::os::unix::net::UnixStream;",
        "fn f() { ::std::thread::yield_now() }",
        "fn f() { assert!(std::thread::park_timeout(d)) }",
        "pub use std::time::Instant;",
        "fn f() { use std::time; time::SystemTime::now() }",
        "use std::sync::{Arc, Condvar};",
        "use std::sync::mpsc;",
        "use std::io; fn f() { io::stdout() }",
        "use std::hash::RandomState;",
        "use std::collections::hash_map::RandomState;",
        "fn f() { fastrand::u64(..) }",
        "fn f(path: &std::path::Path) { path.exists() }",
        "fn f() { println!() }",
        "fn f() { std::env::var(name) }",
        "fn f() { std::process::exit(1) }",
    ] {
        assert!(!forbidden(&with(text), "engine").is_empty(), "{text}");
    }
    let allowed =
        "use std::{fmt, io::{self, Write}, sync::Arc, time::Duration}; fn f() { write!(out, \"\") }";
    assert_eq!(forbidden(&with(allowed), "engine"), [].into());
}
