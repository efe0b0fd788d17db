//! Where a connection's messages go.

use std::{
    future::{Future, pending},
    time::Duration,
};

/// How long to wait before an inbox that was full is tried again.
pub const RETRY: Duration = Duration::from_millis(1);

/// Why a connection is ended by whoever takes its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quit {
    /// What the server says cannot be taken.
    Unacceptable(String),
    /// Something is missing that only a new connection brings.
    Gap(String),
}

impl From<String> for Quit {
    fn from(why: String) -> Self {
        Self::Unacceptable(why)
    }
}

impl From<&str> for Quit {
    fn from(why: &str) -> Self {
        Self::Unacceptable(why.to_owned())
    }
}

/// What takes a connection's messages in. It outlives the connection, as does what waits in it.
pub trait Intake: Send {
    /// What takes in for a connection that is to follow.
    type Next: Intake;

    /// A connect begins.
    fn begin(&mut self) {}

    /// Takes a message that was received just now, and gives what is to be said to it. [`Intake::publish`] follows
    /// once all at hand were taken. An error ends the connection.
    fn take(&mut self, message: &[u8], is_binary: bool) -> Result<Option<String>, Quit>;

    /// Publishes as much as there is room for. `true`: there was an update among it, or one that confirms
    /// what is held.
    fn publish(&mut self) -> bool;

    /// The connection is established.
    fn established(&mut self) {}

    /// The connection has ended.
    fn lose(&mut self);

    /// Something waits: [`Intake::publish`] again after [`RETRY`].
    fn waits(&self) -> bool;

    /// Whether further messages may be taken. If not, TCP's flow control stops the server.
    fn has_room(&self) -> bool;

    /// Ends when something came that was asked for elsewhere; [`Intake::publish`] follows. Nothing is lost when it is
    /// left in the middle. An error ends the connection.
    fn woken(&mut self) -> impl Future<Output = Result<(), Quit>> + Send {
        pending()
    }

    /// For a connection that is to follow the present one; `None`: none ever is.
    fn next(&self) -> Option<Self::Next> {
        None
    }

    /// Nothing would be missing if the connection of `next` took over.
    fn is_followed_by(&self, _next: &Self::Next) -> bool {
        false
    }

    /// The connection of `next` takes over, after [`Intake::lose`].
    fn follow(&mut self, _next: Self::Next) {}
}
