//! What one subscription holds, and how a frame changes it.

use std::{rc::Rc, sync::Arc};

use super::{
    catalog::{Catalog, Word},
    faults::Faults,
    message::{Subscribed, Update, UpdateFrame},
    row::Row,
    table::{KeyBudget, Tables},
};

/// A batch in more parts than this is given up.
const PARTS_MAX: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was answered yet.
    Asked,
    /// `subscribed` came; a snapshot is due.
    SnapshotDue,
    /// `subscribed` came in answer to a `since`; a batch or a snapshot is due.
    ResumeDue,
    Live,
}

/// What one subscription holds: its position and per topic the `v`, 8 bytes each.
#[derive(Debug)]
pub struct Subscription {
    stage: Stage,
    class: u64,
    epoch: u64,
    position: u64,
    /// `version` of the last `subscribed`.
    answered: u64,
    /// Position of the last snapshot: what it lacked did not exist then.
    snapshot_at: u64,
    held: Row,
    rare: Option<Box<Rare>>,
}

/// What few subscriptions have.
#[derive(Debug, Default)]
struct Rare {
    parts: Vec<Rc<UpdateFrame>>,
    /// What the last batch that was counted as lost should have brought: positions from, to.
    hole: Option<(u64, u64)>,
    /// Of keyed topics; `None`: no frame had one yet.
    tables: Option<Tables>,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// More parts are to come, or the frame was not this subscription's.
    Nothing,
    Whole(Whole),
}

/// A whole batch or snapshot was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    pub snapshot: bool,
    /// It was the first thing after `subscribed`.
    pub first: bool,
    /// µs since the Unix epoch, for a batch that says so.
    pub oldest: Option<u64>,
    /// Values that were replaced by newer ones on the way.
    pub conflated: u64,
}

impl Default for Subscription {
    fn default() -> Self {
        Self {
            stage: Stage::Asked,
            class: 0,
            epoch: 0,
            position: 0,
            answered: 0,
            snapshot_at: 0,
            held: Row::default(),
            rare: None,
        }
    }
}

impl Subscription {
    /// Of a few topics out of a catalog that others share.
    pub fn of_few() -> Self {
        Self { held: Row::Sparse(Vec::new()), ..Self::default() }
    }

    /// Nothing was answered and nothing is held.
    fn emptied(&self) -> Self {
        Self { held: self.held.emptied(), ..Self::default() }
    }

    /// The connection ended. With `keep` the next subscribe is asked with [`Subscription::since`].
    pub fn disconnected(&mut self, keep: bool) {
        if keep {
            self.stage = Stage::Asked;
            if let Some(rare) = &mut self.rare {
                (rare.parts, rare.hole) = (Vec::new(), None);
            }
        } else {
            *self = self.emptied();
        }
    }

    /// Epoch and version to resume from; `None`: nothing is held yet.
    pub fn since(&self) -> Option<(u64, u64)> {
        (self.position > 0).then_some((self.epoch, self.position))
    }

