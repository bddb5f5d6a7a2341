//! Files that the kernel has dropped from its caches and may still ask for by number.
//!
//! A server of files (kernel NFS) keeps handles for as long as its clients do. When the kernel has
//! dropped the file meanwhile, it asks for the number again. The number alone proves nothing, for
//! it may mean another file by now: so a file's handle below is remembered, which the file system
//! below refuses once the file has gone, and the names by which it was known, one of which must
//! still lead to it (or its changes could not be told to a secondary). Bounded: the file that was
//! dropped longest ago is forgotten for good, and its handle is stale then.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use mirror_core::message::FileKind;

use crate::calls;
use crate::sys::{self, Handle};
use crate::tree::{Inode, Place, Tree};

/// About 200 bytes each.
pub const FORGOTTEN_MAX: usize = 65_536;

#[derive(Clone)]
pub struct Remembered {
    pub handle: Handle,
    pub places: Vec<Place>,
}

pub struct Forgotten {
    limit: usize,
    files: HashMap<u64, (u64, Remembered)>,
    /// Numbers in the order in which they were dropped, each with its turn.
    turns: VecDeque<(u64, u64)>,
    turn: u64,
}

impl Forgotten {
    pub fn new(limit: usize) -> Forgotten {
        Forgotten { limit, files: HashMap::new(), turns: VecDeque::new(), turn: 0 }
    }

    pub fn remember(&mut self, inode: &Inode) {
        let places = inode.places.lock().clone();
        if places.is_empty() {
            self.files.remove(&inode.number());
            return;
        }
        let file = Remembered { handle: inode.handle, places };
        self.keep(inode.number(), file);
    }

    /// As `remember`, of a file that a resync may have met alone: it meets all there are, and those
    /// would push out what the kernel has known. Of them directories are kept, and files with
    /// several names: by these others are told of.
    pub fn remember_met(&mut self, inode: &Inode) {
        let known = inode.looked_up.load(Ordering::Acquire);
        if known || inode.kind == FileKind::Directory || inode.places.lock().len() > 1 {
            self.remember(inode);
        }
    }

    fn keep(&mut self, number: u64, file: Remembered) {
        self.turn += 1;
        self.files.insert(number, (self.turn, file));
        self.turns.push_back((number, self.turn));
        // A file that was dropped several times has several turns, of which the last one counts.
        while self.files.len() > self.limit || self.turns.len() > 2 * self.limit {
            let Some((number, turn)) = self.turns.pop_front() else { return };
            if self.files.get(&number).is_some_and(|(last, _)| *last == turn) {
                self.files.remove(&number);
            }
        }
    }

    /// The names of a file that comes back into use.
    pub fn places_of(&self, number: u64, handle: &Handle) -> Vec<Place> {
        let same = self.get(number).filter(|file| file.handle == *handle);
        same.map_or_else(Vec::new, |file| file.places.clone())
    }

    pub fn get(&self, number: u64) -> Option<&Remembered> {
        self.files.get(&number).map(|(_, file)| file)
    }
}

impl Tree {
    /// The file of this handle; None: it is gone.
    pub(crate) fn enter_handle(&self, handle: &Handle) -> io::Result<Option<Arc<Inode>>> {
        match sys::open_handle(self.root_fd(), handle, libc::O_PATH | libc::O_NOFOLLOW) {
            Ok(fd) => {
                let stat = calls::fstat(&fd)?;
                Ok(if stat.st_nlink > 0 { Some(self.enter(fd.as_fd(), &stat)?) } else { None })
            }
            Err(error) if error.raw_os_error() == Some(libc::ESTALE) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file of this number, also when the kernel has dropped it meanwhile.
    pub fn revive(&self, number: u64) -> io::Result<Arc<Inode>> {
        let stale = || io::Error::from_raw_os_error(libc::ESTALE);
        if let Ok(inode) = self.inode(number) {
            return Ok(inode);
        }
        let file = self.forgotten.lock().get(number).cloned().ok_or_else(stale)?;
        let parent_handle = |number: u64| match self.inode(number) {
            Ok(parent) => Some(parent.handle),
            Err(_) => self.forgotten.lock().get(number).map(|parent| parent.handle),
        };
        for place in &file.places {
            let Some(parent) = parent_handle(place.parent.inode()) else { continue };
            let flags = libc::O_PATH | libc::O_DIRECTORY;
            let Ok(directory) = sys::open_handle(self.root_fd(), &parent, flags) else {
                continue;
            };
            match self.find_at(directory.as_fd(), place.parent, &place.name) {
                Ok((inode, _)) if inode.handle == file.handle => return Ok(inode),
                _ => {}
            }
        }
        Err(stale())
    }
}

#[cfg(test)]
mod tests {
    use mirror_core::units::FileId;

    use super::*;

    fn file() -> Remembered {
        Remembered { handle: Handle::none(), places: Vec::new() }
    }

    #[test]
    fn the_file_dropped_longest_ago_goes_first() {
        let mut forgotten = Forgotten::new(3);
        for number in [10, 20, 30, 10, 40] {
            forgotten.keep(number, file());
        }
        let known = |number| forgotten.get(number).is_some();
        assert_eq!([10, 20, 30, 40].map(known), [true, false, true, true]);
    }

    #[test]
    fn of_what_a_resync_met_only_what_may_be_asked_for_is_kept() {
        let mut forgotten = Forgotten::new(10);
        let met = |number, kind, names: &[&[u8]]| {
            let inode = Inode::new(FileId::new(0, number), Handle::none(), kind);
            names.iter().for_each(|name| inode.arrive(FileId::root(0), name));
            inode
        };
        let looked_up = met(10, FileKind::Regular, &[b"a"]);
        looked_up.looked_up.store(true, Ordering::Relaxed);
        forgotten.remember_met(&looked_up);
        forgotten.remember_met(&met(20, FileKind::Regular, &[b"b"]));
        forgotten.remember_met(&met(30, FileKind::Regular, &[b"c", b"d"]));
        forgotten.remember_met(&met(40, FileKind::Directory, &[b"e"]));
        let known = |number| forgotten.get(number).is_some();
        assert_eq!([10, 20, 30, 40].map(known), [true, false, true, true]);
    }

    #[test]
    fn it_stays_bounded_when_one_file_comes_and_goes() {
        let mut forgotten = Forgotten::new(3);
        for _ in 0..100 {
            forgotten.keep(10, file());
        }
        assert!(forgotten.turns.len() <= 6);
        assert!(forgotten.get(10).is_some());
    }
}
