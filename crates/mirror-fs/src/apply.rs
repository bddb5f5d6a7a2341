//! The secondary's hands: performs the operations of the stream on this node's tree.
//!
//! A number of the primary leads to a file of ours by the table `known`. A file that loses its last
//! name while the primary may still use it is kept open under its number (`orphans`) until it is
//! unbound. Modification times are those of the primary: where an operation carries one, it is
//! remembered and set when the stream is quiet, or before anyone else relies on it.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use mirror_core::message::{Operation, Report};
use mirror_core::units::{FileId, FileTime};
use rustix::fs as rfs;

use crate::below::{apply_attributes, apply_times, apply_xattr, drop_suid, truncate, write_fully};
use crate::beside::Beside;
use crate::calls;
use crate::engine::Engine;
use crate::kept::Keeper;
use crate::known::Known;
use crate::rescue::Rescue;
use crate::rescue_applier::allocated;
use crate::sys::{self, Handle};
use crate::tree::Tree;

/// Open files kept at hand for writes.
const OPEN_MAX: usize = 512;
/// Remembered modification times, before they are set.
const TIMES_MAX: usize = 4096;

pub struct Applier {
    pub(crate) trees: Vec<Arc<Tree>>,
    pub(crate) known: Known,
    pub(crate) orphans: HashMap<FileId, OwnedFd>,
    open: HashMap<FileId, Arc<OwnedFd>>,
    times: HashMap<FileId, FileTime>,
    pub(crate) resync: crate::apply_resync::Incoming,
    pub(crate) half_told: crate::apply_excluded::HalfTold,
    /// Saves what only this node has, while a resync overwrites it.
    pub rescue: Option<Box<Rescue>>,
    /// Keeps the copy from before the resync; and whom to tell that it could not.
    pub(crate) kept: Option<Keeper>,
    pub(crate) kept_told: Option<crate::kept::Told>,
}

pub enum Opened {
    Shared(Arc<OwnedFd>),
    Own(OwnedFd),
}

impl AsFd for Opened {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Opened::Shared(fd) => fd.as_fd(),
            Opened::Own(fd) => fd.as_fd(),
        }
    }
}

fn unknown(id: FileId) -> io::Error {
    io::Error::other(format!("file {id:?} is not known here"))
}

impl Applier {
    pub fn new(engine: &Arc<Engine>) -> Result<Applier, String> {
        let trees = engine.trees.clone();
        let mut applier = Applier {
            known: Known::default(),
            orphans: HashMap::new(),
            open: HashMap::new(),
            times: HashMap::new(),
            resync: crate::apply_resync::Incoming::default(),
            half_told: crate::apply_excluded::HalfTold::new(),
            rescue: None,
            kept: None,
            kept_told: None,
            trees,
        };
        for tree in applier.trees.clone() {
            let handle = sys::handle_of(tree.root_fd()).map_err(|e| e.to_string())?;
            applier.learn(FileId::root(tree.index), handle);
        }
        Ok(applier)
    }

    pub(crate) fn tree(&self, id: FileId) -> io::Result<Arc<Tree>> {
        self.trees.get(id.tree() as usize).cloned().ok_or_else(|| unknown(id))
    }

    pub(crate) fn learn(&mut self, id: FileId, handle: Handle) {
        if let Some(old) = self.known.insert(id, handle) {
            if old == handle {
                return;
            }
            // A number that is used again means the new file only.
            self.open.remove(&id);
            self.times.remove(&id);
            self.orphans.remove(&id);
            self.resync.forget(id);
        }
    }

    /// The number of a file, by its handle.
    pub(crate) fn number_of(&self, handle: &Handle) -> Option<FileId> {
        self.known.number_of(handle)
    }

    pub(crate) fn unlearn(&mut self, id: FileId) {
        self.set_time(id);
        self.known.remove(&id);
        self.open.remove(&id);
        self.orphans.remove(&id);
        self.resync.forget(id);
    }

    /// A path descriptor of a known file.
    pub(crate) fn path_fd(&self, id: FileId) -> io::Result<OwnedFd> {
        let tree = self.tree(id)?;
        if let Some(fd) = self.orphans.get(&id) {
            return fd.try_clone();
        }
        let handle = self.known.get(&id).ok_or_else(|| unknown(id))?;
        sys::open_handle(tree.root_fd(), &handle, libc::O_PATH | libc::O_NOFOLLOW)
    }

    /// A directory that names are looked up in.
    pub(crate) fn directory(&self, id: FileId) -> io::Result<OwnedFd> {
        self.path_fd(id)
    }

    /// A known regular file, open to read and write.
    pub(crate) fn contents(&mut self, id: FileId) -> io::Result<Opened> {
        if let Some(fd) = self.orphans.get(&id) {
            return Ok(Opened::Own(fd.try_clone()?));
        }
        if let Some(fd) = self.open.get(&id) {
            return Ok(Opened::Shared(fd.clone()));
        }
        let tree = self.tree(id)?;
        let handle = self.known.get(&id).ok_or_else(|| unknown(id))?;
        let fd = sys::open_handle(tree.root_fd(), &handle, libc::O_RDWR | libc::O_NOATIME)?;
        if self.open.len() >= OPEN_MAX {
            self.open.clear();
        }
        let fd = Arc::new(fd);
        self.open.insert(id, fd.clone());
        Ok(Opened::Shared(fd))
    }

