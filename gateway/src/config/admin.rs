//! `[admin]` and `[[admin.key]]`: who may do what on the admin listener.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use engine::{keys, topic::pattern::Pattern};

use crate::{
    admin_key::{AdminKey, Digest, KEY_BYTES_MIN, Permission},
    document::{
        read::{Reader, Section, named},
        value::or,
    },
};

/// Keys of one gateway.
const KEYS_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 64;
/// A longer file is no key.
const FILE_BYTES_MAX: u64 = 4096;
/// What logs call the key of `[admin] key_file`.
const FIRST: &str = "admin";

const NAME: &str = "write a name of 1 to 64 bytes in quotes";
const SHA256: &str = "write 64 hexadecimal digits, which `gateway key` prints beside a new key";
const ALLOW: &str = "write a list of \"publish\", \"metrics\", \"read\" and \"admin\"";
const TOPICS: &str = "write a list of patterns, like [\"desk.*\"]";

/// Who may do what on the admin listener.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AdminAccess {
    pub keys: Vec<ConfiguredKey>,
}

/// A key, and where its digest comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfiguredKey {
    pub key: AdminKey,
    /// Of a key that stands in a file of its own.
    pub file: Option<PathBuf>,
    /// The file is not there yet: it is made at the start, and `key` has no digest until then.
    pub is_missing: bool,
}

keys! {
    /// Who may do what on the admin listener.
    pub(super) struct AdminKeys in "admin" {
        /// A file with one key that may do everything, relative to the configuration file. Where it is missing at the
        /// start the gateway makes it, with a new key, and prints the key. Default: none.
        key_file: String = text_or(""), example("\"/var/lib/fanwire/admin.key\""), reloaded;
    }
}

keys! {
    /// A key of the admin listener, `Authorization: Bearer KEY` or `X-API-Key: KEY`; as many as there are, at most 64.
    /// Where there is any, also `key_file`, every route wants one, but those that ask how the gateway is, and the
    /// page. Where there is none, the listener has to be on a loopback address.
    pub(super) struct AdminKeyKeys in "admin.key" {
        /// What logs and refusals call it, 1 to 64 bytes. No two have the same.
        name: Option<String> = text_like(NAME), example("\"feed-a\""), reloaded;
        /// The SHA-256 of the key: `gateway key` prints both.
        sha256: Option<String> = text_like(SHA256),
            example("\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\""), reloaded;
        /// In place of `sha256`: a file with the key, made as `key_file` of `[admin]` is.
        key_file: String = text_or(""), example("\"/var/lib/fanwire/feed-a.key\""), reloaded;
        /// What it may do: "publish" (write topics and statuses), "metrics", "read" (topics and statuses), or "admin"
        /// (everything).
        allow: Option<Vec<String>> = texts_found(ALLOW), example("[\"publish\"]"), reloaded;
        /// Patterns of the topics that it may write. Default: all.
        topics: Vec<String> = texts(&["*"], TOPICS), example("[\"desk.*\"]"), reloaded;
    }
}

/// Files are relative to `dir`. Two are alike by name or by what they are.
pub(super) fn admin(reader: &mut Reader, dir: &Path) -> AdminAccess {
    let mut section = reader.section("admin");
    let AdminKeys { key_file } = section.keys();
    let mut keys = Vec::new();
    if !key_file.is_empty() {
        let line = section.line_of("key_file");
        let first = |digest| AdminKey {
            name: FIRST.to_owned(),
            digest,
            allow: vec![Permission::Admin],
            topics: vec![Pattern::all()],
        };
        match of_file(dir.join(key_file), first) {
            Ok(key) => keys.push((line, key)),
            Err(error) => section.problem(line, format!("key_file: {error}")),
        }
    }
    let tables = section.sections("key", "admin.key");
    for table in tables {
        let mut section = section.open("admin.key", table);
        let line = section.line();
        if let Some(key) = key(&mut section, dir) {
            keys.push((line, key));
        }
        section.finish();
    }
    if keys.len() > KEYS_MAX {
        let text = format!("there are {} keys; the most is {KEYS_MAX}", keys.len());
        section.problem(keys[KEYS_MAX].0, text);
    }
    for (i, (line, key)) in keys.iter().enumerate() {
        let before = || keys[..i].iter().map(|(_, before)| before);
        if before().any(|before| before.key.name == key.key.name) {
            section.problem(*line, format!("two keys are called {:?}; give each another name", key.key.name));
        }
        if let Some(same) = before().find(|before| before.is_same(key)) {
            let text = format!("{:?} is the same key as {:?}; make another one", key.key.name, same.key.name);
            section.problem(*line, text);
        }
    }
    section.finish();
    AdminAccess { keys: keys.into_iter().map(|(_, key)| key).collect() }
}

