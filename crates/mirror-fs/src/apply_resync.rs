//! The secondary's hands during a resync: make names, contents and attributes those of the primary.
//!
//! What stands where the primary has something else, or nothing, is moved into the hidden
//! directory `.twofold-aside` of its tree and removed when the resync has ended: a file that was
//! only renamed is taken from there instead of being copied, and an aborted resync destroys less.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use mirror_core::message::{
    AttributeChange, Creator, Entry, FileKind, Metadata, Operation, Report, ZoneData,
};
use mirror_core::units::FileId;
use rustix::fs::{self as rfs, Mode, OFlags};

use crate::apply::Applier;
use crate::apply_doubt::Similar;
use crate::below::{
    apply_attributes, apply_times, apply_xattr, link_fd, make_node, read_target, rename,
    reopen_directory, unlink, write_fully,
};
use crate::beside::Beside;
use crate::calls;
use crate::change::NewNode;
use crate::queue::ZONE_BYTES;
use crate::tree::{kind_of, mtime_of, size_of, ASIDE};
use crate::xattrs;
use crate::zone::{checksum_in, only_hole};

/// What a running resync has said and not finished.
#[derive(Default)]
pub struct Incoming {
    /// From the beginning of a resync to its end nothing is removed, only moved aside.
    pub running: bool,
    /// It looks at a part: what is not listed here may be names of files that are.
    pub partial: bool,
    listings: HashMap<FileId, Vec<Entry>>,
    /// Files that stand aside, by number: under which names. One may have other names elsewhere.
    aside: HashMap<FileId, Vec<Vec<u8>>>,
    next: u64,
}

impl Incoming {
    pub fn forget(&mut self, id: FileId) {
        self.aside.remove(&id);
    }

    /// One of the names under which a file stands aside; it stands there no longer.
    fn take_aside(&mut self, id: FileId) -> Option<Vec<u8>> {
        let names = self.aside.get_mut(&id)?;
        let name = names.pop();
        if names.is_empty() {
            self.aside.remove(&id);
        }
        name
    }
}

fn os(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

fn missing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOENT)
}

impl Applier {
    pub(crate) fn apply_resync(
        &mut self, operation: Operation<'_>, beside: &Beside,
    ) -> io::Result<()> {
        match operation {
            Operation::Entries { id, mut entries } => {
                self.resync.listings.entry(id).or_default().append(&mut entries);
                Ok(())
            }
            Operation::EntriesEnd { id } => {
                let entries = self.listing(id);
                self.make_equal(id, entries)
            }
            doubt @ (Operation::EntriesSome { .. } | Operation::Vacate { .. }) => {
                self.apply_doubt(doubt)
            }
            Operation::FileBegin { id, size } => self.resize(id, size),
            Operation::AskChecksum { id, offset, length } => {
                let fd = self.contents(id)?;
                beside.send_checksum(Box::new(move || {
                    let (checksum, holes_only) = checksum_of(fd.as_fd(), offset, length)?;
                    Ok(Report::Checksum { id, offset, length, checksum, holes_only })
                }))
            }
            Operation::Zone { id, offset, data } => self.zone(id, offset, data),
            Operation::FileEnd { id, metadata } => self.finish_file(id, &metadata),
            Operation::Detach { id, parent, name, parent_mtime } => {
                let directory = self.directory(parent)?;
                self.set_aside(&directory, parent, name, Some(id))?;
                self.set_directory_time(&directory, parent_mtime);
                Ok(())
            }
            Operation::Attach { id, parent, name, parent_mtime } => {
                let directory = self.directory(parent)?;
                self.clear_name(&directory, parent, name)?;
                self.bring(id, &directory, name)?;
                self.set_directory_time(&directory, parent_mtime);
                Ok(())
            }
            Operation::Place { parent, entry, parent_mtime } => {
                let directory = self.directory(parent)?;
                self.clear_name(&directory, parent, &entry.name)?;
                self.make_placeholder(&directory, &entry)?;
                self.set_directory_time(&directory, parent_mtime);
                Ok(())
            }
            other => Err(io::Error::other(format!("an operation out of place: {other:?}"))),
        }
    }

    /// What was told of a directory's names.
    pub(crate) fn listing(&mut self, id: FileId) -> Vec<Entry> {
        self.resync.listings.remove(&id).unwrap_or_default()
    }

    /// Makes the names of a directory exactly those of the listing.
    fn make_equal(&mut self, id: FileId, entries: Vec<Entry>) -> io::Result<()> {
        if id.is_root() {
            // Made before the root gets its times, which are set right after this.
            self.aside_directory(id)?;
        }
        let directory = self.directory(id)?;
        let tree = self.tree(id)?;
        let local = tree.local_names(directory.as_fd())?;
        let wanted: HashSet<&[u8]> = entries.iter().map(|e| e.name.as_slice()).collect();
        for name in names_of(&directory)? {
            let hidden = id.is_root() && name == ASIDE.as_bytes();
            let unwanted = !wanted.contains(name.as_slice()) && !hidden;
            if unwanted && !local.stands(directory.as_fd(), &name)? {
                self.set_aside(&directory, id, &name, None)?;
            }
        }
        for entry in &entries {
            self.make_entry(id, &directory, entry)?;
        }
        Ok(())
    }

