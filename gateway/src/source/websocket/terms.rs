//! How a link is used, and how a connection of it begins.

use std::time::{Duration, Instant};

use super::{
    connection::Connection,
    dial::{Stream, dial},
    ended::Ended,
    opening::Opens,
};
use crate::source::{link::Link, token_file};

/// How a link is used.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    pub link: &'a Link,
    /// A connection that brings nothing for so long is made anew.
    pub stale_after: Option<Duration>,
    /// One of this age is followed by a new one.
    pub renew: Option<Duration>,
}

impl<'a> Terms<'a> {
    /// Connects.
    pub async fn begin(self, opens: &mut impl Opens) -> Result<(Connection<'a>, Box<dyn Stream>), Ended> {
        let begun = Instant::now();
        let token = match &self.link.token_file {
            Some(file) => Some(token_file::read(file).await.map_err(Ended::Token)?),
            None => None,
        };
        let opening = opens.open().await?;
        let stream = dial(self.link, &opening.target.url, self.stale_after).await?;
        Ok((Connection::new(self.link, opening, token, self.stale_after, begun), stream))
    }
}
