//! A token that a source shows to its server, from a file.

use std::{fs, path::Path};

use serde_json::Value;

/// A head with a longer one is refused by most servers.
const BYTES_MAX: usize = 8 << 10;
/// A notice is short.
const NOTICE_BYTES_MAX: usize = 256;

/// Without the white space around it. The error tells nothing of what stands there.
pub fn read_now(path: &Path) -> Result<String, String> {
    let failed = |why: &str| format!("cannot use {}: {why}", path.display());
    let text = fs::read_to_string(path).map_err(|error| failed(&error.to_string()))?;
    let token = text.trim();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if token.is_empty() || token.len() > BYTES_MAX || !token.bytes().all(is_token) {
        return Err(failed("it has no token, as RFC 6750 has them, of at most 8 KiB"));
    }
    Ok(token.to_owned())
}

/// The same where nothing may wait for a disk.
pub async fn read(path: &Path) -> Result<String, String> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || read_now(&path)).await.map_err(|error| error.to_string())?
}

/// Whether a Fanwire says that the token expires.
pub fn is_expiring(text: &str) -> bool {
    let is_notice = |value: Value| value["op"] == "notice" && value["code"] == "token_expiring";
    text.len() <= NOTICE_BYTES_MAX
        && text.contains("token_expiring")
        && serde_json::from_str(text).is_ok_and(is_notice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_without_what_is_around_it_and_nothing_else_is_taken() {
        let path = std::env::temp_dir().join(format!("fanwire-token-file-{}", std::process::id()));
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            read_now(&path)
        };
        assert_eq!(read(" eyJ.a-b_c.d \n").as_deref(), Ok("eyJ.a-b_c.d"));
        for bad in ["", " \n", "a b", "a\r\nX: y", "ä", &"a".repeat(BYTES_MAX + 1)] {
            let error = read(bad).unwrap_err();
            assert!(error.contains("RFC 6750") && !error.contains("X: y"), "{error}");
        }
        fs::remove_file(&path).unwrap();
        assert!(read_now(&path).unwrap_err().contains("cannot use"));
    }

    #[test]
    fn only_the_notice_itself_says_that_a_token_expires() {
        assert!(is_expiring(r#"{"op":"notice","code":"token_expiring","exp":7}"#));
        for other in [
            r#"{"op":"notice","code":"draining"}"#,
            r#"{"op":"batch","code":"token_expiring"}"#,
            r#"{"data":{"op":"notice","code":"token_expiring"}}"#,
            "token_expiring",
        ] {
            assert!(!is_expiring(other), "{other}");
        }
    }
}
