//! What cannot be taken of a message.

use engine::json::pointer::Pointer;
use thiserror::Error;

/// Why a message, or an element of one, was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    #[error("it is not JSON: {0}")]
    Json(String),
    #[error("{pointer:?} leads nowhere, or not to {wanted}")]
    Pointer { pointer: Pointer, wanted: &'static str },
    #[error("{0}")]
    Topic(String),
    #[error("{pointer:?}: {text} is neither RFC 3339 nor a number since the Unix epoch")]
    Ts { pointer: Pointer, text: String },
    #[error("more than {max} {of} would have to be remembered; raise memory_bytes")]
    Full { of: &'static str, max: usize },
}

pub fn nowhere(pointer: &Pointer, wanted: &'static str) -> Fault {
    Fault::Pointer { pointer: pointer.clone(), wanted }
}
