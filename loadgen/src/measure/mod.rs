//! What is measured, thread by thread: ages, latencies and counts.

pub mod arrival;
pub mod latency;
pub mod matcher;
mod pointer;
pub mod stamp;
pub mod tally;
