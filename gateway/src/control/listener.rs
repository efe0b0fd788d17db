//! The admin listener: a bounded number of connections, none of which can stay without asking.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::Request,
    response::Response,
};
use bytes::Bytes;
use hyper::{
    body::{Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use ring::tls::{METHOD_BYTES, answer_to_http, may_be_http};
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    admin::{Admin, Counters},
    paced::{Pace, Paced},
    places::{Asking, Found, Place, Places},
};
use crate::{config::Limits, tls};

/// Of a request in HTTP on a listener that speaks TLS, which is answered and thrown away.
const HTTP_BYTES_MAX: u64 = 1 << 20;
/// What a client goes on sending after its last answer is read so long, or the answer would be lost to a reset.
const LINGER: Duration = Duration::from_secs(5);
/// Of what was received and is not taken yet; a longer request head is refused with 431.
const BUFFER_BYTES: usize = 64 * 1024;
/// Bytes that wait in the kernel to be sent: who reads slowly is noticed soon.
const NOTSENT_LOWAT_BYTES: u32 = 128 * 1024;

pub struct Listener {
    inner: TcpListener,
    tls: Option<tls::Current>,
    places: Arc<Places>,
    connections: Connections,
}

/// How connections are served.
#[derive(Clone)]
struct Connections {
    http: http1::Builder,
    pace: Pace,
    /// Bytes that are read after the last answer.
    linger_bytes: u64,
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
        socket.set_tcp_notsent_lowat(NOTSENT_LOWAT_BYTES)?;
        let mut http = http1::Builder::new();
        // Its own clock has one time for heads and for idling; and a large answer is sent from where it lies.
        http.header_read_timeout(None).writev(true).max_buf_size(BUFFER_BYTES);
        let connections =
            Connections { http, pace: Pace::new(limits), linger_bytes: 2 * limits.publish_bytes as u64 };
        let places = Places::new(limits.admin_connections);
        Ok(Self { inner: TcpListener::from_std(listener)?, tls, places, connections })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    pub async fn serve(mut self, admin: Arc<Admin>) -> Infallible {
        let router = admin.router();
        loop {
            let (stream, _) = axum::serve::Listener::accept(&mut self.inner).await;
            let (place, found) = self.places.enter().await;
            let counters = admin.counters.clone();
            match found {
                Found::Free => {}
                Found::Evicted => count(&counters.connections_evicted),
                Found::Waited => count(&counters.connections_waited),
            }
            let (connections, router, place) = (self.connections.clone(), router.clone(), Arc::new(place));
            let tls = self.tls.as_ref().map(|tls| tls.borrow().clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = place.evicted() => {}
                    () = connections.serve(stream, tls, &place, router, counters) => {}
                }
            });
            // Who came gets to ask before the next one may take its place.
            tokio::task::yield_now().await;
        }
    }
}

impl Connections {
    async fn serve(
        &self,
        stream: TcpStream,
        tls: Option<Arc<ServerConfig>>,
        place: &Arc<Place>,
        router: Router,
        counters: Arc<Counters>,
    ) {
        let Some(tls) = tls else { return self.speak(stream, place, router, counters).await };
        match tokio::time::timeout(self.pace.head, secure(stream, tls)).await {
            Ok(Ok(stream)) => self.speak(stream, place, router, counters).await,
            Ok(Err(_)) => count(&counters.tls_failed),
            Err(_) => count(&counters.heads_late),
        }
    }

    /// HTTP until one of both sides ends it.
    async fn speak<S>(&self, stream: S, place: &Arc<Place>, router: Router, counters: Arc<Counters>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let router = TowerToHyperService::new(router);
        let service = service_fn(|mut request: Request<Incoming>| {
            let asking = place.ask();
            request.extensions_mut().insert(place.clone());
            let answer = hyper::service::Service::call(&router, request);
            Box::pin(async move {
                answer
                    .await
                    .map(|response: Response| response.map(|body| Answering { body, _asking: asking }))
            }) as Pin<Box<dyn Future<Output = _> + Send>>
        });
        let paced = Paced::new(stream, place.clone(), self.pace, counters);
        let mut connection = self.http.serve_connection(TokioIo::new(paced), service);
        // What went wrong was the client's doing or is counted.
        let served = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
        if served.is_err_and(|error| error.is_timeout() || error.is_closed()) {
            return;
        }
        place.begin_lingering();
        let stream = connection.into_parts().io.into_inner().into_inner();
        // Whoever is gone by now needs no goodbye.
        let _ = tokio::time::timeout(LINGER, self.linger(stream)).await;
    }

    async fn linger(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(self.linger_bytes), &mut tokio::io::sink()).await?;
        Ok(())
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The body of an answer, while it is under way.
struct Answering {
    body: Body,
    _asking: Asking,
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The handshake; who speaks HTTP without TLS is told so.
async fn secure(mut stream: TcpStream, tls: Arc<ServerConfig>) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0; METHOD_BYTES];
    let held = stream.peek(&mut first).await?;
    // Less is left to TLS: hardly anybody sends a method in parts.
    if held == METHOD_BYTES && may_be_http(&[], &first) {
        stream.write_all(&answer_to_http(&first)).await?;
        stream.shutdown().await?;
        // What it has asked is read, or its answer would be lost to a reset.
        tokio::io::copy(&mut stream.take(HTTP_BYTES_MAX), &mut tokio::io::sink()).await?;
        return Err(io::ErrorKind::InvalidData.into());
    }
    TlsAcceptor::from(tls).accept(stream).await
}
