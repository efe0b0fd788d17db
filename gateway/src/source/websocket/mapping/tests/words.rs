//! Names, what was told once, single levels, deletions, fields: what venues say in their own ways.

use super::*;

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
    let (entries, mut memory, mut all) = (parse(entries), Memory::new(MEMORY_BYTES), Vec::new());
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

#[test]
fn of_a_whole_table_the_last_word_on_a_price_counts_and_nothing_needs_to_be_deleted() {
    for whole in ["compare", "reset"] {
        let entries = format!(
            "[[source.map]]\ntopic = \"x.book\"\nlevels = [{{ path = \"/b\", key = \"b\" }}]\nreset = true\nwhole = {whole:?}"
        );
        let message = r#"{"b":[["1","2"],["3","4"],["1","0"],["5","0"],["5","6"],["7","0"]]}"#;
        let mapped = &mapped(&entries, message)[0];
        assert_eq!(changes(mapped), expected(&[("b3", Some("\"4\"")), ("b5", Some("\"6\""))]), "{whole}");
        assert_ne!(base(mapped), Base::Held);
    }
}

#[test]
fn a_size_of_a_side_by_sign_loses_its_sign_and_no_other_minus() {
    let entries = r#"
            [[source.map]]
            topic = "x.book"
            levels = [{ path = "/l", key = { "+" = "b", "-" = "a" }, side = "/2", price = "/0", size = "/1" }]
        "#;
    let seen = changes(&mapped(entries, r#"{"l":[[1,1e-5,-1],[2,"-2E-7",-1],[3,-3e-1,-1],[4,4e-2,1]]}"#)[0]);
    let sizes = [("a1", "1e-5"), ("a2", "\"2E-7\""), ("a3", "3e-1"), ("b4", "4e-2")];
    assert_eq!(seen, expected(&sizes.map(|(key, size)| (key, Some(size)))));
}

#[test]
fn a_price_whose_point_cannot_be_moved_so_far_is_odd() {
    let entries = "[[source.map]]\ntopic = \"x.book\"\nlevels = [{ path = \"/b\", key = \"b\" }]\nscale = -2";
    let fault = fault(entries, r#"{"b":[["1e99999999999999999999","2"]]}"#);
    assert!(fault.to_string().contains("leads nowhere, or not to a number"), "{fault}");
    let seen = changes(&mapped(entries, r#"{"b":[["1.5E+3","2"],["2e-3","1"]]}"#)[0]);
    assert_eq!(seen, expected(&[("b1.5e1", Some("\"2\"")), ("b2e-5", Some("\"1\""))]));
}
