//! The keys of `[[source.map]]`, as the reference tells them.

use engine::settings::{Group, Key, Kind};

use super::{
    said::DEPTH_MAX,
    snapshot::{EVERY_MS, EVERY_MS_MAX},
};

const POINTER: Kind = Kind::text();

/// One entry.
pub const ENTRY: Group = Group {
    section: "source.map",
    doc: &[
        "of kind = \"websocket\": what a message becomes. The first entry whose `when` holds decides. Pointers are",
        "JSON pointers (RFC 6901), like \"/a/0/b\"; \"\" is all of it. coinbase.toml shows them at work, and venues/ has",
        "more of them.",
    ],
    keys: &[
        Key::new(
            "when",
            Kind::Own,
            &[
                "Pointers from the whole message, and what must stand there: text, a whole number (7, 7.0 and 7e0 are one),",
                "true or false; \"*\": anything. A text may have names in braces: each stands for one character or more, and",
                "stands in topic, url and the texts of replies too. Default: every message.",
            ],
        )
        .example("{ \"/type\" = \"ticker\" }"),
        Key::new(
            "recall",
            POINTER,
            &[
                "The entry applies where a message was remembered under the id that stands there. @ before a pointer, in",
                "`when` and `topic`, leads into that message.",
            ],
        )
        .example("\"/0\""),
        Key::new(
            "remember",
            POINTER,
            &[
                "The message is kept under the id that stands there until the connection ends. Such an entry makes no topic.",
                "Beside it stand only when, recall and also.",
            ],
        )
        .example("\"/chanId\""),
        Key::new("also", Kind::flag(false), &["The entries after it are tried too, so that a message makes several topics."]),
        Key::new(
            "each",
            POINTER,
            &[
                "An array of the message: one update for each of its elements, which what follows applies to. Of topic, ts and",
                "seq, ^ before a pointer leads from the whole message. A step in braces is a name: it goes over the members of",
                "an object, like \"/update/{symbol}\".",
            ],
        )
        .example("\"/events\""),
        Key::new(
            "order",
            Kind::choice("oldest-first", &["oldest-first", "newest-first"]),
            &["Which of the elements of `each` happened first."],
        ),
        Key::new("topic", POINTER, &["A topic with pointers and names in braces."]).example("\"coinbase.ticker.{/product_id}\""),
        Key::new(
            "ts",
            POINTER,
            &[
                "The venue's time: RFC 3339, or a number of s, ms, µs or ns since the Unix epoch. Default: when the gateway",
                "took the message in.",
            ],
        )
        .example("\"/time\""),
        Key::new(
            "seq",
            POINTER,
            &[
                "The venue's own count of the topic's updates. The gateway leaves repeats out, and counts and tells what is",
                "missing. Default: none.",
            ],
        )
        .example("\"/sequence\""),
        Key::new(
            "seq_first",
            POINTER,
            &[
                "The first of the updates that a message stands for, `seq` being the last. Or the count that it goes on from,",
                "also where that is above `seq`. Default: `seq`.",
            ],
        )
        .example("\"/U\""),
        Key::new(
            "seq_prev",
            POINTER,
            &["The count of the update before. Something is missing where that was not taken. Default: none."],
        )
        .example("\"/pu\""),
        Key::new("seq_sparse", Kind::flag(false), &["The count leaves numbers out, so that a step tells nothing."]),
        Key::new(
            "on_gap",
            Kind::choice("tell", &["tell", "reconnect"]),
            &[
                "Of levels and fields: what follows a gap beside that it is told. \"reconnect\": the connection is made anew,",
                "where the whole then comes by itself.",
            ],
        ),
        Key::new("data", POINTER, &["What becomes `data`, byte for byte. Or `levels`, or `fields`."]).example("\"\""),
        Key::new("levels", Kind::Own, &["Lists of price levels, which become keys of a keyed topic."])
            .example("[{ path = \"/bids\", key = \"b\" }, { path = \"/asks\", key = \"a\" }]"),
        Key::new(
            "fields",
            POINTER,
            &["An object, of which each member becomes a key of a keyed topic. What it does not name stays."],
        )
        .example("\"/data\""),
        Key::new(
            "reset",
            Kind::Own,
            &[
                "The levels or fields are all of the topic. \"first\": those of its first message after each connect are.",
                "Default: false.",
            ],
        )
        .example("true"),
        Key::new(
            "whole",
            Kind::choice("compare", &["compare", "reset"]),
            &[
                "What becomes of a table of which all comes. \"compare\": clients get what differs. \"reset\": they get all of",
                "it each time.",
            ],
        ),
        Key::new(
            "scale",
            Kind::Own,
            &["Places by which the decimal point of prices moves: with -4, 12345 becomes 1.2345. Default: 0."],
        )
        .example("-4"),
        Key::new(
            "depth",
            Kind::count_found(1..=DEPTH_MAX),
            &[
                "After each message the best so many levels of each side stay; the gateway deletes the others. Default: all",
                "stay.",
            ],
        )
        .example("50"),
        Key::new(
            "gap",
            Kind::Own,
            &[
                "Topics or patterns that the message says will not come. Such an entry makes no topic. Beside it stand only",
                "when, recall, also, each, order and reason.",
            ],
        )
        .example("[\"coinbase.book.{/product_id}\"]"),
        Key::new("reason", POINTER, &["Where a message of `gap` says why."]).example("\"/reason\""),
        Key::new("snapshot", Kind::Own, &["Where the whole of the topic is asked for: a table, see below."])
            .example("{ url = \"https://HOST/depth?symbol={/s}\", seq = \"/id\", levels = [] }"),
    ],
};

