//! The reference: every key of a configuration file with its default, its range and what it decides.

use super::{
    Compression, Fanout, Key, Keys, Limits,
    access::AccessKeys,
    freshness::FreshnessKeys,
    server::ServerKeys,
    source::{HostKeys, KindKeys, ReplayKeys, SyntheticKeys},
    state::StateKeys,
    tls::CertificateKeys,
    topic::{DeadbandKeys, KeyedKeys, SilenceKeys, StreamKeys, TopicKeys},
    value,
    websocket::{FanwireKeys, LinkKeys, WebsocketKeys},
};

const HEAD: &str = "\
# Every key of the gateway's configuration with its default, as `gateway --print-reference` prints it.
# A key that is commented out has no default, or one that is found at the start; the value is an example.
# A change takes effect when the gateway starts again, unless it says otherwise.
";
const COLUMNS_MAX: usize = 100;

/// A file that [`Config::parse`](super::Config::parse) takes and that means the same as an empty one.
pub fn reference() -> String {
    let mut out = Out(HEAD.to_owned());
    out.section::<ServerKeys>();
    out.section::<Fanout>();
    out.section::<Limits>();
    out.section::<Compression>();
    out.section::<AccessKeys>();
    out.section::<StateKeys>();
    out.entry::<CertificateKeys>();
    out.entry::<KindKeys>();
    out.group::<FreshnessKeys>();
    out.group::<ReplayKeys>();
    out.group::<SyntheticKeys>();
    out.group::<HostKeys>();
    out.group::<LinkKeys>();
    out.group::<WebsocketKeys>();
    out.group::<FanwireKeys>();
    out.entry::<TopicKeys>();
    out.group::<SilenceKeys>();
    out.group::<DeadbandKeys>();
    out.group::<KeyedKeys>();
    out.group::<StreamKeys>();
    out.0
}

struct Out(String);

impl Out {
    /// `[name]`: its keys have their defaults.
    fn section<T: Keys>(&mut self) {
        self.line("");
        self.comment(T::DOC);
        self.line(&format!("[{}]", T::SECTION));
        for key in T::KEYS {
            self.key(key, key.example.is_some());
        }
    }

    /// `[[name]]`, of which there is none by default.
    fn entry<T: Keys>(&mut self) {
        self.line("");
        self.comment(T::DOC);
        self.line(&format!("# [[{}]]", T::SECTION));
        T::KEYS.iter().for_each(|key| self.key(key, true));
    }

    /// More keys of such an entry: of a kind, or a mode.
    fn group<T: Keys>(&mut self) {
        self.line("");
        let heading = format!("[[{}]]", T::SECTION);
        self.comment(&[&["--", &heading], T::DOC].concat());
        T::KEYS.iter().for_each(|key| self.key(key, true));
    }

    fn key(&mut self, key: &Key, is_comment: bool) {
        self.line("");
        self.comment(key.doc);
        let ranges = value::range(&key.kind);
        let reloads = key
            .is_reloaded
            .then(|| "The gateway reads the file again when it changes, and on SIGHUP.".to_owned());
        for line in ranges.into_iter().map(|range| format!("{range}.")).chain(reloads) {
            self.comment(&[&line]);
        }
        let default = value::write(&key.kind, &key.kind.default());
        let value = key.example.map(str::to_owned).or(default).unwrap_or_default();
        let mark = if is_comment { "# " } else { "" };
        self.line(&format!("{mark}{} = {value}", key.name));
    }

    /// Wrapped.
    fn comment(&mut self, lines: &[&str]) {
        let mut line = "#".to_owned();
        for word in lines.iter().flat_map(|line| line.split_whitespace()) {
            if line.len() + 1 + word.len() > COLUMNS_MAX {
                self.line(&std::mem::replace(&mut line, "#".to_owned()));
            }
            line.push(' ');
            line.push_str(word);
        }
        self.line(&line);
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }
}
