//! What this host says of processes and of itself, from /proc.

pub mod process;
