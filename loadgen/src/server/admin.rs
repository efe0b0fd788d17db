//! The gateway's admin listener: where it is, and the key that it wants.

use std::{env, fmt, sync::Arc};

use super::url::{Resolution, Url};

/// Holds the key where no flag names one: other users of a host can read command lines.
const KEY_VARIABLE: &str = "FANWIRE_ADMIN_KEY";

/// `Debug` does not tell the key.
#[derive(Clone)]
pub struct Admin {
    pub url: Url,
    pub key: Option<Arc<str>>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Admin({})", self.url.host)
    }
}

impl Admin {
    /// `url` and `key` of the command line.
    pub fn of(
        url: Option<&str>,
        key: Option<&str>,
        resolutions: &[Resolution],
    ) -> Result<Option<Self>, String> {
        let Some(url) = url else {
            return match key {
                Some(_) => Err("--admin-key goes with the --admin URL that wants it".into()),
                None => Ok(None),
            };
        };
        let url = Url::resolved(url, "http", resolutions)?;
        let key =
            key.map(str::to_owned).or_else(|| env::var(KEY_VARIABLE).ok()).filter(|key| !key.is_empty());
        match key {
            Some(key) if !key.bytes().all(|b| b.is_ascii_graphic()) => Err(format!(
                "--admin-key, or {KEY_VARIABLE}: a key is ASCII without spaces; write it as gateway key prints it"
            )),
            key => Ok(Some(Self { url, key: key.map(Arc::from) })),
        }
    }
}
