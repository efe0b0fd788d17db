//! Reads a TOML document key by key and collects everything that is wrong with it, line by line.

use std::{fmt::Display, ops::RangeInclusive, time::Duration};

use engine::settings::{Field, Key, Keys, Kind, Value};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    environment::{Environment, Layered, put_in},
    value,
    words::{distance, excerpt, line_at, one_of},
};

/// A value and where the file names it; no line: it is the default.
#[derive(Debug, Clone)]
pub struct Named<T> {
    pub value: T,
    pub line: Option<usize>,
}

impl<T> Named<T> {
    /// The value of the file, else `default`, for defaults that depend on other keys.
    pub fn or(self, default: impl FnOnce(T) -> T) -> T {
        if self.line.is_some() { self.value } else { default(self.value) }
    }

    /// Another value of the same place.
    pub fn map<U>(&self, value: U) -> Named<U> {
        Named { value, line: self.line }
    }
}

/// Where the file names both and the lower one is the higher: the line of the lower one.
pub fn contradicts<T: PartialOrd>(lower: &Named<T>, higher: &Named<T>) -> Option<usize> {
    let line = higher.line.and(lower.line)?;
    (lower.value > higher.value).then_some(line)
}

/// A field of keys that were read, with where the file names it: `named!(section, keys.field)`.
macro_rules! named {
    ($section:expr, $keys:ident.$field:ident) => {
        $section.named(stringify!($field), $keys.$field.clone())
    };
}
pub(crate) use named;

/// Something wrong, and what to write instead.
#[derive(Debug)]
pub struct Problem {
    pub line: usize,
    pub text: String,
}

pub struct Reader<'a> {
    text: &'a str,
    environment: &'a Environment,
    root: DeTable<'a>,
    pub problems: Vec<Problem>,
    /// Every (section, key) that was asked for; what else the file holds is unknown.
    known: Vec<(&'static str, &'static str)>,
    /// Those that were left: section, key, line.
    unknown: Vec<(&'static str, String, usize)>,
}

impl<'a> Reader<'a> {
    /// A file, and over it what the environment says.
    pub fn new(layered: &'a Layered, environment: &'a Environment) -> Result<Self, Problem> {
        let text = layered.text();
        let parse = |part: &'a str| {
            let root = DeTable::parse(part).map_err(|e| {
                let line = line_at(text, e.span().map_or(0, |span| span.start));
                Problem { line, text: format!("not TOML: {}", e.message()) }
            });
            root.map(Spanned::into_inner)
        };
        let mut root = parse(layered.file())?;
        let mut problems = Vec::new();
        put_in(&mut root, environment, &mut |offset, text_of| {
            problems.push(Problem { line: line_at(text, offset), text: text_of });
        });
        let mut reader = Self { text, environment, root, problems, known: Vec::new(), unknown: Vec::new() };
        reader.lay_over(parse(layered.over())?);
        Ok(reader)
    }

    /// Keys of sections take the place of those that the file has.
    fn lay_over(&mut self, over: DeTable<'a>) {
        for (name, section) in over {
            let line = self.line(&section);
            let (Some(held), DeValue::Table(_)) = (self.root.get_mut(&name), section.get_ref()) else {
                self.root.insert(name, section);
                continue;
            };
            match (held.get_mut(), section.into_inner()) {
                (DeValue::Table(held), DeValue::Table(keys)) => held.extend(keys),
                _ => self.problem(
                    line,
                    format!("[[{}]]: the environment names keys of sections only", name.get_ref()),
                ),
            }
        }
    }

    /// The table `[name]`; where it is absent every key has its default.
    pub fn section(&mut self, name: &'static str) -> Section<'_, 'a> {
        let table = match self.root.remove(name) {
            Some(value) => self.table(name, value),
            None => Table::default(),
        };
        Section { reader: self, name, table, written: Vec::new() }
    }

    /// The tables `[[name]]`.
    pub fn sections(&mut self, name: &'static str) -> Vec<Table<'a>> {
        let Some(value) = self.root.remove(name) else { return Vec::new() };
        self.tables(name, value)
    }

    fn tables(&mut self, name: &'static str, value: Spanned<DeValue<'a>>) -> Vec<Table<'a>> {
        let line = self.line(&value);
        match value.into_inner() {
            DeValue::Array(array) => array.into_iter().map(|value| self.table(name, value)).collect(),
            _ => {
                self.problem(line, format!("{name} is a list of tables; write [[{name}]] above each"));
                Vec::new()
            }
        }
    }

    pub fn open(&mut self, name: &'static str, table: Table<'a>) -> Section<'_, 'a> {
        Section { reader: self, name, table, written: Vec::new() }
    }

    pub fn problem(&mut self, line: usize, text: String) {
        self.problems.push(Problem { line, text });
    }

    /// Reports keys and sections that nobody asked for. Comes last, when all that are known have been read.
    pub fn finish(&mut self, sections: &[&str]) {
        for (section, key, line) in std::mem::take(&mut self.unknown) {
            let hint = self.hint(section, &key);
            self.problem(line, format!("[{section}] {key}: unknown key; {hint}"));
        }
        for (name, value) in std::mem::take(&mut self.root) {
            let line = line_at(self.text, name.span().start);
            let name = name.into_inner();
            let text = match value.get_ref() {
                DeValue::Table(_) | DeValue::Array(_) => {
                    format!("[{name}] is unknown; {}", one_of(sections.iter().copied()))
                }
                _ => format!("{name} stands in no section; {}", self.hint("", &name)),
            };
            self.problem(line, text);
        }
    }

    /// Keys of a section that were asked for.
    #[cfg(test)]
    pub fn known_of(&self, section: &str) -> Vec<&'static str> {
        self.known.iter().filter(|(of, _)| *of == section).map(|(_, key)| *key).collect()
    }

    fn table(&mut self, name: &str, value: Spanned<DeValue<'a>>) -> Table<'a> {
        let line = self.line(&value);
        match value.into_inner() {
            DeValue::Table(keys) => Table { keys, line },
            _ => {
                self.problem(line, format!("{name} is a section; write [{name}] on a line of its own"));
                Table::default()
            }
        }
    }

    fn line(&self, value: &Spanned<DeValue<'_>>) -> usize {
        line_at(self.text, value.span().start)
    }

    /// What was probably meant by an unknown `key` of `section`.
    fn hint(&self, section: &str, key: &str) -> String {
        if let Some((section, _)) = self.known.iter().find(|(s, k)| *k == key && *s != section) {
            return format!("{key} belongs to [{section}]");
        }
        let here = self.known.iter().filter(|(s, _)| *s == section || section.is_empty()).map(|(_, k)| *k);
        let alike = |k: &&str| distance(key, k) <= 2 || k.starts_with(key) || key.starts_with(k);
        match here.clone().filter(alike).min_by_key(|k| distance(key, k)) {
            Some(k) => format!("did you mean {k}?"),
            None => one_of(here),
        }
    }
}

