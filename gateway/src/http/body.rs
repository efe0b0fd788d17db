//! Bodies of requests: read within bounds of time, rate and bytes, and decoded.

use std::{
    collections::HashMap,
    future::poll_fn,
    io::Read,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, HttpBody},
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::{Bytes, BytesMut};
use engine::{address::Address, settings::Limits, unit::show_size};
use flate2::bufread::GzDecoder;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};

use super::{
    paced::{Pace, WINDOW, Window},
    places::Place,
};
use crate::{
    http::{
        counters::AdminCounters,
        reply::{closing, refuse},
    },
    intake::workers::Workers,
};

/// Shorter bodies need no place: as many as there are connections may be held.
const SMALL_BYTES: usize = 64 * 1024;
/// Bytes taken before others have their turn on the thread.
const STEP_BYTES: usize = 64 * 1024;

const PLAIN: &str = "it is only read and written";

/// Reads the bodies of all requests.
#[derive(Debug)]
pub struct Bodies {
    /// `[limits] admin_publishes`: longer bodies held at once, each of up to `publish_bytes`.
    places: Semaphore,
    places_max: AtomicUsize,
    /// Of `places`, those that are no more once they are free.
    surplus: AtomicUsize,
    /// One more for an address that holds none of them.
    spare: Semaphore,
    held: Mutex<HashMap<Address, usize>>,
    terms: Mutex<Terms>,
    counters: Arc<AdminCounters>,
    pub workers: Workers,
}

/// What a body has to keep to.
#[derive(Debug, Clone, Copy)]
struct Terms {
    /// `[limits] admin_body`.
    time: Duration,
    pace: Pace,
}

/// A body and its place.
#[derive(Debug)]
pub struct Held<'a> {
    pub bytes: Bytes,
    _permit: Option<Permit<'a>>,
}

/// A place among the long bodies.
#[derive(Debug)]
struct Permit<'a> {
    bodies: &'a Bodies,
    address: Address,
    permit: Option<SemaphorePermit<'a>>,
    is_spare: bool,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let surplus = &self.bodies.surplus;
        let is_surplus = |surplus: usize| surplus.checked_sub(1);
        if !self.is_spare
            && surplus.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_surplus).is_ok()
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
        }
        let mut held = self.bodies.held();
        if let Some(count) = held.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.address);
            }
        }
    }
}

/// Why there is no body.
#[derive(Debug)]
pub enum NotRead {
    /// What came is none: 400, and why.
    Bad(String),
    Refused(Response),
}

impl From<Response> for NotRead {
    fn from(response: Response) -> Self {
        NotRead::Refused(response)
    }
}

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
}

impl Encoding {
    /// Of `Content-Encoding` (RFC 9110, section 8.4). The error is what it names.
    fn of(headers: &HeaderMap) -> Result<Self, String> {
        let mut encoding = Encoding::Identity;
        for field in headers.get_all(header::CONTENT_ENCODING) {
            let named = String::from_utf8_lossy(field.as_bytes());
            for coding in named.split(',').map(str::trim).filter(|coding| !coding.is_empty()) {
                let is_gzip = ["gzip", "x-gzip"].iter().any(|name| coding.eq_ignore_ascii_case(name));
                match encoding {
                    _ if coding.eq_ignore_ascii_case("identity") => {}
                    Encoding::Identity if is_gzip => encoding = Encoding::Gzip,
                    _ => return Err(named.chars().take(100).collect()),
                }
            }
        }
        Ok(encoding)
    }
}

impl Bodies {
    pub fn new(limits: &Limits, pace: Pace, counters: Arc<AdminCounters>) -> Self {
        Self {
            places: Semaphore::new(limits.admin_publishes),
            places_max: AtomicUsize::new(limits.admin_publishes),
            surplus: AtomicUsize::new(0),
            spare: Semaphore::new(1),
            held: Mutex::default(),
            terms: Mutex::new(Terms { time: limits.admin_body, pace }),
            counters,
            workers: Workers::default(),
        }
    }

