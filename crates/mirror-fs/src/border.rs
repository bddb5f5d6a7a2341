//! Changes of names, where some names stay on this node (`excluded`).
//!
//! A rename over the border is a removal or a new file for the secondary, and only there. A new
//! file comes under a name of its own first and gets the real one when it is whole, so that the
//! copy is a prefix also then. A directory cannot be moved over the border (EXDEV, as between two
//! file systems, upon which `mv` copies): what lies below it would have to go with it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use mirror_core::message::{AttributeChange, Creator, FileKind, Metadata, Operation};
use mirror_core::units::{FileId, FileTime};
use rustix::fs::SeekFrom;

use crate::below::read_target;
use crate::binding::Ordered;
use crate::calls;
use crate::engine::Engine;
use crate::excluded::{changes_below, open_directory, NEW};
use crate::mode::Mode;
use crate::names::{Wait, RENAME_EXCHANGE};
use crate::outbox::read_fully;
use crate::progress::Send;
use crate::tree::{Inode, Tree};
use crate::xattrs;
use crate::zone::metadata_of;

const RENAME_NOREPLACE: u32 = 1;
const PIECE_BYTES: usize = 128 << 10;
const ACL: &[u8] = b"system.posix_acl_access";
const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// A directory of a rename, and the name in it.
pub(crate) type Side<'a> = (BorrowedFd<'a>, &'a [u8]);

/// What a rename moves, and what it moves the other way.
pub(crate) type Moved<'a> = (&'a Arc<Inode>, Option<&'a Arc<Inode>>);

fn cross_device() -> io::Error {
    io::Error::from_raw_os_error(libc::EXDEV)
}

fn is_directory(inode: &Inode) -> bool {
    inode.kind == FileKind::Directory
}

impl Engine {
    /// Whether a change of this name is sent. What stays here changes its directory's time all the
    /// same.
    pub(crate) fn sends(
        &self, mode: &Mode, tree: &Arc<Tree>, (mark, known): &Ordered<'_>, parent: &Arc<Inode>,
        (directory, name): Side<'_>, kind: FileKind,
    ) -> io::Result<bool> {
        let is_directory = kind == FileKind::Directory;
        if tree.excludes() && self.told(tree.is_local(directory, name, is_directory))? {
            self.time_changed(tree, parent);
            return Ok(false);
        }
        Ok(*known && (mode.full || mark.for_attributes(mode.session) == Send::All))
    }

    /// Before a rename: which of its names stay here. An error: it cannot be done.
    pub(crate) fn over_border(
        &self, mode: &Mode, tree: &Tree, (moved, there): Moved<'_>, from: Side<'_>, to: Side<'_>,
        flags: u32,
    ) -> io::Result<(bool, bool)> {
        if !tree.excludes() {
            return Ok((false, false));
        }
        let (old, new) = (tree.local_names(from.0)?, tree.local_names(to.0)?);
        let kind = is_directory(moved);
        let here = (old.has(from.1, kind), new.has(to.1, kind));
        let exchanged = there.filter(|_| flags & RENAME_EXCHANGE != 0);
        let crosses = |other: &Arc<Inode>| {
            let kind = is_directory(other);
            old.has(from.1, kind) != here.0 || new.has(to.1, kind) != here.1
        };
        let plain = flags & !RENAME_NOREPLACE == 0;
        if here.0 != here.1 && (kind || !plain) || exchanged.is_some_and(crosses) {
            return Err(cross_device());
        }
        if here == (true, false) {
            // It may have another name by which the secondary has it.
            self.bind(mode, tree, moved);
        }
        if here != (false, false) || !tree.excludes_by_path() {
            return Ok(here);
        }
        let (old, new) = (old.inside(from.1), new.inside(to.1));
        if kind {
            let directory = open_directory(from.0, from.1)?;
            if changes_below(directory.as_fd(), &old, &new)? {
                return Err(cross_device());
            }
        }
        if exchanged.is_some_and(|other| is_directory(other)) {
            let directory = open_directory(to.0, to.1)?;
            if changes_below(directory.as_fd(), &new, &old)? {
                return Err(cross_device());
            }
        }
        Ok(here)
    }

