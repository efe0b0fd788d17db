//! Which end of a connection rustls is.

use std::fmt;

use rustls::{client::UnbufferedClientConnection, server::UnbufferedServerConnection};

pub enum Side {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

impl fmt::Debug for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Side::Server(_)) { "Server" } else { "Client" })
    }
}
