//! Files with several names, some of which stay on this node.
//!
//! Such a file is replicated by its other names, whether the engine has met these or not: written
//! to by `x.tmp`, it may also be `data`. Where the names that are known are all excluded and are
//! not all that it has, the tree is walked once for the replicated names of files that have
//! several; names that come later are noted. Whatever is read here is looked at again (`leads`).

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering;

use mirror_core::exclusion::joined;
use mirror_core::message::FileKind;
use mirror_core::units::{FileId, ROOT_INODE};
use rustix::fs::AtFlags;

use crate::apply_resync::names_of;
use crate::calls;
use crate::excluded::{open_directory, LocalNames};
use crate::tree::{kind_of, number_of, Inode, Place, Tree, ASIDE};

/// Replicated paths of files that have several names, once they were asked for.
#[derive(Default)]
pub struct Several {
    paths: Option<HashMap<u64, Vec<Vec<u8>>>>,
}

impl Several {
    /// Paths may have changed: a directory was renamed, or this node followed.
    pub fn forget(&mut self) {
        self.paths = None;
    }
}

/// The names of a file, as far as the border goes.
#[derive(Default)]
pub(crate) struct Names {
    pub replicated: bool,
    /// How many of its names stay here.
    pub local: u64,
}

impl Tree {
    /// The file stands also at this name.
    pub(crate) fn arrive(
        &self, inode: &Inode, parent: FileId, (directory, name): (BorrowedFd<'_>, &[u8]),
    ) {
        inode.arrive(parent, name);
        if !self.excludes() {
            return;
        }
        let mut several = self.excluded.several.lock();
        if inode.kind == FileKind::Directory {
            several.forget();
        } else if several.paths.is_some() {
            match (self.path_below(directory), &mut several.paths) {
                (Ok(path), Some(paths)) => {
                    paths.entry(inode.number()).or_default().push(joined(&path, name));
                }
                _ => several.forget(),
            }
        }
    }

    /// Looks at the names of a file; `besides`: not at this one, which it has. Takes no order lock.
    pub(crate) fn names_of_file(
        &self, inode: &Inode, besides: Option<(FileId, &[u8])>,
    ) -> io::Result<Names> {
        let mut names = Names::default();
        let places = inode.places.lock().clone();
        let is_other = |place: &Place| besides != Some((place.parent, &*place.name));
        for place in places.into_iter().filter(is_other) {
            self.count(inode, &place, &mut names);
        }
        let known = names.local + u64::from(besides.is_some());
        if !names.replicated && known < self.stat(inode)?.st_nlink {
            let found = self.several(inode.number())?;
            for place in found.iter().filter_map(|path| self.resolve(path)).filter(is_other) {
                let mut seen = Names::default();
                self.count(inode, &place, &mut seen);
                names.replicated |= seen.replicated;
            }
        }
        Ok(names)
    }

    fn count(&self, inode: &Inode, place: &Place, into: &mut Names) {
        let Ok(parent) = self.revive(place.parent.inode()) else { return };
        if self.leads(&parent, &place.name, inode) {
            let local = self.stays_here(&parent) || self.stays(&parent, &place.name, inode.kind);
            into.local += u64::from(local);
            into.replicated |= !local;
        }
    }

    /// The place that a path is, with what is above it in the table.
    fn resolve(&self, path: &[u8]) -> Option<Place> {
        let mut parent = self.inode(ROOT_INODE).ok()?;
        let mut place = None;
        for name in path.split(|byte| *byte == b'/') {
            let (inode, _) = self.find(&parent, name).ok()?;
            place = Some(Place { parent: parent.id, name: name.into() });
            parent = inode;
        }
        place
    }

    /// A file none of whose known names is replicated: has it one that is not known? Then that one
    /// is known from now on. Else it is local.
    pub(crate) fn find_replicated(&self, inode: &Inode) -> bool {
        let before = inode.places.lock().clone();
        if before.is_empty() || inode.kind == FileKind::Directory {
            return false;
        }
        match self.names_of_file(inode, None) {
            Ok(names) if names.replicated => true,
            Ok(names) => {
                // Unless it has got another name meanwhile.
                let places = inode.places.lock();
                if names.local > 0 && *places == before {
                    inode.local.store(true, Ordering::Release);
                }
                false
            }
            Err(error) => {
                tracing::warn!("the names of file {:?} cannot be looked at: {error}", inode.id);
                false
            }
        }
    }

    fn several(&self, number: u64) -> io::Result<Vec<Vec<u8>>> {
        let mut several = self.excluded.several.lock();
        if several.paths.is_none() {
            let mut paths = HashMap::new();
            let local = self.local_names(self.root_fd())?;
            self.walk(self.root_fd(), &mut Vec::new(), &local, &mut paths)?;
            several.paths = Some(paths);
        }
        let found = several.paths.as_ref().and_then(|paths| paths.get(&number));
        Ok(found.cloned().unwrap_or_default())
    }

    fn walk(
        &self, directory: BorrowedFd<'_>, path: &mut Vec<u8>, local: &LocalNames<'_>,
        into: &mut HashMap<u64, Vec<Vec<u8>>>,
    ) -> io::Result<()> {
        let fd = open_directory(directory, b".")?;
        for name in names_of(&fd)? {
            let os = OsStr::from_bytes(&name);
            let stat = match calls::statat(&fd, os, AtFlags::SYMLINK_NOFOLLOW) {
                Err(rustix::io::Errno::NOENT) => continue,
                stat => stat?,
            };
            let is_directory = kind_of(stat.st_mode) == FileKind::Directory;
            let hidden = path.is_empty() && name == ASIDE.as_bytes();
            if hidden || stat.st_dev != self.device() || local.has(&name, is_directory) {
                continue;
            }
            if !is_directory {
                if stat.st_nlink > 1 {
                    into.entry(number_of(&stat)).or_default().push(joined(path, &name));
                }
                continue;
            }
            let inner = match open_directory(fd.as_fd(), &name) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                inner => inner?,
            };
            let length = path.len();
            *path = joined(path, &name);
            self.walk(inner.as_fd(), path, &local.inside(&name), into)?;
            path.truncate(length);
        }
        Ok(())
    }
}
