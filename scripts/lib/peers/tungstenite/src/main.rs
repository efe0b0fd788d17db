//! The application of `scripts/compare` on tokio-tungstenite: [--every-ms N] [--cert FILE --key FILE].
//!
//! A client says the list of its topics. It gets each of their updates as it comes; with --every-ms what changed, each
//! so many ms. Updates are lines `STAMP TOPIC DATA` on stdin. One thread; a task for each client, which is handed
//! messages by a channel, takes all that wait there and flushes them at once. A client whose channel is full is cut.
//! The first line on stdout is `listening data=127.0.0.1:PORT`.

mod conflation;

use std::{cell::RefCell, collections::HashMap, error::Error, fs, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use conflation::{Conflation, Watched};
use futures_util::{SinkExt, StreamExt};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader, stdin},
    net::TcpListener,
    sync::mpsc::{self, Sender},
    task::{LocalSet, spawn_local},
    time::{MissedTickBehavior, interval},
};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::{
    accept_async_with_config,
    tungstenite::{Message, Utf8Bytes, protocol::WebSocketConfig},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Messages that may wait for a client: seconds of them.
const WAITING_MAX: usize = 256;
const BACKLOG: i32 = 4096;

#[derive(Default)]
struct Hub {
    next: u64,
    rooms: HashMap<String, HashMap<u64, Sender<Utf8Bytes>>>,
    watchers: HashMap<u64, (Sender<Utf8Bytes>, Watched)>,
    conflation: Conflation,
}

type Shared = Rc<RefCell<Hub>>;

fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|word| word != name).nth(1)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    LocalSet::new().run_until(run()).await
}

async fn run() -> Result<(), Box<dyn Error>> {
    let every_ms: Option<u64> = option("--every-ms").map(|text| text.parse()).transpose()?;
    let tls = option("--cert").zip(option("--key")).map(|(cert, key)| acceptor(&cert, &key)).transpose()?;
    let hub = Shared::default();
    let listener = listen()?;
    println!("listening data={}", listener.local_addr()?);
    spawn_local(accept(listener, tls, every_ms.is_some(), hub.clone()));
    if let Some(every_ms) = every_ms {
        spawn_local(flush(every_ms, hub.clone()));
    }
    let mut lines = BufReader::with_capacity(64 << 10, stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let Some((stamp, rest)) = line.split_once(' ') else { continue };
        let Some((topic, data)) = rest.split_once(' ') else { continue };
        let hub = &mut *hub.borrow_mut();
        if every_ms.is_some() {
            hub.conflation.take(stamp.parse()?, topic, data);
        } else if let Some(room) = hub.rooms.get_mut(topic) {
            let text: Utf8Bytes = format!(r#"{{"ts":{stamp},"topic":"{topic}","data":{data}}}"#).into();
            room.retain(|_, client| client.try_send(text.clone()).is_ok());
        }
    }
    Ok(())
}

fn listen() -> std::io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn acceptor(cert: &str, key: &str) -> Result<TlsAcceptor, Box<dyn Error>> {
    let certs = CertificateDer::pem_slice_iter(&fs::read(cert)?).collect::<Result<_, _>>()?;
    let mut provider = ring::default_provider();
    // The others' cipher.
    provider.cipher_suites = vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(certs, PrivateKeyDer::from_pem_slice(&fs::read(key)?)?)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, conflates: bool, hub: Shared) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let (hub, tls) = (hub.clone(), tls.clone());
        spawn_local(async move {
            match tls {
                None => serve(stream, conflates, hub).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => serve(stream, conflates, hub).await,
                    Err(_) => None,
                },
            }
        });
    }
}

/// A client from its handshake to its end.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, conflates: bool, hub: Shared) -> Option<()> {
    // Small buffers, or a client takes 128 KiB of them.
    let config = WebSocketConfig::default().read_buffer_size(4 << 10).write_buffer_size(16 << 10);
    let mut socket = accept_async_with_config(stream, Some(config)).await.ok()?;
    let Message::Text(said) = socket.next().await?.ok()? else { return None };
    let topics: Vec<String> = serde_json::from_str(&said).ok()?;
    let (sender, mut messages) = mpsc::channel::<Utf8Bytes>(WAITING_MAX);
    let id = join(&mut hub.borrow_mut(), &topics, sender, conflates);
    loop {
        let on = tokio::select! {
            message = messages.recv() => match message {
                None => Some(false),
                Some(message) => async {
                    socket.feed(Message::Text(message)).await.ok()?;
                    while let Ok(more) = messages.try_recv() {
                        socket.feed(Message::Text(more)).await.ok()?;
                    }
                    socket.flush().await.ok().map(|()| true)
                }.await,
            },
            // Reading answers pings and closes.
            said = socket.next() => Some(matches!(said, Some(Ok(_)))),
        };
        if on != Some(true) {
            break;
        }
    }
    leave(&mut hub.borrow_mut(), &topics, id);
    Some(())
}

fn join(hub: &mut Hub, topics: &[String], sender: Sender<Utf8Bytes>, conflates: bool) -> u64 {
    hub.next += 1;
    if conflates {
        let watched = hub.conflation.watch(topics);
        hub.watchers.insert(hub.next, (sender, watched));
    } else {
        for topic in topics {
            hub.rooms.entry(topic.clone()).or_default().insert(hub.next, sender.clone());
        }
    }
    hub.next
}

fn leave(hub: &mut Hub, topics: &[String], id: u64) {
    hub.watchers.remove(&id);
    for topic in topics {
        hub.rooms.get_mut(topic).map(|room| room.remove(&id));
    }
}

async fn flush(every_ms: u64, hub: Shared) {
    let mut ticks = interval(Duration::from_millis(every_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Hub { watchers, conflation, .. } = &mut *hub.borrow_mut();
        let mut full = Vec::new();
        let each = watchers.iter().map(|(id, (sender, watched))| ((id, sender), watched));
        let each: Vec<_> = each.collect();
        conflation.flush(each.iter().map(|(watcher, watched)| (watcher, *watched)), |(id, sender), text| {
            if sender.try_send(text.into()).is_err() {
                full.push(**id);
            }
        });
        watchers.retain(|id, _| !full.contains(id));
    }
}
