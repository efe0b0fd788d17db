//! Warm restart: topics, tables and counts on disk, so that a gateway that was killed comes back with
//! what it had, and one that ended cleanly goes on in its epoch.
//!
//! The file (see `format.rs`) is written beside, read back and renamed, so that what stands at `path` is
//! always whole and can be restored. What a disk does to it later costs the topics that it does it to. Only
//! a drain leaves `path.clean` beside it, which names the file by its checksum and is removed before
//! anything new is numbered: an epoch is continued once.

mod aside;
mod format;
mod format_1;
mod private_file;
mod records;
pub mod revocations;
mod texts;

use crate::intake::clocked::ClockedSequencer;
use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Seek, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use net::metric::{Kind, Metric};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config;
pub use engine::sequencer::checkpoint::{Checkpoint, Damage, Ended, Restored, RestoredTopic, SavedTopic};
pub use format::read;
use private_file::with_suffix;

/// Topics left out that the log names.
const NAMED_MAX: usize = 20;

/// Bytes of a mark that are looked at.
const CLEAN_BYTES_MAX: u64 = 1024;

#[derive(Debug, Default)]
pub struct StateCounters {
    /// Checkpoints that failed.
    pub errors: AtomicU64,
    /// Of the last that did not.
    pub bytes: AtomicU64,
    pub written_mono_us: AtomicU64,
    /// Topics restored at the start, those left out, and those that the file had and damage has taken.
    pub restored: AtomicU64,
    pub left_out: AtomicU64,
    pub lost: AtomicU64,
    /// There was a file, and nothing of it could be used.
    pub is_refused: AtomicBool,
    /// One checkpoint is written at a time, and none after the last.
    is_over: Mutex<bool>,
}

impl StateCounters {
    pub const METRICS: &[Metric<Self>] = &[
        Metric::gauge("fanwire_state_restored", "Topics restored at the start", |c| c.restored.load(Relaxed)),
        Metric::gauge(
            "fanwire_state_left_out",
            "Topics of the state that were not restored, by limits or another mode",
            |c| c.left_out.load(Relaxed),
        ),
        Metric::gauge(
            "fanwire_state_lost",
            "Topics that the state had at the start and that were lost by damage",
            |c| c.lost.load(Relaxed),
        ),
        Metric::counter("fanwire_state_errors", "Checkpoints that were not written", |c| {
            c.errors.load(Relaxed)
        }),
    ];

    /// There is a checkpoint.
    pub fn is_written(&self) -> bool {
        self.bytes.load(Relaxed) > 0
    }

    /// Once there is a checkpoint, with what the time is now: microseconds, monotonic.
    pub const METRICS_WRITTEN: &[Metric<(Arc<Self>, u64)>] = &[
        Metric::gauge("fanwire_state_bytes", "Length of the last checkpoint", |(c, _)| c.bytes.load(Relaxed)),
        Metric::real(
            Kind::Gauge,
            "fanwire_state_age_seconds",
            "Since the last checkpoint was written",
            |(c, now_us)| now_us.saturating_sub(c.written_mono_us.load(Relaxed)) as f64 / 1e6,
        ),
    ];
}

/// Why a checkpoint was not written.
#[derive(Debug, Error)]
pub enum NotWritten {
    #[error("{path}: {error}; make room, or give [state] path a name in a directory that can be written to")]
    Io { path: String, error: io::Error },
    #[error("the state has {bytes} bytes, [state] state_bytes is {max}: raise that")]
    TooLong { bytes: u64, max: u64 },
    #[error("{path} does not read back as it was written ({why}), so the one before stays; look at the disk")]
    NotReadBack { path: String, why: String },
}

/// Why a state may not be used.
#[derive(Debug, Error)]
pub enum NotLocked {
    #[error("{path}: {error}; give [state] path a name in a directory that can be written to")]
    Io { path: String, error: io::Error },
    #[error(
        "another gateway uses the state {path}: end it, or give each a [state] path of its own; two would write over each other's"
    )]
    Taken { path: String },
}

/// Names the state file that a clean end has left.
#[derive(Serialize, Deserialize, PartialEq)]
struct Clean {
    crc32: u32,
}

