//! What rustls wants after each look at received bytes, and what it says appended to what is sent.

use rustls::{
    Error,
    unbuffered::{ConnectionState, UnbufferedStatus},
};

use crate::counters::TlsFailure;

/// What a record has beside its plaintext, in any cipher suite.
pub(super) const RECORD_EXTRA_BYTES: usize = 64;

/// What a state of rustls amounts to.
pub(super) enum Outcome {
    /// There may be more.
    Goes,
    /// For more bytes of the peer.
    Waits,
    PeerClosed,
}

/// The bytes used and what the state amounts to. What rustls says goes to `control`, what the peer said to `plain`.
pub(super) fn handle<D>(
    status: UnbufferedStatus<'_, '_, D>,
    control: &mut Vec<u8>,
    plain: &mut Vec<u8>,
) -> (usize, Result<Outcome, Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let outcome = match state {
        Err(error) => return (discard, Err(error)),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => {
            while let Some(record) = traffic.next_record() {
                match record {
                    Ok(record) => {
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                    Err(error) => return (discard, Err(error)),
                }
            }
            Outcome::Goes
        }
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            append(control, |out| match data.encode(out) {
                Ok(written) => Ok(written),
                Err(rustls::unbuffered::EncodeError::InsufficientSize(needed)) => Err(needed.required_size),
                // Each is encoded once.
                Err(rustls::unbuffered::EncodeError::AlreadyEncoded) => Ok(0),
            });
            Outcome::Goes
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Outcome::Goes
        }
        Ok(ConnectionState::PeerClosed) => Outcome::PeerClosed,
        // Early data is not asked for; what later versions add is waited for.
        Ok(_) => Outcome::Waits,
    };
    (discard, Ok(outcome))
}

/// Like [`handle`], up to where something can be sealed, which `write` does. `None`: not yet there.
pub(super) fn seal<D>(
    status: UnbufferedStatus<'_, '_, D>,
    control: &mut Vec<u8>,
    plain: &mut Vec<u8>,
    write: &impl Fn(&mut dyn Traffic, &mut Vec<u8>),
) -> (usize, Result<Option<bool>, Error>) {
    let UnbufferedStatus { discard, state } = status;
    match state {
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            write(&mut traffic, control);
            (discard, Ok(Some(true)))
        }
        state => match handle(UnbufferedStatus { discard, state }, control, plain) {
            (discard, Ok(Outcome::Waits)) => (discard, Ok(Some(false))),
            (discard, Ok(Outcome::Goes | Outcome::PeerClosed)) => (discard, Ok(None)),
            (discard, Err(error)) => (discard, Err(error)),
        },
    }
}

/// What seals, whichever side it is.
pub(super) trait Traffic {
    fn encrypt(&mut self, plain: &[u8], out: &mut Vec<u8>);
    fn close_notify(&mut self, out: &mut Vec<u8>);
}

impl<D> Traffic for rustls::unbuffered::WriteTraffic<'_, D> {
    fn encrypt(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        out.reserve_exact(plain.len() + RECORD_EXTRA_BYTES);
        append_traffic(out, |room| self.encrypt(plain, room), plain.len() + RECORD_EXTRA_BYTES);
    }

    fn close_notify(&mut self, out: &mut Vec<u8>) {
        append_traffic(out, |room| self.queue_close_notify(room), RECORD_EXTRA_BYTES);
    }
}

fn append_traffic(
    out: &mut Vec<u8>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, rustls::unbuffered::EncryptError>,
    room: usize,
) {
    use rustls::unbuffered::EncryptError;
    append_with(out, room, |room| match write(room) {
        Ok(written) => Ok(written),
        Err(EncryptError::InsufficientSize(needed)) => Err(needed.required_size),
        // After 2^64 records.
        Err(EncryptError::EncryptExhausted) => Ok(0),
    });
}

fn append(out: &mut Vec<u8>, write: impl FnMut(&mut [u8]) -> Result<usize, usize>) {
    append_with(out, 1024, write);
}

/// Has `write` append to `out`; where the room is not enough it says how much is.
fn append_with(out: &mut Vec<u8>, mut room: usize, mut write: impl FnMut(&mut [u8]) -> Result<usize, usize>) {
    let held = out.len();
    loop {
        out.resize(held + room, 0);
        match write(&mut out[held..]) {
            Ok(written) => return out.truncate(held + written),
            Err(needed) => room = needed,
        }
    }
}

/// What a failure counts as.
pub(super) fn failure_of(error: &Error) -> TlsFailure {
    use rustls::InvalidMessage;
    match error {
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => TlsFailure::Incompatible,
        Error::NoCertificatesPresented | Error::InvalidCertificate(_) => TlsFailure::Certificate,
        Error::AlertReceived(_) => TlsFailure::Alert,
        Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge) => TlsFailure::TooLong,
        _ => TlsFailure::Malformed,
    }
}
