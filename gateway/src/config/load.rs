//! A configuration from its file, and printed again.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Config, Part, Refused, check::check, memory, render::render};
use crate::{
    document::{
        environment::{Environment, Layered},
        read::Problem,
    },
    system::Machine,
};

/// What runs without `--config`.
const DEMO: &str = include_str!("../../../configs/demo.toml");

/// Where a configuration comes from, to be read again.
#[derive(Debug, Clone)]
pub struct Origin {
    /// `None`: the built-in demo.
    pub path: Option<PathBuf>,
    pub environment: Environment,
}

impl Origin {
    pub fn load(&self, machine: &Machine) -> Result<Config, Refused> {
        match &self.path {
            Some(path) => Config::load(path, &self.environment, machine),
            None => Config::demo(&self.environment, machine),
        }
    }
}

impl Config {
    /// The built-in demo: host metrics and a synthetic ticker. For this machine.
    ///
    /// # Panics
    /// Where /proc or the resource limits cannot be read; [`Machine::this`] tells why.
    pub fn embedded_demo() -> Self {
        let machine = Machine::this().expect("Machine::this tells why");
        Self::demo(&Environment::default(), &machine).expect("a test loads it")
    }

    /// The demo with what the environment says.
    pub fn demo(environment: &Environment, machine: &Machine) -> Result<Self, Refused> {
        Self::parse_with(DEMO, "demo", Path::new(""), environment, machine)
    }

    /// Reads and checks a file with what the environment says.
    pub fn load(path: &Path, environment: &Environment, machine: &Machine) -> Result<Self, Refused> {
        let text = fs::read_to_string(path)
            .map_err(|e| Refused(vec![format!("cannot read the configuration {}: {e}", path.display())]))?;
        let dir = path.parent().unwrap_or(Path::new(""));
        Self::parse_with(&text, &path.display().to_string(), dir, environment, machine)
    }

    /// Checks a configuration. `name` stands in errors; paths in it are relative to `dir`.
    pub fn parse(text: &str, name: &str, dir: &Path, machine: &Machine) -> Result<Self, Refused> {
        Self::parse_with(text, name, dir, &Environment::default(), machine)
    }

    /// The same, with what the environment says.
    pub fn parse_with(
        text: &str,
        name: &str,
        dir: &Path,
        environment: &Environment,
        machine: &Machine,
    ) -> Result<Self, Refused> {
        let layered = Layered::new(text, environment).map_err(|error| Refused(vec![error]))?;
        check(&layered, environment, dir, machine).map_err(|problems| {
            let told = |problem: Problem| format!("{}: {}", layered.place(name, problem.line), problem.text);
            Refused(problems.into_iter().map(told).collect())
        })
    }

    /// The effective configuration as TOML that [`Config::parse`] takes.
    pub fn render(&self, machine: &Machine) -> String {
        render(self, self.connections_max(machine))
    }

    /// What its limits let be taken of memory.
    pub fn memory(&self, machine: &Machine) -> Vec<Part> {
        memory::parts(self, self.connections_max(machine))
    }
}
