//! What is published is read, again and again.

use std::convert::Infallible;

use tokio::sync::OnceCell;

use super::{keys::Keys, published::AGAIN};

/// One read at a time.
pub async fn keep(keys: &Keys) -> Infallible {
    let (waiting, tls) = (keys.waiting(), OnceCell::new());
    loop {
        waiting.begin();
        let Some(jwks) = keys.jwks() else {
            keys.retry(waiting.end());
            waiting.asked().await;
            continue;
        };
        let read = jwks.read(&tls).await;
        let again = if read.is_ok() { jwks.refresh } else { jwks.refresh.min(AGAIN) };
        keys.counters().read(read.is_ok());
        match read {
            Ok(read) => keys.publish(&jwks, read),
            Err(error) => {
                keys.lapse();
                tracing::warn!("cannot read the keys of {}: {error}; those known still hold", jwks.place);
            }
        }
        keys.retry(waiting.end());
        tokio::select! {
            () = tokio::time::sleep(again) => {}
            () = waiting.asked() => {}
        }
    }
}
