//! `delete` of a list of levels: which of them are deleted whatever their size.

use engine::json::{
    pointer::{Pointer, Root},
    wanted::Wanted,
};
use toml::de::DeValue;

use crate::document::when::{self, When};

#[derive(Debug, Clone, PartialEq)]
pub enum Delete {
    Never,
    Always,
    /// Those of which all hold: from the level, or from the message.
    When(When),
}

/// The error says what to write instead.
pub fn delete(value: DeValue<'_>) -> Result<Delete, String> {
    const HINT: &str =
        "write true, or what must hold of the level, like { \"/1\" = 0 }; ^ leads from the message";
    match value {
        DeValue::Boolean(true) => Ok(Delete::Always),
        DeValue::Boolean(false) => Ok(Delete::Never),
        DeValue::Table(_) => {
            let conditions = when::read(value)?;
            let remembered = |(pointer, _): &&(Pointer, Wanted)| pointer.root == Root::Remembered;
            match conditions.iter().find(remembered) {
                _ if conditions.is_empty() => Err(HINT.to_owned()),
                Some((pointer, _)) => Err(format!("{pointer:?}: {HINT}")),
                None => Ok(Delete::When(conditions)),
            }
        }
        _ => Err(HINT.to_owned()),
    }
}

/// As TOML has it; `None`: there is nothing to write.
pub fn write(delete: &Delete) -> Option<String> {
    match delete {
        Delete::Never => None,
        Delete::Always => Some("true".to_owned()),
        Delete::When(conditions) => Some(when::write(conditions)),
    }
}
