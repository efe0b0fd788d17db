//! Revocations on disk, beside the state: they hold over a restart.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use engine::access::revoked::{Revocations, Revoked};
use serde::{Deserialize, Serialize};

use super::{private_file, sync_directory};
use crate::config::StateSettings;

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<Box<str>>,
    /// µs since the Unix epoch.
    until: i64,
}

/// Where they stand. `None`: nowhere, and they end with the process.
#[derive(Debug, Default)]
pub struct RevocationFile {
    /// One is written at a time.
    path: Option<Mutex<PathBuf>>,
}

impl RevocationFile {
    pub fn new(state: &StateSettings) -> Self {
        let path = state.path.as_ref().map(|path| private_file::with_suffix(path, "revocations"));
        Self { path: path.map(Mutex::new) }
    }

    /// Takes over those that still hold. Where the file cannot be read the gateway must not start: whoever was revoked
    /// would be let in.
    pub fn load(&self, revocations: &Revocations, now_us: i64) -> Result<(), String> {
        let Some(path) = &self.path else { return Ok(()) };
        let path = path.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |why: String| {
            let shown = path.display();
            format!("cannot read the revocations {shown}: {why}; mend or remove it")
        };
        let file = match private_file::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened.map_err(|error| failed(error.to_string()))?,
        };
        for line in BufReader::new(file).lines() {
            let line = line.map_err(|error| failed(error.to_string()))?;
            let Line { jti, sub, until } =
                serde_json::from_str(&line).map_err(|error| failed(error.to_string()))?;
            let names = [jti.map(Revoked::Jti), sub.map(Revoked::Sub)];
            for revoked in names.into_iter().flatten().filter(|_| until > now_us) {
                revocations.revoke(revoked, until, now_us).map_err(|full| failed(full.to_string()))?;
            }
        }
        Ok(())
    }

    /// Writes all that hold, in one step. Blocks.
    pub fn save(&self, revocations: &Revocations, now_us: i64) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let path = path.lock().unwrap_or_else(PoisonError::into_inner);
        let beside = private_file::with_suffix(&path, "tmp");
        let mut file = private_file::create(&beside)?;
        let mut text = Vec::new();
        for (revoked, until) in revocations.list(now_us) {
            let line = match revoked {
                Revoked::Jti(jti) => Line { jti: Some(jti), sub: None, until },
                Revoked::Sub(sub) => Line { jti: None, sub: Some(sub), until },
            };
            serde_json::to_writer(&mut text, &line)?;
            text.push(b'\n');
        }
        file.write_all(&text)?;
        file.sync_all()?;
        private_file::check(&path)?;
        fs::rename(&beside, &*path)?;
        sync_directory(&path)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::state::revocations::*;

    #[test]
    fn what_holds_is_found_again_and_what_is_over_is_not() {
        let dir = std::env::temp_dir().join(format!("fanwire-revocations-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = Some(dir.join("state"));
        let state = StateSettings { path, checkpoint: Duration::from_secs(1), state_bytes: 1 << 20 };
        let file = RevocationFile::new(&state);
        let revocations = Revocations::new(10);
        file.load(&revocations, 0).unwrap();
        revocations.revoke(Revoked::Sub("a\n\"b".into()), 100, 0).unwrap();
        revocations.revoke(Revoked::Jti("7".into()), 50, 0).unwrap();
        file.save(&revocations, 0).unwrap();
        let again = Revocations::new(10);
        file.load(&again, 60).unwrap();
        assert_eq!(again.list(60), [(Revoked::Sub("a\n\"b".into()), 100)]);
        fs::write(dir.join("state.revocations"), "{").unwrap();
        assert!(file.load(&again, 60).unwrap_err().contains("state.revocations"));
        fs::remove_dir_all(&dir).unwrap();
    }
}
