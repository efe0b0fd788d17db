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

const MEMORY_BYTES: usize = 1 << 20;

fn read<'a>(entries: &[Entry], message: &'a [u8]) -> Result<Option<All<'a>>, Fault> {
    read_next(entries, &mut Memory::new(MEMORY_BYTES), message)
}

/// One of several messages of a connection.
fn read_next<'a>(
    entries: &[Entry],
    memory: &mut Memory,
    message: &'a [u8],
) -> Result<Option<All<'a>>, Fault> {
    let message = Node::parse(skip_byte_order_mark(message)).map_err(|e| Fault::Json(e.to_string()))?;
    let wholes = Wholes { wanted: &|_| true, is_hidden: false };
    Ok(map(entries, Names::Encode, memory, wholes, &message))
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
    // Of one beyond all that is counted the lower part counts: what follows upon what is the same.
    for (text, lower) in
        [("9007199254740992", 0), ("\"2240000000041223438\"", 2_240_000_000_041_223_438 % (1 << 53))]
    {
        let entries = "[[source.map]]\ntopic = \"t\"\nseq = \"/u\"\ndata = \"\"";
        assert_eq!(mapped(entries, &format!("{{\"u\":{text}}}"))[0].seq, Some(Seq::one(lower)), "{text}");
    }
    for text in ["100.5", "-1", "true", "\"\"", "1e400", "1e-3"] {
        let error = fault(entries, &format!(r#"{{"u":{text},"U":1}}"#)).to_string();
        assert!(error.contains("a whole number that is not negative"), "{text}: {error}");
    }
}

mod words;