/// Writes `checkpoint` to `path` in one step; gives its length in bytes and its checksum. On an error what was
/// there before stays, and nothing else.
pub fn write(checkpoint: &Checkpoint, path: &Path, bytes_max: u64) -> Result<(u64, u32), NotWritten> {
    let bytes =
        checkpoint.topics.iter().map(|t| t.json.len() + t.table.as_ref().map_or(0, Vec::len)).sum::<usize>();
    if bytes as u64 > bytes_max {
        return Err(NotWritten::TooLong { bytes: bytes as u64, max: bytes_max });
    }
    let beside = with_suffix(path, "tmp");
    let failed = |error| NotWritten::Io { path: path.display().to_string(), error };
    let in_place = |()| {
        let checked = private_file::check(path).and_then(|()| fs::rename(&beside, path));
        checked.and_then(|()| sync_directory(path)).map_err(failed)
    };
    let written = private_file::create(&beside).map_err(failed).and_then(|file| {
        let (bytes, crc32) = write_to(checkpoint, &file, bytes_max, failed)?;
        let back = format::verify(BufReader::new(&file), checkpoint.topics.len(), crc32);
        back.map_err(|why| NotWritten::NotReadBack { path: beside.display().to_string(), why })?;
        Ok((bytes, crc32))
    });
    let written = written.and_then(|names| in_place(()).map(|()| names));
    if written.is_err() {
        // Where it cannot be removed either, the next one or the next start does.
        let _ = private_file::remove(&beside);
    }
    written
}

/// Leaves the file at its beginning.
fn write_to(
    checkpoint: &Checkpoint,
    mut file: &File,
    bytes_max: u64,
    failed: impl Fn(io::Error) -> NotWritten,
) -> Result<(u64, u32), NotWritten> {
    let (out, bytes, crc32) = format::encode(checkpoint, BufWriter::new(file)).map_err(&failed)?;
    if bytes > bytes_max {
        // One that is longer would be refused when it is read.
        return Err(NotWritten::TooLong { bytes, max: bytes_max });
    }
    out.into_inner().map_err(|e| failed(e.into_error()))?.sync_all().map_err(&failed)?;
    file.rewind().map_err(failed)?;
    Ok((bytes, crc32))
}

/// A rename lasts once its directory was written.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

/// Keeps other gateways from the state until what is given is dropped. `None`: there is no state.
pub fn lock(config: &config::StateSettings) -> Result<Option<File>, NotLocked> {
    let Some(path) = config.path.as_ref() else { return Ok(None) };
    let shown = path.display().to_string();
    let locked = private_file::check(path).and_then(|()| private_file::lock(&with_suffix(path, "lock")));
    match locked {
        Ok(Some(file)) => Ok(Some(file)),
        Ok(None) => Err(NotLocked::Taken { path: shown }),
        Err(error) => Err(NotLocked::Io { path: shown, error }),
    }
}

/// Loads what an earlier run has left. Whatever is wrong with it, the gateway starts: what of a file cannot
/// be used stands in the log, and the file is kept.
///
/// An error: nothing can be written there, so that the next start would find nothing, or what stands there is
/// no file and has to stay.
pub fn load(
    config: &config::StateSettings,
    counters: &StateCounters,
) -> Result<Option<Restored>, NotWritten> {
    let Some(path) = config.path.as_ref() else { return Ok(None) };
    let beside = with_suffix(path, "tmp");
    private_file::check(path)
        .and_then(|()| private_file::check(&with_suffix(path, "clean")))
        // One that a killed gateway has left goes with it.
        .and_then(|()| private_file::create(&beside))
        .and_then(|_| private_file::remove(&beside))
        .map_err(|error| NotWritten::Io { path: path.display().to_string(), error })?;
    let restored = load_from(config, path, counters);
    if let Some(damage) = restored.as_ref().and_then(|restored| restored.damage.as_ref()) {
        counters.lost.store(damage.topics, Relaxed);
    }
    Ok(restored)
}

