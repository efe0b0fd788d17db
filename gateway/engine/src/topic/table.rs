//! A keyed topic's table: keys, their values and when each last changed, in little memory.
//!
//! All keys and values lie in one text as they stand in frames, `"key":value`. Entries are linked in
//! two lists, most recently changed first: the keys that are there and those deleted lately. So what
//! changed after a position is found without looking at anything else.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

const NONE: u32 = u32::MAX;
/// Value length of a deleted key.
const DELETED: u32 = u32::MAX;
/// Garbage, and places that are free, that are not worth a compaction.
const GARBAGE_BYTES_MIN: usize = 1024;
const FREE_MIN: usize = 64;

/// What a key takes beside itself and its value: its entry and its place in the index.
pub const KEY_BYTES: usize = 40;

#[derive(Debug, Clone, Copy)]
struct KeyEntry {
    version: u64,
    /// Of `"key":value` in the text.
    start: u32,
    value_bytes: u32,
    newer: u32,
    older: u32,
    key_bytes: u16,
}

#[derive(Debug, Clone, Copy)]
struct List {
    newest: u32,
    oldest: u32,
    len: usize,
}

const EMPTY: List = List { newest: NONE, oldest: NONE, len: 0 };

/// Which list an entry is in.
const LIVE: usize = 0;
const DEAD: usize = 1;

#[derive(Debug, Clone)]
pub struct Table {
    text: Vec<u8>,
    garbage_bytes: usize,
    /// Of deleted keys.
    dead_bytes: usize,
    entries: Vec<KeyEntry>,
    free: Vec<u32>,
    index: HashTable<u32>,
    lists: [List; 2],
    hasher: RandomState,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            text: Vec::new(),
            garbage_bytes: 0,
            dead_bytes: 0,
            entries: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            lists: [EMPTY; 2],
            hasher: RandomState::new(),
        }
    }
}

impl Table {
    /// Keys that are there.
    pub fn len(&self) -> usize {
        self.lists[LIVE].len
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Deleted keys that are remembered.
    pub fn tombstones(&self) -> usize {
        self.lists[DEAD].len
    }

    /// Of keys and values, tombstones included.
    pub fn bytes(&self) -> usize {
        self.text.len() - self.garbage_bytes
    }

    /// Of deleted keys that are remembered.
    pub fn tombstone_bytes(&self) -> usize {
        self.dead_bytes
    }

    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let entry = &self.entries[self.find(key)? as usize];
        (entry.value_bytes != DELETED).then(|| value(&self.text, entry))
    }

    pub fn set(&mut self, key: &[u8], value: &[u8], version: u64) {
        if self.overwrite(key, value, version) {
            return;
        }
        self.compact_if_worth_it();
        let start = self.append(key, Some(value));
        let new = KeyEntry {
            version,
            start,
            value_bytes: value.len() as u32,
            newer: NONE,
            older: NONE,
            key_bytes: key.len() as u16,
        };
        match self.find(key) {
            Some(at) => {
                self.garbage_bytes += text_bytes(&self.entries[at as usize]);
                self.dead_bytes -= dead_bytes(&self.entries[at as usize]);
                self.unlink(at);
                self.entries[at as usize] = new;
                self.push_front(LIVE, at);
            }
            None => self.insert(key, new),
        }
    }

    /// Puts a value of the same length in the place of the one before; `false`: there is none.
    fn overwrite(&mut self, key: &[u8], value: &[u8], version: u64) -> bool {
        let Some(at) = self.find(key) else { return false };
        let entry = &mut self.entries[at as usize];
        if entry.value_bytes as usize != value.len() || entry.value_bytes == DELETED {
            return false;
        }
        entry.version = version;
        let start = entry.start as usize + key.len() + 1;
        self.text[start..start + value.len()].copy_from_slice(value);
        self.unlink(at);
        self.push_front(LIVE, at);
        true
    }

    /// Makes room for so many keys more, whose keys and values have so many bytes together.
    pub fn reserve(&mut self, keys: usize, bytes: usize) {
        self.entries.reserve_exact(keys);
        self.text.reserve_exact(bytes);
    }

