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
        let notifiers = self.notifiers.get();
        if let Some(notifier) = notifiers.and_then(|all| all.get(tree.index as usize)) {
            let _ = notifier.inval_inode(fuser::INodeNo(inode.number()), -1, 0);
        }
    }

    /// Drops everything that the kernel remembers of the trees: after a change of role it may be
    /// untrue.
    pub fn drop_caches(&self) {
        self.incarnation.fetch_add(1, Ordering::Relaxed);
        let Some(notifiers) = self.notifiers.get() else { return };
        for (tree, notifier) in self.trees.iter().zip(notifiers) {
            for number in tree.numbers() {
                let Ok(inode) = tree.inode(number) else { continue };
                let _ = notifier.inval_inode(fuser::INodeNo(inode.number()), 0, 0);
                for place in inode.places.lock().clone() {
                    let name =
                        <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&place.name);
                    let parent = fuser::INodeNo(place.parent.inode());
                    let _ = notifier.inval_entry(parent, name);
                }
                tree.rest(inode);
            }
        }
    }
}