impl ConfiguredKey {
    fn is_same(&self, other: &Self) -> bool {
        let is_held = !self.is_missing && !other.is_missing;
        self.file.is_some() && self.file == other.file || is_held && self.key.digest == other.key.digest
    }
}

/// `None`: its problems were reported.
fn key(section: &mut Section, dir: &Path) -> Option<ConfiguredKey> {
    let keys: AdminKeyKeys = section.keys();
    let line = section.line();
    for (key, is_missing) in [("name", keys.name.is_none()), ("allow", keys.allow.is_none())] {
        if is_missing && section.named(key, ()).line.is_none() {
            section.problem(line, format!("{key} is missing; {}", if key == "name" { NAME } else { ALLOW }));
        }
    }
    let is_good =
        |name: &String| (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control);
    let name = section
        .convert("name", keys.name, |name| if is_good(&name) { Ok(name) } else { Err(NAME.to_owned()) });
    let allow = section.convert("allow", keys.allow, |names| permissions(&names));
    let topics = patterns(section, &keys.topics);
    let digest =
        section.convert("sha256", keys.sha256, |hex| Digest::parse(&hex).ok_or_else(|| SHA256.to_owned()));
    let (sha256, key_file) = (section.named("sha256", ()).line, named!(section, keys.key_file));
    if sha256.is_none() == key_file.value.is_empty() {
        section
            .problem(line, "needs either sha256 or key_file; `gateway key` prints a new key and its sha256");
        return None;
    }
    let (name, allow, topics) = (name?, allow?, topics?);
    let key = |digest| AdminKey { name, digest, allow, topics };
    if let Some(line) = key_file.line.filter(|_| sha256.is_none()) {
        return of_file(dir.join(key_file.value), key)
            .map_err(|error| section.problem(line, format!("key_file: {error}")))
            .ok();
    }
    Some(ConfiguredKey { key: key(digest?), file: None, is_missing: false })
}

fn permissions(names: &[String]) -> Result<Vec<Permission>, String> {
    let parsed = names.iter().map(|name| {
        Permission::parse(name).ok_or_else(|| format!("{name:?}: there are {}", or(&Permission::NAMES)))
    });
    let parsed: Vec<Permission> = parsed.collect::<Result<_, _>>()?;
    if parsed.is_empty() { Err(ALLOW.to_owned()) } else { Ok(parsed) }
}

/// `None`: their problem was reported.
fn patterns(section: &mut Section, texts: &[String]) -> Option<Vec<Pattern>> {
    if texts.is_empty() {
        section.refuse("topics", TOPICS);
        return None;
    }
    let parsed = texts.iter().map(|text| Pattern::parse(text)).collect::<Result<Vec<_>, _>>();
    parsed.map_err(|bad| section.refuse("topics", &bad.to_string())).ok()
}

/// The key that stands in a file, or that will.
fn of_file(path: PathBuf, key: impl FnOnce(Digest) -> AdminKey) -> Result<ConfiguredKey, String> {
    let held = match read(&path) {
        Ok(held) => Some(held),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let digest = match &held {
        Some(bytes) if bytes.len() < KEY_BYTES_MIN => {
            let shown = path.display();
            return Err(format!("{shown} has {} bytes; a key has at least {KEY_BYTES_MIN}", bytes.len()));
        }
        Some(bytes) => Digest::of(bytes),
        None => Digest::of(b""),
    };
    Ok(ConfiguredKey { key: key(digest), file: Some(path), is_missing: held.is_none() })
}

/// A file's bytes, less one final newline.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    let mut bytes = fs::read(path)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(bytes)
}

impl From<&AdminAccess> for AdminKeys {
    fn from(access: &AdminAccess) -> Self {
        let first = access.keys.iter().find(|key| key.is_first());
        Self { key_file: first.map_or(String::new(), ConfiguredKey::shown_file) }
    }
}

impl ConfiguredKey {
    /// It is the one of `[admin] key_file`.
    pub(super) fn is_first(&self) -> bool {
        let AdminKey { name, allow, topics, .. } = &self.key;
        let may_all = *allow == [Permission::Admin] && *topics == [Pattern::all()];
        may_all && name == FIRST && self.file.is_some()
    }

    fn shown_file(&self) -> String {
        self.file.as_ref().map_or(String::new(), |file| file.display().to_string())
    }
}

impl From<&ConfiguredKey> for AdminKeyKeys {
    fn from(configured: &ConfiguredKey) -> Self {
        let AdminKey { name, digest, allow, topics } = &configured.key;
        Self {
            name: Some(name.clone()),
            sha256: configured.file.is_none().then(|| digest.to_string()),
            key_file: configured.shown_file(),
            allow: Some(allow.iter().map(|allowed| allowed.name().to_owned()).collect()),
            topics: topics.iter().map(Pattern::to_string).collect(),
        }
    }
}
