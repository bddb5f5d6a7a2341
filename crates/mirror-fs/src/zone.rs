//! What a resync reads of one file: a zone's checksum, whether it is a hole, the attributes.

use std::io;
use std::os::fd::BorrowedFd;

use mirror_core::message::Metadata;
use rustix::fs as rfs;
use xxhash_rust::xxh3::Xxh3;

use crate::calls;
use crate::outbox::read_fully;
use crate::tree::{mtime_of, size_of};
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

/// The checksum of what a file holds in this range, up to its end. Holes are not read; they count
/// as the zeros that a reader would see.
pub fn checksum_in(fd: BorrowedFd<'_>, offset: u64, length: u64) -> io::Result<u128> {
    let end = (offset + length).min(size_of(fd)?);
    let mut sum = Xxh3::new();
    let mut buffer = Vec::new();
    let mut at = offset;
    while at < end {
        let data = match calls::seek(fd, rfs::SeekFrom::Data(at)) {
            Ok(data) => data.clamp(at, end),
            Err(rustix::io::Errno::NXIO) => end,
            Err(_) => at,
        };
        add_zeros(&mut sum, data - at);
        let hole = match calls::seek(fd, rfs::SeekFrom::Hole(data)) {
            Ok(hole) if hole > data => hole.min(end),
            _ => end,
        };
        buffer.resize((hole - data) as usize, 0);
        let got = read_fully(fd, data, &mut buffer)?;
        sum.update(&buffer[..got]);
        if got < buffer.len() {
            break; // it has become shorter
        }
        at = hole;
    }
    Ok(sum.digest128())
}

fn add_zeros(sum: &mut Xxh3, mut length: u64) {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    while length > 0 {
        let piece = length.min(ZEROS.len() as u64);
        sum.update(&ZEROS[..piece as usize]);
        length -= piece;
    }
}

/// Is there no data in this range?
pub fn only_hole(fd: BorrowedFd<'_>, offset: u64, length: u64) -> bool {
    match calls::seek(fd, rfs::SeekFrom::Data(offset)) {
        Ok(data) => data >= offset + length,
        Err(rustix::io::Errno::NXIO) => true,
        Err(_) => false,
    }
}
