//! What a supervisor such as systemd is told: sd_notify(3). Without `NOTIFY_SOCKET` nobody is.

use std::convert::Infallible;

use sd_notify::NotifyState;

/// Every shard listens.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Certificates are read again; [`ready`] follows.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "the supervisor cannot be told the time of a reload"),
    }
}

/// Clients are sent away, then the process ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says again and again that all shards make progress, as long as they do. Who asks for that (`WATCHDOG_USEC`) ends a
/// process that says nothing. `silent` gives the shards that make none.
pub async fn keep_watched(silent: impl AsyncFn() -> Vec<usize>) -> Infallible {
    let Some(patience) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    loop {
        // Who answers in less time has a margin as large again.
        tokio::time::sleep(patience / 2).await;
        let silent = silent().await;
        if silent.is_empty() {
            tell(&[NotifyState::Watchdog]);
        } else {
            tracing::error!(
                ?silent,
                "shards make no progress, so the supervisor is not told that all is well"
            );
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the supervisor at NOTIFY_SOCKET cannot be told how the gateway is");
    }
}