    pub fn is_live(&self) -> bool {
        self.stage == Stage::Live
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    pub fn position(&self) -> u64 {
        self.position
    }

    pub fn snapshot_at(&self) -> u64 {
        self.snapshot_at
    }

    /// Words of keyed topics with the `v` held and the sum of the table.
    pub fn tables(&self) -> Vec<(u32, u64, u64)> {
        let tables = self.rare.as_ref().and_then(|rare| rare.tables.as_ref());
        let sums = tables.into_iter().flat_map(Tables::sums);
        sums.filter_map(|(word, sum)| Some((word, self.held.get(word)?.0, sum))).collect()
    }

    pub fn held(&self) -> &Row {
        &self.held
    }

    pub fn into_held(self) -> Row {
        self.held
    }

    /// `subscribed` came. `interval_ms` is what was asked for.
    pub fn subscribed(&mut self, answer: &Subscribed, interval_ms: Option<u32>, faults: &mut Faults) {
        if self.stage != Stage::Asked {
            faults.violation("subscribed without being asked for");
        }
        if interval_ms.is_some_and(|asked| answer.interval_ms < asked.into()) {
            faults.violation("interval shorter than asked for");
        }
        self.stage = if self.position > 0 { Stage::ResumeDue } else { Stage::SnapshotDue };
        if self.epoch != answer.epoch {
            *self = Self { epoch: answer.epoch, stage: self.stage, ..self.emptied() };
        }
        self.class = answer.class;
        self.answered = answer.version;
    }

    /// Takes the next frame. `fresh` is told the `ts` of every update of a batch that brought something new.
    pub fn apply(
        &mut self,
        frame: &Rc<UpdateFrame>,
        catalog: &Catalog,
        faults: &mut Faults,
        fresh: &mut dyn FnMut(u64),
    ) -> Applied {
        frame.flaws.iter().for_each(|flaw| faults.violation(flaw));
        if self.stage == Stage::Asked {
            faults.violation("batch or snapshot before subscribed");
            return Applied::Nothing;
        }
        if frame.class != self.class {
            faults.violation("batch or snapshot of a class that was not subscribed");
            return Applied::Nothing;
        }
        let mut parts = self.rare.as_mut().map(|rare| std::mem::take(&mut rare.parts)).unwrap_or_default();
        if parts.first().is_some_and(|first| !same_whole(first, frame)) {
            faults.violation("a frame of the same class between two parts");
            parts.clear();
        }
        if frame.more && parts.len() < PARTS_MAX {
            if frame.oldest.is_some() {
                faults.violation("oldest in a part that is not the last");
            }
            parts.push(frame.clone());
            self.rare.get_or_insert_default().parts = parts;
            return Applied::Nothing;
        }
        // Nearly all frames are whole: no memory is taken for those.
        let parts = if parts.is_empty() {
            std::slice::from_ref(frame)
        } else {
            parts.push(frame.clone());
            &parts
        };
        let first = std::mem::replace(&mut self.stage, Stage::Live);
        let conflated = if frame.snapshot {
            self.apply_snapshot(parts, first, catalog, faults);
            0
        } else {
            self.apply_batch(parts, first, catalog, faults, fresh)
        };
        self.check_groups(parts, catalog, faults);
        let first = first != Stage::Live;
        Applied::Whole(Whole { snapshot: frame.snapshot, first, oldest: frame.oldest, conflated })
    }

    fn apply_snapshot(
        &mut self,
        parts: &[Rc<UpdateFrame>],
        first: Stage,
        catalog: &Catalog,
        faults: &mut Faults,
    ) {
        let last = &parts[parts.len() - 1];
        if let Some(epoch) = last.epoch
            && epoch != self.epoch
        {
            *self = Self { epoch, class: self.class, stage: Stage::Live, ..self.emptied() };
        } else if first != Stage::Live && last.version != self.answered {
            faults.violation("snapshot at another version than subscribed said");
        }
        if last.version < self.position {
            faults.reordered += 1;
        }
        let emptied = self.held.emptied();
        let before = std::mem::replace(&mut self.held, emptied);
        if let Some(tables) = self.tables_mut() {
            tables.clear();
        }
        for (part, update) in updates(parts) {
            if update.v < before.get(update.word).map_or(0, |(v, _)| v) {
                faults.reordered += 1;
            }
            match self.held.get(update.word) {
                Some((v, _)) if catalog.word(update.word) == Word::Stream && update.v > v => {}
                Some(_) if catalog.word(update.word) == Word::Stream => {
                    faults.violation("a stream's history out of order");
                }
                Some(_) => faults.violation("a topic twice in one snapshot"),
                None => {}
            }
            if part.delta(update).is_some_and(|delta| !delta.reset) {
                faults.violation("a table in a snapshot without reset");
            }
            if update.gone {
                faults.violation("a removed topic in a snapshot");
            }
            self.hold(part, update, catalog.key_budget());
        }
        self.position = last.version;
        self.snapshot_at = last.version;
        if let Some(rare) = &mut self.rare {
            rare.hole = None;
        }
    }

    fn apply_batch(
        &mut self,
        parts: &[Rc<UpdateFrame>],
        first: Stage,
        catalog: &Catalog,
        faults: &mut Faults,
        fresh: &mut dyn FnMut(u64),
    ) -> u64 {
        let last = &parts[parts.len() - 1];
        let empty = parts.iter().all(|part| part.updates.is_empty());
        match first {
            Stage::SnapshotDue => faults.violation("batch before the snapshot"),
            // One that begins later is lost.
            Stage::ResumeDue if last.from < self.position => {
                faults.violation("answer to since that does not begin there")
            }
            Stage::Live if !empty && last.oldest.is_none() => {
                faults.violation("batch with updates without oldest")
            }
            _ => {}
        }
        // Without the snapshot that is due, `subscribed` says where the subscription stands.
        let position = if first == Stage::SnapshotDue { self.answered } else { self.position };
        let continuous = last.from <= position;
        if !continuous {
            faults.lost += 1;
            self.rare.get_or_insert_default().hole = Some((self.position, last.from));
        }
        // A heartbeat may stand below the position: after a snapshot the class can be behind it.
        if first == Stage::Live && !empty && last.version <= self.position {
            match self.fills_hole(last) {
                None => faults.duplicated += 1,
                Some(left) => {
                    faults.reordered += 1;
                    // What was counted as lost was only late.
                    faults.lost -= u64::from(left == 0);
                }
            }
        }
        let overlaps = last.from != self.position;
        let mut conflated = 0;
        for (part, update) in updates(parts) {
            let (v, known) = self.held.get(update.word).map_or((0, false), |(v, _)| (v, true));
            if update.v <= v {
                match update.v == v {
                    _ if overlaps => {}
                    true => faults.duplicated += 1,
                    false => faults.reordered += 1,
                }
                continue;
            }
            if known && continuous {
                conflated += step(update, v, catalog, faults);
            }
            if last.oldest.is_some_and(|oldest| oldest > update.ts) {
                faults.violation("oldest later than an update's ts");
            }
            fresh(update.ts);
            self.hold(part, update, catalog.key_budget());
        }
        self.position = self.position.max(last.version);
        conflated
    }

    /// Versions that are missing still after `batch`, which goes back; `None`: it was not missed before.
    fn fills_hole(&mut self, batch: &UpdateFrame) -> Option<u64> {
        let rare = self.rare.as_mut()?;
        let (from, to) = rare.hole.filter(|(from, to)| batch.from >= *from && batch.version <= *to)?;
        let (from, to) = match (batch.from == from, batch.version == to) {
            (true, _) => (batch.version, to),
            (_, true) => (from, batch.from),
            // Out of the middle: two holes are not remembered, so both sides stay lost.
            _ => (from, to),
        };
        rare.hole = (from < to).then_some((from, to));
        Some(to - from)
    }

    fn tables_mut(&mut self) -> Option<&mut Tables> {
        self.rare.as_mut()?.tables.as_mut()
    }

    fn hold(&mut self, part: &UpdateFrame, update: &Update, budget: &Arc<KeyBudget>) {
        if let Some(delta) = part.delta(update) {
            let tables = &mut self.rare.get_or_insert_default().tables;
            tables.get_or_insert_with(|| Tables::new(budget.clone())).apply(update.word, delta);
        } else if let (Some(tables), true) = (self.tables_mut(), update.gone) {
            tables.remove(update.word);
        }
        self.held.set(update.word, update.v, update.gone);
        if update.own {
            self.held.set(update.word + 1, if update.gone { 0 } else { update.g }, false);
        }
    }

    fn check_groups(&self, parts: &[Rc<UpdateFrame>], catalog: &Catalog, faults: &mut Faults) {
        let figure = |word: &u32| self.held.get(*word).map_or(0, |(g, _)| g);
        let mut seen = Vec::new();
        for &group in parts.iter().flat_map(|part| &part.groups) {
            if parts.len() > 1 {
                if seen.contains(&group) {
                    continue;
                }
                seen.push(group);
            }
            let mut figures = catalog.group(group).iter().map(figure);
            let g = figures.next();
            if figures.any(|other| Some(other) != g) {
                faults.torn += 1;
            }
        }
    }
}

/// Values missing between `v`, which is held, and the update: conflated, told as a gap, or lost.
fn step(update: &Update, v: u64, catalog: &Catalog, faults: &mut Faults) -> u64 {
    let missing = update.v - v - 1;
    let counts = update.gap.is_some() || catalog.word(update.word) == Word::Stream;
    if !counts {
        return missing;
    }
    let told = u64::from(update.gap.unwrap_or_default());
    faults.lost += missing.saturating_sub(told);
    missing.min(told)
}

fn updates(parts: &[Rc<UpdateFrame>]) -> impl Iterator<Item = (&UpdateFrame, &Update)> {
    parts.iter().flat_map(|part| part.updates.iter().map(move |update| (&**part, update)))
}

fn same_whole(first: &UpdateFrame, next: &UpdateFrame) -> bool {
    (first.snapshot, first.from, first.version) == (next.snapshot, next.from, next.version)
}
