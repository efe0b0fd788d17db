//! How every connection asks to be one: `--url`'s path, `--header`, `--subprotocol`, `--origin`, its token.

use proto::handshake;

use super::{
    Flags,
    template::{Fill, Syntax, Template, Templates, is_token},
    tokens::{self, Tokens},
};
use crate::server::url::Url;

/// Of fields that the handshake has itself, with the flags that set them.
const OWN: [(&str, &str); 11] = [
    ("sec-websocket-protocol", "use --subprotocol"),
    ("sec-websocket-extensions", "use --deflate"),
    ("origin", "use --origin"),
    ("sec-websocket-key", "leave it out"),
    ("sec-websocket-version", "leave it out"),
    ("sec-websocket-accept", "leave it out"),
    ("upgrade", "leave it out"),
    ("connection", "leave it out"),
    ("content-length", "leave it out"),
    ("transfer-encoding", "leave it out"),
    ("trailer", "leave it out"),
];

const MSGPACK: &str = "fanwire.msgpack.v1";

/// The opening request, but for its key.
#[derive(Debug, Clone)]
pub struct Opening {
    host: Template,
    target: Template,
    fields: Vec<(String, Template)>,
    pub tokens: Option<Tokens>,
    /// In order of preference.
    subprotocols: Vec<Template>,
    /// The server must choose one of them, as a browser demands it.
    must_agree: bool,
    /// It must choose this one: what it says is read as that.
    must_choose: Option<&'static str>,
}

impl Opening {
    /// `other_protocol`: the server does not speak Fanwire's.
    pub fn of(
        flags: &Flags,
        url: &Url,
        other_protocol: bool,
        templates: &mut Templates,
    ) -> Result<Self, String> {
        let mut opening = Self {
            host: templates.parse("--url", &url.host, Syntax::Field)?,
            target: templates.parse("--url", &url.target, Syntax::Target)?,
            fields: Vec::new(),
            tokens: tokens::of(flags)?,
            subprotocols: Vec::new(),
            must_agree: !flags.subprotocol.is_empty(),
            must_choose: Some(MSGPACK).filter(|_| flags.msgpack && !other_protocol),
        };
        let mut has_host = false;
        for text in &flags.header {
            let (name, value) = field(text)?;
            let value = templates.parse(&format!("--header {name}:"), value, Syntax::Field)?;
            if name.eq_ignore_ascii_case("authorization") && opening.tokens.is_some() {
                return Err(
                    "--header Authorization: --token, --token-file or --token-key writes it; leave one out"
                        .into(),
                );
            }
            if !name.eq_ignore_ascii_case("host") {
                opening.fields.push((name.to_owned(), value));
            } else if std::mem::replace(&mut has_host, true) {
                return Err("--header Host: a request has one Host; write it once".into());
            } else {
                opening.host = value;
            }
        }
        if let Some(origin) = &flags.origin {
            if origin != "null" && !origin.contains("://") && !origin.contains('{') {
                return Err(format!("--origin {origin}: write https://HOST, as a browser does, or null"));
            }
            opening.fields.push(("Origin".into(), templates.parse("--origin", origin, Syntax::Field)?));
        }
        let own = if flags.msgpack { MSGPACK } else { "fanwire.json.v1" };
        let own = Some(own.to_owned()).filter(|own| !other_protocol && !flags.subprotocol.contains(own));
        for name in own.iter().chain(&flags.subprotocol) {
            if name.is_empty() {
                return Err("--subprotocol: a name is missing; write for example --subprotocol NAME".into());
            }
            opening.subprotocols.push(templates.parse("--subprotocol", name, Syntax::Token)?);
        }
        Ok(opening)
    }

    /// Whether it says where a connection's topics are put.
    pub fn has_topics(&self) -> bool {
        self.target.has_topics() || self.fields.iter().any(|(_, value)| value.has_topics())
    }

