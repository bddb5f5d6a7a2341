//! What both nodes compute of a file for a verification, so that they compute the same.
//!
//! A *digest* stands for everything about a name that the copies must have in common; of a small
//! file it covers the contents too. It is taken without a lock: two that differ prove nothing.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use mirror_core::message::FileKind;
use mirror_core::verify::Seen;
use rustix::fs::{self as rfs, Mode, OFlags};

use crate::below::{read_target, reopen_directory};
use crate::calls;
use crate::outbox::read_fully;
use crate::tree::kind_of;
use crate::zone::{checksum, metadata_of};

/// Contents up to this size are part of a digest; longer ones are compared in zones.
pub const SMALL_BYTES: u64 = 64 << 10;
const PIECE_BYTES: usize = 1 << 20;

/// Everything about an open file (a path descriptor is enough) but its contents.
pub fn seen(path: BorrowedFd<'_>) -> io::Result<Seen> {
    let stat = calls::fstat(path)?;
    let kind = kind_of(stat.st_mode);
    let mut metadata = metadata_of(path)?;
    if kind == FileKind::Directory {
        metadata.size = 0;
    }
    let device = matches!(kind, FileKind::CharDevice | FileKind::BlockDevice);
    let rdev = if device { stat.st_rdev } else { 0 };
    Ok(Seen { kind, rdev, target: read_target(path, kind)?, metadata })
}

/// What stands at a name; `None`: nothing, or another file system.
pub fn open_name(
    directory: BorrowedFd<'_>, name: &[u8], device: u64,
) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match calls::openat(directory, OsStr::from_bytes(name), flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    let same = calls::fstat(&fd)?.st_dev == device;
    Ok(same.then_some(fd))
}

/// The contents at a name, when a regular file stands there.
pub fn open_contents(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NOATIME | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = calls::openat(directory, OsStr::from_bytes(name), flags, Mode::empty())?;
    match kind_of(calls::fstat(&fd)?.st_mode) {
        FileKind::Regular => Ok(fd),
        _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

/// A name's digest and, of a file whose contents it does not cover, the size.
pub struct Digest {
    pub value: u128,
    pub is_directory: bool,
    pub large_bytes: u64,
    pub read_bytes: u64,
}

/// Stands for what could not be read: no digest is equal to it but by chance.
pub const UNREADABLE: Digest =
    Digest { value: 0, is_directory: false, large_bytes: 0, read_bytes: 0 };

pub fn digest(directory: BorrowedFd<'_>, name: &[u8], device: u64) -> io::Result<Option<Digest>> {
    let Some(path) = open_name(directory, name, device)? else { return Ok(None) };
    let seen = seen(path.as_fd())?;
    let mut bytes = Vec::with_capacity(256);
    let m = &seen.metadata;
    let numbers = [seen.kind as u64, seen.rdev, m.uid.into(), m.gid.into(), m.mode.into(), m.size];
    for number in numbers {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&m.mtime.seconds.to_le_bytes());
    bytes.extend_from_slice(&m.mtime.nanoseconds.to_le_bytes());
    for (name, value) in &m.xattrs {
        for part in [name, value] {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(&seen.target);
    let regular = seen.kind == FileKind::Regular;
    let small = regular && m.size <= SMALL_BYTES;
    let mut read_bytes = 0;
    if small && m.size > 0 {
        let file = open_contents(directory, name)?;
        let mut contents = vec![0; m.size as usize];
        let got = read_fully(file.as_fd(), 0, &mut contents)?;
        read_bytes = got as u64;
        bytes.extend_from_slice(&checksum(&contents[..got]).to_le_bytes());
    }
    Ok(Some(Digest {
        value: checksum(&bytes),
        is_directory: seen.kind == FileKind::Directory,
        large_bytes: if regular && !small { m.size } else { 0 },
        read_bytes,
    }))
}

/// The names of a directory after `after`, up to and with `up_to` (empty: no bound), ascending.
pub fn names_between(
    directory: BorrowedFd<'_>, after: &[u8], up_to: &[u8], keep: impl Fn(&[u8]) -> bool,
) -> io::Result<Vec<Box<[u8]>>> {
    let mut names = Vec::new();
    for entry in calls::read_directory(reopen_directory(directory)?)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        let within = name > after && (up_to.is_empty() || name <= up_to);
        if within && name != b"." && name != b".." && keep(name) {
            names.push(name.into());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The checksum of a range; of a hole, whether there is anything but zeros.
pub fn sum_of(file: BorrowedFd<'_>, offset: u64, length: u64, hole: bool) -> io::Result<u128> {
    if hole {
        return only_zeros(file, offset, length).map(|zeros| u128::from(!zeros));
    }
    let mut data = vec![0; length as usize];
    let got = read_fully(file, offset, &mut data)?;
    Ok(checksum(&data[..got]))
}

fn only_zeros(file: BorrowedFd<'_>, offset: u64, length: u64) -> io::Result<bool> {
    let end = offset + length;
    let mut at = offset;
    let mut data = vec![0; PIECE_BYTES.min(length as usize)];
    while at < end {
        at = match calls::seek(file, rfs::SeekFrom::Data(at)) {
            Ok(data) => data.max(at),
            Err(rustix::io::Errno::NXIO) => return Ok(true),
            Err(e) => return Err(e.into()),
        };
        if at >= end {
            break;
        }
        let piece = data.len().min((end - at) as usize);
        let got = read_fully(file, at, &mut data[..piece])?;
        if data[..got].iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        if got == 0 {
            break;
        }
        at += got as u64;
    }
    Ok(true)
}

/// How much of a file from `offset` on is a hole.
pub fn hole_at(file: BorrowedFd<'_>, offset: u64, size: u64) -> u64 {
    match calls::seek(file, rfs::SeekFrom::Data(offset)) {
        Ok(data) => data.min(size).saturating_sub(offset),
        Err(rustix::io::Errno::NXIO) => size.saturating_sub(offset),
        Err(_) => 0,
    }
}
