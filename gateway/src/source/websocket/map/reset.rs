//! `reset` and `whole`: which messages hold all of a topic, and how the table becomes what they hold.

use engine::topic::changes::Base;
use toml::de::DeValue;

/// Which messages of an entry hold all of their topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    Never,
    Always,
    /// The first one of each topic after each connect.
    First,
}

impl Reset {
    /// The error says what to write instead.
    pub(super) fn parse(value: &DeValue<'_>) -> Result<Self, String> {
        match value {
            DeValue::Boolean(false) => Ok(Reset::Never),
            DeValue::Boolean(true) => Ok(Reset::Always),
            DeValue::String(text) if text == "first" => Ok(Reset::First),
            _ => {
                Err("write true, false, or \"first\": each topic's first message after a connect".to_owned())
            }
        }
    }

    /// As TOML has it.
    pub fn text(self) -> &'static str {
        match self {
            Reset::Never => "false",
            Reset::Always => "true",
            Reset::First => "\"first\"",
        }
    }
}

/// What becomes of a table of which all comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whole {
    /// What differs is changed.
    Compare,
    /// It is emptied and filled.
    Reset,
}

impl Whole {
    pub fn name(self) -> &'static str {
        match self {
            Whole::Compare => "compare",
            Whole::Reset => "reset",
        }
    }

    /// The error says what to write instead.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        let known = [Whole::Compare, Whole::Reset].into_iter().find(|whole| whole.name() == name);
        known.ok_or_else(|| "write \"compare\" or \"reset\"".to_owned())
    }

    pub fn base(self) -> Base {
        match self {
            Whole::Compare => Base::Whole,
            Whole::Reset => Base::Empty,
        }
    }
}
