//! Open files: what stands behind the number that the kernel was given at open.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::tree::Inode;

pub struct OpenFile {
    pub inode: Arc<Inode>,
    pub fd: OwnedFd,
    /// Of `Engine::incarnation`, as it was opened.
    pub incarnation: u64,
}

/// A directory being read: the kernel asks for it in pieces, at places it was told before.
pub struct OpenDirectory {
    pub inode: Arc<Inode>,
    pub fd: Mutex<OwnedFd>,
}

#[derive(Default)]
pub struct OpenFiles {
    next: AtomicU64,
    files: RwLock<HashMap<u64, Arc<OpenFile>>>,
    directories: RwLock<HashMap<u64, Arc<OpenDirectory>>>,
}

fn bad() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}

impl OpenFiles {
    fn fresh(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn open(&self, inode: Arc<Inode>, fd: OwnedFd, incarnation: u64) -> u64 {
        inode.opens.fetch_add(1, Ordering::AcqRel);
        let number = self.fresh();
        self.files.write().insert(number, Arc::new(OpenFile { inode, fd, incarnation }));
        number
    }

    pub fn file(&self, number: u64) -> io::Result<Arc<OpenFile>> {
        self.files.read().get(&number).cloned().ok_or_else(bad)
    }

    /// Returns the file that was open by this number.
    pub fn close(&self, number: u64) -> Option<Arc<Inode>> {
        // Closed without the lock: the last close of a large file that is gone takes a while.
        let closed = self.files.write().remove(&number)?;
        closed.inode.opens.fetch_sub(1, Ordering::AcqRel);
        Some(closed.inode.clone())
    }

    pub fn open_directory(&self, inode: Arc<Inode>, fd: OwnedFd) -> u64 {
        let number = self.fresh();
        let directory = OpenDirectory { inode, fd: Mutex::new(fd) };
        self.directories.write().insert(number, Arc::new(directory));
        number
    }

    pub fn directory(&self, number: u64) -> io::Result<Arc<OpenDirectory>> {
        self.directories.read().get(&number).cloned().ok_or_else(bad)
    }

    pub fn close_directory(&self, number: u64) {
        let closed = self.directories.write().remove(&number);
        drop(closed);
    }
}
