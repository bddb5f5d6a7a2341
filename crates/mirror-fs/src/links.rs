//! Files with several names in a resync that looks at a part.
//!
//! Such a file is made anew on the secondary when it is told by a name that is in doubt, or below
//! one, and the secondary does not know it: what stands there may have names that are not looked
//! at. So all of its names must be told, or one by which the secondary has it already; else it has
//! become two files. The names that are told are counted; if they are not all at the end, or a
//! name has changed meanwhile, everything is compared.

use std::collections::HashMap;

use mirror_core::units::FileId;
use parking_lot::Mutex;

struct Seen {
    names: u64,
    told: u64,
    moved: bool,
}

#[derive(Default)]
pub struct Links(Mutex<HashMap<FileId, Seen>>);

impl Links {
    /// So many of its names are told, of all that it has. `known`: the secondary has it already.
    pub fn told(&self, id: FileId, told: u64, names: u64, known: bool) {
        let mut seen = self.0.lock();
        match seen.get_mut(&id) {
            Some(seen) => {
                seen.told += told;
                seen.moved |= seen.names != names;
            }
            None if known => {}
            None => {
                seen.insert(id, Seen { names, told, moved: false });
            }
        }
    }

    /// Its names change while the resync runs. `new`: it is told by that for the first time.
    pub fn moved(&self, id: FileId, new: bool) {
        let mut seen = self.0.lock();
        if let Some(seen) = seen.get_mut(&id) {
            seen.moved = true;
        } else if new {
            seen.insert(id, Seen { names: 0, told: 0, moved: true });
        }
    }

    /// A file of which not all names were told. `names`: how many it has now.
    pub fn split(&self, names: impl Fn(FileId) -> u64) -> Option<FileId> {
        let seen = self.0.lock();
        let split = seen.iter().find(|(id, seen)| {
            let now = names(**id);
            now > 1 && (seen.moved || seen.told != seen.names || now != seen.names)
        });
        split.map(|(id, _)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_whole_when_all_of_its_names_were_told() {
        let (links, id) = (Links::default(), FileId::root(0));
        assert_eq!(links.split(|_| 2), None);
        links.told(id, 1, 2, false);
        assert_eq!(links.split(|_| 2), Some(id));
        assert_eq!(links.split(|_| 1), None, "it has one name left: nobody shares it");
        links.told(id, 1, 2, true);
        assert_eq!(links.split(|_| 2), None);
        assert_eq!(links.split(|_| 3), Some(id), "it got another name meanwhile");
        links.moved(id, false);
        assert_eq!(links.split(|_| 2), Some(id));
    }

    #[test]
    fn what_the_other_node_knows_is_not_counted() {
        let (links, id) = (Links::default(), FileId::root(0));
        links.told(id, 1, 2, true);
        links.moved(id, false);
        assert_eq!(links.split(|_| 2), None);
        links.moved(id, true);
        assert_eq!(links.split(|_| 2), Some(id));
    }
}
