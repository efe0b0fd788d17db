//! What one subscription holds: per topic the `v`, 8 bytes each, by the words of its catalog.

/// Marks a held `v` as that of a `gone`.
const GONE: u64 = 1 << 63;
/// Where a sparse entry keeps its word's number and its mark; what is left is for the `v`.
const WORD_BITS: u32 = 24;
const SPARSE_GONE: u64 = 1 << (63 - WORD_BITS);
const SPARSE_MASK: u64 = SPARSE_GONE - 1;

/// Words of topics with what is held there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    /// Indexed by word, 0: not held. For clients that hold most of their catalog.
    Dense(Vec<u64>),
    /// Entries sorted by word, which stands in their upper bits. For clients that hold a few topics
    /// of a catalog that many share; a `v` beyond 39 bits is held as the largest.
    Sparse(Vec<u64>),
}

impl Default for Row {
    fn default() -> Self {
        Self::Dense(Vec::new())
    }
}

impl Row {
    /// An empty one of the same kind.
    pub fn emptied(&self) -> Self {
        match self {
            Self::Dense(_) => Self::Dense(Vec::new()),
            Self::Sparse(_) => Self::Sparse(Vec::new()),
        }
    }

    /// `v` held, and whether it is that of a `gone`.
    pub fn get(&self, word: u32) -> Option<(u64, bool)> {
        match self {
            Self::Dense(words) => {
                let held = *words.get(word as usize)?;
                (held != 0).then_some((held & !GONE, held & GONE != 0))
            }
            Self::Sparse(entries) => {
                let entry = entries[find(entries, word).ok()?];
                Some((entry & SPARSE_MASK, entry & SPARSE_GONE != 0))
            }
        }
    }

    pub fn set(&mut self, word: u32, v: u64, gone: bool) {
        match self {
            Self::Dense(words) => {
                let at = word as usize;
                if words.len() <= at {
                    words.reserve_exact(at + 1 - words.len());
                    words.resize(at + 1, 0);
                }
                words[at] = v | if gone { GONE } else { 0 };
            }
            Self::Sparse(entries) => {
                let mark = if gone { SPARSE_GONE } else { 0 };
                let entry = u64::from(word) << (64 - WORD_BITS) | mark | v.min(SPARSE_MASK);
                match find(entries, word) {
                    Ok(at) => entries[at] = entry,
                    Err(at) => {
                        entries.reserve_exact(1);
                        entries.insert(at, entry);
                    }
                }
            }
        }
    }

    /// Words with the `v` held there and whether it is that of a `gone`, in rising order.
    pub fn entries(&self) -> Box<dyn Iterator<Item = (u32, u64, bool)> + '_> {
        let entry = |word| self.get(word).map(|(v, gone)| (word, v, gone));
        match self {
            Self::Dense(words) => Box::new((0..words.len() as u32).filter_map(entry)),
            Self::Sparse(entries) => {
                Box::new(entries.iter().filter_map(move |held| entry((held >> (64 - WORD_BITS)) as u32)))
            }
        }
    }
}

fn find(entries: &[u64], word: u32) -> Result<usize, usize> {
    entries.binary_search_by_key(&word, |entry| (entry >> (64 - WORD_BITS)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_hold_the_same() {
        let (mut dense, mut sparse) = (Row::default(), Row::Sparse(Vec::new()));
        for (word, v, gone) in
            [(7, 3, false), (2, 9, true), (7, 4, true), (500, 1 << 38, false), (0, 1, false)]
        {
            for row in [&mut dense, &mut sparse] {
                row.set(word, v, gone);
                assert_eq!(row.get(word), Some((v, gone)));
            }
        }
        assert!(dense.entries().eq(sparse.entries()), "{dense:?} {sparse:?}");
        assert_eq!(dense.entries().count(), 4);
        assert_eq!((dense.get(3), sparse.get(3)), (None, None));
    }

    #[test]
    fn a_sparse_row_takes_eight_bytes_a_topic() {
        let mut row = Row::Sparse(Vec::new());
        (0..20).for_each(|n| row.set(n * 977, 1, false));
        let Row::Sparse(entries) = &row else { unreachable!() };
        assert_eq!((entries.len(), entries.capacity()), (20, 20));
    }
}
