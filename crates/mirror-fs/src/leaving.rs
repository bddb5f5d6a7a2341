//! A file that is about to lose a name, perhaps its last.
//!
//! The kernel may go on using it then, so it is held here (`Inode::held`) until the kernel forgets
//! it: else its number could mean another file by then, and who has just come by its name would
//! meet an error in place of the file. A regular file that is open is kept by the secondary too.
//! Anything else the secondary forgets with its name: so its order lock is held until that stands
//! in the stream, and nothing is told of it afterwards.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use mirror_core::message::FileKind;
use parking_lot::MutexGuard;
use rustix::fs::Stat;

use crate::engine::Engine;
use crate::progress::Mark;
use crate::tree::{Inode, PathFd, Tree};

pub(crate) struct Leaving<'i> {
    inode: &'i Arc<Inode>,
    held: Option<OwnedFd>,
    order: Option<MutexGuard<'i, Mark>>,
}

impl<'i> Leaving<'i> {
    pub(crate) fn new(tree: &Tree, inode: &'i Arc<Inode>, stat: &Stat) -> Leaving<'i> {
        let last = stat.st_nlink == 1 || inode.kind == FileKind::Directory;
        let held = match last.then(|| tree.path_fd(inode)) {
            Some(Ok(PathFd::Own(fd))) => Some(fd),
            _ => None,
        };
        let order = (last && inode.kind != FileKind::Regular).then(|| inode.order.lock());
        Leaving { inode, held, order }
    }

    pub(crate) fn has_left(&mut self, engine: &Engine, tree: &Tree, parent: &Inode, name: &[u8]) {
        self.inode.leave(parent.id, name);
        engine.note_stands(tree, self.inode);
        *self.inode.held.lock() = self.held.take();
        if self.order.is_some() {
            self.inode.bound_session.store(0, Ordering::Release);
        }
    }
}
