//! What the kernel remembers of a tree, and how it is made to forget.
//!
//! It asks for a name or an attribute once and believes the answer. When something changes that it
//! did not do itself, and at each change of role, it has to be told.

use std::sync::atomic::Ordering;

use crate::engine::Engine;
use crate::tree::{Inode, Tree};

impl Engine {
    /// The kernel has to ask again for this file's attributes.
    pub(crate) fn attributes_changed(&self, tree: &Tree, inode: &Inode) {
        let all = self.notices.get();
        if let Some(notices) = all.and_then(|all| all.get(tree.index as usize)) {
            let _ = notices.forget_inode(inode.number(), -1);
        }
    }

    /// Drops everything that the kernel remembers of the trees: after a change of role it may be
    /// untrue.
    pub fn drop_caches(&self) {
        self.incarnation.fetch_add(1, Ordering::Relaxed);
        let Some(all) = self.notices.get() else { return };
        for (tree, notices) in self.trees.iter().zip(all) {
            for number in tree.numbers() {
                let Ok(inode) = tree.inode(number) else { continue };
                let _ = notices.forget_inode(inode.number(), 0);
                for place in inode.places.lock().clone() {
                    let _ = notices.forget_name(place.parent.inode(), &place.name);
                }
                tree.rest(inode);
            }
        }
    }
}
