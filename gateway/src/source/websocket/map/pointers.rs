//! Pointers of an entry, and where they may begin.

use engine::json::pointer::{Pointer, Root};
use toml::de::DeValue;

use crate::document::read::{Named, Section};

/// What a table within an entry may hold.
pub const LIST_MAX: usize = 64;

pub fn pointer(section: &mut Section, key: &'static str) -> Named<Option<Pointer>> {
    section.read(key, None, |value| Pointer::parse(&text(value)?).map(Some))
}

pub fn text(value: DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.into_owned()),
        _ => Err("write text in quotes".to_owned()),
    }
}

/// What the pointers of an entry may begin at.
#[derive(Debug, Clone, Copy)]
pub struct Roots {
    pub has_each: bool,
    pub has_recall: bool,
}

/// A pointer and its line.
pub type Placed = (usize, Pointer);

impl Roots {
    /// Of what names and orders an update: `^` with `each`, and of a topic `@` with `recall`.
    pub fn check_labels(self, section: &mut Section, labels: &[Placed], may_recall: bool) {
        for (line, pointer) in labels {
            let plain = pointer.path();
            let wrong = match pointer.root {
                Root::Message if !self.has_each => {
                    format!("{pointer:?}: ^ leads out of `each`, of which there is none; write {plain:?}")
                }
                Root::Remembered if !may_recall => {
                    format!(
                        "{pointer:?}: it is of this message, not of one that was remembered; write {plain:?}"
                    )
                }
                Root::Remembered if !self.has_recall => {
                    format!(
                        "{pointer:?}: @ leads into what was remembered; write where its id stands, like recall = \"/0\""
                    )
                }
                _ => continue,
            };
            section.problem(*line, wrong);
        }
    }

    /// Of what is published: it begins at what is at hand.
    pub fn check_content(self, section: &mut Section, content: &[Placed]) {
        for (line, pointer) in content {
            let plain = pointer.path();
            let wrong = match pointer.root {
                Root::Here => continue,
                Root::Message if self.has_each => format!(
                    "{pointer:?} would be published once for every element of each; begin at the element, without the ^"
                ),
                Root::Message => {
                    format!("{pointer:?}: ^ leads out of `each`, of which there is none; write {plain:?}")
                }
                Root::Remembered => {
                    format!("{pointer:?}: what was remembered is not published again; write {plain:?}")
                }
            };
            section.problem(*line, wrong);
        }
    }
}
