//! The admin listener: a bounded number of connections, none of which can stay without asking.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
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
use engine::settings::Limits;
use hyper::{
    body::{Frame, Incoming, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use net::tls::{ALERT_DECODE_ERROR, METHOD_BYTES, answer_to_http, may_be_http};
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    paced::{Pace, Paced},
    places::{Asking, Place, Places, RESERVE},
};
use crate::{
    http::{admin::Admin, counters::AdminCounters, routes},
    tls,
};

/// Of what a listener that speaks TLS cannot take, which is answered, read and thrown away.
const REFUSED_BYTES_MAX: u64 = 1 << 20;
/// Who failed in a handshake is read so long.
const GOODBYE: Duration = Duration::from_secs(1);
/// What a client goes on sending after its last answer is read so long, or the answer would be lost to a reset.
const LINGER: Duration = Duration::from_secs(5);
/// Of what was received and is not taken yet.
const BUFFER_BYTES: usize = 64 * 1024;
/// A longer request head is refused with 431, and so is one of more fields.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const FIELDS_MAX: usize = 100;
/// Connections that the kernel takes before they are accepted: a crowd that comes at once has to fit, for who does
/// not tries again after a second only.
const BACKLOG: i32 = 4096;
/// Connections accepted before others get their turn, and those that may be about to end beside all places.
const ACCEPTS: usize = 16;
/// Bytes that wait in the kernel to be sent: who reads slowly is noticed soon.
const NOTSENT_LOWAT_BYTES: u32 = 128 * 1024;

pub struct Listener {
    inner: TcpListener,
    tls: Option<tls::server::Current>,
    places: Arc<Places>,
    http: http1::Builder,
}

/// How a connection is served.
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
        tls: Option<tls::server::Current>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        // Inherited by each connection: whoever does not read its answer is reset, and the answers to
        // requests that came together do not wait for each other's acknowledgement.
        let socket = SockRef::from(&listener);
        socket.set_tcp_user_timeout(Some(limits.admin_body))?;
        socket.set_tcp_nodelay(true)?;
        socket.set_tcp_notsent_lowat(NOTSENT_LOWAT_BYTES)?;
        socket.listen(BACKLOG)?;
        let mut http = http1::Builder::new();
        // Its own clock has one time for heads and for idling; and a large answer is sent from where it lies.
        http.header_read_timeout(None).writev(true).max_buf_size(BUFFER_BYTES);
        // A client that has sent its whole request gets its answer.
        http.half_close(true);
        http.max_header_size(HEAD_BYTES_MAX).max_headers(FIELDS_MAX);
        let places = Places::new(limits.admin_connections);
        Ok(Self { inner: TcpListener::from_std(listener)?, tls, places, http })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    pub async fn serve(mut self, admin: Arc<Admin>) -> Infallible {
        let router = routes::router(&admin);
        // A client that came gets to ask before the next ones may take its place. The one that made room is gone
        // by then.
        let room = Arc::<Room>::default();
        let mut accepted = 0_usize;
        let mut rules = admin.rules();
        loop {
            let accepts = self.places.max().min(ACCEPTS);
            let alive = room.enter(|| self.places.max() + RESERVE + accepts).await;
            let (stream, peer) = axum::serve::Listener::accept(&mut self.inner).await;
            if !Arc::ptr_eq(&rules, &admin.rules()) {
                rules = admin.rules();
                self.places.set_max(rules.limits.admin_connections);
                // What the kernel does not take is as it was.
                let _ = SockRef::from(&self.inner).set_tcp_user_timeout(Some(rules.limits.admin_body));
            }
            let (place, found) = self.places.enter(peer.ip().into());
            let counters = admin.counters.clone();
            found.count(&counters);
            let connections = Connections {
                http: self.http.clone(),
                pace: Pace::new(&rules.limits),
                linger_bytes: 2 * rules.limits.publish_bytes as u64,
            };
            let (router, place) = (router.clone(), Arc::new(place));
            let tls = self.tls.as_ref().map(|tls| tls.borrow().clone());
            tokio::spawn(async move {
                connections.serve(stream, tls, &place, router, counters).await;
                drop(alive);
            });
            accepted += 1;
            if accepted.is_multiple_of(accepts) {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Connections that are alive.
#[derive(Default)]
struct Room {
    alive: AtomicUsize,
    left: Notify,
}

/// One of them, until it is dropped.
struct Alive(Arc<Room>);

impl Room {
    /// Waits until fewer are alive than `most`, which may change meanwhile.
    async fn enter(self: &Arc<Self>, most: impl Fn() -> usize) -> Alive {
        while self.alive.load(Ordering::Relaxed) >= most() {
            self.left.notified().await;
        }
        self.alive.fetch_add(1, Ordering::Relaxed);
        Alive(self.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::Relaxed);
        self.0.left.notify_one();
    }
}

impl Connections {
    async fn serve(
        &self,
        stream: TcpStream,
        tls: Option<Arc<ServerConfig>>,
        place: &Arc<Place>,
        router: Router,
        counters: Arc<AdminCounters>,
    ) {
        let Some(tls) = tls else { return self.speak(stream, place, router, counters).await };
        let secured = tokio::select! {
            secured = tokio::time::timeout(self.pace.head, secure(stream, tls, &counters)) => secured,
            () = place.lost() => return,
        };
        match secured {
            Ok(Some(stream)) => self.speak(stream, place, router, counters).await,
            Ok(None) => {}
            Err(_) => count(&counters.heads_late),
        }
    }

    /// HTTP until one of both sides ends it, or the place is lost.
    async fn speak<S: Connection>(
        &self,
        stream: S,
        place: &Arc<Place>,
        router: Router,
        counters: Arc<AdminCounters>,
    ) {
        let router = TowerToHyperService::new(router);
        let service = service_fn(|mut request: Request<Incoming>| {
            let asking = place.ask(!request.body().is_end_stream());
            request.extensions_mut().insert(place.clone());
            let answer = hyper::service::Service::call(&router, request);
            Box::pin(async move {
                if asking.is_ahead {
                    // So many may have come with it that newcomers would have to wait.
                    tokio::task::yield_now().await;
                }
                answer
                    .await
                    .map(|response: Response| response.map(|body| Answering { body, _asking: asking }))
            }) as Pin<Box<dyn Future<Output = _> + Send>>
        });
        let paced = Paced::new(stream, place.clone(), self.pace, counters);
        let mut connection = self.http.serve_connection(TokioIo::new(paced), service);
        // What went wrong was the client's doing or is counted.
        let served = tokio::select! {
            served = poll_fn(|cx| connection.poll_without_shutdown(cx)) => Some(served),
            () = place.lost() => None,
        };
        let stream = connection.into_parts().io.into_inner().into_inner();
        match served {
            None => return reset(stream),
            Some(Err(error)) if error.is_timeout() || error.is_closed() => return,
            Some(_) => {}
        }
        place.begin_lingering();
        tokio::select! {
            // A client that is gone by now needs no goodbye.
            _ = tokio::time::timeout(LINGER, linger(stream, self.linger_bytes)) => {}
            () = place.lost() => {}
        }
    }
}

/// What HTTP is spoken on.
trait Connection: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    fn socket(&self) -> &TcpStream;
}

impl Connection for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Connection for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// The end, with nothing left to be sent for which the kernel would hold memory.
fn reset(stream: impl Connection) {
    // Else it ends like any other.
    let _ = SockRef::from(stream.socket()).set_linger(Some(Duration::ZERO));
}

/// Sends the end and reads at most `bytes_max` of what still comes.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes_max: u64) -> io::Result<()> {
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(bytes_max), &mut tokio::io::sink()).await?;
    Ok(())
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

/// The handshake; a client that speaks HTTP without TLS gets an answer that says so, one that fails otherwise an alert.
async fn secure(
    mut stream: TcpStream,
    tls: Arc<ServerConfig>,
    counters: &AdminCounters,
) -> Option<TlsStream<TcpStream>> {
    let mut first = [0; METHOD_BYTES];
    let held = stream.peek(&mut first).await;
    // Less is left to TLS: hardly anybody sends a method in parts.
    let is_http = held.is_ok_and(|held| held == METHOD_BYTES) && may_be_http(&[], &first);
    let goodbye = if is_http {
        answer_to_http(&first)
    } else {
        match TlsAcceptor::from(tls).accept(stream).into_fallible().await {
            Ok(secured) => return Some(secured),
            Err((error, failed)) => {
                stream = failed;
                missing_alert(&error).to_vec()
            }
        }
    };
    count(&counters.tls_failed);
    if stream.write_all(&goodbye).await.is_ok() {
        // What it goes on sending is read, or its answer would be lost to a reset.
        let _ = tokio::time::timeout(GOODBYE, linger(stream, REFUSED_BYTES_MAX)).await;
    }
    None
}

/// The alert that a failed handshake is owed still: rustls has sent its own, but for what it does not even hold.
fn missing_alert(error: &io::Error) -> &'static [u8] {
    const TOO_LARGE: rustls::Error =
        rustls::Error::InvalidMessage(rustls::InvalidMessage::HandshakePayloadTooLarge);
    match error.get_ref().map(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(Some(told)) if *told != TOO_LARGE => &[],
        Some(_) if error.kind() != io::ErrorKind::UnexpectedEof => &ALERT_DECODE_ERROR,
        // The connection broke.
        _ => &[],
    }
}
