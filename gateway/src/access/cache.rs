//! Tokens whose signature was found good before, so that it is not looked at again.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use ring::digest::{SHA256, digest};

/// Stands for a whole token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    pub fn of(token: &str) -> Self {
        Self(digest(&SHA256, token.as_bytes()).as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

/// The one that came first makes room.
#[derive(Debug, Default)]
pub struct Cache {
    max: usize,
    payloads: HashMap<TokenHash, Arc<str>>,
    order: VecDeque<TokenHash>,
}

impl Cache {
    pub fn new(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    pub fn get(&self, token: TokenHash) -> Option<Arc<str>> {
        self.payloads.get(&token).cloned()
    }

    pub fn set_max(&mut self, max: usize) {
        self.max = max;
        self.shrink(max);
    }

    pub fn clear(&mut self) {
        (self.payloads, self.order) = (HashMap::new(), VecDeque::new());
    }

    pub fn put(&mut self, token: TokenHash, payload: Arc<str>) {
        let Some(others) = self.max.checked_sub(1) else { return };
        if self.payloads.insert(token, payload).is_none() {
            self.shrink(others);
            self.order.push_back(token);
        }
    }

    fn shrink(&mut self, len: usize) {
        let surplus = self.order.len().saturating_sub(len);
        for oldest in self.order.drain(..surplus) {
            self.payloads.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_held_and_a_new_bound_drops_only_what_is_over_it() {
        let mut cache = Cache::new(3);
        let tokens = ["a", "b", "c", "d"];
        tokens.iter().for_each(|token| cache.put(TokenHash::of(token), (*token).into()));
        let held = |cache: &Cache| tokens.map(|token| cache.get(TokenHash::of(token)).is_some());
        assert_eq!(held(&cache), [false, true, true, true]);
        cache.set_max(3);
        assert_eq!(held(&cache), [false, true, true, true]);
        cache.set_max(1);
        assert_eq!(held(&cache), [false, false, false, true]);
        cache.put(TokenHash::of("d"), "d".into());
        assert_eq!(held(&cache), [false, false, false, true]);
        cache.set_max(0);
        cache.put(TokenHash::of("a"), "a".into());
        assert_eq!(held(&cache), [false; 4]);
    }
}
