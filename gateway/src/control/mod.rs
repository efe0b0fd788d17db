//! The control plane: takes updates in, numbers them, answers HTTP. One tokio thread.

pub mod sequencer;
pub mod topics;
