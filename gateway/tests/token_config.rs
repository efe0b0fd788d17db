//! What `[access]` says of tokens: every mistake is named by line, and what was read is printed again.
#![forbid(unsafe_code)]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Duration,
};

use engine::access::rules::Place;
use gateway::{config::Config, system::Machine};

const SECRET: &str = "a secret of thirty-two bytes, or a little more than that";

/// With a directory of its own, where `secret`, `short` and `jwks.json` stand.
fn parse(text: &str) -> Result<Config, Vec<String>> {
    let machine = Machine { cpus: vec![0, 1], nofile_hard: 20_000, no_io_uring: None, cpus_busy: 2 };
    Config::parse(text, "x.toml", &DIRECTORY, &machine).map_err(|refused| refused.0)
}

/// Written once, since tests read it at the same time.
static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("token-config-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let jwk = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    for (name, content) in [
        ("secret", SECRET),
        ("short", "too short"),
        ("jwks.json", &*format!("{{\"keys\":[{jwk}]}}")),
        ("none.json", "{}"),
    ] {
        fs::write(directory.join(name), content).unwrap();
    }
    directory
});

/// The one complaint about `text`.
fn refused(text: &str) -> String {
    let complaints = parse(text).expect_err(text);
    assert_eq!(complaints.len(), 1, "{complaints:?}");
    complaints[0].clone()
}

const KEY: &str = "[[access.key]]\nalg = \"HS256\"\nsecret_file = \"secret\"\n";

#[test]
fn nothing_is_granted_and_nothing_known_by_default() {
    let config = parse("").unwrap();
    let tokens = &config.access.tokens;
    assert!(tokens.rules.is_open && tokens.keys.is_empty() && tokens.jwks.is_none());
    assert!(tokens.rules.anonymous.is_none() && tokens.rules.roles.is_empty());
    assert_eq!(tokens.rules.from, [Place::Authorization, Place::Subprotocol, Place::Op]);
    assert_eq!((tokens.rules.leeway_us, tokens.rules.lifetime_max_us), (30_000_000, Some(86_400_000_000)));
}

#[test]
fn what_was_read_is_printed_so_that_it_can_be_read_again_and_no_secret_is() {
    let text = format!(
        "[access]\nclients = \"token\"\norigins = [\"same-host\"]\ntoken_from = [\"cookie:s\", \"query:t\", \"op\"]\n\
         claim = \"/a/b\"\nissuer = [\"i\"]\naudience = [\"a\", \"b\"]\nleeway = \"1s\"\nlifetime_max = \"0s\"\n\
         jwks = \"jwks.json\"\njwks_refresh = \"1m\"\ncsrf_secret_file = \"secret\"\ncsrf_cookie = \"c\"\ncsrf_param = \"p\"\n\
         [access.anonymous]\n[access.everyone]\nsubscribe = [\"user.{{sub}}.*\"]\nauto = [\"conn.{{conn}}\"]\n\
         interval_ms_min = 100\n[[access.role]]\nwhen = {{ \"/groups\" = \"l2\", \"/level\" = 3 }}\npublish = [\"x\"]\n\
         [[access.key]]\nkid = \"k\"\nalg = \"HS384\"\nsecret_file = \"secret\"\n{KEY}"
    );
    let config = parse(&text).unwrap();
    let tokens = &config.access.tokens;
    assert_eq!((tokens.keys.len(), tokens.rules.lifetime_max_us), (2, None));
    assert_eq!(tokens.jwks.as_ref().unwrap().refresh, Duration::from_secs(60));
    assert_eq!(tokens.rules.csrf.as_ref().unwrap().param, "p");
    assert!(tokens.rules.anonymous.is_some());
    let machine = Machine { cpus: vec![0, 1], nofile_hard: 20_000, no_io_uring: None, cpus_busy: 2 };
    let printed = config.render(&machine);
    assert!(!printed.contains(SECRET) && !format!("{config:?}").contains(SECRET), "{printed}");
    let again = parse(&printed).unwrap_or_else(|complaints| panic!("{complaints:?} of {printed}"));
    assert_eq!(again.access.tokens, config.access.tokens);
    let url = parse("[access]\njwks = \"https://id.example:1/jwks?key=hidden\"\n").unwrap();
    let place = url.access.tokens.jwks.unwrap().place;
    assert_eq!(place.text(), "https://id.example:1/jwks?key=hidden");
    assert_eq!(place.to_string(), "https://id.example:1", "what logs show");
    let with_user = parse("[access]\njwks = \"https://user:hidden@id.example/\"\n").unwrap_err();
    assert!(!format!("{with_user:?}").contains("hidden"), "{with_user:?}");
}