    /// After a rename: to which of its directories the secondary is told of it.
    pub(crate) fn sends_over(
        &self, mode: &Mode, tree: &Arc<Tree>, here: (bool, bool),
        (first, second): (&Ordered<'_>, Option<&Ordered<'_>>),
        (old, new): (&Arc<Inode>, &Arc<Inode>),
    ) -> (bool, bool) {
        for (directory, here) in [(old, here.0), (new, here.1)] {
            if here {
                self.time_changed(tree, directory);
            }
        }
        let done = |(mark, known): &Ordered<'_>| {
            *known && (mode.full || mark.for_attributes(mode.session) == Send::All)
        };
        // The locks are in the order of the directories' numbers.
        let first_done = done(first);
        let second_done = second.map_or(first_done, done);
        let (old_done, new_done) = match old.id <= new.id {
            true => (first_done, second_done),
            false => (second_done, first_done),
        };
        (old_done && !here.0, new_done && !here.1)
    }

    /// In step: a file got a name that is replicated, and had none or is not known by it. The
    /// secondary gets all of it, at a name beside, and then the name.
    pub(crate) fn introduce(
        &self, mode: &Mode, tree: &Arc<Tree>, inode: &Arc<Inode>, (parent, name): (&Inode, &[u8]),
        parent_mtime: FileTime,
    ) -> io::Result<Wait> {
        let beside = name_beside(mode);
        let names = tree.names_of_file(inode, Some((parent.id, name)))?;
        // Nobody changes it between its contents and the moment from which changes are sent.
        let _order = inode.order.lock();
        let (id, parent) = (inode.id, parent.id);
        if names.replicated {
            if !inode.bound(mode.session) {
                return Err(io::Error::other(format!("file {id:?} has a name that is not known")));
            }
            self.outbox.put(&Operation::Link { id, parent, name: &beside, parent_mtime }, None);
        } else {
            self.introduce_whole(tree, inode, (parent, &beside), parent_mtime)?;
            inode.bound_session.store(mode.session, Ordering::Release);
        }
        self.name_whole(parent, &beside, name, parent_mtime);
        let whole = !names.replicated && inode.kind == FileKind::Regular;
        Ok(if whole { Wait::Synced(id) } else { Wait::Applied })
    }

    /// The file beside is whole: it gets its name.
    pub(crate) fn name_whole(
        &self, parent: FileId, beside: &[u8], name: &[u8], parent_mtime: FileTime,
    ) {
        let rename = Operation::Rename {
            parent,
            name: beside,
            new_parent: parent,
            new_name: name,
            flags: 0,
            parent_mtime,
            new_parent_mtime: parent_mtime,
        };
        self.outbox.put(&rename, None);
    }

    pub(crate) fn introduce_whole(
        &self, tree: &Arc<Tree>, inode: &Arc<Inode>, (parent, beside): (FileId, &[u8]),
        parent_mtime: FileTime,
    ) -> io::Result<()> {
        let path = tree.path_fd(inode)?;
        let stat = calls::fstat(path.as_fd())?;
        let metadata = metadata_of(path.as_fd())?;
        let (id, kind) = (inode.id, inode.kind);
        let target = read_target(path.as_fd(), kind)?;
        let made = Operation::Make {
            id,
            parent,
            name: beside,
            kind,
            mode: 0o600,
            rdev: stat.st_rdev,
            target: &target,
            creator: Creator { uid: 0, gid: 0, umask: 0 },
            mtime: metadata.mtime,
            parent_mtime,
        };
        self.outbox.put(&made, None);
        if kind == FileKind::Regular {
            self.introduce_contents(tree, inode, metadata.size, metadata.mtime)?;
        }
        let inherits = kind != FileKind::Symlink && inherits_acl(tree, parent)?;
        self.introduce_attributes(id, kind, &metadata, inherits);
        Ok(())
    }

    /// The owner first, since a change of it takes capabilities away.
    fn introduce_attributes(
        &self, id: FileId, kind: FileKind, metadata: &Metadata, inherits: bool,
    ) {
        let owner = AttributeChange {
            uid: Some(metadata.uid),
            gid: Some(metadata.gid),
            ..AttributeChange::default()
        };
        self.outbox.put(&Operation::SetAttributes { id, change: owner }, None);
        if inherits && !metadata.xattrs.iter().any(|(name, _)| name == ACL) {
            let value = minimal_acl(metadata.mode);
            self.outbox.put(&Operation::SetXattr { id, name: ACL, value: &value, flags: 0 }, None);
        }
        for (name, value) in &metadata.xattrs {
            self.outbox.put(&Operation::SetXattr { id, name, value, flags: 0 }, None);
        }
        let rest = AttributeChange {
            mode: (kind != FileKind::Symlink).then_some(metadata.mode),
            mtime: Some(metadata.mtime),
            ..AttributeChange::default()
        };
        self.outbox.put(&Operation::SetAttributes { id, change: rest }, None);
    }

    fn introduce_contents(
        &self, tree: &Arc<Tree>, inode: &Arc<Inode>, size: u64, mtime: FileTime,
    ) -> io::Result<()> {
        let fd = tree.open_file(inode, libc::O_RDONLY | libc::O_NOATIME)?;
        let id = inode.id;
        self.outbox.put(&Operation::Truncate { id, size, mtime, kill_suid: false }, None);
        let mut buffer = vec![0; PIECE_BYTES];
        let mut offset = 0;
        while offset < size {
            offset = match calls::seek(&fd, SeekFrom::Data(offset)) {
                Ok(data) => data.max(offset),
                Err(rustix::io::Errno::NXIO) => break,
                Err(e) => return Err(e.into()),
            };
            let length = buffer.len().min((size - offset.min(size)) as usize);
            let got = read_fully(fd.as_fd(), offset, &mut buffer[..length])?;
            if got == 0 {
                break;
            }
            let (mtime, data) = (FileTime::default(), &buffer[..got]);
            let write = Operation::Write { id, offset, mtime, kill_suid: false, more: true, data };
            self.outbox.put_write(&write, None, tree, inode);
            offset += got as u64;
        }
        Ok(())
    }

    /// In step: a file was renamed from a name that is replicated to one that stays here.
    pub(crate) fn withdraw(
        &self, tree: &Tree, inode: &Inode, (parent, name): (&Inode, &[u8]), parent_mtime: FileTime,
    ) -> io::Result<()> {
        let parent = parent.id;
        self.outbox.put(&Operation::Unlink { parent, name, parent_mtime }, None);
        if !tree.names_of_file(inode, None)?.replicated {
            let _order = inode.order.lock();
            if inode.bound_session.swap(0, Ordering::AcqRel) != 0 {
                self.outbox.put(&Operation::Unbind { ids: vec![inode.id] }, None);
            }
        }
        Ok(())
    }
}

/// Under which a file is brought to the secondary.
pub(crate) fn name_beside(mode: &Mode) -> Vec<u8> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    [NEW, format!("{:x}-{number:x}", mode.session).as_bytes()].concat()
}

/// Does what is made in this directory get an access list from it?
fn inherits_acl(tree: &Tree, parent: FileId) -> io::Result<bool> {
    let parent = tree.inode(parent.inode())?;
    let all = xattrs::read_all(tree.path_fd(&parent)?.as_fd())?;
    Ok(all.iter().any(|(name, _)| name == DEFAULT_ACL))
}

/// The list that says no more than the mode does: where it is set there is none.
fn minimal_acl(mode: u32) -> Vec<u8> {
    const VERSION: u32 = 2;
    let mut list = VERSION.to_le_bytes().to_vec();
    for (tag, bits) in [(0x01u16, mode >> 6), (0x04, mode >> 3), (0x20, mode)] {
        list.extend_from_slice(&tag.to_le_bytes());
        list.extend_from_slice(&((bits & 7) as u16).to_le_bytes());
        list.extend_from_slice(&u32::MAX.to_le_bytes());
    }
    list
}
