//! What the benchmark programs share. Each program says in its first lines what it measures.
#![forbid(unsafe_code)]

pub mod cpu;
pub mod poll;
pub mod timed;