fn load_from(config: &config::StateSettings, path: &Path, counters: &StateCounters) -> Option<Restored> {
    let shown = path.display();
    let file = match private_file::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            tracing::info!("there is no state {shown} yet");
            return None;
        }
        opened => opened.map_err(|e| e.to_string()),
    };
    match file.and_then(|file| read_file(file, config.state_bytes)) {
        Ok((mut restored, crc32)) => {
            restored.is_clean = take_clean(path, crc32) && restored.damage.is_none();
            if let Some(damage) = &restored.damage {
                tell_damage(path, damage);
            }
            let (topics, clean) = (restored.topics.len(), restored.is_clean);
            tracing::info!(topics, clean, "the state {shown} is restored");
            Some(restored)
        }
        Err(why) => {
            counters.is_refused.store(true, Relaxed);
            let aside = aside::refused_name(path);
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

fn read_file(file: File, bytes_max: u64) -> Result<(Restored, u32), String> {
    // One of an older gateway may be readable by others. Where this cannot be changed it is read all the same.
    let _ = file.set_permissions(fs::Permissions::from_mode(0o600));
    let bytes = file.metadata().map_err(|e| e.to_string())?.len();
    if bytes > bytes_max {
        return Err(format!("it has {bytes} bytes, [state] state_bytes is {bytes_max}: raise that"));
    }
    read(BufReader::new(file.take(bytes_max)))
}

/// Says what is lost, and keeps the file: the next checkpoint takes its place.
fn tell_damage(path: &Path, damage: &Damage) {
    let (shown, kept) = (path.display(), aside::keep(path));
    let Damage { topics, places, first } = damage;
    tracing::error!(
        "the state {shown} is damaged in {places} places ({first}): {topics} topics are lost, the others \
         are restored, and the epoch is a new one; {kept}"
    );
}

/// Takes over what was loaded; gives the topics, none of which is confirmed yet. Where there is no room for
/// all of them, their file is kept: the next checkpoint takes its place.
pub fn restore(
    restored: &Restored,
    sequencer: &ClockedSequencer,
    config: &config::StateSettings,
    counters: &StateCounters,
) -> Vec<Arc<str>> {
    let (taken, refused) = sequencer.restore(restored);
    counters.restored.store(taken.len() as u64, Relaxed);
    counters.left_out.store(refused.len() as u64, Relaxed);
    for why in refused.iter().take(NAMED_MAX) {
        tracing::error!("not restored: {why}");
    }
    if let (Some(path), false) = (&config.path, refused.is_empty()) {
        let (count, kept) = (refused.len(), aside::keep(path));
        tracing::error!("{count} topics of the state are not restored, so the epoch is a new one; {kept}");
    }
    taken
}

/// Whether the file with that checksum was left by a clean end. It is no more afterwards.
fn take_clean(path: &Path, crc32: u32) -> bool {
    let beside = with_suffix(path, "clean");
    let mut text = String::new();
    let read =
        private_file::open(&beside).and_then(|file| file.take(CLEAN_BYTES_MAX).read_to_string(&mut text));
    let names_it = read.is_ok() && serde_json::from_str(&text).is_ok_and(|clean: Clean| clean.crc32 == crc32);
    // While it may come back after a crash, the epoch must not go on.
    names_it && fs::remove_file(&beside).and_then(|()| sync_directory(path)).is_ok()
}

/// Leaves the mark of a clean end, or none.
fn mark_clean(path: &Path, crc32: u32) -> io::Result<()> {
    let beside = with_suffix(path, "clean");
    let marked = private_file::create(&beside).and_then(|mut file| {
        serde_json::to_writer(&mut file, &Clean { crc32 })?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        sync_directory(path)
    });
    if marked.is_err() {
        // Half a mark names nothing.
        let _ = private_file::remove(&beside);
    }
    marked
}

/// Writes checkpoints for good; not where nothing has changed since the last one. `config`: what holds now.
pub async fn keep(
    config: impl Fn() -> config::StateSettings,
    sequencer: &ClockedSequencer,
    counters: &Arc<StateCounters>,
) -> std::convert::Infallible {
    let Some(path) = config().path else { std::future::pending().await };
    let mut written = None;
    loop {
        tokio::time::sleep(config().checkpoint.max(Duration::from_millis(1))).await;
        let generation = Some(sequencer.generation());
        if written == generation {
            continue;
        }
        let checkpoint = sequencer.checkpoint();
        let (path, bytes_max, shared) = (path.clone(), config().state_bytes, counters.clone());
        let writing = tokio::task::spawn_blocking(move || {
            let is_over = shared.is_over.lock().unwrap_or_else(PoisonError::into_inner);
            (!*is_over).then(|| write(&checkpoint, &path, bytes_max)).transpose()
        });
        match writing.await {
            Ok(Ok(None)) => {}
            Ok(Ok(Some((bytes, _)))) => {
                written = generation;
                counters.bytes.store(bytes, Relaxed);
                counters.written_mono_us.store(sequencer.now().mono_us, Relaxed);
            }
            Ok(Err(error)) => failed(counters, &error),
            Err(error) => failed(counters, &error),
        }
    }
}

/// The last checkpoint: nothing is numbered after it. On an error the next start finds an earlier one, or
/// begins a new epoch.
pub fn end(
    config: &config::StateSettings,
    sequencer: &ClockedSequencer,
    counters: &StateCounters,
) -> Result<(), NotWritten> {
    let Some(path) = &config.path else { return Ok(()) };
    sequencer.freeze();
    let mut is_over = counters.is_over.lock().unwrap_or_else(PoisonError::into_inner);
    *is_over = true;
    let written = write(&sequencer.checkpoint(), path, config.state_bytes).and_then(|(_, crc32)| {
        let beside = with_suffix(path, "clean").display().to_string();
        mark_clean(path, crc32).map_err(|error| NotWritten::Io { path: beside, error })
    });
    written.inspect_err(|error| {
        counters.errors.fetch_add(1, Relaxed);
        tracing::error!("the last checkpoint failed, what came after the one before it is lost: {error}");
    })
}

fn failed(counters: &StateCounters, error: &dyn std::error::Error) {
    counters.errors.fetch_add(1, Relaxed);
    tracing::error!("no checkpoint: {error}");
}

#[cfg(test)]
mod tests;
