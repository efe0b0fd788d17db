//! What one connection brings: messages become publications, counts are followed, wholes asked for. Nothing is
//! published here.

use bytes::Bytes;
use engine::{
    json::{Node, skip_byte_order_mark},
    sequencer::{Body, Publication, seq::Feed},
    topic::pattern::Pattern,
};

use super::{
    books::Books,
    braced::Filling,
    counters::{Bad, WebsocketCounters, add},
    frames::Encoding,
    inlet::Quit,
    keys::Websocket,
    mapping::{MappedPublication, MappedValue, Odd, Said, Wholes, fault::Fault, map, memory::Memory},
    snapshots::Event,
};

/// What a log quotes of a bad message.
const QUOTED_CHARS: usize = 200;

/// What was heard of a venue.
#[derive(Debug)]
pub enum Heard {
    Update(Publication),
    /// These topics will not come, or have not.
    Denied {
        topics: Vec<Pattern>,
        why: String,
    },
}

/// Of one connection.
pub struct Session<'a> {
    source: &'a Websocket,
    counters: &'a WebsocketCounters,
    pub feed: Feed,
    /// What the venue told once.
    memory: Memory,
    /// Tables by their counts, and snapshots of them.
    books: Books<'a>,
    /// A frame that was packed.
    unpacked: Vec<u8>,
    /// What a message made of a table.
    out: Vec<Publication>,
}

impl<'a> Session<'a> {
    pub fn new(
        source: &'a Websocket,
        counters: &'a WebsocketCounters,
        feed: Feed,
        topics_max: usize,
    ) -> Self {
        Self {
            source,
            counters,
            feed,
            memory: Memory::new(source.memory_bytes),
            books: Books::new(source, counters, feed, topics_max),
            unpacked: Vec::new(),
            out: Vec::new(),
        }
    }

    /// The connection is established.
    pub fn established(&mut self) {
        self.books.ask_all();
    }

    /// The connection has ended.
    pub fn end(&mut self) {
        self.books.clear();
    }

    /// Whether it has whole what the other one has whole.
    pub fn is_as_whole_as(&self, other: &Self) -> bool {
        self.books.are_as_whole_as(&other.books)
    }

    /// Gives what is to be said to the message. What cannot be mapped of it is left out and harms nothing else.
    pub fn take(
        &mut self,
        message: &[u8],
        is_binary: bool,
        now_us: i64,
        out: &mut Vec<Heard>,
    ) -> Result<Option<String>, Quit> {
        add(&self.counters.messages, 1);
        if !is_binary || self.source.encoding == Encoding::Plain {
            return self.hear_all(message, now_us, out);
        }
        let mut unpacked = std::mem::take(&mut self.unpacked);
        let heard = match self.source.encoding.unpack(message, self.source.link.message_bytes, &mut unpacked)
        {
            Ok(()) => self.hear_all(&unpacked, now_us, out),
            Err(wrong) => {
                self.bad(Bad::Encoding, &wrong);
                Ok(None)
            }
        };
        self.unpacked = unpacked;
        heard
    }

    /// Waits for what was asked for elsewhere. Nothing is lost when it is left in the middle.
    pub async fn next(&mut self) -> Event {
        self.books.next().await
    }

    /// Takes what came of that.
    pub fn answer(&mut self, event: Event, now_us: i64, out: &mut Vec<Heard>) {
        let missing = self.books.hear(event, now_us, &mut self.out);
        out.extend(self.out.drain(..).map(Heard::Update));
        if let Some((topic, why)) = missing {
            out.push(Heard::Denied { topics: vec![Pattern::of_topic(topic)], why });
        }
    }

    /// Counts; the first of each kind is logged.
    fn bad(&self, bad: Bad, what: &str) {
        if self.counters.bad(bad) == 0 {
            let (source, kind) = (self.counters.name(), bad.name());
            tracing::warn!(source, kind, "not published: {what}; more of this kind are only counted");
        }
    }

