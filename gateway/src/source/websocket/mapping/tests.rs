//! What messages of venues become.

use engine::{json::skip_byte_order_mark, topic::name::check_topic};

use super::*;
use crate::source::websocket::map::parse;

const COINBASE: &str = r#"
        [[source.map]]
        when = { "/type" = "ticker" }
        topic = "coinbase.ticker.{/product_id}"
        ts = "/time"
        seq = "/sequence"
        data = ""
        [[source.map]]
        when = { "/type" = "snapshot" }
        topic = "coinbase.book.{/product_id}"
        levels = [{ key = "b", path = "/bids" }, { key = "a", path = "/asks" }]
        reset = true
        [[source.map]]
        when = { "/type" = "l2update" }
        topic = "coinbase.book.{/product_id}"
        ts = "/time"
        levels = [{ key = { buy = "b", sell = "a" }, path = "/changes" }]
    "#;
const KRAKEN: &str = r#"
        [[source.map]]
        when = { "/channel" = "ticker" }
        each = "/data"
        topic = "kraken.{^/channel}.{/symbol}"
        data = ""
        [[source.map]]
        when = { "/channel" = "book", "/type" = "update" }
        each = "/data"
        topic = "kraken.book.{/symbol}"
        ts = "/timestamp"
        levels = [
            { key = "b", path = "/bids", price = "/price", size = "/qty" },
            { key = "a", path = "/asks", price = "/price", size = "/qty" },
        ]
    "#;

fn read<'a>(entries: &[Entry], message: &'a [u8]) -> Result<Option<All<'a>>, Fault> {
    read_next(entries, &mut Memory::default(), message)
}

/// One of several messages of a connection.
fn read_next<'a>(
    entries: &[Entry],
    memory: &mut Memory,
    message: &'a [u8],
) -> Result<Option<All<'a>>, Fault> {
    let message = Node::parse(skip_byte_order_mark(message)).map_err(|e| Fault::Json(e.to_string()))?;
    Ok(map(entries, Names::Encode, memory, &message))
}

fn mapped<'a>(entries: &str, message: &'a str) -> Vec<MappedPublication<'a>> {
    let said = read(&parse(entries), message.as_bytes()).unwrap().unwrap();
    let update = |said| match said {
        Ok(Said::Update(mapped)) => mapped,
        other => panic!("{other:?}"),
    };
    said.into_iter().map(update).collect()
}

fn fault(entries: &str, message: &str) -> Fault {
    match read(&parse(entries), message.as_bytes()) {
        Err(fault) => fault,
        Ok(said) => said.unwrap().into_iter().find_map(Result::err).unwrap().fault,
    }
}

/// Keys in their order with their values; deleted ones without.
type Keys = Vec<(String, Option<String>)>;

fn changes(mapped: &MappedPublication<'_>) -> Keys {
    let MappedValue::Changes(changes) = &mapped.value else { panic!("{mapped:?}") };
    shown(changes)
}

fn shown(changes: &Changes) -> Keys {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let last: std::collections::BTreeMap<String, Option<String>> = changes
        .iter()
        .map(|change| (text(change.key).trim_matches('"').to_owned(), change.value.map(text)))
        .collect();
    last.into_iter().collect()
}

fn base(mapped: &MappedPublication<'_>) -> Base {
    let MappedValue::Changes(changes) = &mapped.value else { panic!("{mapped:?}") };
    changes.base
}

fn expected(pairs: &[(&str, Option<&str>)]) -> Keys {
    pairs.iter().map(|(key, size)| ((*key).to_owned(), size.map(str::to_owned))).collect()
}

#[test]
fn a_message_becomes_data_byte_for_byte() {
    let message = r#"{ "type":"ticker","sequence":42, "product_id":"SKL-USD","price":"0.010","time":"2023-11-14T22:13:20.5Z"}"#;
    let expected = MappedPublication {
        topic: "coinbase.ticker.SKL-USD".to_owned(),
        ts_us: Some(1_700_000_000_500_000),
        seq: Some(Seq::one(42)),
        value: MappedValue::Data(message),
        entry: 0,
        whole_at: None,
    };
    assert_eq!(mapped(COINBASE, message), [expected]);
    assert_eq!(mapped(COINBASE, &format!("\u{feff}{message}"))[0].value, MappedValue::Data(message));
}

