//! A configuration from its file, and printed again.

use std::{fs, path::Path};

use super::{Config, Refused, check::check, render::render};
use crate::system::Machine;

/// What runs without `--config`.
const DEMO: &str = include_str!("../../../configs/demo.toml");

impl Config {
    /// The built-in demo: host metrics and a synthetic ticker. For this machine.
    ///
    /// # Panics
    /// Where /proc or the resource limits cannot be read; [`Machine::this`] tells why.
    pub fn embedded_demo() -> Self {
        let machine = Machine::this().expect("Machine::this tells why");
        Self::parse(DEMO, "demo", Path::new(""), &machine).expect("a test loads it")
    }

    /// Reads and checks a file.
    pub fn load(path: &Path, machine: &Machine) -> Result<Self, Refused> {
        let text = fs::read_to_string(path)
            .map_err(|e| Refused(vec![format!("cannot read the configuration {}: {e}", path.display())]))?;
        Self::parse(&text, &path.display().to_string(), path.parent().unwrap_or(Path::new("")), machine)
    }

    /// Checks a configuration. `name` stands in errors; paths in it are relative to `dir`.
    pub fn parse(text: &str, name: &str, dir: &Path, machine: &Machine) -> Result<Self, Refused> {
        check(text, dir, machine).map_err(|problems| {
            Refused(problems.into_iter().map(|p| format!("{name}:{}: {}", p.line, p.text)).collect())
        })
    }

    /// The effective configuration as TOML that [`Config::parse`] takes.
    pub fn render(&self, machine: &Machine) -> String {
        render(self, self.connections_max(machine))
    }
}
