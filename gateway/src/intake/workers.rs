//! Threads beside the control plane's, for work on one publisher's body that would keep all others waiting.

use std::time::Duration;

use tokio::sync::Semaphore;

/// Bodies that are worked on at once. More wait their turn; a step is a few tens of milliseconds at most.
const AT_ONCE: usize = 1;

/// Worked on where they are: tens of microseconds.
const FEW_BYTES: usize = 16 * 1024;

/// Others get their turn after a shorter piece of work too; after a longer one as much time, within bounds.
const REST_MIN: Duration = Duration::from_millis(10);
const REST_MAX: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub struct Workers {
    turns: Semaphore,
}

impl Default for Workers {
    fn default() -> Self {
        Self { turns: Semaphore::new(AT_ONCE) }
    }
}

impl Workers {
    /// What `work` on so many bytes gives: at once where they are few, as handing them over takes longer.
    pub async fn run_sized<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        if bytes <= FEW_BYTES { work() } else { self.run(work).await }
    }

    /// What `work` gives, once it had its turn.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let _turn = self.turns.acquire().await.expect("nobody closes it");
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime ends, and with it all callers that wait.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// Leaves the thread to all others, after a long piece of work for as long as they were kept from it.
pub async fn rest(took: Duration) {
    if took < REST_MIN {
        tokio::task::yield_now().await;
    } else {
        tokio::time::sleep(took.min(REST_MAX)).await;
    }
}
