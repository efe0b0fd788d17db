//! Files that nobody but the gateway's user reads, and that no symbolic link leads elsewhere.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

/// Creates a file with mode 0600 in place of what has its name. What a symbolic link of that name leads to
/// stays as it is.
pub(super) fn create(path: &Path) -> io::Result<File> {
    remove(path)?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600).custom_flags(flags(OFlags::NOFOLLOW));
    options.open(path)
}

/// Locks a file, made with mode 0600 where there is none, until what is given is dropped or the process ends.
/// `None`: another process has locked it.
pub(super) fn lock(path: &Path) -> io::Result<Option<File>> {
    check(path)?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags(OFlags::NOFOLLOW));
    let file = options.open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            // Some file systems have no locks.
            tracing::warn!(
                "{} cannot be locked ({error}): see that no other gateway uses it",
                path.display()
            );
            Ok(Some(file))
        }
    }
}

/// Opens a file for reading; an error where the name is that of a symbolic link or of something else that is no file.
pub(super) fn open(path: &Path) -> io::Result<File> {
    // Opening a pipe would wait for its writer.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags(OFlags::NOFOLLOW | OFlags::NONBLOCK))
        .open(path)
        .map_err(|error| match error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            true => io::Error::other("it is a symbolic link, which is not followed"),
            false => error,
        })?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(file)
}

/// An error where the name is that of something that is no regular file, be it through symbolic links: a
/// device, a pipe, a socket or a directory is not this gateway's to replace.
pub(super) fn check(path: &Path) -> io::Result<()> {
    let Some(kind) = fs::metadata(path).ok().map(|found| found.file_type()).filter(|kind| !kind.is_file())
    else {
        return Ok(());
    };
    let is = match kind {
        kind if kind.is_dir() => "a directory",
        kind if kind.is_fifo() => "a pipe",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(io::Error::other(format!("{} is {is}, no regular file", path.display())))
}

/// Removes a regular file or a symbolic link, if there is one.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    check(path)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn flags(flags: OFlags) -> i32 {
    flags.bits() as i32
}

pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}