    fn bad_text(&self, fault: &Fault, text: &str) {
        let quoted: String = text.chars().take(QUOTED_CHARS).collect();
        self.bad(kind(fault), &format!("{fault}; of {} bytes: {quoted}", text.len()));
    }

    /// A message as it was before it was packed.
    fn hear_all(
        &mut self,
        message: &[u8],
        now_us: i64,
        out: &mut Vec<Heard>,
    ) -> Result<Option<String>, Quit> {
        let message = match Node::parse(skip_byte_order_mark(message)) {
            Ok(message) => message,
            Err(error) => {
                self.bad_text(&Fault::Json(error.to_string()), &String::from_utf8_lossy(message));
                return Ok(None);
            }
        };
        let reply = self.reply(&message, now_us);
        let books = &self.books;
        let wholes = Wholes { wanted: &|topic| books.wants_address(topic), is_hidden: false };
        match map(&self.source.map, self.source.names, &mut self.memory, wholes, &message) {
            None if reply.is_none() => add(&self.counters.ignored, 1),
            None => {}
            Some(said) => said.into_iter().try_for_each(|said| self.hear(said, now_us, out))?,
        }
        Ok(reply)
    }

    /// What is said to a message.
    fn reply(&self, message: &Node<'_>, now_us: i64) -> Option<String> {
        let sign = self.source.sign.as_ref().map(|sign| |now_us: i64| sign.sign(now_us));
        let sign = sign.as_ref().map(|sign| sign as &dyn Fn(i64) -> String);
        let with = Filling { now_us, sign, ..Filling::default() };
        let reply = self.source.replies.iter().find_map(|reply| reply.to(message, &with))?;
        add(&self.counters.replies, 1);
        Some(reply)
    }

    fn hear(
        &mut self,
        said: Result<Said<'_>, Odd<'_>>,
        due_us: i64,
        out: &mut Vec<Heard>,
    ) -> Result<(), Quit> {
        match said {
            Ok(Said::Update(mut mapped)) => {
                add(&self.counters.publications, 1);
                let (number, whole_at) = (mapped.entry, mapped.whole_at.take());
                let publication = publication(mapped, self.feed, due_us);
                if !self.source.map[number].makes_keys() {
                    out.push(Heard::Update(publication));
                    return Ok(());
                }
                let taken = self.books.take(publication, number, whole_at, &mut self.out);
                out.extend(self.out.drain(..).map(Heard::Update));
                taken?;
            }
            Ok(Said::Denied { topics, why }) => {
                self.bad(Bad::Denied, &format!("{}: {why}", topics.join(", ")));
                out.push(Heard::Denied { topics, why });
            }
            Ok(Said::Remembered(_)) => {}
            Err(odd) => {
                self.bad_text(&odd.fault, odd.text);
                // Its topic lacks it now.
                if let Some(topic) = odd.topic {
                    let lost = Body::Unread(format!("an update cannot be read: {}", odd.fault).into());
                    let lost = Publication { feed: Some(self.feed), ..Publication::new(topic, lost, due_us) };
                    out.push(Heard::Update(lost));
                }
            }
        }
        Ok(())
    }
}

fn kind(fault: &Fault) -> Bad {
    match fault {
        Fault::Json(_) => Bad::Json,
        Fault::Pointer { .. } => Bad::Pointer,
        Fault::Topic(_) => Bad::Topic,
        Fault::Ts { .. } => Bad::Ts,
        Fault::Full { .. } => Bad::Memory,
    }
}

fn publication(mapped: MappedPublication<'_>, feed: Feed, due_us: i64) -> Publication {
    let MappedPublication { topic, ts_us, seq, value, .. } = mapped;
    let body = match value {
        MappedValue::Data(json) => Body::Data(Bytes::copy_from_slice(json.as_bytes())),
        MappedValue::Changes(changes) => Body::Changes(changes.into()),
    };
    Publication { seq, feed: Some(feed), ts_us, ..Publication::new(topic, body, due_us) }
}