    /// Bodies that come from now on keep to them.
    pub fn set_limits(&self, limits: &Limits, pace: Pace) {
        *self.terms.lock().expect(PLAIN) = Terms { time: limits.admin_body, pace };
        let (new, old) =
            (limits.admin_publishes, self.places_max.swap(limits.admin_publishes, Ordering::Relaxed));
        // Of a bound that was lowered before, what is held still stays as far as there is room again.
        let surplus = self.surplus.load(Ordering::Relaxed);
        if new >= old {
            let kept = surplus.min(new - old);
            self.surplus.fetch_sub(kept, Ordering::Relaxed);
            self.places.add_permits(new - old - kept);
        } else {
            let forgotten = self.places.forget_permits(old - new);
            self.surplus.fetch_add(old - new - forgotten, Ordering::Relaxed);
        }
    }

    /// Places for long bodies that are free.
    pub fn places_free(&self) -> usize {
        self.places.available_permits()
    }

    /// Reads the body of `request`, at most `bytes_max` of it decoded. `key` is what says so.
    pub async fn read(
        &self,
        headers: &HeaderMap,
        request: Request,
        bytes_max: usize,
        key: &str,
    ) -> Result<Held<'_>, NotRead> {
        let address = request.extensions().get::<Arc<Place>>().map_or(Address::V4([0; 4]), |p| p.address());
        let body = request.into_body();
        let encoding = Encoding::of(headers).map_err(|named| {
            let reason = format!("content encoding {named}: send gzip or none");
            let mut response = closing(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
            response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
            response
        })?;
        let too_long = || {
            let reason = format!("the body is longer than {key} = {bytes_max} bytes; send it in parts");
            closing(refuse(StatusCode::PAYLOAD_TOO_LARGE, reason))
        };
        // Nothing of it is asked for then, `100 Continue` included.
        if body.size_hint().lower() > bytes_max as u64 {
            return Err(too_long().into());
        }
        let mut place = None;
        let bytes = self.receive(body, bytes_max, address, &mut place).await?.ok_or_else(too_long)?;
        if encoding == Encoding::Identity {
            return Ok(Held { bytes, _permit: place });
        }
        self.enter(address, &mut place).await;
        match self.workers.run(move || gunzip(&bytes, bytes_max)).await {
            Ok(Some(bytes)) => Ok(Held { bytes, _permit: place }),
            Ok(None) => Err(too_long().into()),
            Err(error) => Err(NotRead::Bad(format!("the body is no gzip: {error}"))),
        }
    }

