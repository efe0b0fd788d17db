//! Revocations on disk, beside the state: they hold over a restart.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use engine::access::revoked::{Revocations, Revoked};
use serde::{Deserialize, Serialize};

use super::{private_file, sync_directory};
use crate::config::StateSettings;

/// A file of fewer lines is not worth writing anew.
const LINES_MIN: usize = 1000;

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<Box<str>>,
    /// µs since the Unix epoch.
    until: i64,
}

impl Line {
    fn of(revoked: Revoked, until: i64) -> Self {
        match revoked {
            Revoked::Jti(jti) => Self { jti: Some(jti), sub: None, until },
            Revoked::Sub(sub) => Self { jti: None, sub: Some(sub), until },
        }
    }

    fn parse(text: &[u8]) -> Result<(Revoked, i64), String> {
        let Self { jti, sub, until } = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        match (jti, sub) {
            (Some(jti), None) => Ok((Revoked::Jti(jti), until)),
            (None, Some(sub)) => Ok((Revoked::Sub(sub), until)),
            _ => Err("a line needs one of jti and sub".to_owned()),
        }
    }

    fn write(&self, text: &mut Vec<u8>) {
        serde_json::to_writer(&mut *text, self).expect("texts and numbers are always JSON");
        text.push(b'\n');
    }
}

/// Where they stand. `None`: nowhere, and they end with the process.
#[derive(Debug, Default)]
pub struct RevocationFile(Option<Mutex<Lines>>);

/// The file: a line for each revocation, the last one at its end.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    /// `None`: it is to be written anew, as none is there yet or its last line may be torn.
    file: Option<File>,
    count: usize,
    /// With so many it is written anew, without what is over.
    count_max: usize,
}

impl RevocationFile {
    pub fn new(state: &StateSettings) -> Self {
        let path = state.path.as_ref().map(|path| private_file::with_suffix(path, "revocations"));
        Self(path.map(|path| Mutex::new(Lines { path, file: None, count: 0, count_max: 0 })))
    }

    fn lines(&self) -> Option<MutexGuard<'_, Lines>> {
        Some(self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over those that still hold, also where less may be held now. Where the file cannot be read the gateway must
    /// not start: whoever was revoked would be let in.
    pub fn load(&self, revocations: &Revocations, now_us: i64) -> Result<(), String> {
        let Some(mut lines) = self.lines() else { return Ok(()) };
        let is_there = lines.load(revocations, now_us).map_err(|why| {
            format!("cannot read the revocations {}: {why}; mend or remove it", lines.path.display())
        })?;
        let (held, max) = (revocations.len(), revocations.max());
        if held > max {
            tracing::warn!(held, max, "more is revoked than [limits] revocations; none of it is forgotten");
        }
        if is_there && let Err(error) = lines.rewrite(revocations, now_us) {
            tracing::warn!(%error, path = %lines.path.display(), "the revocations cannot be written anew");
        }
        Ok(())
    }

    /// Writes down one that `revocations` has. Blocks.
    pub fn add(
        &self,
        revoked: Revoked,
        until_us: i64,
        revocations: &Revocations,
        now_us: i64,
    ) -> io::Result<()> {
        let Some(mut lines) = self.lines() else { return Ok(()) };
        match lines.file.take().filter(|_| lines.count < lines.count_max) {
            Some(file) => lines.append(file, &Line::of(revoked, until_us)),
            None => lines.rewrite(revocations, now_us),
        }
    }
}

impl Lines {
    /// Whether there is a file.
    fn load(&self, revocations: &Revocations, now_us: i64) -> Result<bool, String> {
        let file = match private_file::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(|error| error.to_string())?,
        };
        let (mut file, mut text) = (BufReader::new(file), Vec::new());
        while file.read_until(b'\n', &mut text).map_err(|error| error.to_string())? > 0 {
            match Line::parse(&text) {
                Ok((revoked, until_us)) if until_us > now_us => revocations.restore(revoked, until_us),
                Ok(_) => {}
                // The gateway ended while it wrote it, and before it answered who asked for it.
                Err(why) if !text.ends_with(b"\n") => tell_torn(&self.path, &why),
                Err(why) => return Err(why),
            }
            text.clear();
        }
        Ok(true)
    }

    /// Leaves no file open where it fails: the line may be torn.
    fn append(&mut self, mut file: File, line: &Line) -> io::Result<()> {
        let mut text = Vec::new();
        line.write(&mut text);
        file.write_all(&text)?;
        file.sync_data()?;
        self.count += 1;
        self.file = Some(file);
        Ok(())
    }

