//! What a connection begins with: where it goes, what it shows, what it says.

use super::{ended::Ended, script::Script};
use crate::source::{link::Link, url::Url};

/// Where a connection goes, and what its request shows.
#[derive(Debug, Clone)]
pub struct Target {
    pub url: Url,
    pub host: String,
    /// They may be secrets.
    pub headers: Vec<(String, String)>,
}

impl Target {
    /// As the link says.
    pub fn of(link: &Link) -> Self {
        Self { url: link.url.clone(), host: link.host.clone(), headers: Vec::new() }
    }
}

/// What a connection begins with.
pub struct Opening {
    pub target: Target,
    pub script: Script,
}

/// Who knows what a connection begins with.
pub trait Opens {
    /// Before each connect.
    fn open(&mut self) -> impl Future<Output = Result<Opening, Ended>> + Send;
}
