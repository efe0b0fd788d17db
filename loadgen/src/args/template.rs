//! Texts with room for what a connection has of its own: `{conn}`, `{now_us}`, `{env:NAME}`, `{line:FILE}`, its topics.

use std::{cmp::Ordering, collections::BTreeMap, fmt::Write as _, fs, path::Path, sync::Arc};

/// A file of `{line:FILE}` is held whole.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Where a text stands, which says what it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// Path and query of a URL: nothing that ends it.
    Target,
    /// A header field's value (RFC 9110, 5.5): no CR, LF or other control character.
    Field,
    /// A subprotocol (RFC 9110, 5.6.2).
    Token,
    /// A message: anything.
    Message,
}

/// A text as every connection has its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Conn,
    NowUs,
    /// The line with the connection's number, modulo their count.
    Line(Arc<[String]>),
    /// The connection's topics: in a message a JSON list, elsewhere with commas.
    Topics(Syntax),
    /// One of its topics within so many JSON strings, and its number from 1.
    Topic {
        quotes: u32,
    },
    Place,
    /// What a message matched.
    Match,
}

/// What a connection puts into a [`Template`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Fill<'a> {
    /// Its number among all connections.
    pub conn: u32,
    /// µs since the Unix epoch.
    pub now_us: u64,
    pub topics: &'a [&'a str],
    pub matched: &'a str,
}

/// Reads templates; what `{line:FILE}` names is read once.
#[derive(Debug, Default)]
pub struct Templates {
    files: BTreeMap<String, Arc<[String]>>,
}

impl Templates {
    /// The text of `flag`. Braces around anything else stay as they are.
    pub fn parse(&mut self, flag: &str, text: &str, syntax: Syntax) -> Result<Template, String> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        let each = text.contains("{topic}");
        while let Some(at) = rest.find('{') {
            literal.push_str(&rest[..at]);
            rest = &rest[at..];
            let name = rest.find('}').map(|end| &rest[1..end]);
            let part = name.map(|name| self.part(flag, name, syntax, each)).transpose()?.flatten();
            let part = part.map(|part| match part {
                Part::Topic { .. } => Part::Topic { quotes: quotes(&text[..text.len() - rest.len()]) },
                part => part,
            });
            match (part, name) {
                (Some(Part::Text(value)), Some(name)) => {
                    literal.push_str(&value);
                    rest = &rest[name.len() + 2..];
                }
                (Some(part), Some(name)) => {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                    parts.push(part);
                    rest = &rest[name.len() + 2..];
                }
                _ => {
                    literal.push('{');
                    rest = &rest[1..];
                }
            }
        }
        literal.push_str(rest);
        parts.push(Part::Text(literal));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        for part in &parts {
            if let Part::Text(text) = part {
                fits(text, syntax).map_err(|why| format!("{flag} {text:?}: {why}"))?;
            }
        }
        Ok(Template(parts))
    }

    /// What `{name}` stands for; `None`: for itself.
    fn part(&mut self, flag: &str, name: &str, syntax: Syntax, each: bool) -> Result<Option<Part>, String> {
        let is_message = syntax == Syntax::Message;
        Ok(Some(match name {
            "conn" => Part::Conn,
            "now_us" if syntax != Syntax::Token => Part::NowUs,
            "topics" if syntax != Syntax::Token => Part::Topics(syntax),
            "topic" if is_message => Part::Topic { quotes: 0 },
            "place" if is_message && each => Part::Place,
            "match" if is_message => Part::Match,
            _ => match name.split_once(':') {
                Some(("env", variable)) => Part::Text(environment(flag, variable, syntax)?),
                Some(("line", path)) => Part::Line(self.lines(flag, path, syntax)?),
                _ => return Ok(None),
            },
        }))
    }

    fn lines(&mut self, flag: &str, path: &str, syntax: Syntax) -> Result<Arc<[String]>, String> {
        let place = |why: String| format!("{flag} {{line:{path}}}: {why}");
        let lines = match self.files.get(path) {
            Some(lines) => lines.clone(),
            None => {
                let lines = read_lines(Path::new(path)).map_err(place)?;
                self.files.entry(path.into()).or_insert(lines).clone()
            }
        };
        // A secret is not to be shown: the line's number will do.
        for (line, number) in lines.iter().zip(1..) {
            fits(line, syntax).map_err(|why| place(format!("line {number}: {why}")))?;
        }
        Ok(lines)
    }
}

/// The lines of a file that has a line for each connection, or one for all.
pub fn read_lines(path: &Path) -> Result<Arc<[String]>, String> {
    let failed = |error: std::io::Error| format!("{error}; name a file with a line each");
    let bytes = fs::metadata(path).map_err(failed)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!("{bytes} bytes are more than {FILE_BYTES_MAX}; split the file"));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    if text.is_empty() {
        return Err("the file has no line; write one for each connection, or one for all".into());
    }
    Ok(text.lines().map(str::to_owned).collect())
}

