//! Updates that the gateway fetches or makes itself. Each source is a task of the control plane.

pub mod activity;
pub mod brought;
pub mod fanwire;
pub mod freshness;
pub mod host;
pub mod kind;
pub mod link;
mod live;
mod refusals;
pub mod replay;
pub mod running;
pub mod synthetic;
mod token_file;
pub mod url;
pub mod watch;
pub mod websocket;

use std::sync::Arc;

use engine::settings::Group;

use crate::document::read::Section;
use fanwire::keys::Fanwire;
use host::HostFigures;
use kind::{Declared, Given, Kind};
use replay::Replay;
use synthetic::Synthetic;
use websocket::keys::Websocket;

/// A kind as a configuration names it.
pub struct Declaration {
    /// Of `kind = "…"`.
    pub name: &'static str,
    /// Its keys, beside those of any kind.
    pub groups: &'static [Group],
    /// `None`: its problems were reported.
    pub read: fn(&mut Section, &Given) -> Option<Source>,
}

macro_rules! kinds {
    ($($Kind:ident($Settings:ident)),+ $(,)?) => {
        /// A source as it is configured.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Source {
            $($Kind(Arc<$Settings>)),+
        }

        impl Source {
            /// In the order of the reference.
            pub const KINDS: &[Declaration] = &[$(Declaration {
                name: $Settings::NAME,
                groups: $Settings::GROUPS,
                read: |section, given| Some(Source::$Kind($Settings::read(section, given)?.into())),
            }),+];

            pub fn kind(&self) -> &'static str {
                match self {
                    $(Source::$Kind(_) => $Settings::NAME),+
                }
            }

            pub fn settings(&self) -> Arc<dyn Kind> {
                match self {
                    $(Source::$Kind(settings) => settings.clone()),+
                }
            }
        }
    };
}

kinds! {
    Replay(Replay),
    Synthetic(Synthetic),
    Host(HostFigures),
    Websocket(Websocket),
    Fanwire(Fanwire),
}

impl Source {
    pub const NAMES: [&str; Self::KINDS.len()] = {
        let mut names = [""; Self::KINDS.len()];
        let mut i = 0;
        while i < names.len() {
            names[i] = Self::KINDS[i].name;
            i += 1;
        }
        names
    };

    /// The gateway that this one is chained to, from which counts and positions come.
    pub fn upstream(&self) -> Option<&Fanwire> {
        match self {
            Source::Fanwire(source) => Some(source),
            _ => None,
        }
    }
}
