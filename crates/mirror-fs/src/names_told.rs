//! What the secondary is told of a name that has changed here: that of a link, of a removal, of a
//! rename.
//!
//! It is done by then, so what fails here is an error that the copies differ by (`Engine::told`).

use std::io;
use std::sync::Arc;

use mirror_core::message::{AttributeChange, FileKind, Operation};
use mirror_core::units::FileTime;
use rustix::fs::Stat;

use crate::binding::Ordered;
use crate::border::{Moved, Side};
use crate::engine::Engine;
use crate::mode::Mode;
use crate::names::{mtime_now, Wait, RENAME_WHITEOUT};
use crate::tree::{mtime_of, Inode, Tree};
use crate::unnamed::Unnamed;

/// A name in its directory, which is open.
type In<'a> = (&'a Arc<Inode>, Side<'a>);

impl Engine {
    pub(crate) fn tell_of_link(
        &self, mode: &Mode, tree: &Arc<Tree>, (inode, unnamed): (&Arc<Inode>, Option<Unnamed<'_>>),
        (directory, name): Side<'_>, parent: &Inode,
    ) -> io::Result<Wait> {
        let parent_mtime = self.told(mtime_now(directory))?;
        let (id, to) = (inode.id, (parent, name));
        match unnamed {
            Some(unnamed) if mode.full => {
                self.told(self.introduce_unnamed(mode, tree, unnamed, to, parent_mtime))?;
                return Ok(Wait::Synced(id));
            }
            None if mode.full && tree.excludes() => {
                return self.told(self.introduce(mode, tree, inode, to, parent_mtime));
            }
            _ if inode.bound(mode.session) => {
                let parent = parent.id;
                self.outbox.put(&Operation::Link { id, parent, name, parent_mtime }, None);
            }
            _ => self.place(mode, tree, inode, to, parent_mtime)?,
        }
        Ok(Wait::Applied)
    }

    /// The name has left its directory; does the secondary have to be told?
    pub(crate) fn tell_of_removal(
        &self, mode: &Mode, tree: &Arc<Tree>, (order, parent): (&Ordered<'_>, &Arc<Inode>),
        at: Side<'_>, kind: FileKind,
    ) -> io::Result<bool> {
        let send = self.sends(mode, tree, order, parent, at, kind)?;
        if send {
            let ((directory, name), parent) = (at, parent.id);
            let parent_mtime = self.told(mtime_now(directory))?;
            let removed = if kind == FileKind::Directory {
                Operation::RemoveDirectory { parent, name, parent_mtime }
            } else {
                Operation::Unlink { parent, name, parent_mtime }
            };
            self.outbox.put(&removed, None);
        }
        Ok(send)
    }

    pub(crate) fn tell_of_rename(
        &self, mode: &Mode, tree: &Arc<Tree>, moved: Moved<'_>,
        ((old, from), (new, to)): (In<'_>, In<'_>), (old_done, new_done): (bool, bool), flags: u32,
    ) -> io::Result<Wait> {
        let ((old_fd, name), (new_fd, new_name)) = (from, to);
        let times = self.told(mtime_now(old_fd).and_then(|t| Ok((t, mtime_now(new_fd)?))))?;
        let mut wait = Wait::if_sent(old_done || new_done);
        if old_done && new_done {
            self.outbox.put(
                &Operation::Rename {
                    parent: old.id,
                    name,
                    new_parent: new.id,
                    new_name,
                    flags,
                    parent_mtime: times.0,
                    new_parent_mtime: times.1,
                },
                None,
            );
        } else {
            let from = (&**old, name, old_done, times.0);
            let to = (&**new, new_name, new_done, times.1);
            wait = self.tell_of_half(mode, tree, moved, from, to)?;
        }
        if flags & RENAME_WHITEOUT != 0 && old_done {
            let whiteout = self.told(tree.find_at(old_fd, old.id, name))?;
            self.tell_of_whiteout(mode, tree, whiteout, (old, name, times.0), new_done)?;
        }
        Ok(wait)
    }

    /// A rename has left a device with the old name, as layers of overlays want it.
    fn tell_of_whiteout(
        &self, mode: &Mode, tree: &Arc<Tree>, (inode, stat): (Arc<Inode>, Stat),
        (parent, name, parent_mtime): (&Inode, &[u8], FileTime), made_there: bool,
    ) -> io::Result<()> {
        if !made_there {
            return self.place(mode, tree, &inode, (parent, name), parent_mtime);
        }
        // The rename has made one there too; the time is this one's.
        let (id, mtime) = (inode.id, Some(mtime_of(&stat)));
        let change = AttributeChange { mtime, ..AttributeChange::default() };
        self.outbox.put(&Operation::Bind { id, parent: parent.id, name }, None);
        self.outbox.put(&Operation::SetAttributes { id, change }, None);
        if mode.full {
            self.outbox.put(&Operation::Unbind { ids: vec![id] }, None);
            tree.drop_unused(&inode);
        } else {
            self.now_known(mode, &inode);
        }
        Ok(())
    }
}
