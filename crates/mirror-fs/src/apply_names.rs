//! The secondary's hands on names: make, link, unlink, rename.
//!
//! A file that loses its last name while the primary may still use it is kept open under its
//! number. During a resync nothing is removed at all: what goes may come back under another name
//! that has not been told of yet, so it is moved aside.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use mirror_core::message::{FileKind, Operation};
use mirror_core::units::{FileId, FileTime};

use crate::apply::Applier;
use crate::below::{apply_times, link_fd, make_node, rename, unlink};
use crate::calls;
use crate::change::NewNode;
use crate::sys;

/// RENAME_EXCHANGE of renameat2.
const EXCHANGE: u32 = 2;

impl Applier {
    pub(crate) fn apply_name(&mut self, operation: Operation<'_>) -> io::Result<()> {
        match operation {
            Operation::Bind { id, parent, name } => {
                let directory = self.directory(parent)?;
                self.learn_at(id, &directory, name)
            }
            Operation::Unbind { ids } => {
                for id in ids {
                    self.unlearn(id);
                }
                Ok(())
            }
            Operation::Make {
                id,
                parent,
                name,
                kind,
                mode,
                rdev,
                target,
                creator,
                mtime,
                parent_mtime,
            } => {
                let directory = self.directory(parent)?;
                let node = NewNode { kind, mode, rdev, target: target.into() };
                self.note_half(parent, name, true);
                self.make_room(parent, &directory, name)?;
                make_node(directory.as_fd(), name, &node, creator)?;
                self.learn_at(id, &directory, name)?;
                self.keep_made(id);
                apply_times(self.path_fd(id)?.as_fd(), None, Some(mtime))?;
                self.set_directory_time(&directory, parent_mtime);
                Ok(())
            }
            Operation::Link { id, parent, name, parent_mtime } => {
                let directory = self.directory(parent)?;
                self.note_half(parent, name, true);
                self.make_room(parent, &directory, name)?;
                link_fd(self.path_fd(id)?.as_fd(), directory.as_fd(), name)?;
                self.set_directory_time(&directory, parent_mtime);
                Ok(())
            }
            Operation::Unlink { parent, name, parent_mtime } => {
                self.remove(parent, name, false, parent_mtime)
            }
            Operation::RemoveDirectory { parent, name, parent_mtime } => {
                self.remove(parent, name, true, parent_mtime)
            }
            Operation::Rename {
                parent,
                name,
                new_parent,
                new_name,
                flags,
                parent_mtime,
                new_parent_mtime,
            } => {
                let times = (parent_mtime, new_parent_mtime);
                self.rename((parent, name), (new_parent, new_name), flags, times)
            }
            other => Err(io::Error::other(format!("an operation out of place: {other:?}"))),
        }
    }

    fn rename(
        &mut self, (parent, name): (FileId, &[u8]), (new_parent, new_name): (FileId, &[u8]),
        flags: u32, times: (FileTime, FileTime),
    ) -> io::Result<()> {
        let (old, new) = (self.directory(parent)?, self.directory(new_parent)?);
        if flags & EXCHANGE == 0 {
            self.make_room(new_parent, &new, new_name)?;
            self.make_way(&new, new_parent, new_name)?;
        }
        self.rescue_name(&old, name)?;
        self.shed(parent, (&old, name), Some((&new, new_name)))?;
        if flags & EXCHANGE != 0 {
            self.rescue_name(&new, new_name)?;
            self.shed(parent, (&new, new_name), Some((&old, name)))?;
        }
        self.with_room(new_parent, &new, new_name, || {
            rename(old.as_fd(), name, new.as_fd(), new_name, flags)
        })?;
        self.note_half(parent, name, false);
        self.set_directory_time(&old, times.0);
        self.set_directory_time(&new, times.1);
        Ok(())
    }

    fn remove(
        &mut self, parent: FileId, name: &[u8], is_directory: bool, parent_mtime: FileTime,
    ) -> io::Result<()> {
        let directory = self.directory(parent)?;
        if self.resync.running {
            // It may be needed again, and a directory that is not done may not be empty here.
            self.set_aside(&directory, parent, name, None)?;
        } else {
            self.keep(&directory, name)?;
            let removed = || unlink(directory.as_fd(), name, is_directory);
            self.with_room(parent, &directory, name, removed)?;
        }
        self.set_directory_time(&directory, parent_mtime);
        Ok(())
    }

    /// Before a rename onto this name: what stands there will have gone.
    fn make_way(&mut self, directory: &OwnedFd, parent: FileId, name: &[u8]) -> io::Result<()> {
        let done = if self.resync.running {
            self.set_aside(directory, parent, name, None)
        } else {
            self.keep(directory, name)
        };
        match done {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            other => other,
        }
    }

    /// Before a name goes: a regular file that loses its last one is kept open by its number, for
    /// the primary may still use it; anything else is forgotten with its last name.
    pub(crate) fn keep(&mut self, directory: &OwnedFd, name: &[u8]) -> io::Result<()> {
        let Some(id) = self.number_at(directory, name)? else { return Ok(()) };
        let tree = self.tree(id)?;
        let Some(handle) = self.known.get(&id) else { return Ok(()) };
        let path = sys::open_handle(tree.root_fd(), &handle, libc::O_PATH | libc::O_NOFOLLOW)?;
        let stat = calls::fstat(&path)?;
        match crate::tree::kind_of(stat.st_mode) {
            FileKind::Regular if stat.st_nlink == 1 => {
                let fd = sys::open_handle(tree.root_fd(), &handle, libc::O_RDWR)?;
                self.orphans.insert(id, fd);
            }
            FileKind::Directory => self.unlearn(id),
            _ if stat.st_nlink == 1 => self.unlearn(id),
            _ => {}
        }
        Ok(())
    }

    /// At the end of a resync, of a file that stands aside under so many names, which go now: the
    /// primary may still use it by its other names, or because it is open there.
    pub(crate) fn keep_what_lives_on(&mut self, id: FileId, aside: usize) -> io::Result<()> {
        let path = self.path_fd(id)?;
        let stat = calls::fstat(&path)?;
        let kind = crate::tree::kind_of(stat.st_mode);
        let has_other_names = kind != FileKind::Directory && stat.st_nlink as usize > aside;
        if has_other_names {
            return Ok(());
        }
        if kind != FileKind::Regular {
            self.unlearn(id);
        } else if let Some(handle) = self.known.get(&id) {
            let tree = self.tree(id)?;
            let fd = sys::open_handle(tree.root_fd(), &handle, libc::O_RDWR)?;
            self.orphans.insert(id, fd);
        }
        Ok(())
    }
}
