//! Listeners: one for each shard, on one address that all of them share.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

const BACKLOG: i32 = 4096;
/// Not yet sent bytes that may lie in the kernel, where nothing can be conflated any more.
const NOTSENT_LOWAT_BYTES: u32 = 16 << 10;

/// A listener for each shard, and their address.
pub fn listen_all(mut addr: SocketAddr, shards: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    check_free(addr)?;
    let mut listeners = Vec::new();
    for _ in 0..shards {
        let listener = listen(addr)?;
        // Port 0 is resolved by the first and shared by all.
        addr = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok((addr, listeners))
}

/// Shards share their port, so another gateway of the same user could join them unnoticed and take
/// half of the clients.
fn check_free(addr: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Inherited by accepted sockets, so that no call per connection is needed.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT_BYTES)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
