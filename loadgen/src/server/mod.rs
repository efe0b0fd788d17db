//! The server under test, as everything but the load itself talks to it.

pub mod admin;
pub mod clock;
pub mod http;
pub mod metrics;
pub mod publish;
pub mod tls;
pub mod token;
pub mod topics;
pub mod url;
