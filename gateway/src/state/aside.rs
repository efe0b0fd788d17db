//! Where a file goes that is not restored whole: beside its place, under another name.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::private_file;

/// Gives the file another name beside its own; says which, or why not.
pub fn keep(path: &Path) -> String {
    let aside = refused_name(path);
    let kept = match identity(&aside) == identity(path) {
        true => Ok(()),
        false => private_file::remove(&aside).and_then(|()| fs::hard_link(path, &aside)),
    };
    match kept {
        Ok(()) => format!("the file is kept as {}", aside.display()),
        Err(e) => format!("the file cannot be kept as {}: {e}", aside.display()),
    }
}

/// Where a refused file goes: earlier ones stay, nine of them. The same file has one such name only.
pub fn refused_name(path: &Path) -> PathBuf {
    let this = identity(path);
    let names = (2..=9).map(|n| format!("refused.{n}"));
    let mut names =
        std::iter::once("refused".to_owned()).chain(names).map(|name| private_file::with_suffix(path, &name));
    let is_free = |name: &PathBuf| identity(name).is_none_or(|found| Some(found) == this);
    names.find(is_free).unwrap_or_else(|| private_file::with_suffix(path, "refused.9"))
}

/// Which file has a name; `None`: there is none.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino())).ok()
}
