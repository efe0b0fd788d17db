//! Warm restart: topics, tables and counts on disk, so that a gateway that was killed comes back with
//! what it had, and one that ended cleanly goes on in its epoch.
//!
//! The file (see [`mod@format`]) is written beside and renamed, so that what stands at `path` is always whole. Only
//! a drain leaves `path.clean` beside it, which names the file by its checksum and is removed before
//! anything new is numbered: an epoch is continued once.

mod format;

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::sequencer::Sequencer;
use crate::config;
use format::write_json;
pub use format::{Checkpoint, Kept, Restored, Saved, parse};

/// Topics left out that the log names.
const NAMED_MAX: usize = 20;

#[derive(Debug, Default)]
pub struct Counters {
    /// Checkpoints that failed.
    pub errors: AtomicU64,
    /// Of the last that did not.
    pub bytes: AtomicU64,
    pub written_mono_us: AtomicU64,
    /// Topics restored at the start, and those left out.
    pub restored: AtomicU64,
    pub left_out: AtomicU64,
    /// One checkpoint is written at a time, and none after the last.
    is_over: Mutex<bool>,
}

/// Why a checkpoint was not written.
#[derive(Debug, Error)]
pub enum NotWritten {
    #[error("{path}: {error}; make room, or give [state] path a directory that can be written to")]
    Io { path: String, error: io::Error },
    #[error("the state has {bytes} bytes, [state] state_bytes is {max}: raise that")]
    TooLong { bytes: u64, max: u64 },
}

/// Names the state file that a clean end has left.
#[derive(Serialize, Deserialize, PartialEq)]
struct Clean {
    crc32: u32,
}