/// `[source.map.snapshot]`.
pub const SNAPSHOT: Group = Group {
    section: "source.map.snapshot",
    doc: &[
        "of `levels` that are changes: the whole book is asked for by HTTP, at a topic's first change after each connect",
        "and again after a gap. Changes wait for it, and those that it holds already are left out. Where `symbols` are",
        "named and topic and url have no pointer, it is asked for at connect.",
    ],
    keys: &[
        Key::new("url", POINTER, &["Whom to ask, with pointers and names in braces."])
            .example("\"https://api.binance.com/api/v3/depth?symbol={/data/s}&limit=1000\""),
        Key::new("seq", POINTER, &["From the answer: the count up to which it holds all changes."])
            .example("\"/lastUpdateId\""),
        Key::new("levels", Kind::Own, &["From the answer: lists of price levels."])
            .example("[{ path = \"/bids\", key = \"b\" }, { path = \"/asks\", key = \"a\" }]"),
        Key::new(
            "every",
            Kind::duration(EVERY_MS, 1..=EVERY_MS_MAX),
            &["The pace: from one request of the source to the next."],
        ),
    ],
};

/// One list of `levels`.
pub const LEVELS: Group = Group {
    section: "source.map.levels",
    doc: &["of `levels` of an entry: one list of price levels."],
    keys: &[
        Key::new(
            "path",
            POINTER,
            &[
                "Where the list is. Where it leads to an object, or to an array that begins with neither, that is one level.",
                "A list that is absent or null is empty, as long as another one of the entry is there.",
            ],
        ).example("\"/bids\""),
        Key::new("key", Kind::Own, &["What goes before a price to make a key. By side: { buy = \"b\", sell = \"a\" }. By the sign of the number where `side`\
              leads: { \"+\" = \"b\", \"-\" = \"a\" }; the size is told without it."])
            .example("\"b\""),
        Key::new(
            "best",
            Kind::Own,
            &[
                "Where the best price of the list is, which only `depth` needs: \"highest\", as of bids, or \"lowest\", as of",
                "asks. By side: { buy = \"highest\", sell = \"lowest\" }. Default: as the name of the side, else `key`, else the",
                "last step of `path` tells.",
            ],
        )
        .example("\"highest\""),
        Key::new("side", POINTER, &["From a level: its side, where `key` is by side. Default: \"/0\"."]).example("\"/0\""),
        Key::new("price", POINTER, &["From a level. Default: \"/0\"; with sides \"/1\"."]).example("\"/0\""),
        Key::new("size", POINTER, &["From a level. Default: \"/1\"; with sides \"/2\". A size of 0 deletes the key."])
            .example("\"/1\""),
        Key::new(
            "delete",
            Kind::Own,
            &[
                "Levels that are deleted whatever their size: true, or what must hold of one, like { \"/1\" = 0 }. ^ leads from",
                "the message. Default: none.",
            ],
        )
        .example("{ \"^/action\" = \"delete\" }"),
        Key::new(
            "remember",
            POINTER,
            &[
                "From a level: its id. What price leads to with @ before it is kept by topic, side and id until the level is",
                "deleted or the book reset. Default: none.",
            ],
        )
        .example("\"/id\""),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{
        environment::{Environment, Layered},
        read::Reader,
    };

    #[test]
    fn every_key_that_is_read_is_told_in_the_reference_and_no_other() {
        let text = "[[source]]\n[[source.map]]\nwhen = {}\n[[source.map.levels]]\npath = \"/a\"\n\
                    [source.map.snapshot]\n";
        let environment = Environment::default();
        let layered = Layered::new(text, &environment).expect("no variable");
        let mut reader = Reader::new(&layered, &environment).expect("TOML");
        let table = reader.sections("source").remove(0);
        super::super::entries(&mut reader.open("source", table));
        for group in [ENTRY, LEVELS, SNAPSHOT] {
            let mut told: Vec<&str> = group.keys.iter().map(|key| key.name).collect();
            let mut read: Vec<&str> = reader.known_of(group.section);
            told.sort_unstable();
            read.sort_unstable();
            assert_eq!(told, read, "{}", group.section);
        }
    }
}
