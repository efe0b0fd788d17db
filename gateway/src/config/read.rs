//! Reads a TOML document key by key and collects everything that is wrong with it, line by line.

use std::{fmt::Display, net::SocketAddr, ops::RangeInclusive, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::unit::{parse_duration, parse_size, show_duration, show_size};

/// A value and where the file names it; no line: it is the default.
#[derive(Debug, Clone)]
pub(super) struct Named<T> {
    pub value: T,
    pub line: Option<usize>,
}

impl<T> Named<T> {
    /// The value of the file, else `default`, for defaults that depend on other keys.
    pub fn or(self, default: impl FnOnce(T) -> T) -> T {
        if self.line.is_some() { self.value } else { default(self.value) }
    }
}

/// Something wrong, and what to write instead.
#[derive(Debug)]
pub(super) struct Problem {
    pub line: usize,
    pub text: String,
}

pub(super) struct Reader<'a> {
    text: &'a str,
    root: DeTable<'a>,
    pub problems: Vec<Problem>,
    /// Every (section, key) that was asked for; what else the file holds is unknown.
    known: Vec<(&'static str, &'static str)>,
    /// Those that were left: section, key, line.
    unknown: Vec<(&'static str, String, usize)>,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str) -> Result<Self, Problem> {
        let root = DeTable::parse(text).map_err(|e| {
            let line = line_at(text, e.span().map_or(0, |span| span.start));
            Problem { line, text: format!("not TOML: {}", e.message()) }
        })?;
        Ok(Self {
            text,
            root: root.into_inner(),
            problems: Vec::new(),
            known: Vec::new(),
            unknown: Vec::new(),
        })
    }

    /// The table `[name]`; where it is absent every key has its default.
    pub fn section(&mut self, name: &'static str) -> Section<'_, 'a> {
        let table = match self.root.remove(name) {
            Some(value) => self.table(name, value),
            None => Table::default(),
        };
        Section { reader: self, name, table, lines: Vec::new() }
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
        Section { reader: self, name, table, lines: Vec::new() }
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
pub(super) struct Table<'a> {
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
pub(super) struct Section<'r, 'a> {
    reader: &'r mut Reader<'a>,
    name: &'static str,
    table: Table<'a>,
    /// Keys that were read, and where the file names them.
    lines: Vec<(&'static str, usize)>,
}

impl<'a> Section<'_, 'a> {
    /// Reads `key` with `convert`, whose error says what to write instead.
    pub fn read<T>(
        &mut self,
        key: &'static str,
        default: T,
        convert: impl FnOnce(DeValue<'a>) -> Result<T, String>,
    ) -> Named<T> {
        self.reader.known.push((self.name, key));
        let Some(value) = self.table.keys.remove(key) else { return Named { value: default, line: None } };
        let line = self.reader.line(&value);
        self.lines.push((key, line));
        let written = excerpt(&self.reader.text[value.span()]);
        match convert(value.into_inner()) {
            Ok(value) => Named { value, line: Some(line) },
            Err(instead) => {
                self.reader.problem(line, format!("[{}] {key} = {written}: {instead}", self.name));
                Named { value: default, line: Some(line) }
            }
        }
    }

    /// The tables of the list `key`, which errors call `name`.
    pub fn sections(&mut self, key: &'static str, name: &'static str) -> Vec<Table<'a>> {
        self.reader.known.push((self.name, key));
        let Some(value) = self.table.keys.remove(key) else { return Vec::new() };
        self.reader.tables(name, value)
    }

    /// A table within this one.
    pub fn open(&mut self, name: &'static str, table: Table<'a>) -> Section<'_, 'a> {
        self.reader.open(name, table)
    }

    pub fn int(&mut self, key: &'static str, default: u64, range: RangeInclusive<u64>) -> Named<u64> {
        self.read(key, default, |value| in_range(to_int(&value)?, range, |n| n.to_string()))
    }

    pub fn ints(&mut self, key: &'static str, default: Vec<u64>) -> Named<Vec<u64>> {
        self.read(key, default, |value| match value {
            DeValue::Array(array) => array.iter().map(|value| to_int(value.get_ref())).collect(),
            _ => Err("write a list of whole numbers, like [0, 1]".to_owned()),
        })
    }

    pub fn size(&mut self, key: &'static str, default: u64, range: RangeInclusive<u64>) -> Named<u64> {
        self.read(key, default, |value| {
            let bytes = match &value {
                DeValue::String(text) => parse_size(text)?,
                _ => to_int(&value).map_err(|_| "write a size, like \"64KiB\"".to_owned())?,
            };
            in_range(bytes, range, |bytes| format!("\"{}\"", show_size(bytes)))
        })
    }

    /// `range` in milliseconds.
    pub fn duration(
        &mut self,
        key: &'static str,
        default_ms: u64,
        range: RangeInclusive<u64>,
    ) -> Named<Duration> {
        self.read(key, Duration::from_millis(default_ms), |value| {
            let duration = match &value {
                DeValue::String(text) => parse_duration(text)?,
                DeValue::Integer(number) => parse_duration(number.as_str())?,
                _ => return Err("write a duration, like \"5s\"".to_owned()),
            };
            let show = |ms| format!("\"{}\"", show_duration(Duration::from_millis(ms)));
            let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            in_range(ms, range, show).map(Duration::from_millis)
        })
    }

    pub fn number(&mut self, key: &'static str, default: f64, range: RangeInclusive<f64>) -> Named<f64> {
        self.read(key, default, |value| {
            let number = match &value {
                DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
                DeValue::Integer(integer) => integer.as_str().parse::<f64>().ok(),
                _ => None,
            };
            match number.filter(|n| n.is_finite()) {
                Some(number) => in_range(number, range, |n| n.to_string()),
                None => Err("write a number".to_owned()),
            }
        })
    }

    pub fn flag(&mut self, key: &'static str, default: bool) -> Named<bool> {
        self.read(key, default, |value| match value {
            DeValue::Boolean(flag) => Ok(flag),
            _ => Err("write true or false".to_owned()),
        })
    }

    pub fn text(&mut self, key: &'static str, default: &str) -> Named<String> {
        self.read(key, default.to_owned(), |value| match value {
            DeValue::String(text) => Ok(text.into_owned()),
            _ => Err("write text in quotes".to_owned()),
        })
    }

    pub fn texts(&mut self, key: &'static str, default: &[&str]) -> Named<Vec<String>> {
        let default = default.iter().map(|text| (*text).to_owned()).collect();
        let text = |value: Spanned<DeValue<'a>>| match value.into_inner() {
            DeValue::String(text) if !text.is_empty() => Ok(text.into_owned()),
            _ => Err(()),
        };
        self.read(key, default, |value| {
            match value {
                DeValue::Array(array) => array.into_iter().map(text).collect::<Result<_, ()>>().ok(),
                _ => None,
            }
            .ok_or_else(|| "write a list of texts, like [\"a\", \"b\"]".to_owned())
        })
    }

    pub fn address(&mut self, key: &'static str, default: &str) -> Named<Option<SocketAddr>> {
        let default = default.parse().ok();
        self.read(key, default, |value| match value {
            DeValue::String(text) if text.is_empty() => Ok(None),
            DeValue::String(text) => text
                .parse()
                .map(Some)
                .map_err(|_| "write an address and a port, like \"127.0.0.1:9001\"".to_owned()),
            _ => Err("write an address and a port in quotes".to_owned()),
        })
    }

    /// A key of a later version: only `idle` is taken, which asks for nothing.
    pub fn unavailable(&mut self, key: &'static str, idle: &str) {
        self.read(key, (), |value| match value {
            DeValue::String(text) if text == idle => Ok(()),
            _ => Err("not available in this version; leave it out".to_owned()),
        });
    }

    pub fn problem(&mut self, line: usize, text: impl Display) {
        self.reader.problem(line, format!("[{}] {text}", self.name));
    }

    /// Where the table begins.
    pub fn line(&self) -> usize {
        self.table.line
    }

    /// Where a key that was read stands; where the file does not name it, where the table begins.
    pub fn line_of(&self, key: &str) -> usize {
        self.lines.iter().find(|(read, _)| *read == key).map_or(self.table.line, |(_, line)| *line)
    }

    /// What is left of the table are keys that nobody asked for.
    pub fn finish(self) {
        for (key, _) in self.table.keys {
            let line = line_at(self.reader.text, key.span().start);
            self.reader.unknown.push((self.name, key.into_inner().into_owned(), line));
        }
    }
}

pub(super) fn to_int(value: &DeValue<'_>) -> Result<u64, String> {
    let number = match value {
        DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
        _ => None,
    };
    // TOML readers agree on integers up to 2^63 - 1 only.
    number.filter(|n| *n <= i64::MAX as u64).ok_or_else(|| "write a whole number, 0 or more".to_owned())
}

fn in_range<T: PartialOrd + Copy>(
    value: T,
    range: RangeInclusive<T>,
    show: impl Fn(T) -> String,
) -> Result<T, String> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(format!("out of range; write {} to {}", show(*range.start()), show(*range.end())))
}

fn one_of<'k>(names: impl Iterator<Item = &'k str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    format!("there are {}", names.join(", "))
}

fn excerpt(written: &str) -> String {
    const CHARS_MAX: usize = 60;
    let first = written.lines().next().unwrap_or_default();
    match first.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &first[..end]),
        None if first.len() < written.len() => format!("{first}…"),
        None => first.to_owned(),
    }
}

/// Counted from 1.
fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

/// Levenshtein's: the least number of characters to change, add or drop.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