impl Checkpoint {
    /// Writes it to `path` in one step; gives its length in bytes.
    pub fn write(&self, path: &Path, bytes_max: u64) -> Result<(u64, u32), NotWritten> {
        let bytes =
            self.topics.iter().map(|t| t.json.len() + t.table.as_ref().map_or(0, Vec::len)).sum::<usize>();
        if bytes as u64 > bytes_max {
            return Err(NotWritten::TooLong { bytes: bytes as u64, max: bytes_max });
        }
        let beside = with_suffix(path, "tmp");
        let write = || -> io::Result<(u64, u32)> {
            let (out, bytes, crc32) = self.encode(BufWriter::new(File::create(&beside)?))?;
            if bytes > bytes_max {
                // One that is longer would be refused when it is read.
                return Ok((bytes, crc32));
            }
            out.into_inner().map_err(|e| e.into_error())?.sync_all()?;
            fs::rename(&beside, path)?;
            sync_directory(path)?;
            Ok((bytes, crc32))
        };
        match write() {
            Ok((bytes, _)) if bytes > bytes_max => Err(NotWritten::TooLong { bytes, max: bytes_max }),
            written => written.map_err(|error| NotWritten::Io { path: path.display().to_string(), error }),
        }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// A rename lasts once its directory was written.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

/// Loads what an earlier run has left. Whatever is wrong with it, the gateway starts: a file that cannot
/// be used is moved aside and named in the log.
///
/// An error: nothing can be written there, so that the next start would find nothing.
pub fn load(config: &config::State) -> Result<Option<Restored>, NotWritten> {
    let Some(path) = config.path.as_ref() else { return Ok(None) };
    let beside = with_suffix(path, "tmp");
    File::create(&beside)
        .and_then(|_| fs::remove_file(&beside))
        .map_err(|error| NotWritten::Io { path: path.display().to_string(), error })?;
    Ok(load_from(config, path))
}

fn load_from(config: &config::State, path: &Path) -> Option<Restored> {
    let shown = path.display();
    let read = match fs::metadata(path) {
        Ok(found) if found.len() > config.state_bytes => Err(format!(
            "it has {} bytes, [state] state_bytes is {}: raise that",
            found.len(),
            config.state_bytes
        )),
        Ok(_) => fs::read(path).map_err(|e| e.to_string()).and_then(|bytes| parse(&bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            tracing::info!("there is no state {shown} yet");
            return None;
        }
        Err(e) => Err(e.to_string()),
    };
    match read {
        Ok((mut restored, crc32)) => {
            restored.is_clean = take_clean(path, crc32);
            let (topics, clean) = (restored.topics.len(), restored.is_clean);
            tracing::info!(topics, clean, "the state {shown} is restored");
            Some(restored)
        }
        Err(why) => {
            let aside = refused_name(path);
            let moved = match fs::rename(path, &aside) {
                Ok(()) => format!("it is kept as {}", aside.display()),
                Err(e) => format!("it cannot be moved to {} either: {e}", aside.display()),
            };
            tracing::error!(
                "the state {shown} is not restored: {why}; {moved}. The gateway starts without it"
            );
            None
        }
    }
}

/// Where a refused file goes: earlier ones stay, nine of them.
fn refused_name(path: &Path) -> PathBuf {
    let names = (2..=9).map(|n| format!("refused.{n}"));
    let mut names = std::iter::once("refused".to_owned()).chain(names).map(|name| with_suffix(path, &name));
    names.find(|name| !name.exists()).unwrap_or_else(|| with_suffix(path, "refused.9"))
}

/// Takes over what was loaded; gives the topics, none of which is confirmed yet.
pub fn restore(restored: &Restored, sequencer: &Sequencer, counters: &Counters) -> Vec<Arc<str>> {
    let (taken, refused) = sequencer.restore(restored);
    counters.restored.store(taken.len() as u64, Relaxed);
    counters.left_out.store(refused.len() as u64, Relaxed);
    for why in refused.iter().take(NAMED_MAX) {
        tracing::error!("not restored: {why}");
    }
    if !refused.is_empty() {
        let count = refused.len();
        tracing::error!("{count} topics of the state are not restored, so the epoch is a new one");
    }
    taken
}

/// Whether the file with that checksum was left by a clean end. It is no more afterwards.
fn take_clean(path: &Path, crc32: u32) -> bool {
    let beside = with_suffix(path, "clean");
    let Ok(text) = fs::read(&beside) else { return false };
    let names_it = serde_json::from_slice(&text).is_ok_and(|clean: Clean| clean.crc32 == crc32);
    // While it may come back after a crash, the epoch must not go on.
    names_it && fs::remove_file(&beside).and_then(|()| sync_directory(path)).is_ok()
}

/// Leaves the mark of a clean end.
fn mark_clean(path: &Path, crc32: u32) -> io::Result<()> {
    let mut file = File::create(with_suffix(path, "clean"))?;
    write_json(&mut file, &Clean { crc32 })?;
    file.sync_all()?;
    sync_directory(path)
}

/// Writes checkpoints for good; not where nothing has changed since the last one.
pub async fn keep(
    config: &config::State,
    sequencer: &Sequencer,
    counters: &Arc<Counters>,
) -> std::convert::Infallible {
    let Some(path) = config.path.clone() else { std::future::pending().await };
    let mut written = None;
    loop {
        tokio::time::sleep(config.checkpoint.max(Duration::from_millis(1))).await;
        let version = sequencer.counters().version;
        if written == Some(version) {
            continue;
        }
        let checkpoint = sequencer.checkpoint();
        let (path, bytes_max, shared) = (path.clone(), config.state_bytes, counters.clone());
        let writing = tokio::task::spawn_blocking(move || {
            let is_over = shared.is_over.lock().unwrap_or_else(PoisonError::into_inner);
            (!*is_over).then(|| checkpoint.write(&path, bytes_max)).transpose()
        });
        match writing.await {
            Ok(Ok(None)) => {}
            Ok(Ok(Some((bytes, _)))) => {
                written = Some(version);
                counters.bytes.store(bytes, Relaxed);
                counters.written_mono_us.store(sequencer.now().mono_us, Relaxed);
            }
            Ok(Err(error)) => failed(counters, &error),
            Err(error) => failed(counters, &error),
        }
    }
}

/// The last checkpoint: nothing is numbered after it.
pub fn end(config: &config::State, sequencer: &Sequencer, counters: &Counters) {
    let Some(path) = &config.path else { return };
    sequencer.freeze();
    let mut is_over = counters.is_over.lock().unwrap_or_else(PoisonError::into_inner);
    *is_over = true;
    let written = sequencer.checkpoint().write(path, config.state_bytes);
    match written {
        Ok((_, crc32)) => {
            if let Err(error) = mark_clean(path, crc32) {
                tracing::error!("the state was written, but not marked as clean: {error}");
            }
        }
        Err(error) => failed(counters, &error),
    }
}

fn failed(counters: &Counters, error: &dyn std::error::Error) {
    if counters.errors.fetch_add(1, Relaxed) == 0 {
        tracing::error!("no checkpoint: {error}. More failures are only counted");
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{changes::Base, control::sequencer::Body};

    fn checkpoint() -> Checkpoint {
        let saved = |mode, seq, json: &str, table: Option<&str>| Saved {
            mode,
            seq,
            json: Bytes::copy_from_slice(json.as_bytes()),
            table: table.map(|table| table.as_bytes().to_vec()),
        };
        Checkpoint {
            epoch: "0123456789abcdef".into(),
            version: 77,
            v_floor: 3,
            topics: vec![
                saved("latest", None, r#"{"topic":"a","v":1,"ts":5,"data":{ "x":1.50}}"#, None),
                saved("keyed", Some(9), r#"{"topic":"b","v":2,"ts":6,"#, Some(r#"{"k\"":1,"l":[2]}"#)),
                saved("stream", None, r#"{"topic":"c","v":3,"ts":7,"data":null}"#, None),
            ],
        }
    }

    fn file(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("fanwire-state-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        directory.join("state")
    }

    fn settings(path: &Path) -> config::State {
        config::State {
            path: Some(path.to_owned()),
            checkpoint: Duration::from_secs(1),
            state_bytes: 1 << 20,
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_is_clean_once() {
        let path = file("round");
        let (bytes, crc32) = checkpoint().write(&path, 1 << 20).unwrap();
        assert_eq!(bytes, fs::metadata(&path).unwrap().len());
        let restored = load(&settings(&path)).unwrap().unwrap();
        assert_eq!((restored.version, restored.v_floor, restored.is_clean), (77, 3, false));
        assert_eq!(restored.epoch, "0123456789abcdef");
        let shown: Vec<String> = restored
            .topics
            .iter()
            .map(|t| format!("{} {} {} {} {:?}", t.topic, t.mode, t.v, t.ts_us, t.seq))
            .collect();
        assert_eq!(shown, ["a latest 1 5 None", "b keyed 2 6 Some(9)", "c stream 3 7 None"]);
        let Body::Data(data) = &restored.topics[0].body else { panic!() };
        assert_eq!(data, r#"{ "x":1.50}"#);
        let Body::Changes(table) = &restored.topics[1].body else { panic!() };
        assert!(
            table.base == Base::Whole
                && table.iter().map(|c| c.key.to_vec()).eq([&br#""k\"""#[..], br#""l""#])
        );
        mark_clean(&path, crc32).unwrap();
        assert!(load(&settings(&path)).unwrap().unwrap().is_clean);
        assert!(!load(&settings(&path)).unwrap().unwrap().is_clean, "an epoch is continued once");
        mark_clean(&path, crc32 + 1).unwrap();
        assert!(!load(&settings(&path)).unwrap().unwrap().is_clean, "the mark of another file");
    }

    #[test]
    fn a_file_cut_off_anywhere_or_changed_anywhere_is_refused() {
        let path = file("torn");
        checkpoint().write(&path, 1 << 20).unwrap();
        let whole = fs::read(&path).unwrap();
        assert!(parse(&whole).is_ok());
        for len in 0..whole.len() {
            assert!(parse(&whole[..len]).is_err(), "{len}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(parse(&changed).is_err(), "{at}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_moved_aside() {
        for (name, text) in [("foreign", "hello\n"), ("empty", ""), ("long", &"x".repeat(2 << 20))] {
            let path = file(name);
            fs::write(&path, text).unwrap();
            assert!(load(&settings(&path)).unwrap().is_none());
            assert!(!path.exists() && with_suffix(&path, "refused").exists(), "{name}");
        }
        assert!(load(&settings(&file("none"))).unwrap().is_none());
    }

    #[test]
    fn a_state_over_its_bound_or_without_a_place_is_told_with_the_key() {
        let path = file("bound");
        let error = checkpoint().write(&path, 10).unwrap_err().to_string();
        assert!(error.contains("[state] state_bytes is 10: raise that"), "{error}");
        assert!(!path.exists());
        let error = checkpoint().write(Path::new("/proc/none/state"), 1 << 20).unwrap_err().to_string();
        assert!(error.contains("[state] path"), "{error}");
    }
}
