//! Attributes as the kernel wants them.

use kernel_fuse::{Attributes, Time};
use mirror_core::message::FileKind;
use rustix::fs::Stat;

/// The bits of a mode that tell a file's kind.
pub fn format_of(kind: FileKind) -> u32 {
    match kind {
        FileKind::Regular => libc::S_IFREG,
        FileKind::Directory => libc::S_IFDIR,
        FileKind::Symlink => libc::S_IFLNK,
        FileKind::CharDevice => libc::S_IFCHR,
        FileKind::BlockDevice => libc::S_IFBLK,
        FileKind::Fifo => libc::S_IFIFO,
        FileKind::Socket => libc::S_IFSOCK,
    }
}

/// `is_root`: the root of a mount has number 1 whatever it is below.
pub fn attributes(stat: &Stat, is_root: bool) -> Attributes {
    let time = |seconds, part| Time { seconds, nanoseconds: part as u32 };
    Attributes {
        number: if is_root { mirror_core::units::ROOT_INODE } else { crate::tree::number_of(stat) },
        size: stat.st_size as u64,
        blocks: stat.st_blocks as u64,
        atime: time(stat.st_atime, stat.st_atime_nsec),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        mode: stat.st_mode,
        links: stat.st_nlink as u32,
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: stat.st_rdev as u32,
        block_bytes: stat.st_blksize as u32,
    }
}