fn environment(flag: &str, variable: &str, syntax: Syntax) -> Result<String, String> {
    let place = |why: &str| format!("{flag} {{env:{variable}}}: {why}");
    let value = std::env::var(variable).map_err(|error| match error {
        std::env::VarError::NotPresent => place("the environment has no such variable; export it"),
        std::env::VarError::NotUnicode(_) => place("its value is not UTF-8; write it as UTF-8"),
    })?;
    fits(&value, syntax).map_err(|why| place(&why)).map(|()| value)
}

/// An error where `text` has what would end or change the place where it stands.
fn fits(text: &str, syntax: Syntax) -> Result<(), String> {
    let (bad, remedy): (fn(char) -> bool, _) = match syntax {
        Syntax::Message => return Ok(()),
        Syntax::Target => (|c| c.is_whitespace() || c.is_control() || c == '#', "percent-encode it"),
        Syntax::Field => (|c| c.is_control() && c != '\t', "a header's value is one line; leave it out"),
        Syntax::Token => (
            |c| !is_token(c),
            "write letters, digits and !#$%&'*+-.^_`|~, and repeat the flag for more than one",
        ),
    };
    match text.chars().find(|c| bad(*c)) {
        Some(c) => Err(format!("{c:?} cannot stand there; {remedy}")),
        None => Ok(()),
    }
}

