//! What the environment says of a configuration: keys that it names, and texts that a file takes from it.
//!
//! `FANWIRE_SERVER__DATA=127.0.0.1:80` is `data` in `[server]`, in place of what the file says. The value is TOML where
//! it reads as such, else a text. `{env:NAME}` in a text of the file stands for the value of `NAME`.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fmt::{self, Debug, Formatter},
    iter,
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::value::json;

/// Variables by their names.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

/// Their names: the values may be secrets.
impl Debug for Environment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

const PREFIX: &str = "FANWIRE_";
/// Between section and key. A name without is no key.
const BETWEEN: &str = "__";
pub const TEXT_BEGIN: &str = "{env:";

impl Environment {
    /// Of this process. An error: one that names a key is not UTF-8.
    pub fn of_process() -> Result<Self, String> {
        Self::of(env::vars_os())
    }

    fn of(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Self, String> {
        let mut utf8 = BTreeMap::new();
        for (name, value) in variables {
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => drop(utf8.insert(name, value)),
                (Ok(name), Err(_)) if is_key(&name) => {
                    return Err(format!("{name}: its value is not UTF-8; write text"));
                }
                // Nobody's.
                _ => {}
            }
        }
        Ok(Self(utf8))
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The variables that name keys.
    fn keys(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter(move |(name, _)| is_key(name)).map(|(name, value)| (&**name, &**value))
    }
}

fn is_key(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|rest| rest.contains(BETWEEN))
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// A file's text, and a line for each variable that names a key.
pub struct Layered {
    /// The file, then those lines.
    text: String,
    file_bytes: usize,
    /// Those lines where they stand in `text`, behind blanks.
    over: String,
    /// The variable of each; one whose value has more lines has as many.
    names: Vec<String>,
}

impl Layered {
    /// An error is of a variable that names no key.
    pub fn new(file: &str, environment: &Environment) -> Result<Self, String> {
        let (mut lines, mut names) = (String::new(), Vec::new());
        for (name, value) in environment.keys() {
            let (section, key) = section_and_key(name).ok_or_else(|| {
                format!("{name}: no such key; write {PREFIX}, the section, {BETWEEN} and the key in capitals")
            })?;
            let value = as_toml(value);
            let extent = 1 + value.bytes().filter(|byte| *byte == b'\n').count();
            lines.push_str(&format!("\n{section}.{key} = {value}"));
            names.extend(iter::repeat_n(name.to_owned(), extent));
        }
        let over = iter::repeat_n(' ', file.len()).chain(lines.chars()).collect();
        Ok(Self { text: format!("{file}{lines}"), file_bytes: file.len(), over, names })
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn file(&self) -> &str {
        &self.text[..self.file_bytes]
    }

    /// Keys of the variables. Its spans are places in [`Layered::text`].
    pub fn over(&self) -> &str {
        &self.over
    }

    /// What a line is of: `gateway.toml:3`, or a variable.
    pub fn place(&self, file_name: &str, line: usize) -> String {
        let first = 2 + self.file().bytes().filter(|byte| *byte == b'\n').count();
        match line.checked_sub(first).and_then(|nth| self.names.get(nth)) {
            Some(variable) => variable.clone(),
            None => format!("{file_name}:{line}"),
        }
    }
}

fn section_and_key(name: &str) -> Option<(String, String)> {
    let (section, key) = name.strip_prefix(PREFIX)?.split_once(BETWEEN)?;
    let is_word = |word: &str| {
        let is_of_words = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        !word.is_empty() && word.chars().all(is_of_words) && !word.contains(BETWEEN)
    };
    (is_word(section) && is_word(key)).then(|| (section.to_lowercase(), key.to_lowercase()))
}

fn as_toml(value: &str) -> String {
    let is_value = format!("v = {value}").parse::<toml::Table>().is_ok_and(|table| table.len() == 1);
    if is_value { value.to_owned() } else { json(value) }
}

/// Puts the values of variables in place of `{env:NAME}` in every text. `tell` is told where one is not set, by the
/// offset of the text in the file.
pub fn put_in(table: &mut DeTable<'_>, environment: &Environment, tell: &mut impl FnMut(usize, String)) {
    for (_, value) in table.iter_mut() {
        put_in_value(value, environment, tell);
    }
}

fn put_in_value(
    value: &mut Spanned<DeValue<'_>>,
    environment: &Environment,
    tell: &mut impl FnMut(usize, String),
) {
    let offset = value.span().start;
    match value.get_mut() {
        DeValue::String(text) if text.contains(TEXT_BEGIN) => match filled(text, environment) {
            Ok(filled) => *text = filled.into(),
            Err(error) => tell(offset, error),
        },
        DeValue::Array(values) => values.iter_mut().for_each(|value| put_in_value(value, environment, tell)),
        DeValue::Table(table) => put_in(table, environment, tell),
        _ => {}
    }
}

fn filled(text: &str, environment: &Environment) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, begun)) = rest.split_once(TEXT_BEGIN) {
        let (name, after) = begun.split_once('}').ok_or_else(|| format!("{TEXT_BEGIN} without its }}"))?;
        let value = environment.get(name).ok_or_else(|| {
            format!("{TEXT_BEGIN}{name}}}: the environment has no variable {name}; set it, or write the text itself")
        })?;
        out.push_str(before);
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().copied().collect()
    }

    #[test]
    fn a_value_is_toml_where_it_reads_as_such_and_else_a_text() {
        let toml = |value| as_toml(value);
        assert_eq!(toml("3"), "3");
        assert_eq!(toml("true"), "true");
        assert_eq!(toml("[0, 1]"), "[0, 1]");
        assert_eq!(toml("\"a\""), "\"a\"");
        assert_eq!(toml("0.0.0.0:9001"), "\"0.0.0.0:9001\"");
        assert_eq!(toml("64KiB"), "\"64KiB\"");
        assert_eq!(toml(""), "\"\"");
        assert_eq!(toml("1\n[server]\nx = 2"), "\"1\\n[server]\\nx = 2\"");
        assert_eq!(toml("a#b"), "\"a#b\"");
        assert_eq!(toml("\"a#b\""), "\"a#b\"");
        assert_eq!(toml("3 # three"), "3 # three");
        assert_eq!(toml("[0,\n1]"), "[0,\n1]");
        assert_eq!(toml("a\nb"), "\"a\\nb\"");
    }

    #[cfg(unix)]
    #[test]
    fn a_key_whose_value_is_not_utf8_is_refused_and_what_names_no_key_is_nobodys() {
        use std::os::unix::ffi::OsStringExt;
        let of = |name: &str| Environment::of([(name.into(), OsString::from_vec(vec![0xff]))].into_iter());
        assert!(
            of("FANWIRE_SERVER__DATA")
                .err()
                .unwrap()
                .contains("FANWIRE_SERVER__DATA: its value is not UTF-8")
        );
        assert!(of("HOME").is_ok());
    }

    #[test]
    fn a_line_says_whether_it_is_of_the_file_or_of_a_variable() {
        let variables =
            environment(&[("FANWIRE_SERVER__DATA", "x"), ("FANWIRE_LIMITS__PING", "1s"), ("HOME", "/")]);
        let layered = Layered::new("[server]\nshards = 1\n", &variables).unwrap();
        assert_eq!(layered.place("a.toml", 2), "a.toml:2");
        assert_eq!(layered.place("a.toml", 4), "FANWIRE_LIMITS__PING");
        assert_eq!(layered.place("a.toml", 5), "FANWIRE_SERVER__DATA");
        assert_eq!(layered.text().lines().nth(4), Some("server.data = \"x\""));
        let variables =
            environment(&[("FANWIRE_SERVER__CPUS", "[0,\n1]"), ("FANWIRE_SERVER__DATA", "\"a\"")]);
        let layered = Layered::new("", &variables).unwrap();
        let places = [2, 3, 4].map(|line| layered.place("a.toml", line));
        assert_eq!(places, ["FANWIRE_SERVER__CPUS", "FANWIRE_SERVER__CPUS", "FANWIRE_SERVER__DATA"]);
    }

    #[test]
    fn what_names_no_key_is_refused_and_what_has_no_double_underscore_is_not_looked_at() {
        let refused = |name| Layered::new("", &environment(&[(name, "1")])).is_err();
        assert!(refused("FANWIRE_SERVER__"));
        assert!(refused("FANWIRE___DATA"));
        assert!(refused("FANWIRE_SERVER__DATA__PORT"));
        assert!(refused("FANWIRE_SERVER__data"));
        assert!(!refused("FANWIRE_CONFIG") && !refused("SERVER__DATA"));
    }

    #[test]
    fn texts_take_variables_and_say_which_is_missing() {
        let variables = environment(&[("A", "1"), ("B", "{env:A}")]);
        assert_eq!(filled("x{env:A}y{env:B}", &variables), Ok("x1y{env:A}".to_owned()));
        assert!(filled("{env:C}", &variables).unwrap_err().contains("no variable C"));
        assert!(filled("{env:A", &variables).unwrap_err().contains("without its }"));
    }
}