    pub(crate) fn make_entry(
        &mut self, parent: FileId, directory: &OwnedFd, entry: &Entry,
    ) -> io::Result<()> {
        if !self.can_be(entry) {
            self.unlearn(entry.id);
        }
        let standing = self.number_of_similar(directory, entry)?;
        let handle = self.known.get(&entry.id);
        match (standing, handle) {
            // The very file that the number means already.
            (Similar::Known(number), Some(_)) if number == entry.id => Ok(()),
            // The number means another file, which also belongs here (a hard link, or set aside).
            (Similar::None, Some(_)) => self.bring(entry.id, directory, &entry.name),
            (_, Some(_)) => {
                self.set_aside(directory, parent, &entry.name, None)?;
                self.bring(entry.id, directory, &entry.name)
            }
            (Similar::New, None) => self.learn_at(entry.id, directory, &entry.name),
            (Similar::None, None) => self.make_placeholder(directory, entry),
            (_, None) => {
                self.set_aside(directory, parent, &entry.name, None)?;
                self.make_placeholder(directory, entry)
            }
        }
    }

    /// Could the file that the number means be this entry? If not, the number is used again for
    /// another one. (A new file of the same kind may well begin as the old one: its contents are
    /// compared like any other's.)
    fn can_be(&self, entry: &Entry) -> bool {
        let same = |path: OwnedFd| -> io::Result<bool> {
            let stat = calls::fstat(&path)?;
            Ok(stat.st_nlink > 0 && alike(path.as_fd(), &stat, entry)?)
        };
        !self.known.contains_key(&entry.id)
            || self.path_fd(entry.id).and_then(same).unwrap_or(false)
    }

    fn make_placeholder(&mut self, directory: &OwnedFd, entry: &Entry) -> io::Result<()> {
        let mode = if entry.kind == FileKind::Directory { 0o700 } else { 0o600 };
        let node = NewNode {
            kind: entry.kind,
            mode,
            rdev: entry.rdev,
            target: entry.target.as_slice().into(),
        };
        self.keep_names(entry.id, directory)?;
        make_node(directory.as_fd(), &entry.name, &node, Creator::default())?;
        self.learn_at(entry.id, directory, &entry.name)?;
        self.keep_made(entry.id);
        Ok(())
    }

    /// Gives a known file this name: from where it stands aside, or as one more link.
    fn bring(&mut self, id: FileId, directory: &OwnedFd, name: &[u8]) -> io::Result<()> {
        self.keep_names(id, directory)?;
        if let Some(aside) = self.resync.take_aside(id) {
            let from = self.aside_directory(id)?;
            return rename(from.as_fd(), &aside, directory.as_fd(), name, 0);
        }
        link_fd(self.path_fd(id)?.as_fd(), directory.as_fd(), name)
    }

    pub(crate) fn clear_name(
        &mut self, directory: &OwnedFd, parent: FileId, name: &[u8],
    ) -> io::Result<()> {
        match self.set_aside(directory, parent, name, None) {
            Err(e) if missing(&e) => Ok(()),
            other => other,
        }
    }

    pub(crate) fn aside_directory(&self, id: FileId) -> io::Result<OwnedFd> {
        let tree = self.tree(id)?;
        crate::kept::open_aside(&tree)
    }

    /// Gives a file this length, if it has not got it.
    fn resize(&mut self, id: FileId, size: u64) -> io::Result<()> {
        let fd = self.contents(id)?;
        if size_of(fd.as_fd())? != size {
            self.rescue_contents(&fd, size, u64::MAX)?;
            calls::ftruncate(fd.as_fd(), size)?;
        }
        Ok(())
    }

