//! The keys of `[[source.map]]`, as the reference tells them.

use engine::settings::{Group, Key, Kind};

use super::entry::DEPTH_MAX;

const POINTER: Kind = Kind::text();

/// One entry.
pub const ENTRY: Group = Group {
    section: "source.map",
    doc: &[
        "of kind = \"websocket\": what a message becomes. The first entry whose `when` holds decides. Pointers are",
        "JSON pointers (RFC 6901), like \"/a/0/b\"; \"\" is all of it. coinbase.toml shows them at work.",
    ],
    keys: &[
        Key::new(
            "when",
            Kind::Own,
            &[
                "Pointers from the whole message, and what must stand there: text, a whole number (7, 7.0 and 7e0 are one),",
                "true or false; \"*\": anything. Default: every message.",
            ],
        )
        .example("{ \"/type\" = \"ticker\" }"),
        Key::new(
            "each",
            POINTER,
            &[
                "An array of the message: one update for each of its elements, which what follows applies to. Of topic, ts and",
                "seq, ^ before a pointer leads from the whole message.",
            ],
        )
        .example("\"/events\""),
        Key::new(
            "order",
            Kind::choice("oldest-first", &["oldest-first", "newest-first"]),
            &["Which of the elements of `each` happened first."],
        ),
        Key::new("topic", POINTER, &["A topic with pointers in braces."]).example("\"coinbase.ticker.{/product_id}\""),
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
        Key::new("seq_sparse", Kind::flag(false), &["The count leaves numbers out, so that a step tells nothing."]),
        Key::new("data", POINTER, &["What becomes `data`, byte for byte. Or `levels`."]).example("\"\""),
        Key::new("levels", Kind::Own, &["Lists of price levels, which become keys of a keyed topic."])
            .example("[{ path = \"/bids\", key = \"b\" }, { path = \"/asks\", key = \"a\" }]"),
        Key::new("reset", Kind::flag(false), &["The levels are the whole book."]),
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
                "when, each, order and reason.",
            ],
        )
        .example("[\"coinbase.book.{/product_id}\"]"),
        Key::new("reason", POINTER, &["Where a message of `gap` says why."]).example("\"/reason\""),
    ],
};

/// One list of `levels`.
pub const LEVELS: Group = Group {
    section: "source.map.levels",
    doc: &["of `levels` of an entry: one list of price levels."],
    keys: &[
        Key::new("path", POINTER, &["Where the list is."]).example("\"/bids\""),
        Key::new("key", Kind::Own, &["What goes before a price to make a key. By side: { buy = \"b\", sell = \"a\" }."])
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
        let text = "[[source]]\n[[source.map]]\nwhen = {}\n[[source.map.levels]]\npath = \"/a\"\n";
        let environment = Environment::default();
        let layered = Layered::new(text, &environment).expect("no variable");
        let mut reader = Reader::new(&layered, &environment).expect("TOML");
        let table = reader.sections("source").remove(0);
        super::super::entries(&mut reader.open("source", table));
        for group in [ENTRY, LEVELS] {
            let mut told: Vec<&str> = group.keys.iter().map(|key| key.name).collect();
            let mut read: Vec<&str> = reader.known_of(group.section);
            told.sort_unstable();
            read.sort_unstable();
            assert_eq!(told, read, "{}", group.section);
        }
    }
}
