//! The secondary's own excluded names, where an operation of the stream meets them: they were never
//! told of, so the primary cannot say what becomes of them.
//!
//! They go with the directory that they are in. Where patterns speak of paths, a directory that is
//! renamed takes along only what is excluded at its new path, too: else it would be an extra name
//! of this copy.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use mirror_core::message::FileKind;
use mirror_core::units::FileId;

use crate::apply::Applier;
use crate::apply_resync::{names_of, remove_all};
use crate::below::unlink;
use crate::calls;
use crate::excluded::{open_directory, LocalNames, NEW};
use crate::looking::open_name;
use crate::tree::{kind_of, mtime_of, Tree};

/// Files that are being brought over the border (`border`), by directory and name.
pub(crate) type HalfTold = HashSet<(FileId, Vec<u8>)>;

fn is_directory(tree: &Tree, directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<bool> {
    let Some(fd) = open_name(directory, name, tree.device())? else { return Ok(false) };
    Ok(kind_of(calls::fstat(&fd)?.st_mode) == FileKind::Directory)
}

impl Applier {
    /// Runs what needs the directory at this name to be empty; if it is not, again without what is
    /// excluded in it.
    pub(crate) fn with_room(
        &self, id: FileId, directory: &OwnedFd, name: &[u8], what: impl Fn() -> io::Result<()>,
    ) -> io::Result<()> {
        let tree = self.tree(id)?;
        match what() {
            Err(e) if e.raw_os_error() == Some(libc::ENOTEMPTY) && tree.excludes() => {
                let inner = open_directory(directory.as_fd(), name)?;
                let local = tree.local_names(inner.as_fd())?;
                for name in names_of(&inner)? {
                    if local.stands(inner.as_fd(), &name)? {
                        remove_all(inner.as_fd(), &name)?;
                    }
                }
                what()
            }
            done => done,
        }
    }

    /// Before a name is made: what is excluded only as what it is here (a directory `cache`) makes
    /// room for what is not (a file of that name).
    pub(crate) fn make_room(
        &mut self, parent: FileId, directory: &OwnedFd, name: &[u8],
    ) -> io::Result<()> {
        let tree = self.tree(parent)?;
        if !tree.excludes() {
            return Ok(());
        }
        let removed = match tree.local_names(directory.as_fd())?.stands(directory.as_fd(), name) {
            Ok(true) if self.resync.running => self.set_aside(directory, parent, name, None),
            Ok(true) => remove_all(directory.as_fd(), name),
            other => other.map(|_| ()),
        };
        match removed {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Before what stands at a name is moved to another path; `None`: out of the way.
    pub(crate) fn shed(
        &mut self, id: FileId, (directory, name): (&OwnedFd, &[u8]), to: Option<(&OwnedFd, &[u8])>,
    ) -> io::Result<()> {
        let tree = self.tree(id)?;
        if !tree.excludes_by_path() || !is_directory(&tree, directory.as_fd(), name)? {
            return Ok(());
        }
        let old = tree.local_names(directory.as_fd())?.inside(name);
        let new = match to {
            Some((directory, name)) => tree.local_names(directory.as_fd())?.inside(name),
            None => tree.local_names_aside(),
        };
        let inner = open_directory(directory.as_fd(), name)?;
        self.shed_below(id, &inner, &old, &new)
    }

    fn shed_below(
        &mut self, id: FileId, directory: &OwnedFd, old: &LocalNames<'_>, new: &LocalNames<'_>,
    ) -> io::Result<()> {
        let tree = self.tree(id)?;
        let mtime = mtime_of(&calls::fstat(directory)?);
        let mut changed = false;
        for name in names_of(directory)? {
            if old.stands(directory.as_fd(), &name)? {
                if new.stands(directory.as_fd(), &name)? {
                    continue;
                }
                changed = true;
                if self.resync.running {
                    self.set_aside(directory, id, &name, None)?;
                } else {
                    remove_all(directory.as_fd(), &name)?;
                }
            } else if is_directory(&tree, directory.as_fd(), &name)? {
                let inner = open_directory(directory.as_fd(), &name)?;
                self.shed_below(id, &inner, &old.inside(&name), &new.inside(&name))?;
            }
        }
        if changed {
            self.set_directory_time(directory, mtime);
        }
        Ok(())
    }

    /// Is this the name beside under which a file is brought over the border?
    pub(crate) fn note_half(&mut self, parent: FileId, name: &[u8], begins: bool) {
        if name.starts_with(NEW) {
            match begins {
                true => self.half_told.insert((parent, name.to_vec())),
                false => self.half_told.remove(&(parent, name.to_vec())),
            };
        }
    }

    /// The stream has ended for good: what is not whole was nothing yet.
    pub(crate) fn drop_half_told(&mut self) {
        for (parent, name) in std::mem::take(&mut self.half_told) {
            let removed = self.directory(parent).and_then(|directory| {
                let mtime = mtime_of(&calls::fstat(&directory)?);
                unlink(directory.as_fd(), &name, false)?;
                self.set_directory_time(&directory, mtime);
                Ok(())
            });
            if let Err(error) = removed {
                tracing::warn!("half of a new file stays: {error}");
            }
        }
    }
}
