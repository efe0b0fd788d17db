//! Frames that were cut by the end of a read, and messages that were sent in fragments.

use crate::{
    Error, Event,
    encode::Opcode,
    frame::{Context, HEADER_BYTES_MAX, Header},
    mask,
    message::{Message, Text},
};

/// What has come of the frame and of the message under way.
#[derive(Debug)]
pub(crate) struct Reassembly {
    masked: bool,
    deflate: bool,
    header: [u8; HEADER_BYTES_MAX],
    header_len: usize,
    /// The frame whose payload is being received.
    payload: Option<Payload>,
    message: Option<Message>,
    /// Of the message under way. Each counts as a byte towards the message limit, or a peer could
    /// send them without end.
    empty_fragments: usize,
    control: Vec<u8>,
    /// The message that the last event was delivered from.
    delivered: Option<Message>,
}

#[derive(Debug, Clone, Copy)]
struct Payload {
    opcode: Opcode,
    fin: bool,
    deflated: bool,
    key: [u8; 4],
    received_bytes: usize,
    missing_bytes: usize,
}

/// What a step has completed.
#[derive(Debug)]
pub(crate) enum Whole {
    Message,
    Control(Opcode),
}

impl Reassembly {
    pub fn new(masked: bool, deflate: bool) -> Reassembly {
        Reassembly {
            masked,
            deflate,
            header: [0; HEADER_BYTES_MAX],
            header_len: 0,
            payload: None,
            message: None,
            empty_fragments: 0,
            control: Vec::new(),
            delivered: None,
        }
    }

    /// Takes the rest of one frame from `input`, or as much as there is. Returns the bytes used
    /// and what is whole with them.
    pub fn receive(
        &mut self,
        input: &mut [u8],
        ignore_messages: bool,
        message_bytes_max: usize,
    ) -> Result<(usize, Option<Whole>), Error> {
        let mut used = 0;
        if self.payload.is_none() {
            used = self.receive_header(input, message_bytes_max)?;
        }
        let Some(payload) = &mut self.payload else { return Ok((used, None)) };
        let piece_bytes = payload.missing_bytes.min(input.len() - used);
        let piece = &mut input[used..used + piece_bytes];
        if self.masked {
            mask::apply(piece, payload.key, payload.received_bytes);
        }
        payload.received_bytes += piece_bytes;
        payload.missing_bytes -= piece_bytes;
        let Payload { opcode, fin, deflated, missing_bytes, received_bytes, .. } = *payload;
        if opcode.is_control() {
            self.control.extend_from_slice(piece);
        } else {
            let message = self.message.get_or_insert_with(|| match opcode {
                _ if ignore_messages => Message::Ignored,
                _ if deflated => Message::Deflated { is_text: opcode == Opcode::Text, bytes: Vec::new() },
                Opcode::Text => Message::Text(Text::default()),
                _ => Message::Binary(Vec::new()),
            });
            message.push(piece, message_bytes_max)?;
        }
        used += piece_bytes;
        if missing_bytes > 0 {
            return Ok((used, None));
        }
        self.payload = None;
        Ok((used, self.complete(opcode, fin, received_bytes == 0)))
    }

    /// Takes what belongs to the header; sets `payload` when that is all of it.
    fn receive_header(&mut self, input: &[u8], message_bytes_max: usize) -> Result<usize, Error> {
        let had = self.header_len;
        let taken = input.len().min(HEADER_BYTES_MAX - had);
        self.header[had..had + taken].copy_from_slice(&input[..taken]);
        let context = Context {
            masked: self.masked,
            deflate: self.deflate,
            message_bytes: self.message.as_ref().map(|message| message.len() + self.empty_fragments),
            message_bytes_max,
        };
        let Some(header) = Header::parse(&self.header[..had + taken], context)? else {
            self.header_len = had + taken;
            return Ok(taken);
        };
        self.header_len = 0;
        self.payload = Some(Payload {
            opcode: header.opcode,
            fin: header.fin,
            deflated: header.deflated,
            key: header.key,
            received_bytes: 0,
            missing_bytes: header.payload_bytes,
        });
        Ok(header.header_bytes - had)
    }

    fn complete(&mut self, opcode: Opcode, fin: bool, empty: bool) -> Option<Whole> {
        if opcode.is_control() {
            return Some(Whole::Control(opcode));
        }
        if !fin {
            self.empty_fragments += usize::from(empty);
            return None;
        }
        self.empty_fragments = 0;
        self.delivered = self.message.take();
        match self.delivered {
            None | Some(Message::Ignored) => None,
            Some(_) => Some(Whole::Message),
        }
    }

    /// The message that was just completed. `deflated`: what a compressed one is, text or not.
    pub fn message_event<'a>(
        &'a self,
        deflated: impl Fn(bool, &'a [u8]) -> Event<'a>,
    ) -> Result<Event<'a>, Error> {
        match &self.delivered {
            Some(Message::Text(text)) => text.finish().map(Event::Text),
            Some(Message::Binary(bytes)) => Ok(Event::Binary(bytes)),
            Some(Message::Deflated { is_text, bytes }) => Ok(deflated(*is_text, bytes)),
            None | Some(Message::Ignored) => unreachable!("not announced as a whole message"),
        }
    }

    /// The payload of the control frame that was just completed.
    pub fn control(&self) -> &[u8] {
        &self.control
    }

    /// What is left of the message under way is not wanted any more.
    pub fn ignore_message(&mut self) {
        if let Some(message) = &mut self.message {
            *message = Message::Ignored;
        }
    }

    /// Frees what the last event was delivered from.
    pub fn give_back(&mut self) {
        self.delivered = None;
        if !self.payload.is_some_and(|payload| payload.opcode.is_control()) {
            self.control = Vec::new();
        }
    }

    /// Whether nothing is under way, so that it need not be kept.
    pub fn is_idle(&self) -> bool {
        self.header_len == 0 && self.payload.is_none() && self.message.is_none()
    }

    /// Bytes of heap taken.
    pub fn capacity(&self) -> usize {
        let messages = [&self.message, &self.delivered];
        self.control.capacity() + messages.into_iter().flatten().map(Message::capacity).sum::<usize>()
    }
}
