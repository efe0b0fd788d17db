//! TLS as the gateway speaks it: its certificates, read again while it runs, and whom it trusts.

pub mod certificate;
pub mod client;
pub mod files;
pub mod pem;
mod provider;
pub mod server;