    /// `None`: it is longer than `bytes_max`.
    async fn receive<'a>(
        &'a self,
        mut body: Body,
        bytes_max: usize,
        address: Address,
        place: &mut Option<Permit<'a>>,
    ) -> Result<Option<Bytes>, NotRead> {
        let (mut parts, mut step) = (BytesMut::new(), 0);
        let told = body.size_hint().lower() as usize;
        let terms = *self.terms.lock().expect(PLAIN);
        let (mut deadline, mut window) = (Instant::now() + terms.time, Window::new());
        loop {
            let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
            let data = match timeout_at(deadline.min(window.ends()), frame).await {
                Ok(None) => return Ok(Some(parts.freeze())),
                Ok(Some(Err(e))) => return Err(NotRead::Bad(format!("the body broke off: {e}"))),
                Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
                Err(_) if Instant::now() >= deadline => return Err(self.late(terms).into()),
                Err(_) if window.fell_short(terms.pace) => return Err(self.slow(terms).into()),
                Err(_) => continue,
            };
            window.moved(data.len());
            if parts.len() + data.len() > bytes_max {
                return Ok(None);
            }
            if parts.len() + data.len() > SMALL_BYTES && place.is_none() {
                let since = Instant::now();
                self.enter(address, place).await;
                // It was not the sender's time.
                (deadline, window) = (deadline + since.elapsed(), Window::new());
                // Growing step by step would copy it several times.
                parts.reserve(told.saturating_sub(parts.len()));
            }
            parts.extend_from_slice(&data);
            step += data.len();
            if step >= STEP_BYTES {
                step = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    /// A place among the long bodies. Beyond the bound the rest is left unread, which makes its sender wait.
    async fn enter<'a>(&'a self, address: Address, place: &mut Option<Permit<'a>>) {
        if place.is_some() {
            return;
        }
        if self.places_free() == 0 {
            self.counters.publishes_waited.fetch_add(1, Ordering::Relaxed);
        }
        let holds_some = self.held().contains_key(&address);
        let (permit, is_spare) = tokio::select! {
            biased;
            permit = self.places.acquire() => (permit, false),
            permit = self.spare.acquire(), if !holds_some => (permit, true),
        };
        *self.held().entry(address).or_default() += 1;
        let permit = Some(permit.expect("nobody closes it"));
        *place = Some(Permit { bodies: self, address, permit, is_spare });
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Address, usize>> {
        self.held.lock().expect(PLAIN)
    }

    fn late(&self, terms: Terms) -> Response {
        self.counters.bodies_late.fetch_add(1, Ordering::Relaxed);
        let reason = format!("the body took longer than [limits] admin_body = {:?}", terms.time);
        closing(refuse(StatusCode::REQUEST_TIMEOUT, reason))
    }

    fn slow(&self, terms: Terms) -> Response {
        self.counters.bodies_slow.fetch_add(1, Ordering::Relaxed);
        let least = show_size(terms.pace.bytes_per_s as u64);
        let reason = format!(
            "of the body less came in {WINDOW:?} than [limits] admin_bytes_per_s = \"{least}\" asks for"
        );
        closing(refuse(StatusCode::REQUEST_TIMEOUT, reason))
    }
}

/// All members of a gzip file (RFC 1952), and zeros after the last one as tapes have them, which are nothing. `None`:
/// it becomes longer than `bytes_max`, beyond which nothing is read.
fn gunzip(bytes: &[u8], bytes_max: usize) -> std::io::Result<Option<Bytes>> {
    let (mut out, mut rest) = (Vec::new(), bytes);
    loop {
        let mut member = GzDecoder::new(rest);
        let room = bytes_max - out.len();
        member.by_ref().take(room as u64 + 1).read_to_end(&mut out)?;
        if out.len() > bytes_max {
            return Ok(None);
        }
        rest = member.into_inner();
        if rest.iter().all(|byte| *byte == 0) {
            return Ok(Some(out.into()));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::http::body::*;

    #[test]
    fn members_follow_each_other_and_zeros_the_last_one() {
        let member = |text: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut encoder, text).unwrap();
            encoder.finish().unwrap()
        };
        let (first, second) = (member(b"abc"), member(b"def"));
        let of = |parts: &[&[u8]]| gunzip(&parts.concat(), 6).map(|text| text.map(|text| text.to_vec()));
        for zeros in [&[][..], &[0], &[0; 1000]] {
            assert_eq!(of(&[&first, &second, zeros]).unwrap().unwrap(), b"abcdef");
            assert_eq!(of(&[&first, &second, &first, zeros]).unwrap(), None, "longer than it may become");
        }
        for parts in
            [&[&[][..]][..], &[&[0; 20]], &[&first, &[0, 1]], &[&first, &[0], &second], &[&first[..9]]]
        {
            assert!(of(parts).is_err(), "{parts:?}");
        }
    }

    #[test]
    fn only_gzip_and_nothing_are_known_encodings() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, HeaderValue::from_str(value).unwrap());
            }
            Encoding::of(&headers)
        };
        assert_eq!(of(&[]), Ok(Encoding::Identity));
        assert_eq!(of(&["identity"]), Ok(Encoding::Identity));
        assert_eq!(of(&[""]), Ok(Encoding::Identity));
        for values in [&["gzip"][..], &["GZIP"], &["x-gzip"], &[" Identity , X-Gzip"], &["identity", "gzip"]]
        {
            assert_eq!(of(values), Ok(Encoding::Gzip), "{values:?}");
        }
        for values in [&["br"][..], &["gzip, br"], &["gzip", "gzip"], &["deflate"], &["gzipped"]] {
            assert!(of(values).is_err(), "{values:?}");
        }
    }
}
