//! Writes a TOML document.

use std::fmt::{Display, Write};

use engine::settings::Keys;

use super::value;

#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// All of it.
    pub fn written(self) -> String {
        self.0
    }

    pub fn section(&mut self, name: &str) {
        let gap = if self.0.is_empty() { "" } else { "\n" };
        writeln!(self.0, "{gap}{name}").expect("writing to memory does not fail");
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
        writeln!(self.0, "{key} = {value}").expect("writing to memory does not fail");
    }

    pub fn quoted(&mut self, key: &str, value: impl Display) {
        self.plain(key, toml::Value::String(value.to_string()));
    }
}