    /// Appends the request of one connection to `out`; `deflate`: it offers permessage-deflate.
    pub fn request(&self, out: &mut Vec<u8>, nonce: [u8; 16], deflate: bool, fill: &Fill<'_>) {
        let names: Vec<String> = self.subprotocols.iter().map(|name| name.text(fill)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let fields = self.fields(fill);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
        let (host, target) = (self.host.text(fill), self.target.text(fill));
        handshake::request_with(out, &host, &target, nonce, &names, deflate, &fields);
    }

    /// The same for a stream over HTTP; `query`: what it asks for.
    pub fn request_stream(&self, out: &mut Vec<u8>, query: &str, last_id: Option<&str>, fill: &Fill<'_>) {
        let (host, target) = (self.host.text(fill), self.target.text(fill));
        let mut head =
            format!("GET {target}?{query} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n");
        let last_id = last_id.map(|id| ("Last-Event-ID", id.to_owned()));
        for (name, value) in self.fields(fill).into_iter().chain(last_id) {
            head += &format!("{name}: {value}\r\n");
        }
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    fn fields(&self, fill: &Fill<'_>) -> Vec<(&str, String)> {
        let token = self.tokens.as_ref().map(|tokens| tokens.token(fill.conn, fill.topics));
        let bearer = token.map(|token| ("Authorization", format!("Bearer {token}")));
        let fields = self.fields.iter().map(|(name, value)| (&**name, value.text(fill)));
        fields.chain(bearer).collect()
    }

    /// An error where the server's choice for connection `conn` is none of the `--subprotocol`s, or not
    /// MessagePack where that is to be spoken.
    pub fn agree(&self, chosen: Option<&str>, conn: u32) -> Result<(), String> {
        let fill = Fill { conn, ..Fill::default() };
        match chosen {
            _ if self.must_choose.is_some_and(|name| chosen != Some(name)) => {
                Err(format!("the server does not speak {MSGPACK}"))
            }
            _ if !self.must_agree => Ok(()),
            None => Err("the server chose none of the subprotocols".into()),
            Some(chosen) if self.subprotocols.iter().any(|name| name.text(&fill) == chosen) => Ok(()),
            Some(chosen) => Err(format!("the server chose {chosen}, which is no --subprotocol")),
        }
    }
}

/// `NAME: VALUE`.
fn field(text: &str) -> Result<(&str, &str), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| format!("--header {text:?}: write NAME: VALUE, for example 'X-Api-Key: abc'"))?;
    if name.is_empty() || !name.chars().all(is_token) {
        return Err(format!(
            "--header {name:?}: is no header's name; write letters, digits and -, then a colon"
        ));
    }
    match OWN.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)) {
        Some((_, remedy)) => Err(format!("--header {name}: the handshake has its own; {remedy}")),
        None => Ok((name, value.trim_matches([' ', '\t']))),
    }
}

#[cfg(test)]
mod tests {
    use crate::args::{Args, parse_with_scenario, template::Fill};

    fn check(flags: &[&str]) -> Result<Args, String> {
        let base = ["loadgen", "--url", "ws://127.0.0.1:1/a/{conn}?t=1"];
        let words: Vec<String> = base.iter().chain(flags).map(|word| (*word).to_owned()).collect();
        Args::check(parse_with_scenario(&words).unwrap())
    }

    fn request(flags: &[&str]) -> String {
        let mut out = Vec::new();
        let (opening, fill) = (check(flags).unwrap().opening, Fill { conn: 3, ..Fill::default() });
        opening.request(&mut out, [0; 16], false, &fill);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_request_has_what_the_flags_add_and_a_host_of_their_choice() {
        let more =
            ["--header", "X-User: u{conn}", "--header", "host: example.com", "--origin", "https://a.b"];
        let request = request(&[&["--send", "x"], &more[..]].concat());
        assert!(request.starts_with("GET /a/3?t=1 HTTP/1.1\r\nHost: example.com\r\n"), "{request}");
        assert!(request.contains("\r\nX-User: u3\r\nOrigin: https://a.b\r\n\r\n"), "{request}");
        assert!(!request.contains("127.0.0.1") && !request.contains("Sec-WebSocket-Protocol"), "{request}");
    }

    #[test]
    fn subprotocols_stand_in_their_order_behind_fanwires_own() {
        let two = ["--subprotocol", "b", "--subprotocol", "a"];
        let named = |flags: &[&str]| {
            let request = request(&[flags, &two].concat());
            request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: ")).unwrap().to_owned()
        };
        assert_eq!(named(&["--send", "x"]), "b, a");
        assert_eq!(named(&["--topics", "t"]), "fanwire.json.v1, b, a");
        assert_eq!(named(&["--topics", "t", "--subprotocol", "fanwire.json.v1"]), "fanwire.json.v1, b, a");
        let opening = check(&[&["--send", "x"], &two[..]].concat()).unwrap().opening;
        assert!(opening.agree(Some("a"), 0).is_ok());
        assert!(opening.agree(None, 0).unwrap_err().contains("none of"));
        assert!(opening.agree(Some("c"), 0).unwrap_err().contains("chose c"));
    }

    #[test]
    fn what_the_handshake_needs_and_what_smuggles_is_refused_with_a_remedy() {
        for (flag, value, told) in [
            ("--header", "no colon", "NAME: VALUE"),
            ("--header", "a b: c", "no header's name"),
            ("--header", "X-A: b\r\nX-C: d", "one line"),
            ("--header", "sec-websocket-protocol: x", "--subprotocol"),
            ("--header", "Origin: x", "--origin"),
            ("--header", "Connection: close", "leave it out"),
            ("--header", "X-A: {env:LOADGEN_HAS_NO_SUCH}", "export it"),
            ("--origin", "example.com", "https://HOST"),
            ("--subprotocol", "a b", "repeat the flag"),
            ("--subprotocol", "", "missing"),
        ] {
            let refusal = check(&["--send", "x", flag, value]).expect_err(value);
            assert!(refusal.starts_with(flag) && refusal.contains(told), "{refusal}");
        }
        assert!(check(&["--send", "x", "--header", "Host: a", "--header", "HOST: b"]).is_err());
    }
}
