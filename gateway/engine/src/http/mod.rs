//! Parts of a request as they stand in its head: the host that it names, the query of its target, and for whom a proxy
//! asks.

pub mod host;
pub mod origin;
pub mod proxies;
pub mod query;
pub mod raw_path;
