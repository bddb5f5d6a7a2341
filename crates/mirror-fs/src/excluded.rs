//! Names that stay on this node (`mirror_core::exclusion`), as the engine meets them.
//!
//! Whether a name is excluded depends on its path, and files are known by their handles: so the
//! path of a directory is asked of the kernel, and only where there are patterns at all. A file
//! none of whose names is replicated is *local*: nothing of it is told to the secondary. What a
//! rename over the border is: `border`.
//!
//! Where patterns speak of paths, renaming a directory may change what is excluded in it. Such a
//! rename is refused on the primary, which looks below the directory first; names are made and
//! moved below it only before that look or after the rename (`Border`).

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use mirror_core::exclusion::{joined, Exclusion};
use mirror_core::message::FileKind;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use rustix::fs::{AtFlags, Mode, OFlags};

use crate::apply_resync::names_of;
use crate::calls;
use crate::other_names::Several;
use crate::tree::{kind_of, Inode, Tree, ASIDE};

/// How a file is called on the secondary while it is brought over the border.
pub(crate) const NEW: &[u8] = b".twofold-new-";

/// What a tree has of it.
#[derive(Default)]
pub struct Excluded {
    pub exclusion: Arc<Exclusion>,
    moving: RwLock<()>,
    pub(crate) several: Mutex<Several>,
}

impl Excluded {
    pub fn new(exclusion: Arc<Exclusion>) -> Excluded {
        Excluded { exclusion, ..Excluded::default() }
    }
}

/// Held while names change, where patterns speak of paths.
#[allow(dead_code)] // what is in it is only held
pub(crate) enum Border<'t> {
    Open,
    Names(RwLockReadGuard<'t, ()>),
    Directories(RwLockWriteGuard<'t, ()>),
}

/// Where a directory stands, as far as patterns go.
#[derive(Clone)]
enum Stand {
    Path(Vec<u8>),
    /// A resync moved it out of the way, and its path says nothing: names are all there is.
    Aside,
    /// All in it stays here.
    Local,
}

/// Which names of a directory stay here.
#[derive(Clone)]
pub struct LocalNames<'t> {
    exclusion: &'t Exclusion,
    stand: Stand,
}

impl<'t> LocalNames<'t> {
    pub fn has(&self, name: &[u8], is_directory: bool) -> bool {
        if self.exclusion.is_empty() || name.starts_with(NEW) {
            return false;
        }
        match &self.stand {
            Stand::Path(path) => self.exclusion.excludes_in(path, name, is_directory),
            Stand::Aside => self.exclusion.excludes_name(name, is_directory),
            Stand::Local => true,
        }
    }

    /// As `has`, of what stands at the name. It is looked at only where its kind matters.
    pub fn stands(&self, directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<bool> {
        let (file, folder) = (self.has(name, false), self.has(name, true));
        if file == folder {
            return Ok(file);
        }
        let stat = calls::statat(directory, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(if kind_of(stat.st_mode) == FileKind::Directory { folder } else { file })
    }

    /// Those of a directory in it.
    pub fn inside(&self, name: &[u8]) -> LocalNames<'t> {
        let stand = match &self.stand {
            _ if self.has(name, true) => Stand::Local,
            Stand::Path(path) => Stand::Path(joined(path, name)),
            other => other.clone(),
        };
        LocalNames { exclusion: self.exclusion, stand }
    }
}

pub(crate) fn open_directory(
    directory: BorrowedFd<'_>, name: &[u8],
) -> io::Result<std::os::fd::OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(calls::openat(directory, OsStr::from_bytes(name), flags, Mode::empty())?)
}

impl Tree {
    pub fn excludes(&self) -> bool {
        !self.excluded.exclusion.is_empty()
    }

    /// Do patterns speak of paths?
    pub fn excludes_by_path(&self) -> bool {
        self.excluded.exclusion.is_anchored()
    }

    pub fn local_names(&self, directory: BorrowedFd<'_>) -> io::Result<LocalNames<'_>> {
        let exclusion = &*self.excluded.exclusion;
        if exclusion.is_empty() {
            return Ok(LocalNames { exclusion, stand: Stand::Aside });
        }
        let path = self.path_below(directory)?;
        let aside = ASIDE.as_bytes();
        let stand = match path.strip_prefix(aside) {
            Some(b"") | Some([b'/', ..]) => Stand::Aside,
            _ if exclusion.excludes(&path, true) => Stand::Local,
            _ => Stand::Path(path),
        };
        Ok(LocalNames { exclusion, stand })
    }

    /// Those of a directory that has been moved out of the way.
    pub fn local_names_aside(&self) -> LocalNames<'_> {
        LocalNames { exclusion: &self.excluded.exclusion, stand: Stand::Aside }
    }

    pub fn is_local(
        &self, directory: BorrowedFd<'_>, name: &[u8], is_directory: bool,
    ) -> io::Result<bool> {
        Ok(self.local_names(directory)?.has(name, is_directory))
    }

    /// Does this name in the directory stay here? What cannot be asked is taken for replicated.
    pub(crate) fn stays(&self, directory: &Inode, name: &[u8], kind: FileKind) -> bool {
        let is_directory = kind == FileKind::Directory;
        let asked = || self.is_local(self.path_fd(directory)?.as_fd(), name, is_directory);
        self.excludes() && asked().unwrap_or(false)
    }

    /// A file that is known to have no replicated name, or a directory that is excluded.
    pub(crate) fn stays_here(&self, inode: &Inode) -> bool {
        if !self.excludes() || inode.id.is_root() {
            return false;
        }
        if inode.kind != FileKind::Directory || inode.local.load(Ordering::Acquire) {
            return inode.local.load(Ordering::Acquire);
        }
        let names = self.path_fd(inode).and_then(|fd| {
            let names = self.local_names(fd.as_fd())?;
            Ok(matches!(names.stand, Stand::Local))
        });
        let local = names.unwrap_or(false);
        if local {
            inode.local.store(true, Ordering::Release);
        }
        local
    }

    /// A name that is compared by no verification: `path` is that of its directory.
    pub fn not_replicated(
        &self, directory: BorrowedFd<'_>, in_root: bool, path: &[u8], name: &[u8],
    ) -> bool {
        let names =
            LocalNames { exclusion: &self.excluded.exclusion, stand: Stand::Path(path.to_vec()) };
        in_root && name == ASIDE.as_bytes()
            || self.excludes() && names.stands(directory, name).unwrap_or(false)
    }

    /// To be taken before a name changes, before the order locks.
    pub(crate) fn border(&self, moves_directory: bool) -> Border<'_> {
        match (self.excludes_by_path(), moves_directory) {
            (false, _) => Border::Open,
            (true, false) => Border::Names(self.excluded.moving.read()),
            (true, true) => Border::Directories(self.excluded.moving.write()),
        }
    }
}

/// Would anything below this directory be excluded, or not any more, at its new path?
pub(crate) fn changes_below(
    directory: BorrowedFd<'_>, old: &LocalNames<'_>, new: &LocalNames<'_>,
) -> io::Result<bool> {
    let fd = open_directory(directory, b".")?;
    for name in names_of(&fd)? {
        let was = old.stands(fd.as_fd(), &name)?;
        if was != new.stands(fd.as_fd(), &name)? {
            return Ok(true);
        }
        let stat = calls::statat(&fd, OsStr::from_bytes(&name), AtFlags::SYMLINK_NOFOLLOW)?;
        if !was && kind_of(stat.st_mode) == FileKind::Directory {
            let inner = open_directory(fd.as_fd(), &name)?;
            if changes_below(inner.as_fd(), &old.inside(&name), &new.inside(&name))? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
