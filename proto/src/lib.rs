//! Sans-IO RFC 6455 with permessage-deflate (RFC 7692): bytes in, events out, and encoders for what
//! is sent.
//!
//! No socket, no clock, no runtime. A [`Conn`] is driven with five verbs:
//!
//! ```text
//!              server                                    client
//!   receive ──▶ Event::Request                 handshake::request ──▶ write
//!   request.upgrade() ──▶ handshake::accept    receive ──▶ Event::Response
//!   write the 101, Conn::upgraded
//!                       ╲                       ╱
//!        receive ──▶ Text, Binary, Deflated, Ping, Pong, Close, Fail
//!        encode::{frame, close, masked_frame, masked_close} ──▶ write
//!                        Conn::close_sent
//! ```
//!
//! A frame that lies whole in the input is unmasked in place and handed on without a copy; memory
//! is taken only for what is cut by the end of a read, grows with the bytes that came (never with
//! the length that was announced) and is given back by the call after the one that delivered it.
//!
//! ```
//! use proto::{Conn, Event, Limits, encode};
//!
//! let limits = Limits { head_bytes: 16 << 10, headers: 64, message_bytes: 64 << 10 };
//! let mut conn = Conn::server();
//! conn.upgraded(None);
//! let mut input = Vec::new();
//! encode::masked_frame(&mut input, encode::Opcode::Text, b"hello", [1, 2, 3, 4]);
//! let end = input.len();
//! let mut at = 0;
//! loop {
//!     let received = conn.receive(&mut input[at..], &limits);
//!     at += received.used;
//!     match received.event {
//!         Some(Event::Text(text)) => assert_eq!(text, "hello"),
//!         Some(_) => unreachable!(),
//!         None if at == end => break,
//!         None => {}
//!     }
//! }
//! ```
#![deny(missing_docs, unsafe_code)]

mod close;
mod conn;
pub mod deflate;
pub mod encode;
mod error;
mod event;
mod fields;
mod frame;
pub mod handshake;
mod head;
mod limits;
// The one place where intrinsics are called.
#[allow(unsafe_code)]
pub mod mask;
mod message;
pub mod msgpack;
mod reassembly;
mod refusal;
mod request;
mod response;

pub use close::Close;
pub use conn::{Conn, State};
pub use error::{Error, HandshakeError};
pub use event::{Event, Received};
pub use limits::Limits;
pub use refusal::Refusal;
pub use request::{Request, Upgrade};
pub use response::{Headers, Response};
