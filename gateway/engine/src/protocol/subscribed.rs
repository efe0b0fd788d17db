//! The answer to `subscribe` and `unsubscribe`.

use super::{
    encoding::Encoding,
    reply::{begin, push, push_text},
};
use crate::topic::{epoch::Epoch, pattern::Pattern};

/// What `subscribed` and `unsubscribed` say.
#[derive(Debug)]
pub struct Subscribed<'a> {
    pub id: Option<&'a str>,
    pub sub: &'a str,
    /// Of what is held now; `None` when the subscription has ended.
    pub class: Option<u64>,
    pub topics: &'a [Pattern],
    pub version: u64,
    /// The interval in milliseconds and the epoch; `None`: it was unsubscribed.
    pub terms: Option<(u64, Epoch)>,
}

impl Subscribed<'_> {
    /// One message in frames with at most `fragment_bytes` of payload, or several in a row where its topics are
    /// too long for one: as JSON none is longer than `frame_bytes_max` unless one topic makes it so, or the
    /// client's own `id`, beside which no topic stands then.
    pub fn frames(&self, encoding: Encoding, frame_bytes_max: usize, fragment_bytes: usize) -> Vec<u8> {
        // A long `id` is not repeated.
        let id = self.id.filter(|id| id.len() <= frame_bytes_max / 4);
        let room = |id, more| frame_bytes_max.saturating_sub(self.payload(id, &[], more).len());
        let (room_of_part, room_of_last) = (room(id, true), room(self.id, false));
        let bytes_of = |topic: &Pattern| topic.as_str().len() + r#""","#.len();
        let mut bytes_left: usize = self.topics.iter().map(bytes_of).sum();
        let (mut out, mut rest) = (Vec::new(), self.topics);
        while bytes_left > room_of_last {
            let mut bytes = 0;
            let fits = |topic: &&Pattern| {
                bytes += bytes_of(topic);
                bytes <= room_of_part
            };
            let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
            let (part, later) = rest.split_at(count);
            bytes_left -= part.iter().map(bytes_of).sum::<usize>();
            rest = later;
            encoding.frame(&self.payload(id, part, true), fragment_bytes, &mut out);
        }
        encoding.frame(&self.payload(self.id, rest, false), fragment_bytes, &mut out);
        out
    }

    fn payload(&self, id: Option<&str>, topics: &[Pattern], more: bool) -> Vec<u8> {
        let op = if self.terms.is_some() { "subscribed" } else { "unsubscribed" };
        let mut out = begin(op, id);
        push_text(&mut out, "sub", self.sub);
        if let Some(class) = self.class {
            push(&mut out, format_args!(r#","class":{class}"#));
        }
        if let Some((interval_ms, epoch)) = self.terms {
            push(&mut out, format_args!(r#","interval_ms":{interval_ms},"epoch":"{epoch}""#));
        }
        push(&mut out, format_args!(r#","version":{}"#, self.version));
        if more {
            out.extend_from_slice(br#","more":true"#);
        }
        out.extend_from_slice(br#","topics":"#);
        push_topics(&mut out, topics);
        out.push(b'}');
        out
    }
}

/// Topics and patterns need no escapes.
fn push_topics(out: &mut Vec<u8>, topics: &[Pattern]) {
    out.push(b'[');
    for (i, topic) in topics.iter().enumerate() {
        push(out, format_args!("{}\"{topic}\"", if i > 0 { "," } else { "" }));
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::fragment::FRAGMENT_BYTES;

    /// Payloads of frames in a row.
    fn payloads(mut frames: &[u8]) -> Vec<&[u8]> {
        let mut payloads = Vec::new();
        while !frames.is_empty() {
            let (start, len) = match frames[1] {
                126 => (4, usize::from(u16::from_be_bytes([frames[2], frames[3]]))),
                len => (2, len.into()),
            };
            payloads.push(&frames[start..start + len]);
            frames = &frames[start + len..];
        }
        payloads
    }

    #[test]
    fn a_long_set_of_patterns_comes_in_parts_that_are_bounded_whatever_id_it_has() {
        let terms = Epoch::parse("8f0c2a77d1e94b02").map(|epoch| (3_600_000, epoch));
        let ids =
            [0, 1, 254, 255, 500, 700, 780, 800, 850, 900, 950, 1000, 1100, 2000].map(|n| "9".repeat(n));
        let counts = [0, 1, 2, 3, 4, 10, 100];
        for ((id, count), terms) in
            ids.iter().flat_map(|id| counts.map(|count| (id, count))).flat_map(|of| [(of, terms), (of, None)])
        {
            let topic = |i: usize| format!("{}t{i}", "a.".repeat(7 * i % 250 / 2));
            let topics: Vec<Pattern> = (0..count).map(|i| Pattern::parse(&topic(i)).unwrap()).collect();
            let id = format!("\"{id}\"");
            let (class, version) = (Some(u64::MAX), u64::MAX);
            let answer = Subscribed { id: Some(&id), sub: "one", class, topics: &topics, version, terms };
            let frames = answer.frames(Encoding::Json, 1024, FRAGMENT_BYTES);
            let payloads = payloads(&frames);
            let mut told = Vec::new();
            for (i, payload) in payloads.iter().enumerate() {
                let (part, is_last): (serde_json::Value, _) =
                    (serde_json::from_slice(payload).unwrap(), i + 1 == payloads.len());
                let topics = part["topics"].as_array().unwrap();
                let len = payload.len();
                assert!(len <= 1024 || is_last && topics.is_empty(), "{len} bytes, id of {}", id.len());
                assert_eq!(part.get("more").is_some(), !is_last);
                assert_eq!(part.get("epoch").is_some(), terms.is_some());
                assert_eq!(part.get("id").is_some(), is_last || id.len() <= 256);
                told.extend(topics.iter().map(|t| Pattern::parse(t.as_str().unwrap()).unwrap()));
            }
            assert_eq!(told, topics);
        }
        let few = Subscribed { id: None, sub: "", class: None, topics: &[], version: 1, terms: None };
        assert_eq!(
            &few.frames(Encoding::Json, 1024, FRAGMENT_BYTES)[2..],
            br#"{"op":"unsubscribed","sub":"","version":1,"topics":[]}"#
        );
    }
}
