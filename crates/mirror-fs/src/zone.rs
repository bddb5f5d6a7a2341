//! What a resync reads of one file: a zone's checksum, whether it is a hole, the attributes.

use std::io;
use std::os::fd::BorrowedFd;

use mirror_core::message::Metadata;
use rustix::fs as rfs;

use crate::calls;
use crate::tree::mtime_of;
use crate::xattrs;

/// Everything about a file but its contents.
pub fn metadata_of(path: BorrowedFd<'_>) -> io::Result<Metadata> {
    let stat = calls::fstat(path)?;
    Ok(Metadata {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: stat.st_size as u64,
        mtime: mtime_of(&stat),
        xattrs: xattrs::read_all(path)?,
    })
}

/// Checksum of a zone's contents.
pub fn checksum(data: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(data)
}

/// Is there no data in this range?
pub fn only_hole(fd: BorrowedFd<'_>, offset: u64, length: u64) -> bool {
    match calls::seek(fd, rfs::SeekFrom::Data(offset)) {
        Ok(data) => data >= offset + length,
        Err(rustix::io::Errno::NXIO) => true,
        Err(_) => false,
    }
}
