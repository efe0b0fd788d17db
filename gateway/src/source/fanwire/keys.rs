//! `[[source]] kind = "fanwire"`: which topics of which gateway.

use engine::{keys, settings::Group, topic::pattern::Pattern};

use crate::{
    document::read::Section,
    source::{
        kind::{Declared, Given},
        link::{Link, LinkKeys, LinkOf},
        websocket::map::books,
    },
};

const HOUR: u64 = 3_600_000;

keys! {
    /// of kind = "fanwire": another gateway, whose topics, counts and positions are taken over.
    pub struct FanwireKeys in "source" {
        /// Milliseconds of the interval to ask for. 0: each update is sent at once.
        interval_ms: u64 = count(0, 0..=HOUR);
        /// Bytes of a batch or a snapshot that comes in parts.
        batch_bytes: usize = size(256 << 20, 1024..=64 << 30);
    }
}

/// Another gateway, whose topics, counts and positions are taken over.
#[derive(Debug, Clone, PartialEq)]
pub struct Fanwire {
    pub link: Link,
    /// Never empty.
    pub topics: Vec<Pattern>,
    pub interval_ms: u64,
    /// Of a batch or snapshot in parts.
    pub batch_bytes: usize,
}

impl Declared for Fanwire {
    const NAME: &'static str = "fanwire";
    const GROUPS: &'static [Group] = &[Group::of::<LinkKeys>(), Group::of::<FanwireKeys>()];

    fn read(section: &mut Section, given: &Given) -> Option<Self> {
        if given.policies.0.make_updates() {
            let text = "the upstream numbers all updates, so nothing is held back, expires or is counted here; \
                        leave deadband, expiry, bound, key_expiry and count to its [[topic]]";
            section.problem(section.line(), text);
        }
        let topics = given.topics.map_or_else(|| vec![Pattern::all()], <[Pattern]>::to_vec);
        let FanwireKeys { interval_ms, batch_bytes } = section.keys();
        let (dir, name) = (given.dir, given.name);
        // A snapshot has a whole table in one update, and a frame is never shorter than that.
        let of = LinkOf { dir, name, example: "ws://HOST:PORT/ws", message_bytes: 64 << 20 };
        let link = Link::read(section, of, |url| Ok(url.to_owned()))?;
        books::check_tables(section, &topics, link.message_bytes, given.policies);
        Some(Self { link, topics, interval_ms, batch_bytes })
    }
}