/// How many JSON strings, each within the one before, are open where `text` ends. The quote of a string within
/// another has a backslash, that of one within that has three.
fn quotes(text: &str) -> u32 {
    let (mut open, mut backslashes) = (0, 0);
    for b in text.bytes() {
        match b {
            b'\\' => backslashes += 1,
            b'"' => {
                let level = (backslashes + 1_u32).trailing_zeros();
                let is_quote = (backslashes + 1).is_power_of_two();
                match level.cmp(&open) {
                    Ordering::Equal if is_quote => open += 1,
                    Ordering::Less if is_quote => open = level,
                    _ => {}
                }
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
    }
    open
}

/// `text` as it is written within so many JSON strings.
fn in_strings(text: &str, quotes: u32) -> String {
    (0..quotes).fold(text.to_owned(), |text, _| {
        let quoted = serde_json::json!(text).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    })
}

/// `text` in a URL's path or query (RFC 3986, 2.1); in a header field only what cannot stand there is encoded.
fn percent_encoded(text: &str, syntax: Syntax) -> String {
    let stays = |b: u8| match syntax {
        Syntax::Target => b.is_ascii_alphanumeric() || b"-._~*:/@!$'();".contains(&b),
        _ => !b.is_ascii_control(),
    };
    let mut out = Vec::new();
    for b in text.bytes() {
        if stays(b) { out.push(b) } else { out.extend(format!("%{b:02X}").bytes()) }
    }
    String::from_utf8(out).expect("bytes that stay are those of whole characters")
}

/// Whether `c` may stand in a token (RFC 9110, 5.6.2).
pub fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

impl Template {
    /// Whether it says where a connection's topics are put.
    pub fn has_topics(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Topics(_) | Part::Topic { .. }))
    }

    /// The text; of one with `{topic}`, see [`Template::texts`].
    pub fn text(&self, fill: &Fill<'_>) -> String {
        self.of_topic(fill, "", 0)
    }

    /// The text; with `{topic}` one for each topic.
    pub fn texts(&self, fill: &Fill<'_>) -> Vec<String> {
        if !self.0.iter().any(|part| matches!(part, Part::Topic { .. })) {
            return vec![self.text(fill)];
        }
        fill.topics.iter().zip(1..).map(|(topic, place)| self.of_topic(fill, topic, place)).collect()
    }

    fn of_topic(&self, fill: &Fill<'_>, topic: &str, place: u32) -> String {
        let mut out = String::new();
        for part in &self.0 {
            // A string takes all that is written to it.
            let _ = match part {
                Part::Text(text) => out.write_str(text),
                Part::Conn => write!(out, "{}", fill.conn),
                Part::NowUs => write!(out, "{}", fill.now_us),
                Part::Line(lines) => out.write_str(&lines[fill.conn as usize % lines.len()]),
                Part::Topics(Syntax::Message) => write!(out, "{}", serde_json::json!(fill.topics)),
                Part::Topics(syntax) => {
                    let topics: Vec<String> =
                        fill.topics.iter().map(|topic| percent_encoded(topic, *syntax)).collect();
                    out.write_str(&topics.join(","))
                }
                Part::Topic { quotes } => out.write_str(&in_strings(topic, *quotes)),
                Part::Place => write!(out, "{place}"),
                Part::Match => out.write_str(fill.matched),
            };
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, syntax: Syntax) -> Result<Template, String> {
        Templates::default().parse("--flag", text, syntax)
    }

    fn texts(text: &str) -> Vec<String> {
        let fill = Fill { conn: 7, now_us: 1234, topics: &["a.b", "c"], matched: "m" };
        parse(text, Syntax::Message).unwrap().texts(&fill)
    }

    #[test]
    fn a_text_names_what_a_connection_has_of_its_own() {
        assert_eq!(texts(r#"{"watch":{topics}}"#), [r#"{"watch":["a.b","c"]}"#]);
        assert_eq!(texts("SUB {topic} {place}\r\n"), ["SUB a.b 1\r\n", "SUB c 2\r\n"]);
        assert_eq!(texts("SUB in.{conn} 1 {now_us}"), ["SUB in.7 1 1234"]);
        assert_eq!(texts(r#"{"pong":{match},"{x}":{place}"#), [r#"{"pong":m,"{x}":{place}"#]);
        assert_eq!(texts("{\"verbose\":false}"), ["{\"verbose\":false}"]);
        assert_eq!(texts("{env:CARGO_PKG_NAME}{"), ["loadgen{"]);
    }

    #[test]
    fn a_url_has_its_topics_with_commas_and_a_message_as_json() {
        let fill = Fill { topics: &["a", "b"], ..Fill::default() };
        assert_eq!(parse("/ws?t={topics}&{topic}", Syntax::Target).unwrap().text(&fill), "/ws?t=a,b&{topic}");
    }

    #[test]
    fn a_topic_is_written_as_the_place_where_it_stands_demands() {
        let fill = Fill { topics: &[r#"t(s:"A")"#, "user#42 é"], ..Fill::default() };
        let say = |text| parse(text, Syntax::Message).unwrap().texts(&fill).remove(0);
        assert_eq!(say("SUB {topic} 1"), r#"SUB t(s:"A") 1"#);
        assert_eq!(say(r#"{"a":"\"","query":"{ {topic} }"}"#), r#"{"a":"\"","query":"{ t(s:\"A\") }"}"#);
        assert_eq!(say(r#"{"i":"{\"c\":\"{topic}\"}"}"#), r#"{"i":"{\"c\":\"t(s:\\\"A\\\")\"}"}"#);
        assert_eq!(say(r#"{"i":"{\"c\":\"x\"}{topic}"}"#), r#"{"i":"{\"c\":\"x\"}t(s:\"A\")"}"#);
        let target = parse("/ws?t={topics}", Syntax::Target).unwrap().text(&fill);
        assert_eq!(target, "/ws?t=t(s:%22A%22),user%2342%20%C3%A9");
        let fill = Fill { topics: &["a\r\nX: é"], ..fill };
        assert_eq!(parse("{topics}", Syntax::Field).unwrap().text(&fill), "a%0D%0AX: é");
    }

    #[test]
    fn a_connection_has_its_own_line_of_a_file() {
        let path = std::env::temp_dir().join(format!("loadgen-lines-{}", fastrand::u64(..)));
        fs::write(&path, "one\r\ntwo\nthree\n").unwrap();
        let template = parse(&format!("<{{line:{}}}>", path.display()), Syntax::Field).unwrap();
        let of = |conn| template.text(&Fill { conn, ..Fill::default() });
        assert_eq!([0, 1, 2, 3].map(of), ["<one>", "<two>", "<three>", "<one>"]);
        fs::write(&path, "one\nt wo\n").unwrap();
        let refusal = parse(&format!("/{{line:{}}}", path.display()), Syntax::Target).unwrap_err();
        assert!(refusal.contains("line 2") && refusal.contains("percent-encode"), "{refusal}");
        fs::write(&path, "").unwrap();
        assert!(
            parse(&format!("{{line:{}}}", path.display()), Syntax::Field).unwrap_err().contains("no line")
        );
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_would_end_its_place_is_refused_with_a_remedy() {
        for (text, syntax, told) in [
            ("a\r\nX: y", Syntax::Field, "one line"),
            ("/ws?a b", Syntax::Target, "percent-encode"),
            ("a, b", Syntax::Token, "repeat the flag"),
            ("{now_us}", Syntax::Token, "'{' cannot"),
            ("{env:LOADGEN_HAS_NO_SUCH}", Syntax::Message, "export it"),
            ("{line:/no/such/file}", Syntax::Message, "No such file"),
        ] {
            let refusal = parse(text, syntax).expect_err(text);
            assert!(refusal.starts_with("--flag") && refusal.contains(told), "{refusal}");
        }
    }
}
