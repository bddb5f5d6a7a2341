//! What the kernel remembers of a tree, and how it is made to forget.
//!
//! It asks for a name or an attribute once and believes the answer. When something changes that it
//! did not do itself, and at each change of role, it has to be told.
//!
//! And when a name has left its place and the application was told of an error all the same, as
//! nobody could say that the other node has heard of it: then the kernel takes the name for as good
//! as before, and whoever asks for it is given the file that stood there, which is kept for as long
//! as the kernel knows it. Such names are noted here (`mistaken`) until it has been told.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use mirror_core::units::FileId;

use crate::answer::Answer;
use crate::change::Change;
use crate::engine::Engine;
use crate::mode::Gate;
use crate::tree::{Inode, Place, Tree};

/// The names that are not what they were once this is done: numbers of directories, and names.
pub(crate) fn names_that_leave<'c>(change: &'c Change<'_>) -> Vec<(u64, &'c [u8])> {
    match change {
        Change::Unlink { parent, name } | Change::RemoveDirectory { parent, name } => {
            vec![(*parent, name)]
        }
        Change::Rename { parent, name, new_parent, new_name, .. } => {
            vec![(*parent, name), (*new_parent, new_name)]
        }
        _ => Vec::new(),
    }
}

impl Tree {
    /// These names have left their places, and the application is told of an error.
    pub(crate) fn mistaken_names<'n>(&self, names: impl IntoIterator<Item = (FileId, &'n [u8])>) {
        let places = names.into_iter().map(|(parent, name)| Place { parent, name: name.into() });
        self.mistaken.lock().extend(places);
    }

    /// The answer to a change that is done here: should it be an error, these names are mistaken.
    pub(crate) fn mistaken_when_refused(
        self: &Arc<Tree>, names: Vec<(u64, &[u8])>, answer: Answer,
    ) -> Answer {
        if names.is_empty() {
            return answer;
        }
        let place = |(parent, name): (u64, &[u8])| Place {
            parent: FileId::new(self.index, parent),
            name: name.into(),
        };
        let (tree, mut places): (_, Vec<_>) =
            (self.clone(), names.into_iter().map(place).collect());
        Box::new(move |outcome| {
            if outcome.is_err() {
                tree.mistaken.lock().append(&mut places);
            }
            answer(outcome);
        })
    }
}

impl Engine {
    /// The kernel has to ask again for this file's attributes.
    pub(crate) fn attributes_changed(&self, tree: &Tree, inode: &Inode) {
        let all = self.notices.get();
        if let Some(notices) = all.and_then(|all| all.get(tree.index as usize)) {
            let _ = notices.forget_inode(inode.number(), -1);
        }
    }

    /// The kernel has to ask again for the names that it is mistaken about. Waits for what is under
    /// way in their directories, so for what an application is about to be told of them.
    pub(crate) fn correct_names(&self) {
        let Some(all) = self.notices.get() else { return };
        for (tree, notices) in self.trees.iter().zip(all) {
            let places = tree.mistaken.lock().clone();
            for place in &places {
                let _ = notices.forget_name(place.parent.inode(), &place.name);
            }
            // Only now, or who comes next would take it for done. What was added since stays.
            tree.mistaken.lock().retain(|place| !places.contains(place));
        }
    }

    /// Where writes are frozen an application may hold a directory until that is over: then later.
    pub(crate) fn correct_names_soon(&self) {
        let mistaken = self.trees.iter().any(|tree| !tree.mistaken.lock().is_empty());
        if mistaken && self.mode.read().gate == Gate::Open {
            self.correct_names();
        }
    }

    /// Drops everything that the kernel remembers of the trees: as primary it may come to remember
    /// what is untrue once this node has followed. Before writes can wait, as it waits for them.
    pub fn drop_caches(&self) {
        self.incarnation.fetch_add(1, Ordering::Relaxed);
        let Some(all) = self.notices.get() else { return };
        for (tree, notices) in self.trees.iter().zip(all) {
            for number in tree.numbers() {
                let Ok(inode) = tree.inode(number) else { continue };
                let _ = notices.forget_inode(inode.number(), 0);
                // Not locked meanwhile: who is waited for in a directory may want to see them.
                let places = inode.places.lock().clone();
                for place in places {
                    let _ = notices.forget_name(place.parent.inode(), &place.name);
                }
                tree.rest(inode);
            }
        }
        self.correct_names();
    }
}
