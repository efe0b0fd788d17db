//! Parts of what is said of a file: names, places, what is written there.

pub fn one_of<'k>(names: impl Iterator<Item = &'k str>) -> String {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    format!("there are {}", names.join(", "))
}

pub fn excerpt(written: &str) -> String {
    const CHARS_MAX: usize = 60;
    let first = written.lines().next().unwrap_or_default();
    match first.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &first[..end]),
        None if first.len() < written.len() => format!("{first}…"),
        None => first.to_owned(),
    }
}

/// Counted from 1.
pub fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|b| *b == b'\n').count()
}

/// Levenshtein's: the least number of characters to change, add or drop.
pub fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
