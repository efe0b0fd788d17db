//! Files of keys of the admin listener: one that is missing is made, with a new key, which is printed once.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{
    admin_key::{Digest, generate},
    config::admin::AdminAccess,
};

/// Its owner may write it, and a group that the operator chooses may read it: who scrapes, for one.
const MODE: u32 = 0o640;

#[derive(Debug, Error)]
#[error(
    "cannot make the file {path} with the admin key {name:?}: {error}; make its directory and let this user write \
     there, or name another file (key_file)"
)]
pub struct NotMade {
    name: String,
    path: PathBuf,
    error: io::Error,
}

/// Makes the files that are missing, and prints what stands in them on stderr.
pub fn make(access: &mut AdminAccess) -> Result<(), NotMade> {
    for configured in access.keys.iter_mut().filter(|key| key.is_missing) {
        let Some(path) = &configured.file else { continue };
        let (key, name) = (generate(), &configured.key.name);
        write(path, &key).map_err(|error| NotMade { name: name.clone(), path: path.clone(), error })?;
        eprintln!("gateway: a new admin key {name:?}, which is kept in {}: {key}", path.display());
        configured.key.digest = Digest::of(key.as_bytes());
        configured.is_missing = false;
    }
    Ok(())
}

fn write(path: &Path, key: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)?;
    writeln!(file, "{key}")?;
    file.sync_all()
}
