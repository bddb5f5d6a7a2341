//! The secondary's hands in a resync of what is in doubt: some names of a directory, and syncs of a
//! whole tree.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use mirror_core::message::{Entry, FileKind, Operation, Report};
use mirror_core::units::FileId;
use rustix::fs::{Mode, OFlags};

use crate::apply::Applier;
use crate::apply_resync::alike;
use crate::beside::Beside;
use crate::calls;
use crate::sys;
use crate::tree::kind_of;

pub(crate) enum Similar {
    /// Nothing stands there.
    None,
    /// Something of the right kind that has no number yet.
    New,
    Known(FileId),
    Other,
}

impl Applier {
    pub(crate) fn apply_doubt(&mut self, operation: Operation<'_>) -> io::Result<()> {
        match operation {
            Operation::EntriesSome { id } => {
                let entries = self.listing(id);
                let directory = self.directory(id)?;
                for entry in &entries {
                    self.make_entry(id, &directory, entry)?;
                }
                Ok(())
            }
            Operation::Vacate { parent, name, was } => {
                let directory = self.directory(parent)?;
                if let Some((id, kind)) = was {
                    self.recognise(&directory, name, id, kind)?;
                }
                self.clear_name(&directory, parent, name)
            }
            other => Err(io::Error::other(format!("an operation out of place: {other:?}"))),
        }
    }

    /// Takes what stands at the name for this file, if it can be. Its contents are compared, so a
    /// mistake costs only that; but what has other names would be taken by those, too, and may be
    /// another file there.
    fn recognise(
        &mut self, directory: &OwnedFd, name: &[u8], id: FileId, kind: FileKind,
    ) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = OsStr::from_bytes(name);
        let fd = match calls::openat(directory, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let handle = sys::handle_of(fd.as_fd())?;
        let stat = calls::fstat(&fd)?;
        let alone = stat.st_nlink == 1 || kind == FileKind::Directory;
        let can_be = alone && kind_of(stat.st_mode) == kind;
        if can_be && !self.known.contains_key(&id) && self.number_of(&handle).is_none() {
            self.learn(id, handle);
        }
        Ok(())
    }

    /// What stands at the name of an entry now.
    pub(crate) fn number_of_similar(
        &self, directory: &OwnedFd, entry: &Entry,
    ) -> io::Result<Similar> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            match calls::openat(directory, OsStr::from_bytes(&entry.name), flags, Mode::empty()) {
                Ok(fd) => fd,
                Err(rustix::io::Errno::NOENT) => return Ok(Similar::None),
                Err(e) => return Err(e.into()),
            };
        if let Some(number) = self.number_of(&sys::handle_of(fd.as_fd())?) {
            return Ok(Similar::Known(number));
        }
        let stat = calls::fstat(&fd)?;
        // What has other names may stand at one that is not looked at, and must not change there.
        let alone = stat.st_nlink == 1 || entry.kind == FileKind::Directory;
        let same = alike(fd.as_fd(), &stat, entry)? && (alone || !self.resync.partial);
        Ok(if same { Similar::New } else { Similar::Other })
    }

    /// Everything applied to a tree so far goes to disk, the times that are remembered too.
    pub(crate) fn sync_tree(
        &mut self, sequence: u64, id: FileId, beside: &Beside,
    ) -> io::Result<()> {
        self.settle_times();
        let tree = self.tree(id)?;
        beside.send(Box::new(move || {
            calls::syncfs(tree.root_fd())?;
            Ok(Report::Synced { sequence, errno: 0 })
        }))
    }
}
