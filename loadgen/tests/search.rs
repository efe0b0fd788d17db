//! A search finds the number of connections that a server admits.
#![forbid(unsafe_code)]

mod support;

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use serde_json::{Value, json};
use support::{Fault, start};

/// Passes on what clients and `server` say to each other, of at most `connections_max` at a time.
fn admit(server: SocketAddr, connections_max: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let open = Arc::new(AtomicUsize::new(0));
        for client in listener.incoming() {
            if open.load(Relaxed) == connections_max {
                continue;
            }
            open.fetch_add(1, Relaxed);
            let open = open.clone();
            thread::spawn(move || {
                // Either side may leave at any time.
                let _ = pass(client.unwrap(), server);
                open.fetch_sub(1, Relaxed);
            });
        }
    });
    addr
}

fn pass(mut client: TcpStream, server: SocketAddr) -> io::Result<()> {
    let mut upstream = TcpStream::connect(server)?;
    let (mut from, mut to) = (upstream.try_clone()?, client.try_clone()?);
    let down = thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let copied = io::copy(&mut client, &mut upstream);
    upstream.shutdown(Shutdown::Both)?;
    down.join().unwrap();
    copied.map(drop)
}

fn search(addr: SocketAddr, from: u32, to: u32) -> (Output, Value) {
    let (from, to) = (from.to_string(), to.to_string());
    let url = format!("ws://{addr}/ws");
    let load = ["--url", &url, "--topics", "*", "--duration", "100ms", "--threads", "1"];
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .arg("search")
        .args(["--expect", "connections.failed==0", "--tolerance", "30", "--from", &from, "--to", &to])
        .args(load)
        .output()
        .unwrap();
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    let found = stdout.lines().last().map_or(Value::Null, |line| serde_json::from_str(line).unwrap());
    (output, found)
}

#[test]
fn the_knee_lies_between_what_a_server_admits_and_what_it_does_not() {
    let (output, found) = search(admit(start(Fault::None), 5), 5, 7);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!((&found["best"], &found["failing"]), (&json!(5), &json!(6)), "{found:#}");
}

#[test]
fn a_server_that_refuses_the_first_value_ends_with_exit_code_3() {
    let (output, found) = search(admit(start(Fault::None), 1), 2, 8);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!((&found["best"], &found["failing"]), (&Value::Null, &json!(2)), "{found:#}");
}
