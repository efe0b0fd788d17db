//! A configuration file: read section by section, every problem with its line, and written again.

pub mod environment;
pub mod read;
pub mod value;
pub mod write;
