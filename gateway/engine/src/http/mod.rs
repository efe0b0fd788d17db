//! Parts of a request as they stand in its head: the host that it names and the query of its target.

pub mod host;
pub mod origin;
pub mod query;
