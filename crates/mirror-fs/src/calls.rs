//! The system calls on the replicated tree and the link, each with its label (`effect`).
//!
//! Named and used like those of `rustix`, which the rest of the engine does not call for this: a
//! tidy test sees to it. What no safe library offers is in `sys`, labelled there.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{self as rfs, AtFlags, Mode, OFlags};
use rustix::io::Result;
use rustix::path::Arg;

use crate::effect::{self, at, Effect};
use crate::patience::patiently;

pub fn open(path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd> {
    at(Effect::OpenRoot)?;
    rfs::open(path, flags, mode)
}

pub fn openat(
    directory: impl AsFd, name: impl Arg + Copy, flags: OFlags, mode: Mode,
) -> Result<OwnedFd> {
    patiently(|| {
        at(Effect::OpenName)?;
        rfs::openat(&directory, name, flags, mode)
    })
}

pub fn openat2(
    directory: impl AsFd, name: &str, flags: OFlags, mode: Mode, resolve: rfs::ResolveFlags,
) -> Result<OwnedFd> {
    patiently(|| {
        at(Effect::OpenName)?;
        rfs::openat2(&directory, name, flags, mode, resolve)
    })
}

pub fn fstat(fd: impl AsFd) -> Result<rfs::Stat> {
    at(Effect::Stat)?;
    rfs::fstat(fd)
}

/// With the time of birth, where the file system knows it.
pub fn statx(fd: impl AsFd) -> Result<rfs::Statx> {
    at(Effect::Stat)?;
    let mask = rfs::StatxFlags::BASIC_STATS | rfs::StatxFlags::BTIME;
    rfs::statx(fd, "", AtFlags::EMPTY_PATH, mask)
}

pub fn statat(directory: impl AsFd, name: &OsStr, flags: AtFlags) -> Result<rfs::Stat> {
    patiently(|| {
        at(Effect::Stat)?;
        rfs::statat(&directory, name, flags)
    })
}

pub fn fstatfs(fd: impl AsFd) -> Result<rfs::StatFs> {
    at(Effect::StatFileSystem)?;
    rfs::fstatfs(fd)
}

pub fn fstatvfs(fd: impl AsFd) -> Result<rfs::StatVfs> {
    at(Effect::StatFileSystem)?;
    rfs::fstatvfs(fd)
}

pub fn seek(fd: impl AsFd, to: rfs::SeekFrom) -> Result<u64> {
    at(Effect::Seek)?;
    rfs::seek(fd, to)
}

/// The entries of an open directory; its descriptor is used up.
pub fn read_directory(fd: OwnedFd) -> Result<rfs::Dir> {
    at(Effect::ReadDirectory)?;
    rfs::Dir::new(fd)
}

pub fn readlinkat(path: impl AsFd, name: impl Arg + Copy) -> Result<Vec<u8>> {
    patiently(|| {
        at(Effect::ReadTarget)?;
        Ok(rfs::readlinkat(&path, name, Vec::new())?.into_bytes())
    })
}

pub fn pread(fd: impl AsFd, buffer: &mut [u8], offset: u64) -> Result<usize> {
    patiently(|| {
        let part = effect::part(Effect::Read, buffer.len())?;
        rustix::io::pread(&fd, &mut buffer[..part], offset)
    })
}

pub fn pwrite(fd: impl AsFd, data: &[u8], offset: u64) -> Result<usize> {
    patiently(|| {
        let part = effect::part(Effect::Write, data.len())?;
        let written = rustix::io::pwrite(&fd, &data[..part], offset);
        effect::done(data.len(), part);
        written
    })
}

pub fn ftruncate(fd: impl AsFd, size: u64) -> Result<()> {
    patiently(|| {
        at(Effect::Truncate)?;
        rfs::ftruncate(&fd, size)
    })
}

pub fn fallocate(fd: impl AsFd, mode: rfs::FallocateFlags, offset: u64, length: u64) -> Result<()> {
    patiently(|| {
        at(Effect::Allocate)?;
        rfs::fallocate(&fd, mode, offset, length)
    })
}

/// Makes all contents of `to` those of `from`, in shared blocks.
pub fn clone_contents(to: impl AsFd, from: impl AsFd) -> Result<()> {
    at(Effect::Clone)?;
    rfs::ioctl_ficlone(to, from)
}

pub fn mknodat(
    directory: impl AsFd, name: &OsStr, kind: rfs::FileType, mode: Mode, device: u64,
) -> Result<()> {
    patiently(|| {
        at(Effect::Make)?;
        rfs::mknodat(&directory, name, kind, mode, device)
    })
}

pub fn mkdirat(directory: impl AsFd, name: impl Arg + Copy, mode: Mode) -> Result<()> {
    patiently(|| {
        at(Effect::Make)?;
        rfs::mkdirat(&directory, name, mode)
    })
}

pub fn symlinkat(target: &OsStr, directory: impl AsFd, name: &OsStr) -> Result<()> {
    patiently(|| {
        at(Effect::Make)?;
        rfs::symlinkat(target, &directory, name)
    })
}

pub fn linkat(
    file: impl AsFd, name: &str, directory: impl AsFd, new_name: &OsStr, flags: AtFlags,
) -> Result<()> {
    patiently(|| {
        at(Effect::Link)?;
        rfs::linkat(&file, name, &directory, new_name, flags)
    })
}

pub fn unlinkat(directory: impl AsFd, name: impl Arg + Copy, flags: AtFlags) -> Result<()> {
    patiently(|| {
        at(Effect::Unlink)?;
        rfs::unlinkat(&directory, name, flags)
    })
}

pub fn renameat_with(
    from: impl AsFd, name: &OsStr, to: impl AsFd, new_name: &OsStr, flags: rfs::RenameFlags,
) -> Result<()> {
    patiently(|| {
        at(Effect::Rename)?;
        rfs::renameat_with(&from, name, &to, new_name, flags)
    })
}

pub fn chownat(
    path: impl AsFd, name: &str, uid: Option<rfs::Uid>, gid: Option<rfs::Gid>, flags: AtFlags,
) -> Result<()> {
    patiently(|| {
        at(Effect::SetOwner)?;
        rfs::chownat(&path, name, uid, gid, flags)
    })
}

pub fn chmod(path: impl Arg, mode: Mode) -> Result<()> {
    at(Effect::SetMode)?;
    rfs::chmod(path, mode)
}

pub fn fchmod(fd: impl AsFd, mode: Mode) -> Result<()> {
    at(Effect::SetMode)?;
    rfs::fchmod(fd, mode)
}

pub fn utimensat(
    path: impl AsFd, name: &str, times: &rfs::Timestamps, flags: AtFlags,
) -> Result<()> {
    patiently(|| {
        at(Effect::SetTimes)?;
        rfs::utimensat(&path, name, times, flags)
    })
}

/// Makes `to` share the blocks of `from`, where the file system can.
pub fn ficlone(to: impl AsFd, from: impl AsFd) -> Result<()> {
    at(Effect::RescueWrite)?;
    rfs::ioctl_ficlone(to, from)
}

/// Opens what a path descriptor stands for, to read it.
pub fn open_to_read(path: impl AsFd) -> Result<OwnedFd> {
    patiently(|| {
        at(Effect::OpenHandle)?;
        let flags = OFlags::RDONLY | OFlags::NOATIME | OFlags::CLOEXEC;
        rfs::open(crate::sys::proc_path(path.as_fd()), flags, Mode::empty())
    })
}

pub fn fsync(fd: impl AsFd) -> Result<()> {
    at(Effect::Sync)?;
    rfs::fsync(fd)
}

pub fn fdatasync(fd: impl AsFd) -> Result<()> {
    at(Effect::Sync)?;
    rfs::fdatasync(fd)
}

pub fn syncfs(fd: impl AsFd) -> Result<()> {
    at(Effect::SyncTree)?;
    rfs::syncfs(fd)
}

/// Writes all of `bytes` into a file of the engine's own state, whose label is `effect`.
pub fn write_all(effect: Effect, file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let left = bytes.len() - done;
        let part = effect::part(effect, left)?;
        file.write_all(&bytes[done..done + part])?;
        effect::done(left, part);
        done += part;
    }
    Ok(())
}

pub fn connect_timeout(address: &SocketAddr, limit: Duration) -> std::io::Result<TcpStream> {
    at(Effect::Dial)?;
    TcpStream::connect_timeout(address, limit)
}
