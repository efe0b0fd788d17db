//! How many updates wait for each class that watches its patterns. Counted with every update, so it lies close together.

use super::class_id::ClassId;

/// Of one class.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    /// The update that was counted last.
    update: u64,
    /// Updates since what its last frame holds.
    updates: u32,
    /// So many do not wait; 0: any number does.
    most: u32,
}

/// What counting an update comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// It was counted already.
    Again,
    /// It is the first that waits, or one of several.
    One { is_first: bool, presses: bool },
}

#[derive(Debug, Default)]
pub struct Waiting {
    counts: Vec<Count>,
    /// Number of the update that is being taken in.
    update: u64,
}

impl Waiting {
    /// A class begins, for which nothing waits.
    pub fn begin(&mut self, class: ClassId, most: u32) {
        let at = class.0 as usize;
        self.counts.resize(self.counts.len().max(at + 1), Count::default());
        self.counts[at] = Count { update: 0, updates: 0, most };
    }

    /// Another update is taken in.
    pub fn next_update(&mut self) {
        self.update += 1;
    }

    /// Counts the update for a class, once by however many of its patterns.
    pub fn count(&mut self, class: ClassId) -> Counted {
        let count = &mut self.counts[class.0 as usize];
        if count.update == self.update {
            return Counted::Again;
        }
        let is_first = count.updates == 0;
        (count.update, count.updates) = (self.update, count.updates.saturating_add(1));
        Counted::One { is_first, presses: count.presses() }
    }

    /// Whether so many wait that the class is not to.
    pub fn presses(&self, class: ClassId) -> bool {
        self.counts[class.0 as usize].presses()
    }

    /// Whether any does.
    pub fn any(&self, class: ClassId) -> bool {
        self.counts[class.0 as usize].updates > 0
    }

    /// What was counted stands in a frame, or concerns nobody.
    pub fn clear(&mut self, class: ClassId) {
        self.counts[class.0 as usize].updates = 0;
    }

    /// For no class anything waits.
    pub fn clear_all(&mut self) {
        self.counts.iter_mut().for_each(|count| count.updates = 0);
    }
}

impl Count {
    fn presses(&self) -> bool {
        self.most > 0 && self.updates >= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_counts_once_for_a_class_and_a_frame_clears_the_count() {
        let (class, never) = (ClassId(3), ClassId(1));
        let mut waiting = Waiting::default();
        waiting.begin(class, 2);
        waiting.begin(never, 0);
        let one = |is_first, presses| Counted::One { is_first, presses };
        waiting.next_update();
        assert_eq!((waiting.count(class), waiting.count(class)), (one(true, false), Counted::Again));
        waiting.next_update();
        assert_eq!((waiting.count(class), waiting.count(never)), (one(false, true), one(true, false)));
        assert!(waiting.presses(class) && !waiting.presses(never) && waiting.any(never));
        waiting.clear(class);
        assert!(!waiting.presses(class) && !waiting.any(class));
        waiting.next_update();
        assert_eq!(waiting.count(class), one(true, false));
        waiting.begin(class, 1);
        waiting.clear_all();
        assert!(!waiting.any(class) && !waiting.any(never));
    }
}
