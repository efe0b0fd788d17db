//! Where a connection's messages go.

use std::time::Duration;

/// How long to wait before an inbox that was full is tried again.
pub const RETRY: Duration = Duration::from_millis(1);

/// What takes a connection's messages in. It outlives the connection, as does what waits in it.
pub trait Intake {
    /// Takes a message that was received just now. [`Intake::publish`] follows once all at hand were
    /// taken. An error ends the connection.
    fn take(&mut self, message: &[u8]) -> Result<(), String>;

    /// Publishes as much as there is room for. `true`: there was an update among it, or one that confirms
    /// what is held.
    fn publish(&mut self) -> bool;

    /// The connection has ended.
    fn lose(&mut self);

    /// Something waits: [`Intake::publish`] again after [`RETRY`].
    fn waits(&self) -> bool;

    /// Whether further messages may be taken. If not, TCP's flow control stops the server.
    fn has_room(&self) -> bool;
}
