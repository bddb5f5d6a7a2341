//! What is done to one file or name of the tree below: the same on the primary, where the
//! application asked for it, and on the secondary, where the stream does.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use mirror_core::message::{AttributeChange, Creator, FileKind};
use mirror_core::units::FileTime;
use rustix::fs::{self as rfs, AtFlags, Mode as FileMode, OFlags};

use crate::calls;
use crate::change::NewNode;
use crate::sys;
use crate::tree::mtime_of;

fn os(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

/// Makes a name as its creator; the same on both nodes.
pub fn make_node(
    directory: BorrowedFd<'_>, name: &[u8], node: &NewNode<'_>, creator: Creator,
) -> io::Result<()> {
    let mode = FileMode::from_raw_mode(node.mode & 0o7777);
    let kind = |kind| calls::mknodat(directory, os(name), kind, mode, node.rdev);
    let make = || match node.kind {
        FileKind::Regular => kind(rfs::FileType::RegularFile),
        FileKind::Directory => calls::mkdirat(directory, os(name), mode),
        FileKind::Symlink => calls::symlinkat(os(&node.target), directory, os(name)),
        FileKind::CharDevice => kind(rfs::FileType::CharacterDevice),
        FileKind::BlockDevice => kind(rfs::FileType::BlockDevice),
        FileKind::Fifo => kind(rfs::FileType::Fifo),
        FileKind::Socket => kind(rfs::FileType::Socket),
    };
    Ok(sys::as_creator(creator.uid, creator.gid, creator.umask, make)?)
}

/// Makes a regular file without a name as its creator, on the file system of this directory.
pub fn make_unnamed(directory: BorrowedFd<'_>, mode: u32, creator: Creator) -> io::Result<OwnedFd> {
    let mode = FileMode::from_raw_mode(mode & 0o7777);
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let make = || calls::openat(directory, ".", flags, mode);
    Ok(sys::as_creator(creator.uid, creator.gid, creator.umask, make)?)
}

/// Gives an open or path descriptor's file another name.
pub fn link_fd(file: BorrowedFd<'_>, directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    Ok(calls::linkat(file, "", directory, os(name), AtFlags::EMPTY_PATH)?)
}

pub fn unlink(directory: BorrowedFd<'_>, name: &[u8], is_directory: bool) -> io::Result<()> {
    let flags = if is_directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    Ok(calls::unlinkat(directory, os(name), flags)?)
}

pub fn rename(
    from: BorrowedFd<'_>, name: &[u8], to: BorrowedFd<'_>, new_name: &[u8], flags: u32,
) -> io::Result<()> {
    let flags = rfs::RenameFlags::from_bits_retain(flags);
    Ok(calls::renameat_with(from, os(name), to, os(new_name), flags)?)
}

/// The target of a symbolic link; nothing for other kinds.
pub fn read_target(path: BorrowedFd<'_>, kind: FileKind) -> io::Result<Vec<u8>> {
    if kind != FileKind::Symlink {
        return Ok(Vec::new());
    }
    Ok(calls::readlinkat(path, "")?)
}

/// A new descriptor of the same directory, to read its names without disturbing other readers.
pub fn reopen_directory(path: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOATIME;
    Ok(calls::openat(path, ".", flags, FileMode::empty())?)
}

/// Writes all of `data`, or as much as fits; an error only when nothing was written.
pub fn write_fully(fd: BorrowedFd<'_>, offset: u64, data: &[u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < data.len() {
        match calls::pwrite(fd, &data[done..], offset + done as u64) {
            Ok(count) => done += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) if done > 0 => break,
            Err(e) => return Err(e.into()),
        }
    }
    Ok(done)
}

/// Clears set-user-id and set-group-id as a write by a person would; returns the new mtime, and
/// whether there was something to clear.
pub fn drop_suid(fd: BorrowedFd<'_>, kill: bool) -> io::Result<(FileTime, bool)> {
    let stat = calls::fstat(fd)?;
    let mut dropped = false;
    if kill {
        let mut mode = stat.st_mode & 0o7777 & !libc::S_ISUID;
        if mode & libc::S_IXGRP != 0 {
            mode &= !libc::S_ISGID;
        }
        if mode != stat.st_mode & 0o7777 {
            calls::fchmod(fd, rfs::Mode::from_raw_mode(mode))?;
            dropped = true;
        }
    }
    Ok((mtime_of(&stat), dropped))
}

pub fn truncate(fd: BorrowedFd<'_>, size: u64, kill_suid: bool) -> io::Result<FileTime> {
    calls::ftruncate(fd, size)?;
    drop_suid(fd, kill_suid).map(|(mtime, _)| mtime)
}

/// Sets what `change` names, in the order in which the kernel's own side effects stay right:
/// owner (which clears set-user-id), then mode, then times.
pub fn apply_attributes(path: BorrowedFd<'_>, change: &AttributeChange) -> io::Result<()> {
    if change.uid.is_some() || change.gid.is_some() {
        let uid = change.uid.map(rfs::Uid::from_raw);
        let gid = change.gid.map(rfs::Gid::from_raw);
        calls::chownat(path, "", uid, gid, rfs::AtFlags::EMPTY_PATH)?;
    }
    if let Some(mode) = change.mode {
        calls::chmod(sys::proc_path(path), rfs::Mode::from_raw_mode(mode & 0o7777))?;
    }
    if change.atime.is_some() || change.mtime.is_some() {
        apply_times(path, change.atime, change.mtime)?;
    }
    Ok(())
}

pub fn apply_times(
    path: BorrowedFd<'_>, atime: Option<FileTime>, mtime: Option<FileTime>,
) -> io::Result<()> {
    let spec = |time: Option<FileTime>| match time {
        Some(time) => rfs::Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanoseconds) },
        None => rfs::Timespec { tv_sec: 0, tv_nsec: rfs::UTIME_OMIT },
    };
    let times = rfs::Timestamps { last_access: spec(atime), last_modification: spec(mtime) };
    Ok(calls::utimensat(path, "", &times, rfs::AtFlags::EMPTY_PATH)?)
}

pub fn apply_xattr(
    path: BorrowedFd<'_>, name: &[u8], value: Option<(&[u8], u32)>,
) -> io::Result<()> {
    let path = sys::proc_path(path);
    let name = std::ffi::CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
    match value {
        Some((value, flags)) => sys::set_xattr(&path, &name, value, flags as i32),
        None => sys::remove_xattr(&path, &name),
    }
}
