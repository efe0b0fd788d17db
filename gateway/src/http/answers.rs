//! Long answers under way: readers who ask for the same share one copy, and all copies together are bounded.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::Mutex as Turn;

use crate::intake::workers::rest;

/// Shorter answers are not held: they are as small as a connection's buffers.
const SMALL_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub struct Answers {
    /// `[limits] admin_answer_bytes`.
    bytes_max: AtomicUsize,
    bytes: Arc<AtomicUsize>,
    /// By what they answer, the state that they show included.
    shared: Mutex<HashMap<String, Weak<Copy>>>,
    /// One is made at a time.
    turn: Turn<()>,
}

/// As much is held already as may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Full {
    pub bytes_max: usize,
}

/// One text, counted while anybody reads it.
#[derive(Debug)]
struct Copy {
    text: Bytes,
    counted: Arc<AtomicUsize>,
}

/// A reader's hold on it.
struct Reader(Arc<Copy>);

impl AsRef<[u8]> for Reader {
    fn as_ref(&self) -> &[u8] {
        &self.0.text
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.counted.fetch_sub(self.text.len(), Ordering::Relaxed);
    }
}

impl Answers {
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max: AtomicUsize::new(bytes_max),
            bytes: Arc::default(),
            shared: Mutex::default(),
            turn: Turn::new(()),
        }
    }

    pub fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// Bytes of the copies held.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// What `make` gives, or what it gave somebody who still reads it. `key` names the state that is shown, as of
    /// when it is called; `None` of either: there is nothing to show. One copy is taken whole while the copies
    /// are below their bound.
    pub async fn share(
        &self,
        key: impl Fn() -> Option<String>,
        make: impl FnOnce() -> Option<Bytes>,
    ) -> Result<Option<Bytes>, Full> {
        let _turn = self.turn.lock().await;
        let Some(key) = key() else { return Ok(None) };
        let held = self.shared().get(&key).and_then(Weak::upgrade);
        if let Some(copy) = held {
            return Ok(Some(Bytes::from_owner(Reader(copy))));
        }
        let began = Instant::now();
        let Some(text) = make() else { return Ok(None) };
        let shown = self.hold(key, text);
        rest(began.elapsed()).await;
        shown.map(Some)
    }

    /// What `make` gives, or the same text where somebody still reads that: for answers whose state has no name.
    /// `path`: what they answer.
    pub async fn share_same(&self, path: &str, make: impl FnOnce() -> Bytes) -> Result<Bytes, Full> {
        let _turn = self.turn.lock().await;
        let began = Instant::now();
        let text = make();
        let held = self.shared().get(path).and_then(Weak::upgrade).filter(|copy| copy.text == text);
        let shown = match held {
            Some(copy) => Ok(Bytes::from_owner(Reader(copy))),
            None => self.hold(path.to_owned(), text),
        };
        rest(began.elapsed()).await;
        shown
    }

    fn hold(&self, key: String, text: Bytes) -> Result<Bytes, Full> {
        if text.len() <= SMALL_BYTES {
            return Ok(text);
        }
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        if self.bytes() >= bytes_max {
            return Err(Full { bytes_max });
        }
        self.bytes.fetch_add(text.len(), Ordering::Relaxed);
        let copy = Arc::new(Copy { text, counted: self.bytes.clone() });
        let mut shared = self.shared();
        shared.retain(|_, copy| copy.strong_count() > 0);
        shared.insert(key, Arc::downgrade(&copy));
        Ok(Bytes::from_owner(Reader(copy)))
    }

    fn shared(&self) -> std::sync::MutexGuard<'_, HashMap<String, Weak<Copy>>> {
        self.shared.lock().expect("looking up never panics")
    }
}

#[cfg(test)]
mod tests {
    use crate::http::answers::*;

    const LEN: usize = SMALL_BYTES + 1;

    fn text(byte: u8) -> Option<Bytes> {
        Some(vec![byte; LEN].into())
    }

    fn key(name: &str) -> impl Fn() -> Option<String> {
        let name = name.to_owned();
        move || Some(name.clone())
    }

    #[tokio::test]
    async fn readers_of_the_same_share_one_copy() {
        let answers = Answers::new(10 * LEN);
        let first = answers.share(key("a 1"), || text(1)).await.unwrap().unwrap();
        let second = answers.share(key("a 1"), || panic!("it is there")).await.unwrap().unwrap();
        assert_eq!((first.as_ptr(), answers.bytes()), (second.as_ptr(), LEN));
        let newer = answers.share(key("a 2"), || text(2)).await.unwrap().unwrap();
        assert_eq!((newer[0], answers.bytes()), (2, 2 * LEN));
        drop(first);
        assert_eq!(answers.bytes(), 2 * LEN);
        drop(second);
        assert_eq!(answers.bytes(), LEN);
        let again = answers.share(key("a 1"), || text(3)).await.unwrap().unwrap();
        assert_eq!((again[0], answers.bytes()), (3, 2 * LEN));
    }

    #[tokio::test]
    async fn copies_are_bounded_together() {
        let answers = Answers::new(LEN * 3 / 2);
        let held = [answers.share(key("a"), || text(1)).await, answers.share(key("b"), || text(1)).await];
        assert!(held.iter().all(Result::is_ok));
        let full = Err(Full { bytes_max: LEN * 3 / 2 });
        assert_eq!(answers.share(key("c"), || text(1)).await, full);
        assert!(answers.share(key("a"), || None).await.unwrap().is_some(), "it takes no room");
        drop(held);
        assert!(answers.share(key("c"), || text(1)).await.is_ok());
        assert_eq!(answers.share(|| None, || text(1)).await, Ok(None));
    }

    #[tokio::test]
    async fn the_same_text_is_held_once() {
        let answers = Answers::new(10 * LEN);
        let list = |byte: u8| Bytes::from(vec![byte; LEN]);
        let first = answers.share_same("/list", || list(1)).await.unwrap();
        let second = answers.share_same("/list", || list(1)).await.unwrap();
        assert_eq!((first.as_ptr(), answers.bytes()), (second.as_ptr(), LEN));
        let newer = answers.share_same("/list", || list(2)).await.unwrap();
        assert_eq!((newer[0], answers.bytes()), (2, 2 * LEN));
    }
}
