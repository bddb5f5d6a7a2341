//! FUSE to the engine: parse, call, reply. Nothing is decided here.
//!
//! Reads are answered at once from the tree below. Changes go to `Engine::submit`, whose answer
//! may come later and from another thread.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use fuser::{
    Errno, FileHandle, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request,
    TimeOrNow, WriteFlags,
};
use mirror_core::message::{AttributeChange, Creator, FileKind};

use crate::answer::Done;
use crate::attributes::{attributes, entry_kind};
use crate::calls;
use crate::change::{Change, Durable, NewNode};
use crate::config::SyncPolicy;
use crate::mounted::{empty, time_of, Mounted, REMEMBER, WANTED};
use crate::reading;
use crate::tree::kind_of;

const MAX_WRITE_BYTES: u32 = 1 << 20;
const ROOT_UID: u32 = 0;

impl fuser::Filesystem for Mounted {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for flag in WANTED {
            let _ = config.add_capabilities(flag);
        }
        if self.engine.config.sync == SyncPolicy::Fsync {
            let _ = config.add_capabilities(InitFlags::FUSE_WRITEBACK_CACHE);
        }
        let _ = config.set_max_write(MAX_WRITE_BYTES);
        let _ = config.set_max_background(64);
        let _ = config.set_congestion_threshold(48);
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match reading::look_up(&self.tree, parent.0, name.as_bytes()) {
            Ok((inode, stat)) => {
                let is_root = inode.id.is_root();
                let generation = match is_root {
                    true => 0, // as the kernel has it
                    false => self.engine.shown_generation(inode.handle.generation(), &stat),
                };
                let generation = Generation(generation);
                let attr = attributes(&stat, is_root);
                reply.entry(&self.remember(), &attr, generation);
            }
            Err(error) => reply.error(self.errno(&error)),
        }
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.engine.forget(self.tree.index, ino.0, nlookup);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        let file = fh.and_then(|fh| self.engine.files.file(fh.0).ok());
        let stat = match file {
            Some(file) => calls::fstat(&file.fd).map_err(io::Error::from),
            None => self.tree.inode(ino.0).and_then(|inode| self.tree.stat(&inode)),
        };
        match stat {
            Ok(stat) => reply.attr(&self.remember(), &attributes(&stat, ino == INodeNo::ROOT)),
            Err(error) => reply.error(self.errno(&error)),
        }
    }

    fn setattr(
        &self, req: &Request, ino: INodeNo, mode: Option<u32>, uid: Option<u32>, gid: Option<u32>,
        size: Option<u64>, atime: Option<TimeOrNow>, mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>, fh: Option<FileHandle>, _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>, _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>, reply: ReplyAttr,
    ) {
        let (atime, mtime) = (atime.map(time_of), mtime.map(time_of));
        let change = AttributeChange { mode, uid, gid, atime, mtime };
        let kill_suid = req.uid() != ROOT_UID;
        let file = fh.map(|fh| fh.0);
        let change = Change::SetAttributes { number: ino.0, file, size, kill_suid, change };
        let root = ino == INodeNo::ROOT;
        self.submit(change, move |outcome| match outcome {
            Ok(Done::Attributes(stat)) => reply.attr(&REMEMBER, &attributes(&stat, root)),
            Ok(_) => reply.error(Errno::EIO),
            Err(number) => reply.error(Errno::from_i32(number)),
        });
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        match reading::read_link(&self.tree, ino.0) {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(self.errno(&error)),
        }
    }

    fn mknod(
        &self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, rdev: u32,
        reply: ReplyEntry,
    ) {
        let target = Cow::Borrowed(&b""[..]);
        let node = NewNode { kind: kind_of(mode), mode, rdev: u64::from(rdev), target };
        self.make(req, parent, name, node, umask, reply);
    }

    fn mkdir(
        &self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32,
        reply: ReplyEntry,
    ) {
        let target = Cow::Borrowed(&b""[..]);
        let node = NewNode { kind: FileKind::Directory, mode, rdev: 0, target };
        self.make(req, parent, name, node, umask, reply);
    }

    fn symlink(
        &self, req: &Request, parent: INodeNo, link_name: &OsStr, target: &Path, reply: ReplyEntry,
    ) {
        let target = Cow::Borrowed(target.as_os_str().as_bytes());
        let node = NewNode { kind: FileKind::Symlink, mode: 0o777, rdev: 0, target };
        self.make(req, parent, link_name, node, 0, reply);
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = Cow::Borrowed(name.as_bytes());
        self.submit(Change::Unlink { parent: parent.0, name }, empty(reply));
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = Cow::Borrowed(name.as_bytes());
        self.submit(Change::RemoveDirectory { parent: parent.0, name }, empty(reply));
    }

    fn rename(
        &self, _req: &Request, parent: INodeNo, name: &OsStr, newparent: INodeNo, newname: &OsStr,
        flags: RenameFlags, reply: ReplyEmpty,
    ) {
        let change = Change::Rename {
            parent: parent.0,
            name: Cow::Borrowed(name.as_bytes()),
            new_parent: newparent.0,
            new_name: Cow::Borrowed(newname.as_bytes()),
            flags: flags.bits(),
        };
        self.submit(change, empty(reply));
    }

    fn link(
        &self, _req: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry,
    ) {
        let name = Cow::Borrowed(newname.as_bytes());
        let change = Change::Link { number: ino.0, parent: newparent.0, name };
        self.submit(change, self.entry(reply));
    }

    fn open(&self, _req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.0 & libc::O_ACCMODE != libc::O_RDONLY && !self.primary() {
            return reply.error(Errno::EROFS);
        }
        let opened = self.tree.inode(ino.0).and_then(|inode| {
            let fd = self.engine.open_contents(&self.tree, &inode, flags.0)?;
            Ok(self.engine.files.open(inode, fd))
        });
        match opened {
            Ok(number) => reply.opened(FileHandle(number), self.cache_mode()),
            Err(error) => reply.error(self.errno(&error)),
        }
    }

    fn create(
        &self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, flags: i32,
        reply: ReplyCreate,
    ) {
        let creator = Creator { uid: req.uid(), gid: req.gid(), umask };
        let name = Cow::Borrowed(name.as_bytes());
        let change = Change::Create { parent: parent.0, name, mode, flags, creator };
        let engine = self.engine.clone();
        let cached = self.cache_mode();
        self.submit(change, move |outcome| match outcome {
            Ok(Done::Created { stat, generation, file }) => {
                let generation = Generation(engine.shown_generation(generation, &stat));
                let attr = attributes(&stat, false);
                reply.created(&REMEMBER, &attr, generation, FileHandle(file), cached);
            }
            Ok(_) => reply.error(Errno::EIO),
            Err(number) => reply.error(Errno::from_i32(number)),
        });
    }

    fn read(
        &self, _req: &Request, _ino: INodeNo, fh: FileHandle, offset: u64, size: u32,
        _flags: OpenFlags, _lock_owner: Option<LockOwner>, reply: ReplyData,
    ) {
        let file = match self.engine.files.file(fh.0) {
            Ok(file) => file,
            Err(error) => return reply.error(self.errno(&error)),
        };
        reading::with_buffer(size as usize, |buffer| {
            match crate::outbox::read_fully(file.fd.as_fd(), offset, buffer) {
                Ok(count) => reply.data(&buffer[..count]),
                Err(error) => {
                    let _ = self.engine.failure(&error);
                    reply.error(self.errno(&error));
                }
            }
        });
    }

    fn write(
        &self, _req: &Request, ino: INodeNo, fh: FileHandle, offset: u64, data: &[u8],
        write_flags: WriteFlags, flags: OpenFlags, _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let sync = match flags.0 & libc::O_SYNC {
            0 => Durable::No,
            libc::O_DSYNC => Durable::Data,
            _ => Durable::All,
        };
        let change = Change::Write {
            number: ino.0,
            file: fh.0,
            offset,
            data: Cow::Borrowed(data),
            kill_suid: write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID),
            sync,
        };
        self.submit(change, move |outcome| match outcome {
            Ok(Done::Written(count)) => reply.written(count),
            Ok(_) => reply.error(Errno::EIO),
            Err(number) => reply.error(Errno::from_i32(number)),
        });
    }

    fn flush(
        &self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        // Nothing is held back that a close could bring out: the kernel need not ask again.
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self, _req: &Request, _ino: INodeNo, fh: FileHandle, _flags: OpenFlags,
        _lock_owner: Option<LockOwner>, _flush: bool, reply: ReplyEmpty,
    ) {
        self.engine.files.close(fh.0);
        reply.ok();
    }

    fn fsync(
        &self, _req: &Request, ino: INodeNo, fh: FileHandle, datasync: bool, reply: ReplyEmpty,
    ) {
        if !self.primary() {
            return reply.ok();
        }
        let change = Change::Sync { number: ino.0, file: Some(fh.0), data_only: datasync };
        self.submit(change, empty(reply));
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match reading::open_directory(&self.engine, &self.tree, ino.0) {
            Ok(number) => reply.opened(FileHandle(number), FopenFlags::empty()),
            Err(error) => reply.error(self.errno(&error)),
        }
    }

    fn readdir(
        &self, _req: &Request, _ino: INodeNo, fh: FileHandle, offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let read = reading::read_directory(&self.engine, &self.tree, fh.0, offset, |entry| {
            let kind = entry_kind(entry.kind);
            reply.add(INodeNo(entry.number), entry.next, kind, OsStr::from_bytes(entry.name))
        });
        match read {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(self.errno(&error)),
        }
    }

    fn readdirplus(
        &self, _req: &Request, _ino: INodeNo, fh: FileHandle, offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let remember = self.remember();
        let read = reading::read_directory_plus(&self.engine, &self.tree, fh.0, offset, |entry| {
            let name = OsStr::from_bytes(entry.name);
            let (attr, number) = (attributes(&entry.stat, entry.is_root), INodeNo(entry.number));
            let generation = self.engine.shown_generation(entry.generation, &entry.stat);
            let generation = Generation(generation);
            reply.add(number, entry.next, name, &remember, &attr, generation)
        });
        match read {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(self.errno(&error)),
        }
    }

    fn releasedir(
        &self, _req: &Request, _ino: INodeNo, fh: FileHandle, _flags: OpenFlags, reply: ReplyEmpty,
    ) {
        self.engine.files.close_directory(fh.0);
        reply.ok();
    }

    fn fsyncdir(
        &self, _req: &Request, ino: INodeNo, _fh: FileHandle, datasync: bool, reply: ReplyEmpty,
    ) {
        if !self.primary() {
            return reply.ok();
        }
        let change = Change::Sync { number: ino.0, file: None, data_only: datasync };
        self.submit(change, empty(reply));
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        match calls::fstatvfs(self.tree.root_fd()) {
            Ok(s) => reply.statfs(
                s.f_blocks,
                s.f_bfree,
                s.f_bavail,
                s.f_files,
                s.f_ffree,
                s.f_bsize as u32,
                s.f_namemax as u32,
                s.f_frsize as u32,
            ),
            Err(error) => reply.error(self.errno(&error.into())),
        }
    }

    fn setxattr(
        &self, _req: &Request, ino: INodeNo, name: &OsStr, value: &[u8], flags: i32,
        _position: u32, reply: ReplyEmpty,
    ) {
        let change = Change::SetXattr {
            number: ino.0,
            name: Cow::Borrowed(name.as_bytes()),
            value: Cow::Borrowed(value),
            flags: flags as u32,
        };
        self.submit(change, empty(reply));
    }

    fn removexattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = Cow::Borrowed(name.as_bytes());
        self.submit(Change::RemoveXattr { number: ino.0, name }, empty(reply));
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        self.answer_xattr(reply, size, reading::get_xattr(&self.tree, ino.0, name.as_bytes()));
    }

    fn listxattr(&self, req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let trusted = req.uid() == ROOT_UID;
        self.answer_xattr(reply, size, reading::list_xattr(&self.tree, ino.0, trusted));
    }

    fn fallocate(
        &self, _req: &Request, ino: INodeNo, fh: FileHandle, offset: u64, length: u64, mode: i32,
        reply: ReplyEmpty,
    ) {
        let (number, file, mode) = (ino.0, fh.0, mode as u32);
        self.submit(Change::Allocate { number, file, mode, offset, length }, empty(reply));
    }

    fn lseek(
        &self, _req: &Request, _ino: INodeNo, fh: FileHandle, offset: i64, whence: i32,
        reply: ReplyLseek,
    ) {
        if self.engine.config.sync == SyncPolicy::Fsync {
            // The kernel asks before it brings out what it holds back: data would be taken for
            // holes. With this answer it takes holes for data, which is always right.
            return reply.error(Errno::ENOSYS);
        }
        let found = self.engine.files.file(fh.0).and_then(|file| {
            let from = match whence {
                libc::SEEK_DATA => rustix::fs::SeekFrom::Data(offset as u64),
                libc::SEEK_HOLE => rustix::fs::SeekFrom::Hole(offset as u64),
                _ => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
            };
            Ok(calls::seek(&file.fd, from)?)
        });
        match found {
            Ok(position) => reply.offset(position as i64),
            Err(error) => reply.error(self.errno(&error)),
        }
    }
}