#[test]
fn levels_become_keys_as_the_venue_wrote_them_and_zero_sizes_deletions() {
    let snapshot = r#"{"type":"snapshot","product_id":"A-B","bids":[["10.10","1.50"],["10.00","0.0"]],"asks":[["10.20","3"]]}"#;
    let table = mapped(COINBASE, snapshot);
    assert_eq!(base(&table[0]), Base::Whole);
    assert_eq!(changes(&table[0]), expected(&[("a10.20", Some("\"3\"")), ("b10.10", Some("\"1.50\""))]));
    assert_eq!((&*table[0].topic, table[0].ts_us), ("coinbase.book.A-B", None));

    let update = r#"{"type":"l2update","product_id":"A-B","time":1700000000000,
            "changes":[["buy","10.10","0.00000000"],["sell","10.20","4"],["sell","10.30","0"],["sell","10.20","5e-9"]]}"#;
    let update = mapped(COINBASE, update);
    assert_eq!(base(&update[0]), Base::Held);
    let wanted = [("a10.20", Some("\"5e-9\"")), ("a10.30", None), ("b10.10", None)];
    assert_eq!(changes(&update[0]), expected(&wanted));
}

#[test]
fn each_element_becomes_an_item_and_levels_may_be_objects_of_numbers() {
    let tickers = r#"{"channel":"ticker","data":[{"symbol":"A/B","last":1.0},{"symbol":"C D","last":2}]}"#;
    let tickers = mapped(KRAKEN, tickers);
    let topics: Vec<&str> = tickers.iter().map(|item| &*item.topic).collect();
    assert_eq!(topics, ["kraken.ticker.A/B", "kraken.ticker.C@x20D"]);
    assert_eq!(tickers[0].value, MappedValue::Data(r#"{"symbol":"A/B","last":1.0}"#));

    let book = r#"{"channel":"book","type":"update","data":[{"symbol":"A/B","timestamp":"1970-01-01T00:00:01Z",
            "bids":[{"price":0.5660,"qty":1.50}],"asks":[{"price":0.5670,"qty":0},{"price":0.5680,"qty":0.00e0}]}]}"#;
    let book = mapped(KRAKEN, book);
    assert_eq!(book[0].ts_us, Some(1_000_000));
    let wanted = [("a0.5670", None), ("a0.5680", None), ("b0.5660", Some("1.50"))];
    assert_eq!(changes(&book[0]), expected(&wanted));
    assert_eq!(mapped(KRAKEN, r#"{"channel":"ticker","data":[]}"#), []);
}

#[test]
fn the_first_entry_that_applies_wins_and_its_conditions_hold_together() {
    let entries = r#"
            [[source.map]]
            when = { "/e" = "trade", "/m" = true, "/n" = 7 }
            topic = "one"
            data = "/p"
            [[source.map]]
            when = { "/e" = "*" }
            topic = "two"
            data = "/p"
        "#;
    for (message, topic) in [
        (r#"{"e":"trade","m":true,"n":7,"p":1}"#, Some("one")),
        (r#"{"e":"trade","m":"true","n":7,"p":1}"#, Some("two")),
        (r#"{"e":"trade","m":true,"n":70,"p":1}"#, Some("two")),
        (r#"{"e":"trade","m":true,"n":7.0,"p":1}"#, Some("one")),
        (r#"{"e":"trade","m":true,"n":0.7e1,"p":1}"#, Some("one")),
        (r#"{"e":"trade","m":true,"n":7.5,"p":1}"#, Some("two")),
        (r#"{"e":"trade","m":true,"n":"7","p":1}"#, Some("two")),
        (r#"{"e":null,"p":1}"#, Some("two")),
        (r#"{"p":1}"#, None),
        ("[]", None),
        ("7", None),
    ] {
        let said = read(&parse(entries), message.as_bytes()).unwrap();
        let found = said.as_deref().map(|said| match &said[0] {
            Ok(Said::Update(mapped)) => &*mapped.topic,
            other => panic!("{other:?}"),
        });
        assert_eq!(found, topic, "{message}");
    }
}

#[test]
fn a_broken_message_is_refused_with_the_pointer_that_found_it() {
    assert!(matches!(fault(COINBASE, "{\"type\":\"ticker\""), Fault::Json(_)));
    let one_of_two = r#"{"channel":"ticker","data":[{"symbol":"A/B"},{"last":2}]}"#;
    let error = fault(KRAKEN, one_of_two);
    assert_eq!(error.to_string(), "\"/symbol\" leads nowhere, or not to a text or a number");
    for (message, reason) in [
        (r#"{"type":"ticker","product_id":null}"#, "\"/product_id\" leads nowhere"),
        (r#"{"type":"ticker","product_id":""}"#, "a segment between dots is empty"),
        (r#"{"type":"ticker","product_id":"a..b"}"#, "a segment between dots is empty"),
        (r#"{"type":"ticker","product_id":"a"}"#, "\"/time\" leads nowhere"),
        (r#"{"type":"ticker","product_id":"a","time":"noon"}"#, "\"noon\" is neither RFC 3339"),
        (r#"{"type":"ticker","product_id":"a","time":1,"sequence":"x"}"#, "not to a whole number"),
        (r#"{"type":"snapshot","product_id":"a","bids":[],"asks":7}"#, "not to an array of levels"),
        (r#"{"type":"snapshot","product_id":"a","bids":[["1"]],"asks":[]}"#, "\"/1\" leads nowhere"),
        (r#"{"type":"snapshot","product_id":"a","bids":[["1","x"]],"asks":[]}"#, "not to a number"),
        (r#"{"type":"snapshot","product_id":"a","bids":[["nan","1"]],"asks":[]}"#, "not to a number"),
        (r#"{"type":"l2update","product_id":"a","time":1,"changes":[["hold","1","1"]]}"#, "not to a side"),
    ] {
        let error = fault(COINBASE, message).to_string();
        assert!(error.contains(reason), "{message}: {error}");
    }
    assert!(matches!(fault(KRAKEN, r#"{"channel":"ticker","data":{}}"#), Fault::Pointer { .. }));
}

#[test]
fn no_message_makes_an_item_that_is_none() {
    let messages = [
        r#"{"type":"ticker","product_id":"A-B","sequence":7,"time":"2023-11-14T22:13:20.5Z","x":[1,{"y":null}]}"#,
        r#"{"type":"snapshot","product_id":"A-B","bids":[["1.0","2"]],"asks":[["1.1","0"]]}"#,
        r#"{"type":"l2update","product_id":"A-B","time":1700000000,"changes":[["buy","1.0","2"]]}"#,
        r#"{"channel":"book","type":"update","data":[{"symbol":"A","timestamp":1,"bids":[{"price":1,"qty":2}],"asks":[]}]}"#,
    ];
    let entries = [parse(COINBASE), parse(KRAKEN)].concat();
    let mut taken = [0, 0];
    for seed in 0..20_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut message = messages[random.usize(0..messages.len())].as_bytes().to_vec();
        for _ in 0..random.usize(0..4) {
            let (at, to) = (random.usize(0..message.len()), random.usize(0..message.len()));
            match random.u8(0..4) {
                0 => message[at] = random.u8(..),
                1 => message.swap(at, to),
                2 => message[at] = b"0\"{}[],:.e-\\"[random.usize(0..12)],
                _ => message.truncate(at.max(1)),
            }
        }
        let Ok(Some(said)) = read(&entries, &message) else {
            taken[0] += 1;
            continue;
        };
        taken[1] += 1;
        for item in said.into_iter().flatten() {
            let Said::Update(item) = item else { panic!("seed {seed}: {item:?}") };
            assert!(check_topic(&item.topic).is_ok(), "seed {seed}: {item:?}");
            let values = match item.value {
                MappedValue::Data(data) => vec![data.to_owned()],
                MappedValue::Changes(changes) => {
                    shown(&changes).into_iter().filter_map(|(_, size)| size).collect()
                }
            };
            let json = |text: &str| serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
            assert!(values.iter().all(|value| json(value)), "seed {seed}");
        }
    }
    assert!(taken.iter().all(|n| *n > 1_000), "both kinds are tested: {taken:?}");
}

#[test]
fn an_odd_element_refuses_no_other_and_tells_whose_update_it_was() {
    let entries = r#"
            [[source.map]]
            each = "/data"
            topic = "x.{/s}"
            ts = "/t"
            data = ""
        "#;
    let text = r#"{"data":[{"s":"a","t":1},{"s":"b","t":null},{"s":"","t":1},{"t":1},7,{"s":"c","t":1}]}"#;
    let said = read(&parse(entries), text.as_bytes()).unwrap().unwrap();
    let told: Vec<String> = said
        .iter()
        .map(|said| match said {
            Ok(Said::Update(mapped)) => mapped.topic.clone(),
            Err(odd) => format!("{} {:?}", odd.text, odd.topic),
            other => panic!("{other:?}"),
        })
        .collect();
    let odd = r#"{"s":"b","t":null} Some("x.b")"#;
    assert_eq!(told, ["x.a", odd, r#"{"s":"","t":1} None"#, r#"{"t":1} None"#, "7 None", "x.c"]);
}

#[test]
fn newest_first_is_turned_round() {
    let entries = r#"
            [[source.map]]
            each = "/data"
            order = "newest-first"
            topic = "t"
            seq = "/i"
            data = ""
        "#;
    let trades = mapped(entries, r#"{"data":[{"i":9},{"i":8},{"i":7}]}"#);
    let counts: Vec<u64> = trades.iter().map(|trade| trade.seq.unwrap().last).collect();
    assert_eq!(counts, [7, 8, 9]);
}

#[test]
fn a_refusal_names_what_will_not_come_and_why() {
    let entries = r#"
            [[source.map]]
            when = { "/ok" = false, "/s" = "*" }
            gap = ["x.book.{/s}", "x.{/s}.*"]
            reason = "/error"
            [[source.map]]
            when = { "/ok" = false }
            gap = ["x.*"]
        "#;
    let denied = |message: &'static str| read(&parse(entries), message.as_bytes()).unwrap().unwrap();
    let expected = Said::Denied {
        topics: ["x.book.A/B@x20C", "x.A/B@x20C.*"].map(|text| Pattern::parse(text).unwrap()).to_vec(),
        why: "the venue refuses it: no \"such\" depth".to_owned(),
    };
    assert_eq!(denied(r#"{"ok":false,"s":"A/B C","error":"no \"such\" depth"}"#), [Ok(expected)]);
    let expected =
        Said::Denied { topics: vec![Pattern::parse("x.*").unwrap()], why: "the venue refuses it".to_owned() };
    assert_eq!(denied(r#"{"ok":false}"#), [Ok(expected)]);
    assert!(denied(r#"{"ok":false,"s":"a..b","error":1}"#)[0].is_err());
}

#[test]
fn a_message_is_chosen_by_a_whole_number_of_either_sign_however_it_is_written() {
    for (wanted, same, others) in [
        ("-1", ["-1", "-1.0", "-1e0", "-10e-1"], ["1", "-1.5", "\"-1\"", "-10"]),
        ("-2.0e2", ["-200", "-2e2", "-200.0", "-20e1"], ["200", "-201", "null", "true"]),
        ("0", ["0", "-0", "0.0", "-0e5"], ["1", "-1", "false", "\"0\""]),
        (
            "-9223372036854775808",
            [
                "-9223372036854775808",
                "-9223372036854775808.0",
                "-9.223372036854775808e18",
                "-9223372036854775808",
            ],
            ["-9223372036854775807", "9223372036854775808", "0", "1e400"],
        ),
    ] {
        let entries =
            parse(&format!("[[source.map]]\nwhen = {{ \"/code\" = {wanted} }}\ntopic = \"t\"\ndata = \"\""));
        let takes = |code| {
            let message = format!(r#"{{"code":{code}}}"#);
            read(&entries, message.as_bytes()).unwrap().is_some()
        };
        assert!(same.iter().copied().all(takes), "{wanted}: {same:?}");
        assert!(!others.iter().copied().any(takes), "{wanted}: {others:?}");
    }
}

#[test]
fn names_that_two_pointers_or_the_text_between_them_make_stay_different() {
    let entries = r#"
            [[source.map]]
            when = { "/p" = "*" }
            topic = "x.{/p}{/q}"
            data = ""
            [[source.map]]
            topic = "x.@{/at}"
            data = ""
        "#;
    let topic = |message| mapped(entries, message).remove(0).topic;
    assert_eq!(topic(r#"{"p":"@","q":"x20Y"}"#), "x.@x40x20Y");
    assert_eq!(topic(r#"{"p":" ","q":"Y"}"#), "x.@x20Y");
    assert_eq!(topic(r#"{"at":"x20Y"}"#), "x.@x40x20Y");
    assert_eq!(topic(r#"{"at":"depth20@100ms"}"#), "x.@depth20@100ms");
}

#[test]
fn a_whole_number_counts_however_it_is_written() {
    let entries = r#"
            [[source.map]]
            topic = "t"
            seq = "/u"
            seq_first = "/U"
            data = ""
        "#;
    for text in ["100", "100.0", "1e2", "\"100\"", "\"1.00E+2\"", "1000e-1"] {
        let message = format!(r#"{{"u":{text},"U":9.9e1}}"#);
        assert_eq!(mapped(entries, &message)[0].seq, Some(Seq::span(99, 100)), "{text}");
    }
    let largest = mapped(entries, r#"{"u":9007199254740991.0,"U":9.007199254740991e15}"#)[0].seq;
    assert_eq!(largest, Some(Seq::one(SEQ_MAX)));
    for text in ["100.5", "9007199254740992", "9.007199254740992e15", "-1", "true", "\"\"", "1e400", "1e-3"] {
        let error = fault(entries, &format!(r#"{{"u":{text},"U":1}}"#)).to_string();
        assert!(error.contains("a whole number below 2^53"), "{text}: {error}");
    }
}

const BITFINEX: &str = r#"
        [[source.map]]
        when = { "/event" = "subscribed" }
        remember = "/chanId"
        [[source.map]]
        recall = "/0"
        when = { "@/channel" = "book", "/1/0/0" = "*" }
        topic = "bitfinex.book.{@/symbol}"
        levels = [{ path = "/1", key = { "+" = "b", "-" = "a" }, side = "/2", price = "/0", size = "/2", delete = { "/1" = 0 } }]
        reset = true
        [[source.map]]
        recall = "/0"
        when = { "@/channel" = "book", "/1/2" = "*" }
        topic = "bitfinex.book.{@/symbol}"
        levels = [{ path = "/1", key = { "+" = "b", "-" = "a" }, side = "/2", price = "/0", size = "/2", delete = { "/1" = 0 } }]
    "#;

/// Topics and changes of several messages of a connection; what was remembered, was of no entry, or is odd, in words.
fn told(entries: &str, messages: &[&str]) -> Vec<(String, Keys)> {
    let (entries, mut memory, mut all) = (parse(entries), Memory::default(), Vec::new());
    for message in messages {
        match read_next(&entries, &mut memory, message.as_bytes()).unwrap() {
            None => all.push(("none".to_owned(), Vec::new())),
            Some(said) => all.extend(said.into_iter().map(|said| match said {
                Ok(Said::Update(mapped)) => {
                    let whole = if matches!(&mapped.value, MappedValue::Changes(c) if c.base != Base::Held) {
                        "="
                    } else {
                        ""
                    };
                    let changes = if matches!(mapped.value, MappedValue::Data(_)) {
                        Vec::new()
                    } else {
                        changes(&mapped)
                    };
                    (format!("{}{whole}", mapped.topic), changes)
                }
                Ok(Said::Remembered(id)) => (format!("remembers {id}"), Vec::new()),
                Ok(other) => panic!("{other:?}"),
                Err(odd) => (format!("odd: {}", odd.fault), Vec::new()),
            })),
        }
    }
    all
}

#[test]
fn what_was_told_once_names_a_channel_and_a_sign_its_side() {
    let seen = told(
        BITFINEX,
        &[
            "[7,[[1.0,1,2]]]",
            r#"{"event":"subscribed","channel":"book","chanId":7,"symbol":"tBTC:USD"}"#,
            "[7,[[100.5,1,2.50],[101,2,-3.0],[99,0,1]]]",
            "[7,[101,0,-1],5]",
            "[7,[102,1,\"-0.5\"],6]",
            r#"[7,"hb",7]"#,
            "[8,[102,1,1],8]",
        ],
    );
    let of = |topic: &str, pairs: &[(&str, Option<&str>)]| (topic.to_owned(), expected(pairs));
    assert_eq!(
        seen,
        [
            of("none", &[]),
            of("remembers 7", &[]),
            of("bitfinex.book.tBTC:USD=", &[("a101", Some("3.0")), ("b100.5", Some("2.50"))]),
            of("bitfinex.book.tBTC:USD", &[("a101", None)]),
            of("bitfinex.book.tBTC:USD", &[("a102", Some("\"0.5\""))]),
            of("none", &[]),
            of("none", &[]),
        ]
    );
}

#[test]
fn names_of_texts_and_of_members_stand_in_topics() {
    let entries = r#"
            [[source.map]]
            when = { "/ch" = "market.{symbol}.depth.{step}" }
            topic = "htx.book.{symbol}.{step}"
            levels = [{ path = "/bids", key = "b" }, { path = "/asks", key = "a" }]
            [[source.map]]
            when = { "/ch" = "{kind}/full" }
            each = "/update/{symbol}"
            topic = "fmfw.{kind}.{symbol}"
            levels = [{ path = "/b", key = "b" }, { path = "/a", key = "a" }]
        "#;
    let seen = told(
        entries,
        &[
            r#"{"ch":"market.a b.depth.step0","bids":[["1","2"]],"asks":null}"#,
            r#"{"ch":"market..depth.step0","bids":[]}"#,
            r#"{"ch":"book/full","update":{"X":{"b":[["1","0"]]},"Y":{"a":[]},"Z":{}}}"#,
            r#"{"ch":"market.x.depth.step0"}"#,
        ],
    );
    let of = |topic: &str, pairs: &[(&str, Option<&str>)]| (topic.to_owned(), expected(pairs));
    assert_eq!(
        seen,
        [
            of("htx.book.a@x20b.step0", &[("b1", Some("\"2\""))]),
            of("none", &[]),
            of("fmfw.book.X", &[("b1", None)]),
            of("fmfw.book.Y", &[]),
            of("odd: \"/b\" leads nowhere, or not to an array of levels", &[]),
            of("odd: \"/bids\" leads nowhere, or not to an array of levels", &[]),
        ]
    );
}

#[test]
fn one_object_is_one_level_and_a_list_may_delete_without_sizes() {
    let entries = r#"
            [[source.map]]
            when = { "/feed" = "book" }
            topic = "x.book"
            levels = [{ path = "", key = { buy = "b", sell = "a" }, side = "/side", price = "/price", size = "/qty" }]
            [[source.map]]
            topic = "x.book"
            levels = [
                { path = "/delete", key = "b", price = "/price", delete = true },
                { path = "/insert", key = "b", price = "/price", size = "/size", delete = { "/gone" = true, "^/all" = 1 } },
                { path = "/one", key = "a" },
            ]
            scale = -2
        "#;
    let seen = told(
        entries,
        &[
            r#"{"feed":"book","side":"sell","price":34911.5,"qty":0}"#,
            r#"{"feed":"book","side":"buy","price":34911.5,"qty":7}"#,
            r#"{"all":1,"delete":[{"price":"100"}],"insert":[{"price":"205","size":1,"gone":true},{"price":3,"size":2}],"one":["12345","6"]}"#,
            r#"{"all":2,"insert":[{"price":"205","size":1,"gone":true}]}"#,
        ],
    );
    let of = |pairs: &[(&str, Option<&str>)]| ("x.book".to_owned(), expected(pairs));
    assert_eq!(
        seen,
        [
            of(&[("a34911.5", None)]),
            of(&[("b34911.5", Some("7"))]),
            of(&[("a123.45", Some("\"6\"")), ("b0.03", Some("2")), ("b1.00", None), ("b2.05", None)]),
            of(&[("b2.05", Some("1"))]),
        ]
    );
}

#[test]
fn a_level_that_was_told_once_is_changed_and_deleted_by_its_id() {
    let entries = r#"
            [[source.map]]
            when = { "/action" = "partial" }
            topic = "x.{/data/0/s}"
            levels = [{ path = "/data", key = { Buy = "b", Sell = "a" }, side = "/side", remember = "/id", price = "@/price", size = "/size" }]
            reset = true
            [[source.map]]
            topic = "x.{/data/0/s}"
            levels = [{ path = "/data", key = { Buy = "b", Sell = "a" }, side = "/side", remember = "/id", price = "@/price", size = "/size", delete = { "^/action" = "delete" } }]
        "#;
    let seen = told(
        entries,
        &[
            r#"{"action":"partial","data":[{"s":"X","id":1,"side":"Buy","price":70.0,"size":20},{"s":"X","id":1,"side":"Sell","price":80.0,"size":5}]}"#,
            r#"{"action":"update","data":[{"s":"X","id":1,"side":"Buy","size":7}]}"#,
            r#"{"action":"insert","data":[{"s":"X","id":2,"side":"Buy","price":60,"size":3}]}"#,
            r#"{"action":"update","data":[{"s":"X","id":2,"side":"Buy","price":61,"size":3}]}"#,
            r#"{"action":"delete","data":[{"s":"X","id":1,"side":"Buy"},{"s":"X","id":9,"side":"Buy"}]}"#,
            r#"{"action":"update","data":[{"s":"X","id":1,"side":"Buy","size":7}]}"#,
            r#"{"action":"partial","data":[{"s":"X","id":3,"side":"Buy","price":1,"size":1}]}"#,
            r#"{"action":"update","data":[{"s":"X","id":1,"side":"Sell","size":7}]}"#,
        ],
    );
    let of = |topic: &str, pairs: &[(&str, Option<&str>)]| (topic.to_owned(), expected(pairs));
    let odd = "odd: \"@/price\" leads nowhere, or not to a price, nor was one told of this level before";
    assert_eq!(
        seen,
        [
            of("x.X=", &[("a80.0", Some("5")), ("b70.0", Some("20"))]),
            of("x.X", &[("b70.0", Some("7"))]),
            of("x.X", &[("b60", Some("3"))]),
            of("x.X", &[("b60", None), ("b61", Some("3"))]),
            of("x.X", &[("b70.0", None)]),
            of(odd, &[]),
            of("x.X=", &[("b1", Some("1"))]),
            of(odd, &[]),
        ]
    );
}

#[test]
fn one_message_makes_several_topics_and_members_of_an_object_become_keys() {
    let entries = r#"
            [[source.map]]
            when = { "/e" = "*" }
            also = true
            topic = "x.last"
            data = "/p"
            [[source.map]]
            when = { "/e" = "ticker" }
            topic = "x.fields"
            fields = "/d"
            [[source.map]]
            topic = "x.rest"
            data = ""
        "#;
    let seen = told(
        entries,
        &[r#"{"e":"ticker","p":1,"d":{"bid":"1.0","n":null,"o":{"a":[1]}}}"#, r#"{"e":"x","p":2}"#, "{}"],
    );
    let of = |topic: &str, pairs: &[(&str, Option<&str>)]| (topic.to_owned(), expected(pairs));
    assert_eq!(
        seen,
        [
            of("x.last", &[]),
            of("x.fields", &[("bid", Some("\"1.0\"")), ("n", Some("null")), ("o", Some(r#"{"a":[1]}"#))]),
            of("x.last", &[]),
            of("x.rest", &[]),
            of("x.rest", &[]),
        ]
    );
}

#[test]
fn a_change_says_where_its_whole_is_and_the_answer_is_read_by_the_same_entry() {
    let entries = parse(
        r#"
            [[source.map]]
            when = { "/ch" = "book_{symbol}" }
            topic = "x.book.{symbol}"
            seq = "/u"
            seq_prev = "/pu"
            levels = [{ path = "/b", key = "b" }]
            scale = -1
            [source.map.snapshot]
            url = "https://h/depth/{symbol}?id={/id}"
            seq = "/last"
            levels = [{ path = "/bids", key = "b" }]
            [[source.map]]
            when = { "/o" = "book_{symbol}" }
            topic = "x.other.{symbol}"
            seq = "/u"
            levels = [{ path = "/b", key = "b" }]
            [source.map.snapshot]
            url = "https://h/{symbol}"
            seq = "/last"
            levels = [{ path = "/bids", key = "b" }]
        "#,
    );
    let said =
        read(&entries, br#"{"ch":"book_a/b","id":"x y","u":7,"pu":5,"b":[["10","1"]]}"#).unwrap().unwrap();
    let Ok(Said::Update(mapped)) = &said[0] else { panic!("{said:?}") };
    assert_eq!(mapped.whole_at.as_deref(), Some("https://h/depth/a%2Fb?id=x%20y"));
    assert_eq!((mapped.seq, mapped.entry), (Some(Seq::after(5, 7)), 0));
    let answer = Node::parse(br#"{"last":"6","bids":[["10","1"],["11","0"]]}"#).unwrap();
    let (count, all) =
        whole(&entries[0], entries[0].snapshot.as_ref().unwrap(), Names::Encode, &answer).unwrap();
    assert_eq!((count, all.base, shown(&all)), (6, Base::Whole, expected(&[("b1.0", Some("\"1\""))])));
    assert_eq!(known(&entries[0], Names::Encode, &[("symbol", "a")]), None, "the message says more");
    let (topic, url) = known(&entries[1], Names::Encode, &[("symbol", "a b")]).unwrap();
    assert_eq!((&*topic, &*url), ("x.other.a@x20b", "https://h/a%20b"));
    assert_eq!(known(&entries[1], Names::Encode, &[("other", "a")]), None);
}