    /// Leaves a tombstone; `false`: the key was not there.
    pub fn del(&mut self, key: &[u8], version: u64) -> bool {
        let Some(at) = self.find(key) else { return false };
        if self.entries[at as usize].value_bytes == DELETED {
            return false;
        }
        self.unlink(at);
        let entry = &mut self.entries[at as usize];
        self.garbage_bytes += entry.value_bytes as usize + 1;
        entry.value_bytes = DELETED;
        entry.version = version;
        self.dead_bytes += dead_bytes(entry);
        self.push_front(DEAD, at);
        true
    }

    /// Drops the oldest tombstones beyond `max` and `bytes_max`, and gives back what is free by a lot.
    /// Gives how many, and the newest version among them.
    pub fn trim(&mut self, max: usize, bytes_max: usize) -> (usize, Option<u64>) {
        let (mut dropped, mut newest) = (0, None);
        while self.lists[DEAD].len > max || self.dead_bytes > bytes_max {
            let at = self.lists[DEAD].oldest;
            newest = Some(self.entries[at as usize].version);
            self.remove(at);
            dropped += 1;
        }
        // What was removed since pays for it.
        if self.free.len() > FREE_MIN.max(self.entries.len() / 4 * 3) {
            self.rebuild();
        }
        (dropped, newest)
    }

    /// The same in no more memory than it needs.
    fn rebuild(&mut self) {
        let keys = self.entries.len() - self.free.len();
        let mut new = Self { hasher: std::mem::take(&mut self.hasher), ..Self::default() };
        new.reserve(keys, self.bytes());
        for list in [LIVE, DEAD] {
            let mut at = self.lists[list].oldest;
            while let Some(entry) = self.entries.get(at as usize) {
                let key = key(&self.text, entry);
                let value = (list == LIVE).then(|| value(&self.text, entry));
                let start = new.append(key, value);
                new.dead_bytes += dead_bytes(entry);
                new.insert(key, KeyEntry { start, ..*entry });
                at = entry.newer;
            }
        }
        *self = new;
    }

    /// Empties it, without tombstones.
    pub fn clear(&mut self) {
        *self = Self { hasher: std::mem::take(&mut self.hasher), ..Self::default() };
    }

    /// `"key":value` of the keys set after `from`, most recently changed first.
    pub fn set_after(&self, from: u64) -> impl Iterator<Item = &[u8]> {
        self.after(LIVE, from).map(|entry| {
            let start = entry.start as usize;
            &self.text[start..start + text_bytes(entry)]
        })
    }

    /// Keys deleted after `from`, most recently deleted first.
    pub fn deleted_after(&self, from: u64) -> impl Iterator<Item = &[u8]> {
        self.after(DEAD, from).map(|entry| key(&self.text, entry))
    }

    /// `"key":value` of all keys that are there, most recently set first.
    pub fn members(&self) -> impl Iterator<Item = &[u8]> {
        self.walk(LIVE).map(|entry| &self.text[entry.start as usize..][..text_bytes(entry)])
    }

