//! Where the applier calls the rescue: before each change to what may be this node's alone.
//!
//! Each is a no-op while there is no rescue. Whoever adds a way to change an existing file on a
//! secondary calls the right one of these before the change.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use mirror_core::message::Metadata;
use mirror_core::units::FileId;

use crate::apply::Applier;
use crate::apply_resync::names_of;
use crate::calls;
use crate::rescue::Rescue;
use crate::rescue_walk::open_path;
use crate::sys;
use crate::tree::kind_of;

impl Applier {
    /// Before this range of a regular file's contents changes, or (`length` to the end) its size.
    pub(crate) fn rescue_contents(
        &mut self, fd: &impl AsFd, offset: u64, length: u64,
    ) -> io::Result<()> {
        match &mut self.rescue {
            Some(rescue) => rescue.contents(fd.as_fd(), offset, length),
            None => Ok(()),
        }
    }

    /// Before owner, mode, times and extended attributes are made those of the primary; the
    /// contents are the primary's by now.
    pub(crate) fn rescue_attributes(
        &mut self, path: &OwnedFd, metadata: &Metadata,
    ) -> io::Result<()> {
        match &mut self.rescue {
            Some(rescue) => rescue.attributes(path.as_fd(), metadata),
            None => Ok(()),
        }
    }

    /// Before the times of a file change while the application works on it.
    pub(crate) fn rescue_stamp(&mut self, path: &OwnedFd) -> io::Result<()> {
        match &mut self.rescue {
            Some(rescue) => rescue.stamp(path.as_fd()),
            None => Ok(()),
        }
    }

    /// Before a name is taken from the file it leads to.
    pub(crate) fn rescue_name(&mut self, directory: &OwnedFd, name: &[u8]) -> io::Result<()> {
        match &mut self.rescue {
            Some(rescue) => rescue.name(open_path(directory.as_fd(), name)?.as_fd()),
            None => Ok(()),
        }
    }

    /// Before what was moved aside is removed.
    pub(crate) fn rescue_aside(&mut self) -> io::Result<()> {
        let Some(mut rescue) = self.rescue.take() else { return Ok(()) };
        let mut saved = Ok(());
        for tree in self.trees.clone() {
            let aside = self.aside_directory(FileId::root(tree.index))?;
            saved = saved.and_then(|()| self.save_all(&mut rescue, &aside));
        }
        self.rescue = Some(rescue);
        saved
    }

    fn save_all(&self, rescue: &mut Rescue, directory: &OwnedFd) -> io::Result<()> {
        for name in names_of(directory)? {
            let path = open_path(directory.as_fd(), &name)?;
            let in_use = self.number_of(&sys::handle_of(path.as_fd())?).is_some();
            let taken = rescue.gone(directory.as_fd(), &name, path.as_fd(), in_use)?;
            let kind = kind_of(calls::fstat(&path)?.st_mode);
            if !taken && kind == mirror_core::message::FileKind::Directory {
                self.save_all(rescue, &path)?;
            }
        }
        Ok(())
    }

    /// The resync has ended, and this copy is the primary's.
    pub fn end_rescue(&mut self) {
        if let Some(rescue) = self.rescue.take() {
            if let Err(error) = rescue.finish() {
                tracing::error!("what was saved is there, but its list is not in order: {error}");
            }
        }
    }
}

/// How much an fallocate changes of what is there: those that move contents change all behind.
pub(crate) fn allocated(mode: u32, length: u64) -> u64 {
    let moves = libc::FALLOC_FL_COLLAPSE_RANGE | libc::FALLOC_FL_INSERT_RANGE;
    if mode & moves as u32 != 0 {
        u64::MAX
    } else {
        length
    }
}
