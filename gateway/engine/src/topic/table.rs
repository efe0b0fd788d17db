//! A keyed topic's table: keys, their values and when each last changed, in little memory.
//!
//! All keys and values lie in one text as they stand in frames, `"key":value`. Entries are linked in
//! two lists, most recently changed first: the keys that are there and those deleted lately. So what
//! changed after a position is found without looking at anything else.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::planted::{Bug, planted};

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
        if !planted(Bug::RecencyStays) {
            self.unlink(at);
            self.push_front(LIVE, at);
        }
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
mod tests {
    use std::collections::BTreeMap;

    use crate::topic::table::*;

    /// Key → version and value; no value: its tombstone.
    type Model = BTreeMap<String, (u64, Option<String>)>;

    fn check(table: &Table, model: &Model, from: u64) {
        let mut set: Vec<String> =
            table.set_after(from).map(|text| String::from_utf8(text.to_vec()).unwrap()).collect();
        let mut deleted: Vec<String> =
            table.deleted_after(from).map(|key| String::from_utf8(key.to_vec()).unwrap()).collect();
        set.sort();
        deleted.sort();
        let newer = || model.iter().filter(|(_, (version, _))| *version > from);
        let live = newer().filter_map(|(key, (_, value))| Some(format!("{key}:{}", value.as_ref()?)));
        let mut live: Vec<String> = live.collect();
        live.sort();
        let dead: Vec<String> =
            newer().filter(|(_, (_, value))| value.is_none()).map(|(key, _)| key.clone()).collect();
        assert_eq!((set, deleted), (live, dead), "after {from}");
    }

    #[test]
    fn random_changes_leave_what_a_map_would_hold() {
        let seed = 0x7ab1e;
        println!("seed {seed:#x}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut table, mut model) = (Table::default(), Model::new());
        for version in 1..20_000u64 {
            let key = format!("\"k{}\"", rng.u32(..300));
            match rng.u32(..1000) {
                0..600 => {
                    let value = rng.u8(1..10).to_string().repeat(rng.usize(1..12));
                    table.set(key.as_bytes(), value.as_bytes(), version);
                    model.insert(key.clone(), (version, Some(value)));
                }
                600..998 => {
                    let there = model.get(&key).is_some_and(|(_, value)| value.is_some());
                    assert_eq!(table.del(key.as_bytes(), version), there);
                    if there {
                        model.insert(key.clone(), (version, None));
                    }
                }
                _ => {
                    table.clear();
                    model.clear();
                }
            }
            let max = 20;
            let mut dead: Vec<(u64, String)> = model
                .iter()
                .filter(|(_, (_, value))| value.is_none())
                .map(|(key, (version, _))| (*version, key.clone()))
                .collect();
            dead.sort();
            let excess = dead.len().saturating_sub(max);
            let newest = dead[..excess].last().map(|(version, _)| *version);
            assert_eq!(table.trim(max, usize::MAX), (excess, newest));
            dead[..excess].iter().for_each(|(_, key)| drop(model.remove(key)));
            let held = model.get(&key).and_then(|(_, value)| value.as_deref());
            assert_eq!(table.get(key.as_bytes()), held.map(str::as_bytes));
            let live = model.values().filter(|(_, value)| value.is_some()).count();
            assert_eq!((table.len(), table.tombstones()), (live, model.len() - live));
            if version % 50 == 0 {
                check(&table, &model, rng.u64(version.saturating_sub(400)..=version));
            }
        }
        let dead = model.iter().filter(|(_, (_, value))| value.is_none());
        assert_eq!(table.tombstone_bytes(), dead.map(|(key, _)| key.len()).sum::<usize>());
        let bytes: usize =
            model.iter().map(|(k, (_, v))| k.len() + v.as_ref().map_or(0, |v| v.len() + 1)).sum();
        assert_eq!(table.bytes(), bytes);
        assert!(
            table.text.len() <= bytes + bytes / 4 + 2 * GARBAGE_BYTES_MIN,
            "{} for {bytes}",
            table.text.len()
        );
    }

    #[test]
    fn a_table_whose_keys_are_deleted_gives_its_memory_back_and_keeps_what_is_left() {
        let (mut table, mut model) = (Table::default(), Model::new());
        let key = |n: u64| format!("\"k{n}\"");
        for n in 1..=5000 {
            table.set(key(n).as_bytes(), b"12345678", n);
            model.insert(key(n), (n, Some("12345678".to_owned())));
        }
        for n in 1..=4990 {
            assert!(table.del(key(n).as_bytes(), 5000 + n));
            table.trim(5, usize::MAX);
            model.insert(key(n), (5000 + n, None));
            if n > 5 {
                model.remove(&key(n - 5));
            }
        }
        assert!(table.entries.capacity() < 200 && table.text.capacity() < 10_000, "{table:?}");
        for from in [0, 4995, 9988, 9990] {
            check(&table, &model, from);
        }
        assert_eq!(table.trim(usize::MAX, table.tombstone_bytes() - 1), (1, Some(9986)));
        assert_eq!((table.len(), table.tombstones()), (10, 4));
    }
}