    /// All keys that are there.
    pub fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.walk(LIVE).map(|entry| key(&self.text, entry))
    }

    fn after(&self, list: usize, from: u64) -> impl Iterator<Item = &KeyEntry> {
        self.walk(list).take_while(move |entry| entry.version > from)
    }

    fn walk(&self, list: usize) -> impl Iterator<Item = &KeyEntry> {
        let mut at = self.lists[list].newest;
        std::iter::from_fn(move || {
            let entry = self.entries.get(at as usize)?;
            at = entry.older;
            Some(entry)
        })
    }

    fn find(&self, wanted: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(wanted);
        let same = |at: &u32| key(&self.text, &self.entries[*at as usize]) == wanted;
        self.index.find(hash, same).copied()
    }

    fn insert(&mut self, key_text: &[u8], entry: KeyEntry) {
        let at = match self.free.pop() {
            Some(at) => {
                self.entries[at as usize] = entry;
                at
            }
            None => {
                grow(&mut self.entries, 1);
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
        };
        let (text, entries, hasher) = (&self.text, &self.entries, &self.hasher);
        let hash = |at: &u32| hasher.hash_one(key(text, &entries[*at as usize]));
        self.index.insert_unique(hasher.hash_one(key_text), at, hash);
        self.push_front(Self::list_of(&entry), at);
    }

    fn remove(&mut self, at: u32) {
        self.unlink(at);
        let entry = &self.entries[at as usize];
        let hash = self.hasher.hash_one(key(&self.text, entry));
        if let Ok(found) = self.index.find_entry(hash, |other| *other == at) {
            found.remove();
        }
        self.garbage_bytes += text_bytes(entry);
        self.dead_bytes -= dead_bytes(entry);
        self.free.push(at);
    }

    fn append(&mut self, key: &[u8], value: Option<&[u8]>) -> u32 {
        let start = u32::try_from(self.text.len()).expect("the bounds of a table keep its text below 4 GiB");
        grow(&mut self.text, key.len() + value.map_or(0, |value| value.len() + 1));
        self.text.extend_from_slice(key);
        if let Some(value) = value {
            self.text.push(b':');
            self.text.extend_from_slice(value);
        }
        start
    }

    /// Writes the text anew once an eighth of it is garbage.
    fn compact_if_worth_it(&mut self) {
        if self.garbage_bytes < GARBAGE_BYTES_MIN.max(self.text.len() / 8) {
            return;
        }
        let mut text = Vec::with_capacity(self.bytes());
        for list in [LIVE, DEAD] {
            let mut at = self.lists[list].newest;
            while let Some(entry) = self.entries.get_mut(at as usize) {
                let (start, bytes) = (entry.start as usize, text_bytes(entry));
                entry.start = text.len() as u32;
                text.extend_from_slice(&self.text[start..start + bytes]);
                at = entry.older;
            }
        }
        self.text = text;
        self.garbage_bytes = 0;
    }

    /// The list of an entry, by its state.
    fn list_of(entry: &KeyEntry) -> usize {
        if entry.value_bytes == DELETED { DEAD } else { LIVE }
    }

    fn push_front(&mut self, list: usize, at: u32) {
        let second = self.lists[list].newest;
        let entry = &mut self.entries[at as usize];
        (entry.newer, entry.older) = (NONE, second);
        match self.entries.get_mut(second as usize) {
            Some(second) => second.newer = at,
            None => self.lists[list].oldest = at,
        }
        self.lists[list].newest = at;
        self.lists[list].len += 1;
    }

    fn unlink(&mut self, at: u32) {
        let entry = self.entries[at as usize];
        let list = &mut self.lists[Self::list_of(&entry)];
        list.len -= 1;
        match entry.newer {
            NONE => list.newest = entry.older,
            newer => self.entries[newer as usize].older = entry.older,
        }
        match entry.older {
            NONE => list.oldest = entry.newer,
            older => self.entries[older as usize].newer = entry.newer,
        }
    }
}

/// Makes room by an eighth more: tables are many and long-lived, so that doubling would cost.
fn grow<T>(items: &mut Vec<T>, more: usize) {
    if items.capacity() - items.len() < more {
        items.reserve_exact(more.max(items.len() / 8));
    }
}

fn text_bytes(entry: &KeyEntry) -> usize {
    let value_bytes = if entry.value_bytes == DELETED { 0 } else { entry.value_bytes as usize + 1 };
    entry.key_bytes as usize + value_bytes
}

/// Of a deleted key.
fn dead_bytes(entry: &KeyEntry) -> usize {
    if entry.value_bytes == DELETED { entry.key_bytes as usize } else { 0 }
}

fn key<'a>(text: &'a [u8], entry: &KeyEntry) -> &'a [u8] {
    &text[entry.start as usize..][..entry.key_bytes.into()]
}

fn value<'a>(text: &'a [u8], entry: &KeyEntry) -> &'a [u8] {
    &text[entry.start as usize + usize::from(entry.key_bytes) + 1..][..entry.value_bytes as usize]
}

#[cfg(test)]
mod tests;
