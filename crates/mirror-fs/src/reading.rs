//! What only reads: directories, links, attributes. Answered from the tree below, on either role.

use std::cell::RefCell;
use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use mirror_core::message::FileKind;
use rustix::fs::{FileType, RawDir, SeekFrom, Stat, StatxFlags};

use crate::below::{read_target, reopen_directory};
use crate::calls;
use crate::effect::{self, Effect};
use crate::engine::Engine;
use crate::sys;
use crate::tree::{Inode, Tree};
use crate::xattrs;

const DIRECTORY_BUFFER_BYTES: usize = 64 << 10;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of this thread, so that a read allocates nothing.
pub fn with_buffer<T>(length: usize, work: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with(|buffer| {
        let mut buffer = buffer.borrow_mut();
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        work(&mut buffer[..length])
    })
}

/// A name in a directory. The name `.` of any file asks for the file itself, by its number, and
/// `..` for the directory above: so the kernel finds again what it has dropped, for who has kept a
/// handle of it. It counts as looked up.
pub fn look_up(tree: &Tree, number: u64, name: &[u8]) -> io::Result<(Arc<Inode>, Stat)> {
    let (found, stat) = find(tree, number, name)?;
    let inode = tree.count_lookup(found.clone());
    if inode.handle != found.handle {
        // It was removed since, and its number used again.
        let _ = tree.forget(inode.number(), 1);
        return Err(io::Error::from_raw_os_error(libc::ESTALE));
    }
    Ok((inode, stat))
}

fn find(tree: &Tree, number: u64, name: &[u8]) -> io::Result<(Arc<Inode>, Stat)> {
    if name == b"." {
        let inode = tree.revive(number)?;
        let stat = tree.stat(&inode)?;
        if stat.st_nlink == 0 {
            // The kernel has done with a file that has gone, and we have not heard of it yet.
            return Err(io::Error::from_raw_os_error(libc::ESTALE));
        }
        return Ok((inode, stat));
    }
    let directory = tree.revive(number)?;
    if name == b".." {
        return tree.find_above(&directory);
    }
    tree.find(&directory, name)
}

pub fn read_link(tree: &Tree, number: u64) -> io::Result<Vec<u8>> {
    let inode = tree.inode(number)?;
    read_target(tree.path_fd(&inode)?.as_fd(), FileKind::Symlink)
}

/// When the file was made on this node, in seconds and nanoseconds.
pub fn time_of_birth(fd: BorrowedFd<'_>) -> io::Result<Option<(i64, u32)>> {
    let told = calls::statx(fd)?;
    let known = told.stx_mask & StatxFlags::BTIME.bits() != 0;
    Ok(known.then_some((told.stx_btime.tv_sec, told.stx_btime.tv_nsec)))
}

pub fn get_xattr(tree: &Tree, number: u64, name: &[u8]) -> io::Result<Vec<u8>> {
    let inode = tree.inode(number)?;
    let fd = tree.path_fd(&inode)?;
    let path = sys::proc_path(fd.as_fd());
    let name = CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
    xattrs::grow(|buffer| sys::get_xattr(&path, &name, buffer))
}

/// Those of the `trusted` kind are shown to an administrator only.
pub fn list_xattr(tree: &Tree, number: u64, trusted: bool) -> io::Result<Vec<u8>> {
    let inode = tree.inode(number)?;
    let fd = tree.path_fd(&inode)?;
    let path = sys::proc_path(fd.as_fd());
    let names = xattrs::grow(|buffer| sys::list_xattr(&path, buffer))?;
    if trusted {
        return Ok(names);
    }
    let shown = names.split_inclusive(|b| *b == 0).filter(|name| !name.starts_with(b"trusted."));
    Ok(shown.flatten().copied().collect())
}

pub fn open_directory(engine: &Engine, tree: &Tree, number: u64) -> io::Result<u64> {
    let inode = tree.inode(number)?;
    let fd = reopen_directory(tree.path_fd(&inode)?.as_fd())?;
    Ok(engine.files.open_directory(inode, fd))
}

pub struct NameEntry<'a> {
    pub number: u64,
    /// Where the entry after this one is found.
    pub next: u64,
    pub kind: FileKind,
    pub name: &'a [u8],
}

pub struct FullEntry<'a> {
    pub number: u64,
    pub next: u64,
    pub name: &'a [u8],
    pub stat: Stat,
    pub generation: u64,
    pub is_root: bool,
}

fn kind(file_type: FileType) -> FileKind {
    match file_type {
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Symlink,
        FileType::CharacterDevice => FileKind::CharDevice,
        FileType::BlockDevice => FileKind::BlockDevice,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        _ => FileKind::Regular,
    }
}

/// Gives the entries from `offset` on to `add` until it says that it is full.
pub fn read_directory(
    engine: &Engine, tree: &Tree, directory: u64, offset: u64,
    mut add: impl FnMut(&NameEntry<'_>) -> bool,
) -> io::Result<()> {
    let directory = engine.files.directory(directory)?;
    let fd = directory.fd.lock();
    calls::seek(&*fd, SeekFrom::Start(offset))?;
    let mut buffer = vec![MaybeUninit::uninit(); DIRECTORY_BUFFER_BYTES];
    effect::at(Effect::ReadDirectory)?;
    let mut entries = RawDir::new(&*fd, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if tree.hidden(directory.inode.id, name) {
            continue;
        }
        let (number, next) = (entry.ino(), entry.next_entry_cookie());
        let kind = kind(entry.file_type());
        if add(&NameEntry { number, next, kind, name }) {
            break;
        }
    }
    Ok(())
}

/// As `read_directory`, with attributes; each entry counts as looked up.
pub fn read_directory_plus(
    engine: &Engine, tree: &Tree, directory: u64, offset: u64,
    mut add: impl FnMut(&FullEntry<'_>) -> bool,
) -> io::Result<()> {
    let directory = engine.files.directory(directory)?;
    let fd = directory.fd.lock();
    calls::seek(&*fd, SeekFrom::Start(offset))?;
    let mut buffer = vec![MaybeUninit::uninit(); DIRECTORY_BUFFER_BYTES];
    effect::at(Effect::ReadDirectory)?;
    let mut entries = RawDir::new(&*fd, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if tree.hidden(directory.inode.id, name) {
            continue;
        }
        let next = entry.next_entry_cookie();
        if name == b"." || name == b".." {
            let stat = calls::fstat(&*fd)?;
            let (number, generation) = (entry.ino(), 0);
            if add(&FullEntry { number, next, name, stat, generation, is_root: false }) {
                break;
            }
            continue;
        }
        let (inode, stat) = match tree.find_at(fd.as_fd(), directory.inode.id, name) {
            Ok(found) => found,
            // Removed since it was listed, or another file system: not an entry of this tree.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::EXDEV)) => continue,
            Err(e) => return Err(e),
        };
        let (number, generation) = (inode.number(), inode.handle.generation());
        let is_root = inode.id.is_root();
        if add(&FullEntry { number, next, name, stat, generation, is_root }) {
            break;
        }
        tree.count_lookup(inode);
    }
    Ok(())
}
