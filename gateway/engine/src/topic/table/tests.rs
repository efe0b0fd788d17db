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
    let bytes: usize = model.iter().map(|(k, (_, v))| k.len() + v.as_ref().map_or(0, |v| v.len() + 1)).sum();
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
