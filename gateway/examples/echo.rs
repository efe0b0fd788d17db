//! An echo server on the gateway's own shard, ring and `proto`: what conformance suites test.
//!
//! `echo --port N` answers every message with itself. Its first line on stdout is
//! `listening data=127.0.0.1:PORT`.
#![forbid(unsafe_code)]

use std::{sync::Arc, time::Instant};

use clap::Parser;
use engine::{
    shard::{Application, inbox::Inbox, shared::Shared},
    topic::epoch::Epoch,
};
use gateway::{config::Config, executor, sockets::Sockets};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Largest message of the conformance suites (Autobahn group 9).
const MESSAGE_BYTES: usize = 16 << 20;
const CONNECTIONS: usize = 1000;

#[derive(Parser)]
struct Args {
    /// 0: any free one.
    #[arg(long, default_value_t = 9001)]
    port: u16,
    /// By which calls of the kernel it moves bytes: io_uring or epoll. Default: as FANWIRE_SERVER__IO says, else
    /// io_uring.
    #[arg(long)]
    io: Option<net::Io>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let mut config = Config::embedded_demo();
    config.server.data = Some(([127, 0, 0, 1], args.port).into());
    config.server.shards = 1;
    config.limits.message_bytes = MESSAGE_BYTES;
    config.limits.messages_per_s = 0;
    config.limits.control_per_s = 0;
    let waker = net::Waker::new()?;
    let inbox = Inbox::of(&config.limits, waker.clone());
    let shared = Arc::new(Shared::new(Epoch::from(1), None, CONNECTIONS, &config.settings()));
    let (_current, held) = tokio::sync::watch::channel(Arc::new(config));
    let named = std::env::var("FANWIRE_SERVER__IO").ok().map(|io| io.parse()).transpose()?;
    let io = args.io.or(named).unwrap_or(net::Io::IoUring);
    let sockets = Sockets::new(io, CONNECTIONS, CONNECTIONS * 2);
    let ends = vec![(inbox, waker)];
    let shards = executor::start(&held, Application::Echo, &shared, ends, sockets, Instant::now(), None)?;
    println!("listening data={}", shards.data.expect("it has one"));
    shards.join();
    Ok(())
}
