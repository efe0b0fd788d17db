//! What one subscription is promised, checked frame by frame (gateway/PROTOCOL.md), and
//! what all of them hold in the end.
//!
//! Pure: messages and times come in, verdicts go out. Nothing here opens a socket or a file, reads a
//! clock or starts a thread, and nothing is imported from the rest of the program. The one atomic is
//! [`table::KeyBudget`], by which the threads of a run share a bound on memory.
//!
//! A text becomes a [`message::Message`] (once for all clients that get the same bytes:
//! [`cache::MessageCache`]), topics become the words of a [`catalog::Catalog`], and a
//! [`subscription::Subscription`] counts [`faults::Faults`] in the contract's words:
//! - *lost*: a batch whose `from` is above the position, as long as what is missing does not come
//!   after all, or a `stream` step above 1 + gap (counted by the updates that are missing);
//! - *duplicated*: a batch with updates whose `version` is not above the position, or, where `from`
//!   equals the position, an update whose `v` is held;
//! - *reordered*: what was missing arrives after what follows it: a batch for a hole that was counted
//!   as lost, a `v` or a snapshot's position that goes back;
//! - *torn*: members of an atomic group that differ after a whole batch or snapshot;
//! - *violations*: every other broken promise, by its description.
//!
//! After the window, [`holdings::Holdings`] of all threads are compared with each other and with the
//! gateway's topics: positions and `v` by [`settle`], the values themselves by [`values`].

pub mod cache;
pub mod catalog;
pub mod faults;
pub mod holdings;
pub mod message;
pub mod row;
pub mod settle;
pub mod subscription;
pub mod table;
#[cfg(test)]
mod tests;
pub mod topic;
pub mod values;
