//! Names that a change moves between what the secondary has and what it has not: a directory that a
//! resync is not done with, or a name that stays on this node (`border`).
//!
//! The secondary is told what happened in the directory that it knows, in terms of files it knows.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use mirror_core::message::{Entry, Operation};
use mirror_core::units::FileTime;

use crate::below::read_target;
use crate::border::Moved;
use crate::calls;
use crate::engine::Engine;
use crate::mode::Mode;
use crate::names::Wait;
use crate::tree::{Inode, Tree};

/// One side of a rename: directory, name in it, whether it is told, its time after the change.
pub(crate) type Half<'a> = (&'a Inode, &'a [u8], bool, FileTime);

impl Engine {
    /// While a resync runs: a file that the secondary does not know yet comes into a directory
    /// that is done. It gets the name now and its contents later.
    pub(crate) fn place(
        &self, mode: &Mode, tree: &Arc<Tree>, inode: &Arc<Inode>, (parent, name): (&Inode, &[u8]),
        parent_mtime: FileTime,
    ) -> io::Result<()> {
        let path = self.told(tree.path_fd(inode))?;
        let stat = self.told(calls::fstat(path.as_fd()).map_err(io::Error::from))?;
        let target = self.told(read_target(path.as_fd(), inode.kind))?;
        let entry = Entry {
            name: name.to_vec(),
            id: inode.id,
            kind: inode.kind,
            rdev: stat.st_rdev,
            target,
        };
        self.outbox.put(&Operation::Place { parent: parent.id, entry, parent_mtime }, None);
        self.links_move(mode, &[Some(inode)], stat.st_nlink > 1);
        inode.doubt_session.store(mode.session, Ordering::Release);
        inode.bound_session.store(mode.session, Ordering::Release);
        self.resync_later(inode);
        Ok(())
    }

    /// Of a rename the secondary is told what happened in the one directory that it knows: while a
    /// resync runs the one that is done, and in step the one in which the name is replicated.
    pub(crate) fn tell_of_half(
        &self, mode: &Mode, tree: &Arc<Tree>, (moved, exchanged): Moved<'_>, from: Half<'_>,
        to: Half<'_>,
    ) -> io::Result<Wait> {
        if mode.full && tree.excludes() {
            let told = match (from, to) {
                ((old, name, true, mtime), (.., false, _)) => {
                    self.withdraw(tree, moved, (old, name), mtime).map(|()| Wait::Applied)
                }
                ((.., false, _), (new, name, true, mtime)) => {
                    self.introduce(mode, tree, moved, (new, name), mtime)
                }
                _ => Ok(Wait::Nothing),
            };
            return self.told(told);
        }
        let sides = [(from, Some(moved), exchanged), (to, exchanged, Some(moved))];
        for ((directory, name, done, parent_mtime), leaves, comes) in sides {
            if !done {
                continue;
            }
            if let Some(inode) = leaves {
                let (id, parent) = (inode.id, directory.id);
                self.outbox.put(&Operation::Detach { id, parent, name, parent_mtime }, None);
                inode.bound_session.store(mode.session, Ordering::Release);
            }
            if let Some(inode) = comes {
                self.attach(mode, tree, inode, (directory, name), parent_mtime)?;
            }
        }
        Ok(Wait::if_sent(from.2 || to.2))
    }

    /// While a resync runs: a file comes from a directory that is not done into one that is.
    fn attach(
        &self, mode: &Mode, tree: &Arc<Tree>, inode: &Arc<Inode>, (parent, name): (&Inode, &[u8]),
        parent_mtime: FileTime,
    ) -> io::Result<()> {
        if inode.bound(mode.session) {
            let (id, parent) = (inode.id, parent.id);
            self.outbox.put(&Operation::Attach { id, parent, name, parent_mtime }, None);
            Ok(())
        } else {
            self.place(mode, tree, inode, (parent, name), parent_mtime)
        }
    }
}