#[test]
fn every_mistake_is_named_with_what_to_write() {
    let token = "[access]\nclients = \"token\"\n";
    for (text, line, wanted) in [
        (token.to_owned(), 2, "write [[access.key]]"),
        ("[access]\ntoken_from = [\"header\"]\n".to_owned(), 2, "\"cookie:NAME\""),
        ("[access]\ntoken_from = [\"cookie:\"]\n".to_owned(), 2, "\"cookie:NAME\""),
        ("[access]\ntoken_from = [\"cookie:s\"]\n".to_owned(), 2, "origins"),
        ("[access]\norigins = [\"any\"]\ntoken_from = [\"cookie:s\"]\n".to_owned(), 3, "origins"),
        ("[access]\ntoken_from = [\"certificate\"]\n".to_owned(), 2, "tls_client_ca"),
        ("[access]\nclaim = \"fanwire\"\n".to_owned(), 2, "/"),
        ("[access]\ncsrf_secret_file = \"secret\"\n".to_owned(), 2, "cookie:NAME"),
        (
            "[access]\norigins = []\ntoken_from = [\"cookie:s\"]\ncsrf_secret_file = \"short\"\n".to_owned(),
            4,
            "9 bytes",
        ),
        ("[access]\njwks = \"http://id.example/\"\n".to_owned(), 2, "https://HOST/PATH"),
        ("[access]\njwks = \"missing.json\"\n".to_owned(), 2, "No such file"),
        ("[access]\njwks = \"none.json\"\n".to_owned(), 2, "no set of keys"),
        ("[access.everyone]\nsubscribe = [\"a*\"]\n".to_owned(), 2, "a*"),
        ("[access.everyone]\nsubscribe = [\"{who}\"]\n".to_owned(), 2, "{who}"),
        ("[access.everyone]\nread = []\n".to_owned(), 2, "unknown key"),
        ("[[access.role]]\nsubscribe = [\"a\"]\n".to_owned(), 1, "when is missing"),
        ("[[access.role]]\nwhen = { groups = \"a\" }\n".to_owned(), 2, "/"),
        ("[[access.key]]\nsecret_file = \"secret\"\n".to_owned(), 1, "alg is missing"),
        ("[[access.key]]\nalg = \"none\"\nsecret_file = \"secret\"\n".to_owned(), 2, "HS256"),
        ("[[access.key]]\nalg = \"HS256\"\n".to_owned(), 1, "needs one of secret_file"),
        (format!("{KEY}secret_env = \"X\"\n"), 1, "needs one of secret_file"),
        ("[[access.key]]\nalg = \"HS256\"\nsecret_file = \"short\"\n".to_owned(), 1, "needs 32"),
        ("[[access.key]]\nalg = \"HS256\"\nsecret_file = \"missing\"\n".to_owned(), 1, "No such file"),
        ("[[access.key]]\nalg = \"RS256\"\nsecret_file = \"secret\"\n".to_owned(), 1, "public_file"),
        ("[[access.key]]\nalg = \"RS256\"\npublic_file = \"secret\"\n".to_owned(), 1, "BEGIN PUBLIC KEY"),
        ("[[access.key]]\nalg = \"HS256\"\nsecret_env = \"FANWIRE_TEST_NOT_SET\"\n".to_owned(), 1, "not set"),
    ] {
        let complaint = refused(&text);
        let begins = format!("x.toml:{line}: ");
        assert!(complaint.starts_with(&begins) && complaint.contains(wanted), "{text}: {complaint}");
        assert!(!complaint.contains("thirty-two"), "{complaint}");
    }
    assert!(parse(&format!("{token}[access.anonymous]\nsubscribe = [\"*\"]\n")).is_ok(), "no key is needed");
    assert!(parse(&format!("{token}{KEY}")).is_ok());
}

#[test]
fn what_grants_is_printed_under_its_heading_where_it_was_written() {
    let machine = Machine { cpus: vec![0, 1], nofile_hard: 20_000, no_io_uring: None, cpus_busy: 2 };
    let headings = ["[access.anonymous]", "[access.everyone]", "[[access.role]]"];
    let printed = |text: &str| {
        let printed = parse(text).unwrap().render(&machine);
        headings.map(|heading| printed.lines().filter(|line| *line == heading).count())
    };
    let role = "[[access.role]]\nwhen = { \"/a\" = \"b\" }\nsubscribe = [\"a.*\"]\n";
    assert_eq!(printed(""), [0, 0, 0]);
    assert_eq!(printed("[access.anonymous]\n[access.everyone]\n"), [1, 0, 0]);
    assert_eq!(printed(&format!("[access.everyone]\npublish = [\"b\"]\n{role}{role}")), [0, 1, 2]);
}
