//! Keys of a source that have a form of their own, as the reference tells them.

use engine::settings::{Group, Key, Kind};

const TEXT: Kind = Kind::text();

/// Of `[[source]]`.
pub const SOURCE: Group = Group {
    section: "source",
    doc: &["of kind = \"websocket\": what a venue wants beside."],
    keys: &[
        Key::new(
            "headers",
            Kind::Own,
            &[
                "Header fields that each handshake shows beside its own. What stands in braces is filled in as in `send`.",
                "They are never shown.",
            ],
        )
        .example("{ Authorization = \"Bearer {env:FEED_TOKEN}\" }"),
        Key::new("ping", Kind::Own, &["A text that is sent by the clock, for venues that end connections without one."])
            .example("{ every = \"20s\", text = '{\"op\":\"ping\"}' }"),
    ],
};

/// Of `[source.token]`.
pub const TOKEN: Group = Group {
    section: "source.token",
    doc: &[
        "of kind = \"websocket\": a document that is asked for before each connect. {@token/a/b} in `url`, `headers` and",
        "`send` stands for a part of it. Where it cannot be had the connect is tried again later.",
    ],
    keys: &[
        Key::new("url", TEXT, &["Whom to ask. The answer is JSON of at most 64 KiB."])
            .example("\"https://api.kucoin.com/api/v1/bullet-public\""),
        Key::new("method", Kind::choice("GET", &["GET", "POST"]), &["How to ask."]),
        Key::new(
            "headers",
            Kind::Own,
            &["Header fields that the request shows beside its own. They are never shown."],
        )
        .example("{ \"X-Key\" = \"{env:VENUE_KEY}\" }"),
    ],
};

/// Of `[source.sign]`.
pub const SIGN: Group = Group {
    section: "source.sign",
    doc: &[
        "of kind = \"websocket\": what {sign} stands for in `headers`, `send`, `ping` and replies: an HMAC over a text, at",
        "the same moment as {time_s}, {time_ms} and {time_us} beside it.",
    ],
    keys: &[
        Key::new("algorithm", Kind::choice("sha256", &["sha256", "sha384", "sha512"]), &["The hash."]),
        Key::new("form", Kind::choice("hex", &["hex", "base64"]), &["How the signature is written."]),
        Key::new("text", TEXT, &["What is signed."]).example("\"{time_s}GET/users/self/verify\""),
        Key::new("secret", TEXT, &["What it is signed with."]).example("\"{env:VENUE_SECRET}\"").secret(),
        Key::new(
            "secret_form",
            Kind::choice("text", &["text", "hex", "base64"]),
            &["How the secret is written."],
        ),
    ],
};

/// Of `[[source.reply]]`.
pub const REPLY: Group = Group {
    section: "source.reply",
    doc: &[
        "of kind = \"websocket\": what is said to a message. The first one whose `when` holds is; the map has it too.",
    ],
    keys: &[
        Key::new("when", Kind::Own, &["As of [[source.map]]."]).example("{ \"/ping\" = \"*\" }"),
        Key::new("send", TEXT, &["What is said, with pointers and names in braces."])
            .example("'{\"pong\":{/ping}}'"),
    ],
};

/// Of `ping`.
#[cfg(test)]
const PING: [&str; 2] = ["every", "text"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        document::{
            environment::{Environment, Layered},
            read::Reader,
        },
        source::websocket::{braced::May, headers, ping, reply, sign, token},
    };

    #[test]
    fn every_key_that_is_read_is_told_in_the_reference_and_no_other() {
        let text = "[[source]]\nping = {}\n[source.token]\n[source.sign]\n[[source.reply]]\n";
        let environment = Environment::default();
        let layered = Layered::new(text, &environment).expect("no variable");
        let mut reader = Reader::new(&layered, &environment).expect("TOML");
        let table = reader.sections("source").remove(0);
        let mut section = reader.open("source", table);
        headers::headers(&mut section, May::default());
        ping::ping(&mut section, May::default());
        token::token(&mut section, May::default());
        sign::sign(&mut section);
        reply::replies(&mut section, May::default());
        let known = |section: &str| {
            let mut read = reader.known_of(section);
            read.sort_unstable();
            read
        };
        for group in [TOKEN, SIGN, REPLY] {
            let mut told: Vec<&str> = group.keys.iter().map(|key| key.name).collect();
            told.sort_unstable();
            assert_eq!(told, known(group.section), "{}", group.section);
        }
        assert_eq!(known("source"), ["headers", "ping", "reply", "sign", "token"]);
        assert_eq!(known("source.ping"), PING);
    }
}