    /// The number of the file that stands at a name, if the stream has one for it.
    pub(crate) fn number_at(&self, directory: &OwnedFd, name: &[u8]) -> io::Result<Option<FileId>> {
        let flags = rfs::OFlags::PATH | rfs::OFlags::NOFOLLOW | rfs::OFlags::CLOEXEC;
        let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name);
        let fd = calls::openat(directory, name, flags, rfs::Mode::empty())?;
        Ok(self.number_of(&sys::handle_of(fd.as_fd())?))
    }

    fn remember_time(&mut self, id: FileId, mtime: FileTime) {
        if mtime == FileTime::default() {
            return;
        }
        self.times.insert(id, mtime);
        if self.times.len() > TIMES_MAX {
            self.settle_times();
        }
    }

    pub(crate) fn forget_time(&mut self, id: FileId) {
        self.times.remove(&id);
    }

    pub(crate) fn set_time(&mut self, id: FileId) {
        let Some(mtime) = self.times.remove(&id) else { return };
        let set = self.path_fd(id).and_then(|fd| apply_times(fd.as_fd(), None, Some(mtime)));
        if let Err(error) = set {
            tracing::debug!(?id, "the time could not be set: {error}");
        }
    }

    /// Sets the remembered modification times.
    pub fn settle_times(&mut self) {
        let all: Vec<FileId> = self.times.keys().copied().collect();
        for id in all {
            self.set_time(id);
        }
    }

    pub(crate) fn set_directory_time(&self, directory: &OwnedFd, mtime: FileTime) {
        let _ = apply_times(directory.as_fd(), None, Some(mtime));
    }

    pub fn apply(
        &mut self, sequence: u64, operation: Operation<'_>, beside: &Beside,
    ) -> io::Result<()> {
        self.keep_before(&operation)?;
        match operation {
            Operation::Write { id, offset, mtime, kill_suid, data, more: _ } => {
                let fd = self.contents(id)?;
                self.rescue_contents(&fd, offset, data.len() as u64)?;
                if write_fully(fd.as_fd(), offset, data)? < data.len() {
                    return Err(io::Error::from_raw_os_error(libc::ENOSPC));
                }
                if kill_suid {
                    drop_suid(fd.as_fd(), true)?;
                }
                self.remember_time(id, mtime);
                Ok(())
            }
            Operation::Sync { id, data_only } => self.sync(sequence, id, data_only, beside),
            Operation::Truncate { id, size, mtime, kill_suid } => {
                let fd = self.contents(id)?;
                self.rescue_contents(&fd, size, u64::MAX)?;
                truncate(fd.as_fd(), size, kill_suid)?;
                self.remember_time(id, mtime);
                Ok(())
            }
            Operation::Allocate { id, mode, offset, length, mtime } => {
                let fd = self.contents(id)?;
                self.rescue_contents(&fd, offset, allocated(mode, length))?;
                let flags = rfs::FallocateFlags::from_bits_retain(mode);
                calls::fallocate(&fd, flags, offset, length)?;
                self.remember_time(id, mtime);
                Ok(())
            }
            Operation::SetAttributes { id, change } => {
                if change.mtime.is_some() {
                    self.forget_time(id);
                }
                let path = self.path_fd(id)?;
                self.rescue_stamp(&path)?;
                apply_attributes(path.as_fd(), &change)
            }
            Operation::SetXattr { id, name, value, flags } => {
                apply_xattr(self.path_fd(id)?.as_fd(), name, Some((value, flags)))
            }
            Operation::RemoveXattr { id, name } => {
                apply_xattr(self.path_fd(id)?.as_fd(), name, None)
            }
            Operation::SyncTree { id } => self.sync_tree(sequence, id, beside),
            Operation::Ping | Operation::ResyncBegin => Ok(()),
            Operation::Verify(verify) => self.verify(verify, beside),
            operation if operation.is_resync() => self.apply_resync(operation, beside),
            operation => self.apply_name(operation),
        }
    }

    pub(crate) fn learn_at(
        &mut self, id: FileId, directory: &OwnedFd, name: &[u8],
    ) -> io::Result<()> {
        let flags = rfs::OFlags::PATH | rfs::OFlags::NOFOLLOW | rfs::OFlags::CLOEXEC;
        let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name);
        let fd = calls::openat(directory, name, flags, rfs::Mode::empty())?;
        self.learn(id, sys::handle_of(fd.as_fd())?);
        Ok(())
    }

    /// Everything applied to the file so far goes to disk; reported when it is there. In a resync a
    /// root stands for its whole tree.
    fn sync(
        &mut self, sequence: u64, id: FileId, data_only: bool, beside: &Beside,
    ) -> io::Result<()> {
        let fd = match self.contents(id) {
            Ok(fd) => fd,
            // A directory: opened to read.
            Err(_) => {
                let tree = self.tree(id)?;
                let handle = self.known.get(&id).ok_or_else(|| unknown(id))?;
                Opened::Own(sys::open_handle(tree.root_fd(), &handle, libc::O_RDONLY)?)
            }
        };
        let whole = id.is_root() && self.resync.running;
        beside.send(Box::new(move || {
            if whole {
                calls::syncfs(&fd)?;
            } else if data_only {
                calls::fdatasync(&fd)?;
            } else {
                calls::fsync(&fd)?;
            }
            Ok(Report::Synced { sequence, errno: 0 })
        }))
    }
}
