//! JSON as MessagePack and back.
#![forbid(unsafe_code)]

use proto::msgpack::{Error, from_json, to_json};

fn packed(json: &str) -> Vec<u8> {
    let mut out = Vec::new();
    from_json(json.as_bytes(), &mut out).unwrap_or_else(|error| panic!("{json}: {error}"));
    out
}

fn back(packed: &[u8]) -> Result<String, Error> {
    let mut out = Vec::new();
    to_json(packed, &mut out).map(|()| String::from_utf8(out).unwrap())
}

#[test]
fn numbers_come_back_as_they_were_written() {
    for (json, head) in [
        ("0", &[0][..]),
        ("127", &[127]),
        ("128", &[0xcc, 128]),
        ("-1", &[0xff]),
        ("-32", &[0xe0]),
        ("-33", &[0xd0, 0xdf]),
        ("65536", &[0xce, 0, 1, 0, 0]),
        ("1626916403864", &[0xcf]),
        ("18446744073709551615", &[0xcf, 0xff]),
        ("-9223372036854775808", &[0xd3, 0x80]),
        ("1.5", &[0xcb]),
        ("-0.25", &[0xcb]),
        ("1.0", &[0xc7, 3, 1]),
        ("100000.5", &[0xcb]),
        ("0.0001", &[0xcb]),
        ("0.00001", &[0xc7, 7, 1]),
        ("1e-7", &[0xd6, 1]),
        ("9007199254740991.5", &[0xc7, 18, 1]),
        ("12345678901234567000.5", &[0xc7, 22, 1]),
        ("18446744073709551616", &[0xc7, 20, 1, b'1']),
        ("1.50", &[0xd6, 1, b'1', b'.', b'5', b'0']),
        ("1e2", &[0xc7, 3, 1]),
        ("-0", &[0xd5, 1, b'-', b'0']),
        ("-0.0", &[0xd6, 1, b'-']),
        ("0.1000", &[0xc7, 6, 1]),
        ("123456789012345678901234567890.5", &[0xc7, 32, 1]),
        ("1e999", &[0xc7, 5, 1]),
        ("1E+0000000000000000000000000001", &[0xc7, 31, 1]),
    ] {
        let packed = packed(json);
        assert!(packed.starts_with(head), "{json}: {packed:x?}");
        assert_eq!(back(&packed).as_deref(), Ok(json));
    }
}

#[test]
fn values_of_every_length_come_back() {
    let mut rng = fastrand::Rng::with_seed(3);
    for count in [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536] {
        let array: Vec<String> = (0..count).map(|_| rng.u16(..).to_string()).collect();
        let object: Vec<String> = (0..count).map(|n| format!("\"k{n}\":[{n}]")).collect();
        for json in [
            format!("[{}]", array.join(",")),
            format!("{{{}}}", object.join(",")),
            format!("\"{}\"", "é".repeat(count)),
            format!("[\"{}\",null,true,false]", "a".repeat(count)),
        ] {
            assert_eq!(back(&packed(&json)).as_deref(), Ok(&*json), "{count}");
        }
    }
    assert_eq!(back(&packed(" { \"a\" : [ 1 , 2 ] } \n")).as_deref(), Ok(r#"{"a":[1,2]}"#));
    // Escapes are read and written again where they are needed.
    assert_eq!(back(&packed(r#""\u00e9\n\"\\\/""#)).as_deref(), Ok("\"é\\n\\\"\\\\/\""));
    let halves = r#"["\ud83d\ude00","\ud83d","\ude00x","\ud83d\u0041"]"#;
    assert_eq!(back(&packed(halves)).as_deref(), Ok("[\"😀\",\"\u{fffd}\",\"\u{fffd}x\",\"\u{fffd}A\"]"));
}

#[test]
fn what_is_not_one_or_the_other_has_an_error() {
    for json in
        ["", "{", "[1", "[1 2]", "{1:2}", "{\"a\" 1}", "tru", "1.", "01x", "\"a", "1 2", "--1", "+1", "01.5"]
    {
        assert_eq!(from_json(json.as_bytes(), &mut Vec::new()), Err(Error::NotJson), "{json}");
    }
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(packed(&deep).len(), 200_001);
    assert_eq!(back(&[0x91; 200]), Err(Error::TooDeep));
    for (packed, error) in [
        (&[][..], Error::NotMsgpack),
        (&[0xc1], Error::NotMsgpack),
        (&[0x92, 1], Error::NotMsgpack),
        (&[1, 2], Error::NotMsgpack),
        (&[0xdd, 0xff, 0xff, 0xff, 0xff], Error::NotMsgpack),
        (&[0xdb, 0xff, 0xff, 0xff, 0xff, b'a'], Error::NotMsgpack),
        (&[0xa1, 0xff], Error::NotMsgpack),
        (&[0xc4, 1, 1], Error::NotSayable("bytes")),
        (&[0x81, 1, 1], Error::NotSayable("a key that is not text")),
        (&[0xca, 0x7f, 0x80, 0, 0], Error::NotSayable("a number that is not finite")),
        (&[0xd4, 2, b'1'], Error::NotSayable("an extension that is not a number")),
        (&[0xd4, 1, b'x'], Error::NotSayable("an extension that is not a number")),
    ] {
        assert_eq!(back(packed), Err(error), "{packed:x?}");
    }
}

#[test]
fn random_values_come_back() {
    let mut rng = fastrand::Rng::with_seed(4);
    for _ in 0..3000 {
        let mut json = String::new();
        random(&mut rng, &mut json, 0);
        let again = back(&packed(&json)).unwrap();
        assert_eq!(again, json);
    }
    for _ in 0..20_000 {
        // Whatever it is, it does not panic, and what it says comes back as it is said.
        let bytes: Vec<u8> = (0..rng.usize(0..40)).map(|_| rng.u8(..)).collect();
        if let Ok(json) = back(&bytes) {
            assert_eq!(back(&packed(&json)).as_deref(), Ok(&*json));
        }
    }
}

fn random(rng: &mut fastrand::Rng, out: &mut String, depth: usize) {
    match rng.u8(..if depth < 4 { 9 } else { 6 }) {
        0 => out.push_str("null"),
        1 => out.push_str("true"),
        2 => out.push_str(&rng.i64(..).to_string()),
        3 => out.push_str(&format!("{}.{}", rng.i32(..), rng.u32(..))),
        4 => out.push_str(&serde_json::to_string(&rng.f64()).unwrap()),
        5 => {
            let text: String = (0..rng.usize(..20)).map(|_| rng.char('\u{1}'..'\u{2fff}')).collect();
            out.push_str(&serde_json::to_string(&text).unwrap());
        }
        kind => {
            let (open, close) = if kind == 6 { ('[', ']') } else { ('{', '}') };
            out.push(open);
            for n in 0..rng.usize(..20) {
                if n > 0 {
                    out.push(',');
                }
                if kind != 6 {
                    out.push_str(&format!("\"k{n}\":"));
                }
                random(rng, out, depth + 1);
            }
            out.push(close);
        }
    }
}
