//! The admin listener: a bounded number of connections, none of which can stay without asking.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use ring::tls::{METHOD_BYTES, answer_to_http, may_be_http};
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::admin::{Admin, Counters};
use crate::{config::Limits, tls};

/// Of a request in HTTP on a listener that speaks TLS, which is answered and thrown away.
const HTTP_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug)]
pub struct Listener {
    inner: TcpListener,
    http: http1::Builder,
    tls: Option<tls::Current>,
    /// For a handshake of TLS.
    idle: Duration,
    /// `[limits] admin_connections`; more wait in the kernel.
    room: Arc<Semaphore>,
}

impl Listener {
    /// To be called on the runtime that serves it.
    pub fn new(
        listener: std::net::TcpListener,
        limits: &Limits,
        tls: Option<tls::Current>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        // Inherited by each connection: whoever does not read its answer is reset, and the answers to
        // requests that came together do not wait for each other's acknowledgement.
        let socket = SockRef::from(&listener);
        socket.set_tcp_user_timeout(Some(limits.admin_body))?;
        socket.set_tcp_nodelay(true)?;
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(limits.admin_idle);
        let room = Arc::new(Semaphore::new(limits.admin_connections));
        let inner = TcpListener::from_std(listener)?;
        Ok(Self { inner, http, tls, idle: limits.admin_idle, room })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    pub async fn serve(mut self, admin: Arc<Admin>) -> Infallible {
        let service = TowerToHyperService::new(admin.router());
        loop {
            let (stream, _) = axum::serve::Listener::accept(&mut self.inner).await;
            let permit = self.enter(&admin.counters).await;
            let (http, service, counters) = (self.http.clone(), service.clone(), admin.counters.clone());
            let (tls, idle) = (self.tls.as_ref().map(|tls| tls.borrow().clone()), self.idle);
            tokio::spawn(async move {
                let _permit = permit;
                let served = match tls {
                    None => http.serve_connection(TokioIo::new(stream), service).await,
                    Some(tls) => match tokio::time::timeout(idle, secure(stream, tls)).await {
                        Ok(Ok(stream)) => http.serve_connection(TokioIo::new(stream), service).await,
                        Ok(Err(_)) => {
                            counters.tls_failed.fetch_add(1, Ordering::Relaxed);
                            return;
                        }
                        Err(_) => {
                            counters.connections_idle.fetch_add(1, Ordering::Relaxed);
                            return;
                        }
                    },
                };
                if served.is_err_and(|error| error.is_timeout()) {
                    counters.connections_idle.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    }

    async fn enter(&self, counters: &Counters) -> OwnedSemaphorePermit {
        if self.room.available_permits() == 0 {
            counters.connections_waited.fetch_add(1, Ordering::Relaxed);
        }
        self.room.clone().acquire_owned().await.expect("nobody closes it")
    }
}

/// The handshake; who speaks HTTP without TLS is told so.
async fn secure(mut stream: TcpStream, tls: Arc<ServerConfig>) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0; METHOD_BYTES];
    let held = stream.peek(&mut first).await?;
    // Less is left to TLS: hardly anybody sends a method in parts.
    if held == METHOD_BYTES && may_be_http(&[], &first) {
        stream.write_all(&answer_to_http()).await?;
        stream.shutdown().await?;
        // What it has asked is read, or its answer would be lost to a reset.
        tokio::io::copy(&mut stream.take(HTTP_BYTES_MAX), &mut tokio::io::sink()).await?;
        return Err(io::ErrorKind::InvalidData.into());
    }
    TlsAcceptor::from(tls).accept(stream).await
}
