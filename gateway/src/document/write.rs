//! Writes a TOML document.

use std::fmt::{Display, Write};

use engine::settings::Keys;

use super::{
    value,
    written::{Place, Written},
};

#[derive(Debug, Default)]
pub struct Text {
    out: String,
    /// Values that are printed as the file has them.
    written: Written,
    place: Place,
}

impl Text {
    pub fn new(written: Written) -> Self {
        Self { written, ..Self::default() }
    }

    /// All of it.
    pub fn written(self) -> String {
        self.out
    }

    pub fn section(&mut self, name: &str) {
        let gap = if self.out.is_empty() { "" } else { "\n" };
        writeln!(self.out, "{gap}{name}").expect("writing to memory does not fail");
        self.place.enter(name);
    }

    pub fn keys<T: Keys>(&mut self, keys: &T) {
        self.keys_where(keys, |_| true);
    }

    /// Those that `is_told` says of. A secret's value is left out.
    pub fn keys_where<T: Keys>(&mut self, keys: &T, is_told: impl Fn(&str) -> bool) {
        let values = T::KEYS.iter().zip(keys.values());
        for (key, value) in values.filter(|(key, _)| is_told(key.name)) {
            match value::write(&key.kind, &value) {
                Some(_) if key.is_secret => self.plain(&format!("# {}", key.name), "(secret)"),
                Some(written) => self.plain(key.name, written),
                None => {}
            }
        }
    }

    pub fn plain(&mut self, key: &str, value: impl Display) {
        let value = value.to_string();
        let written = match self.written.shown(&self.place.of(key), &value) {
            Some(shown) => writeln!(self.out, "{key} = {shown}"),
            None => writeln!(self.out, "# {key} = (by the environment)"),
        };
        written.expect("writing to memory does not fail");
    }

    pub fn quoted(&mut self, key: &str, value: impl Display) {
        self.plain(key, toml::Value::String(value.to_string()));
    }
}
