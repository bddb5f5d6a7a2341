//! Where a directory stands: the one above it, and its path from the top of the tree.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use mirror_core::units::ROOT_INODE;
use rustix::fs::{Mode, OFlags, ResolveFlags, Stat};

use crate::calls;
use crate::sys;
use crate::tree::{Inode, Tree};

fn path_of(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    Ok(calls::readlinkat(rustix::fs::CWD, sys::proc_path(fd).as_c_str())?)
}

impl Tree {
    /// The directory above. Our own mount lies over the root, so the way up may not cross mounts.
    pub fn find_above(&self, directory: &Inode) -> io::Result<(Arc<Inode>, Stat)> {
        if directory.id.is_root() {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let below = self.path_fd(directory)?;
        match calls::openat2(below, "..", flags, Mode::empty(), ResolveFlags::NO_XDEV) {
            Err(rustix::io::Errno::XDEV) => {
                let root = self.inode(ROOT_INODE)?;
                let stat = self.stat(&root)?;
                Ok((root, stat))
            }
            Err(error) => Err(error.into()),
            Ok(fd) => {
                let stat = calls::fstat(&fd)?;
                Ok((self.enter(fd.as_fd(), &stat)?, stat))
            }
        }
    }

    /// The path of a directory below the root, without a slash at its beginning; of one that is too
    /// deep to be named, that of the nearest directory above it.
    pub(crate) fn path_below(&self, directory: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
        let root = path_of(self.root_fd())?;
        let mut above = None;
        let full = loop {
            let fd = above.as_ref().map_or(directory, AsFd::as_fd);
            match path_of(fd) {
                Err(e) if e.raw_os_error() == Some(libc::ENAMETOOLONG) => {
                    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    above = Some(calls::openat(fd, "..", flags, Mode::empty())?);
                }
                found => break found?,
            }
        };
        let outside = || io::Error::other("a directory stands outside of its tree");
        let below = full.strip_prefix(root.as_slice()).ok_or_else(outside)?;
        match below.strip_prefix(b"/") {
            Some(below) => Ok(below.to_vec()),
            None if below.is_empty() || root == b"/" => Ok(below.to_vec()),
            None => Err(outside()),
        }
    }
}