    /// Moves a name out of the way; a file that has a number can be brought back by it.
    pub(crate) fn set_aside(
        &mut self, directory: &OwnedFd, parent: FileId, name: &[u8], expected: Option<FileId>,
    ) -> io::Result<()> {
        let number = self.number_at(directory, name)?.or(expected);
        self.rescue_name(directory, name)?;
        if number.is_some() {
            // It may be brought back, to another path.
            self.shed(parent, (directory, name), None)?;
        }
        self.keep_names(parent, directory)?;
        let to = self.aside_directory(parent)?;
        loop {
            self.resync.next += 1;
            let aside = format!("{:x}", self.resync.next).into_bytes();
            const NOREPLACE: u32 = 1;
            match rename(directory.as_fd(), name, to.as_fd(), &aside, NOREPLACE) {
                Ok(()) => {
                    if let Some(number) = number {
                        self.resync.aside.entry(number).or_default().push(aside);
                    }
                    return Ok(());
                }
                Err(e) if e.raw_os_error() == Some(libc::EEXIST) => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn zone(&mut self, id: FileId, offset: u64, data: ZoneData<'_>) -> io::Result<()> {
        let fd = self.contents(id)?;
        self.rescue_contents(&fd, offset, data.length())?;
        match data {
            ZoneData::Bytes(bytes) => {
                if write_fully(fd.as_fd(), offset, bytes)? < bytes.len() {
                    return Err(io::Error::from_raw_os_error(libc::ENOSPC));
                }
            }
            ZoneData::Hole(0) => {}
            ZoneData::Hole(length) => {
                let flags = rfs::FallocateFlags::PUNCH_HOLE | rfs::FallocateFlags::KEEP_SIZE;
                calls::fallocate(&fd, flags, offset, length)?;
            }
        }
        Ok(())
    }

    fn finish_file(&mut self, id: FileId, metadata: &Metadata) -> io::Result<()> {
        // The time that comes now is later than any that is remembered.
        self.forget_time(id);
        let path = self.path_fd(id)?;
        let kind = kind_of(calls::fstat(&path)?.st_mode);
        if kind == FileKind::Regular {
            self.resize(id, metadata.size)?;
        }
        self.rescue_attributes(&path, metadata)?;
        let owner = AttributeChange {
            uid: Some(metadata.uid),
            gid: Some(metadata.gid),
            ..AttributeChange::default()
        };
        apply_attributes(path.as_fd(), &owner)?;
        let now = xattrs::read_all(path.as_fd())?;
        for (name, _) in &now {
            if !metadata.xattrs.iter().any(|(wanted, _)| wanted == name) {
                apply_xattr(path.as_fd(), name, None)?;
            }
        }
        for (name, value) in &metadata.xattrs {
            if !now.iter().any(|(n, v)| n == name && v == value) {
                apply_xattr(path.as_fd(), name, Some((value, 0)))?;
            }
        }
        let rest = AttributeChange {
            mode: (kind != FileKind::Symlink).then_some(metadata.mode),
            mtime: Some(metadata.mtime),
            ..AttributeChange::default()
        };
        apply_attributes(path.as_fd(), &rest)
    }

    /// Everything is equal: what was moved aside is needed no longer.
    pub fn end_resync(&mut self) -> io::Result<()> {
        self.settle_times();
        // What the primary unbound is not known any more; the rest is still open there.
        for (id, names) in std::mem::take(&mut self.resync).aside {
            // What cannot be opened any more is gone on the primary too.
            if self.keep_what_lives_on(id, names.len()).is_err() {
                self.unlearn(id);
            }
        }
        self.rescue_aside()?;
        // From here on the copy from before the resync could not be brought back.
        self.kept = None;
        crate::kept::discard(&self.trees)?;
        for tree in self.trees.clone() {
            let mtime = mtime_of(&calls::fstat(tree.root_fd())?);
            match remove_all(tree.root_fd(), ASIDE.as_bytes()) {
                Err(e) if !missing(&e) => return Err(e),
                _ => {}
            }
            apply_times(tree.root_fd(), None, Some(mtime))?;
        }
        Ok(())
    }
}

pub(crate) fn alike(path: BorrowedFd<'_>, stat: &rfs::Stat, entry: &Entry) -> io::Result<bool> {
    Ok(kind_of(stat.st_mode) == entry.kind
        && read_target(path, entry.kind)? == entry.target
        && (!is_device(entry.kind) || stat.st_rdev == entry.rdev))
}

fn is_device(kind: FileKind) -> bool {
    matches!(kind, FileKind::CharDevice | FileKind::BlockDevice)
}

/// The names of a directory, without the two that mean itself and its parent.
pub fn names_of(directory: &OwnedFd) -> io::Result<Vec<Vec<u8>>> {
    let fd = reopen_directory(directory.as_fd())?;
    let mut names = Vec::new();
    for entry in calls::read_directory(fd)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Removes a name and all below it.
pub fn remove_all(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    match unlink(directory, name, false) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::EISDIR | libc::EPERM)) => {}
        other => return other,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inner = calls::openat(directory, os(name), flags, Mode::empty())?;
    for name in names_of(&inner)? {
        remove_all(inner.as_fd(), &name)?;
    }
    unlink(directory, name, true)
}

fn checksum_of(fd: BorrowedFd<'_>, offset: u64, length: u32) -> io::Result<(u128, bool)> {
    if only_hole(fd, offset, u64::from(length)) {
        return Ok((0, true));
    }
    if u64::from(length) > ZONE_BYTES {
        return Ok((0, false)); // it is only asked whether it is a hole
    }
    Ok((checksum_in(fd, offset, u64::from(length))?, false))
}