    /// Writes all that hold, in one step.
    fn rewrite(&mut self, revocations: &Revocations, now_us: i64) -> io::Result<()> {
        let beside = private_file::with_suffix(&self.path, "tmp");
        let mut file = private_file::create(&beside)?;
        let held = revocations.list(now_us);
        let mut text = Vec::new();
        self.count = held.len();
        self.count_max = LINES_MIN.max(2 * held.len());
        held.into_iter().for_each(|(revoked, until_us)| Line::of(revoked, until_us).write(&mut text));
        file.write_all(&text)?;
        file.sync_all()?;
        private_file::check(&self.path)?;
        fs::rename(&beside, &self.path)?;
        sync_directory(&self.path)?;
        // What comes next is written behind.
        self.file = Some(file);
        Ok(())
    }
}

fn tell_torn(path: &Path, why: &str) {
    tracing::warn!(path = %path.display(), why, "the last line of the revocations is torn and was left out");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::state::revocations::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("fanwire-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn file(&self) -> RevocationFile {
            let path = Some(self.0.join("state"));
            RevocationFile::new(&StateSettings {
                path,
                checkpoint: Duration::from_secs(1),
                state_bytes: 1 << 20,
            })
        }

        fn text(&self) -> String {
            fs::read_to_string(self.0.join("state.revocations")).unwrap()
        }

        fn write(&self, text: &str) {
            fs::write(self.0.join("state.revocations"), text).unwrap();
        }

        /// What another process finds, with room for `max`.
        fn loaded(&self, max: usize, now_us: i64) -> Result<Vec<(Revoked, i64)>, String> {
            let revocations = Revocations::new(max);
            self.file().load(&revocations, now_us)?;
            let mut held = revocations.list(now_us);
            held.sort_by_key(|(_, until_us)| *until_us);
            Ok(held)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn sub(name: &str) -> Revoked {
        Revoked::Sub(name.into())
    }

    fn revoke(file: &RevocationFile, revocations: &Revocations, revoked: Revoked, until_us: i64) {
        revocations.revoke(revoked.clone(), until_us, 0).unwrap();
        file.add(revoked, until_us, revocations, 0).unwrap();
    }

    #[test]
    fn what_holds_is_found_again_and_what_is_over_is_not() {
        let dir = Dir::new("revocations");
        let (file, revocations) = (dir.file(), Revocations::new(10));
        file.load(&revocations, 0).unwrap();
        revoke(&file, &revocations, sub("a\n\"b"), 100);
        revoke(&file, &revocations, Revoked::Jti("7".into()), 50);
        assert_eq!(dir.loaded(10, 60), Ok(vec![(sub("a\n\"b"), 100)]));
        assert_eq!(dir.text().lines().count(), 1, "it was written anew");
    }

    #[test]
    fn a_revocation_is_one_line_more_until_most_are_over() {
        let dir = Dir::new("revocation-lines");
        let (file, revocations) = (dir.file(), Revocations::new(10));
        revoke(&file, &revocations, sub("a"), 100);
        let before = dir.text();
        for until_us in 101..100 + LINES_MIN as i64 {
            revoke(&file, &revocations, sub("b"), until_us);
        }
        assert!(dir.text().starts_with(&before));
        assert_eq!(dir.text().lines().count(), LINES_MIN);
        revoke(&file, &revocations, sub("c"), 70);
        assert_eq!(dir.text().lines().count(), 3);
    }

    #[test]
    fn a_torn_last_line_is_left_out_and_any_other_mistake_is_told() {
        let dir = Dir::new("revocations-torn");
        let held = vec![(sub("a"), 100)];
        let good = "{\"sub\":\"a\",\"until\":100}\n";
        dir.write(&format!("{good}{{\"sub\":\"b\",\"un"));
        assert_eq!(dir.loaded(10, 0), Ok(held.clone()));
        assert_eq!(dir.text(), good);
        dir.write(good.trim_end());
        assert_eq!(dir.loaded(10, 0), Ok(held), "only its end is missing");
        for bad in [
            "{\n",
            "\n",
            "{\"until\":100}\n",
            "{\"sub\":\"a\",\"jti\":\"b\",\"until\":100}\n",
            "{\"sub\":\"a\",\"until\":100,\"iss\":\"c\"}\n",
        ] {
            dir.write(&format!("{bad}{good}"));
            let told = dir.loaded(10, 0).unwrap_err();
            assert!(told.contains("state.revocations"), "{told}");
        }
    }

    #[test]
    fn all_that_hold_are_taken_over_where_less_may_be_held() {
        let dir = Dir::new("revocations-lowered");
        dir.write("{\"sub\":\"a\",\"until\":100}\n{\"sub\":\"b\",\"until\":200}\n");
        assert_eq!(dir.loaded(1, 0), Ok(vec![(sub("a"), 100), (sub("b"), 200)]));
        assert_eq!(dir.text().lines().count(), 2);
    }
}
