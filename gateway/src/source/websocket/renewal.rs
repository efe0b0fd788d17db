//! `renew`: a connection that is there before the old one ends.

use std::{collections::VecDeque, time::Duration};

use tokio::time::{sleep, timeout};

use super::{
    connection::Connection,
    counters::{WebsocketCounters, add},
    dial::Stream,
    ended::Ended,
    inlet::{Intake, Quit},
    opening::Opens,
    terms::Terms,
};

/// How often it is looked whether a new connection may take over.
const TICK: Duration = Duration::from_millis(50);

/// A connection that may take over: it has said all that follows its connect, and brought something.
pub struct Next<'a> {
    pub connection: Connection<'a>,
    pub stream: Box<dyn Stream>,
    pub held: Held,
}

/// What a new connection brought as long as the old one served.
#[derive(Debug, Default)]
pub struct Held {
    messages: VecDeque<(Vec<u8>, bool)>,
    bytes: usize,
    bytes_max: usize,
}

impl Held {
    /// To who takes messages from now on.
    pub fn hand_over(self, intake: &mut impl Intake, connection: &mut Connection<'_>) -> Result<(), Quit> {
        intake.established();
        for (message, is_binary) in self.messages {
            connection.reply(intake.take(&message, is_binary)?);
        }
        Ok(())
    }
}

impl Intake for Held {
    fn take(&mut self, message: &[u8], is_binary: bool) -> Result<Option<String>, Quit> {
        self.bytes += message.len();
        self.messages.push_back((message.to_vec(), is_binary));
        Ok(None)
    }

    fn publish(&mut self) -> bool {
        true
    }

    fn lose(&mut self) {}

    fn waits(&self) -> bool {
        false
    }

    /// TCP holds the server back beyond.
    fn has_room(&self) -> bool {
        self.bytes < self.bytes_max
    }
}

/// Once the present connection is old enough, gives the next one; for good where none is to follow.
pub async fn warm<'a>(terms: Terms<'a>, opens: &mut impl Opens, counters: &WebsocketCounters) -> Next<'a> {
    let Some(age) = terms.renew else { return std::future::pending().await };
    sleep(age).await;
    let mut failures = 0;
    loop {
        add(&counters.connects, 1);
        match begin(terms, opens).await {
            Ok(next) => return next,
            Err(ended) => {
                failures += 1;
                counters.ended(ended.end());
                tracing::warn!(
                    source = terms.link.name,
                    "the connection that is to follow: {ended}; tried again"
                );
                sleep(terms.link.backoff(failures).max(ended.retry_after().unwrap_or_default())).await;
            }
        }
    }
}

async fn begin<'a>(terms: Terms<'a>, opens: &mut impl Opens) -> Result<Next<'a>, Ended> {
    let (mut connection, mut stream) = terms.begin(opens).await?;
    let mut held = Held { bytes_max: terms.link.message_bytes, ..Held::default() };
    loop {
        if let Ok(ended) = timeout(TICK, connection.run(&mut *stream, &mut held, None)).await {
            connection.goodbye(&mut *stream).await;
            return Err(ended);
        }
        let is_full = !held.has_room();
        if !held.messages.is_empty() && (connection.is_said() || is_full) {
            return Ok(Next { connection, stream, held });
        }
    }
}
