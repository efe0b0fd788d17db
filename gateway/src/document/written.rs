//! Values as a file writes them, where texts in them take something from the environment: what is printed shows that
//! they do, and not what.

use std::{collections::BTreeMap, fmt};

use toml::{Table, Value};

use super::environment::{Environment, TEXT_BEGIN};

/// A shorter value of a variable would be found by chance.
const VALUE_BYTES_MIN: usize = 4;

/// What a file names, and what its texts take from the environment.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// By where it stands, as `server.data` or `source[0].map[1].topic`: the value as TOML, where it takes something.
    values: BTreeMap<String, Option<String>>,
    /// Of the variables.
    taken: Vec<String>,
}

/// `Debug` does not tell what was taken: it may be secret.
impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Written").field("taken", &self.taken.len()).finish_non_exhaustive()
    }
}

impl Written {
    /// Of a file that is TOML. Keys of `over`, which the environment names, take the place of the file's.
    pub fn of(file: &str, over: &str, environment: &Environment) -> Self {
        let parse = |text: &str| text.parse::<Table>().unwrap_or_default();
        let mut written = Self::default();
        for (name, value) in &parse(file) {
            written.collect(name, value, environment);
        }
        if !written.values.values().any(Option::is_some) {
            // Everything is shown as it is.
            return Self::default();
        }
        for (section, keys) in parse(over) {
            let keys = keys.as_table().into_iter().flat_map(Table::keys);
            written.values.extend(keys.map(|key| (format!("{section}.{key}"), None)));
        }
        written
    }

    /// Whether a text in `value`, which stands at `path`, takes something from the environment.
    fn collect(&mut self, path: &str, value: &Value, environment: &Environment) -> bool {
        let mut is_filled = false;
        match value {
            Value::String(text) => {
                for (name, _) in text.split(TEXT_BEGIN).skip(1).filter_map(|rest| rest.split_once('}')) {
                    is_filled = true;
                    let value = environment.get(name).filter(|value| value.len() >= VALUE_BYTES_MIN);
                    self.taken.extend(value.map(str::to_owned));
                }
            }
            Value::Array(values) => {
                for (at, value) in values.iter().enumerate() {
                    is_filled |= self.collect(&format!("{path}[{at}]"), value, environment);
                }
            }
            Value::Table(table) => {
                for (key, value) in table {
                    is_filled |= self.collect(&format!("{path}.{key}"), value, environment);
                }
            }
            _ => {}
        }
        self.values.insert(path.to_owned(), is_filled.then(|| value.to_string()));
        is_filled
    }

    /// How to print `value`, which stands at `path`. `None`: not at all, as it follows from what was taken.
    pub fn shown<'a>(&'a self, path: &str, value: &'a str) -> Option<&'a str> {
        match self.values.get(path) {
            Some(written) => Some(written.as_deref().unwrap_or(value)),
            None => (!self.taken.iter().any(|taken| value.contains(&**taken))).then_some(value),
        }
    }
}

/// Where what is being printed stands, by the headers of its tables.
#[derive(Debug, Default)]
pub struct Place {
    /// Of the table at hand.
    table: String,
    /// Of the last table of each name.
    tables: BTreeMap<String, String>,
    /// Tables of each list.
    counts: BTreeMap<String, usize>,
}

impl Place {
    /// A table begins: `[server]`, `[[source.map]]`.
    pub fn enter(&mut self, header: &str) {
        let name = header.trim_matches(['[', ']']);
        let base = match name.rsplit_once('.') {
            Some((outer, own)) => {
                let outer = self.tables.get(outer).map_or(outer, String::as_str);
                format!("{outer}.{own}")
            }
            None => name.to_owned(),
        };
        self.table = base.clone();
        if header.starts_with("[[") {
            let count = self.counts.entry(base).or_default();
            self.table.push_str(&format!("[{count}]"));
            *count += 1;
        }
        self.tables.insert(name.to_owned(), self.table.clone());
    }

    pub fn of(&self, key: &str) -> String {
        format!("{}.{key}", self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_where_it_is_printed_as_it_is_written() {
        let file = "[server]\ndata = \"{env:H}:1\"\ndrain = \"1s\"\n[[source]]\nurl = \"a\"\n[[source]]\n\
                    send = [\"x\", '{env:T}']\n[[source.map]]\ntopic = \"t\"\n[[source.map]]\ntopic = \"{env:T}\"\n";
        let environment: Environment =
            [("H", "1.2.3.4"), ("T", "topic"), ("U", "other")].into_iter().collect();
        let written = Written::of(file, "\nserver.drain = \"topic\"", &environment);
        let mut place = Place::default();
        let filled = "\"topic\"";
        for (header, key, shown) in [
            ("[server]", "data", Some("\"{env:H}:1\"")),
            // The environment names it.
            ("[server]", "drain", Some(filled)),
            ("[[source]]", "url", Some(filled)),
            ("[[source]]", "send", Some("[\"x\", \"{env:T}\"]")),
            ("[[source.map]]", "topic", Some(filled)),
            ("[[source.map]]", "topic", Some("\"{env:T}\"")),
        ] {
            place.enter(header);
            assert_eq!(written.shown(&place.of(key), filled), shown, "{header} {key}");
        }
        assert_eq!(format!("{written:?}"), "Written { taken: 3, .. }");
        // Nobody names these. The first follows from what was taken.
        assert_eq!(written.shown("source[1].topics", "[\"topic\"]"), None);
        assert_eq!(written.shown("server.io", "\"other\""), Some("\"other\""));
    }
}
