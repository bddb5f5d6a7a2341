//! What of an unfinished resync need not be done again: zones that are equal *and* on the
//! secondary's disk.
//!
//! A zone that was compared becomes durable by a checkpoint: a sync of the whole tree over there,
//! put into the stream after it. A change to the zone in between, or at any time after, also while
//! there is no secondary, makes it doubtful again; so does a change to the file's name, because the
//! next resync finds the file over there by its name. When the link is lost only what is durable is
//! remembered, so a power cut of the secondary takes nothing that is counted on.
//!
//! It holds for one copy: the one whose record has this generation and says that a resync into it
//! did not end. Bounded: beyond [`FILES_MAX`] files nothing more is remembered.

use std::collections::BTreeMap;

use crate::units::FileId;

/// What one mark is about.
pub const ZONE_BYTES: u64 = 1 << 20;
const FILES_MAX: usize = 100_000;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Doubtful,
    Equal,
    /// Equal, and a checkpoint was put into the stream after that.
    Awaited,
    Durable,
}

/// A file is known by its number and by what its handle says besides.
struct File {
    handle: u64,
    zones: Vec<State>,
    /// Bytes of zones that are compared in parts.
    parts: BTreeMap<usize, u64>,
}

#[derive(Default)]
pub struct Remembered {
    /// The generation of the copy; 0: of none.
    copy: u64,
    files: BTreeMap<FileId, File>,
}

fn index(offset: u64) -> usize {
    (offset / ZONE_BYTES) as usize
}

impl Remembered {
    /// A resync into this copy begins. `unfinished`: its record says that one did not end.
    pub fn begin(&mut self, copy: u64, unfinished: bool) {
        if self.copy != copy || !unfinished {
            self.files.clear();
        }
        self.copy = copy;
        self.cut();
    }

    /// The resync has ended, or what is remembered may be wrong.
    pub fn forget_all(&mut self) {
        self.files.clear();
    }

    pub fn forget(&mut self, id: FileId) {
        self.files.remove(&id);
    }

    /// The link is lost: what no checkpoint has confirmed may be lost over there.
    pub fn cut(&mut self) {
        for file in self.files.values_mut() {
            file.parts.clear();
            file.zones.iter_mut().filter(|s| **s != State::Durable).for_each(|s| {
                *s = State::Doubtful;
            });
        }
        self.files.retain(|_, file| file.zones.contains(&State::Durable));
    }

    /// This part of the file is equal on both sides. `size`: of the file as its copy began.
    pub fn equal(&mut self, id: FileId, handle: u64, offset: u64, length: u64, size: u64) {
        if self.files.len() >= FILES_MAX && !self.files.contains_key(&id) {
            return;
        }
        let new = || File { handle, zones: Vec::new(), parts: BTreeMap::new() };
        let file = self.files.entry(id).or_insert_with(new);
        if file.handle != handle {
            *file = new();
        }
        let zone = index(offset);
        let whole = ZONE_BYTES.min(size.saturating_sub(zone as u64 * ZONE_BYTES));
        let so_far = file.parts.entry(zone).or_default();
        *so_far += length;
        if *so_far < whole {
            return;
        }
        file.parts.remove(&zone);
        if file.zones.len() <= zone {
            file.zones.resize(zone + 1, State::Doubtful);
        }
        file.zones[zone] = State::Equal;
    }

    /// Bytes of the file were changed, and the change (if it is sent) stands in the stream.
    pub fn changed(&mut self, id: FileId, offset: u64, length: u64) {
        let Some(file) = self.files.get_mut(&id) else { return };
        let (first, last) = (index(offset), index(offset + length.max(1) - 1));
        for zone in first..=last.min(file.zones.len().max(first)) {
            file.parts.remove(&zone);
            if let Some(state) = file.zones.get_mut(zone) {
                *state = State::Doubtful;
            }
        }
    }

    /// To be called before a checkpoint is put into the stream. False: there is nothing to confirm.
    pub fn checkpoint(&mut self) -> bool {
        let zones = self.files.values_mut().flat_map(|file| file.zones.iter_mut());
        zones.filter(|s| **s == State::Equal).map(|s| *s = State::Awaited).count() > 0
    }

    /// The checkpoint that was put last is on the other node's disk.
    pub fn confirmed(&mut self) {
        let zones = self.files.values_mut().flat_map(|file| file.zones.iter_mut());
        zones.filter(|s| **s == State::Awaited).for_each(|s| *s = State::Durable);
    }

    /// How much would not be done again after a cut now; the short end of a file counts as a zone.
    pub fn durable_bytes(&self) -> u64 {
        let zones = self.files.values().flat_map(|file| file.zones.iter());
        zones.filter(|s| **s == State::Durable).count() as u64 * ZONE_BYTES
    }

    /// The ranges of a file of this size that are still to be compared.
    pub fn doubtful(&self, id: FileId, handle: u64, size: u64) -> Vec<(u64, u64)> {
        let Some(file) = self.files.get(&id).filter(|file| file.handle == handle) else {
            return vec![(0, size)];
        };
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for zone in 0..size.div_ceil(ZONE_BYTES) {
            if file.zones.get(zone as usize) == Some(&State::Durable) {
                continue;
            }
            let (start, end) = (zone * ZONE_BYTES, size.min((zone + 1) * ZONE_BYTES));
            match ranges.last_mut() {
                Some((_, before)) if *before == start => *before = end,
                _ => ranges.push((start, end)),
            }
        }
        ranges
    }
}
