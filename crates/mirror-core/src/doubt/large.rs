//! A file that was made since the last rewrite of the log is in it by its name alone, whatever was
//! written to it, and after a crash it is looked at whole. So a large one leaves the log as soon as
//! it is on both disks, with the directories that were made for it: to touch its name again costs a
//! sync, and to compare it could cost minutes.

use std::collections::BTreeSet;

use super::{Doubt, File, Identity, Name};

/// Files of more zones do not stay in the log by their names.
const NAMED_ZONES_MAX: u32 = 8;

impl Doubt {
    fn is_certain(&self, file: &File) -> bool {
        file.new != 0 && file.new <= self.confirmed
    }

    /// Names that are not doubtful and by which a large file would be looked at.
    pub(super) fn names_of_large(&self) -> BTreeSet<(Identity, Name)> {
        let large = |file: &&File| self.is_certain(file) && file.end > NAMED_ZONES_MAX;
        let places = self.files.values().filter(large).flat_map(|file| &file.places);
        let (mut found, mut above) = (BTreeSet::new(), places.collect::<Vec<_>>());
        let mut seen = BTreeSet::new();
        while let Some(place) = above.pop() {
            if self.names.get(place).is_some_and(|entry| entry.epoch <= self.confirmed) {
                found.insert(place.clone());
            }
            let directory = self.files.get(&place.0).filter(|file| self.is_certain(file));
            if seen.insert(place.0) {
                above.extend(directory.iter().flat_map(|file| &file.places));
            }
        }
        found
    }

    /// A large file is in the log by a name that both disks have: a rewrite forgets it.
    pub fn has_large_name(&self) -> bool {
        !self.names_of_large().is_empty()
    }
}