/// The keys of a table that nobody read yet.
#[derive(Default)]
pub struct Table<'a> {
    keys: DeTable<'a>,
    line: usize,
}

impl Table<'_> {
    /// Where it begins.
    pub fn line(&self) -> usize {
        self.line
    }
}

/// A table being read.
pub struct Section<'r, 'a> {
    reader: &'r mut Reader<'a>,
    name: &'static str,
    table: Table<'a>,
    /// Keys that were read and that the file names.
    written: Vec<Written>,
}

struct Written {
    key: &'static str,
    line: usize,
    /// Of its value; of a secret only that it is one.
    excerpt: String,
}

impl<'a> Section<'_, 'a> {
    /// Reads `key` with `convert`, whose error says what to write instead.
    pub fn read<T>(
        &mut self,
        key: &'static str,
        default: T,
        convert: impl FnOnce(DeValue<'a>) -> Result<T, String>,
    ) -> Named<T> {
        self.read_told(key, default, excerpt, convert)
    }

    /// `tell`: what errors show of the value as it is written.
    fn read_told<T>(
        &mut self,
        key: &'static str,
        default: T,
        tell: impl FnOnce(&str) -> String,
        convert: impl FnOnce(DeValue<'a>) -> Result<T, String>,
    ) -> Named<T> {
        self.reader.known.push((self.name, key));
        let Some(value) = self.table.keys.remove(key) else { return Named { value: default, line: None } };
        let line = self.reader.line(&value);
        self.written.push(Written { key, line, excerpt: tell(&self.reader.text[value.span()]) });
        let value = convert(value.into_inner()).unwrap_or_else(|instead| {
            self.refuse(key, &instead);
            default
        });
        Named { value, line: Some(line) }
    }

    /// The same of what errors must not show.
    pub fn read_hidden<T>(
        &mut self,
        key: &'static str,
        default: T,
        convert: impl FnOnce(DeValue<'a>) -> Result<T, String>,
    ) -> Named<T> {
        self.read_told(key, default, |_| "(secret)".to_owned(), convert)
    }

    /// The value of a key that nobody read yet, as the file has it: its texts say what they take from the environment.
    pub fn unfilled(&self, key: &str) -> Option<DeValue<'a>> {
        let value = self.table.keys.get(key)?;
        DeValue::parse(&self.reader.text[value.span()]).ok().map(Spanned::into_inner)
    }

    pub fn environment(&self) -> &'a Environment {
        self.reader.environment
    }

    /// The tables of the list `key`, which errors call `name`.
    pub fn sections(&mut self, key: &'static str, name: &'static str) -> Vec<Table<'a>> {
        self.reader.known.push((self.name, key));
        let Some(value) = self.table.keys.remove(key) else { return Vec::new() };
        self.reader.tables(name, value)
    }

    /// The table `key`, which errors call `name`. `None`: there is none.
    pub fn subtable(&mut self, key: &'static str, name: &'static str) -> Option<Table<'a>> {
        self.reader.known.push((self.name, key));
        let value = self.table.keys.remove(key)?;
        Some(self.reader.table(name, value))
    }

    /// A table within this one.
    pub fn open(&mut self, name: &'static str, table: Table<'a>) -> Section<'_, 'a> {
        self.reader.open(name, table)
    }

    /// The keys of a declaration.
    pub fn keys<T: Keys>(&mut self) -> T {
        T::from_values(|Key { name, kind, is_secret, .. }| {
            let tell = if *is_secret { |_: &str| "(secret)".to_owned() } else { excerpt };
            self.read_told(name, kind.default(), tell, |value| value::read(kind, value)).value
        })
    }

    fn value(&mut self, key: &'static str, kind: &Kind) -> Named<Value> {
        self.read(key, kind.default(), |value| value::read(kind, value))
    }

    /// A whole number, of a key that has no default.
    pub fn count(&mut self, key: &'static str, range: RangeInclusive<u64>) -> Named<Option<u64>> {
        let named = self.value(key, &Kind::count_found(range));
        named.map(Field::from_value(named.value.clone()))
    }

    /// Of milliseconds.
    pub fn duration(
        &mut self,
        key: &'static str,
        default_ms: u64,
        range_ms: RangeInclusive<u64>,
    ) -> Named<Duration> {
        let named = self.value(key, &Kind::duration(default_ms, range_ms));
        named.map(Field::from_value(named.value.clone()))
    }

    /// One of a few texts; the first one by default.
    pub fn choice(&mut self, key: &'static str, of: &'static [&'static str]) -> &'static str {
        let read = self.read(key, of[0], |value| {
            let found = of.iter().find(|name| value.as_str() == Some(**name));
            found.copied().ok_or_else(|| format!("write {}", value::or(of)))
        });
        read.value
    }

    pub fn flag(&mut self, key: &'static str, default: bool) -> Named<bool> {
        let named = self.value(key, &Kind::flag(default));
        named.map(Field::from_value(named.value.clone()))
    }

    /// `value` of a key that was read, with where the file names it.
    pub fn named<T>(&self, key: &'static str, value: T) -> Named<T> {
        debug_assert!(self.reader.known.contains(&(self.name, key)), "{key} was not read");
        let written = self.written.iter().find(|written| written.key == key);
        Named { value, line: written.map(|written| written.line) }
    }

    /// Converts a value that was read, whose error says what to write instead. `None`: the file does not name it, or
    /// its problem was reported.
    pub fn convert<V, T>(
        &mut self,
        key: &str,
        value: Option<V>,
        convert: impl FnOnce(V) -> Result<T, String>,
    ) -> Option<T> {
        convert(value?).map_err(|instead| self.refuse(key, &instead)).ok()
    }

    /// Says what to write instead of the value of a key that the file names.
    pub fn refuse(&mut self, key: &str, instead: &str) {
        let written = self.written.iter().find(|written| written.key == key);
        if let Some(Written { line, excerpt, .. }) = written {
            let text = format!("[{}] {key} = {excerpt}: {instead}", self.name);
            self.reader.problem(*line, text);
        }
    }

    pub fn problem(&mut self, line: usize, text: impl Display) {
        self.reader.problem(line, format!("[{}] {text}", self.name));
    }

    /// Where the table begins.
    pub fn line(&self) -> usize {
        self.table.line
    }

    /// Where a key that was read stands; where the file does not name it, where the table begins.
    pub fn line_of(&self, key: &'static str) -> usize {
        self.named(key, ()).line.unwrap_or(self.table.line)
    }

    /// What is left of the table are keys that nobody asked for.
    pub fn finish(self) {
        for (key, _) in self.table.keys {
            let line = line_at(self.reader.text, key.span().start);
            self.reader.unknown.push((self.name, key.into_inner().into_owned(), line));
        }
    }
}
