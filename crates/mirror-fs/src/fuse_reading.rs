//! Requests that change nothing: answered at once, on either role.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;

use kernel_fuse::{Caller, FileSystem, Listing, Operation as Asked, Reply, Time};
use mirror_core::units::ROOT_INODE;
use rustix::fs::{SeekFrom, Stat};

use crate::attributes::{attributes, format_of};
use crate::calls;
use crate::config::SyncPolicy;
use crate::mounted::{entry_of, Mounted};
use crate::reading;

const ROOT_UID: u32 = 0;

impl Mounted {
    pub(crate) fn handle_reading(&self, node: u64, caller: Caller, asked: Asked<'_>, reply: Reply) {
        match asked {
            Asked::Read { file, offset, bytes } => self.read(file, offset, bytes, reply),
            Asked::LookUp { name } => self.look_up(node, name, reply),
            Asked::GetAttributes { file } => {
                let remember = self.engine.viewpoint().remember();
                match self.stat(node, file) {
                    Ok(stat) => reply.attributes(remember, &attributes(&stat, node == ROOT_INODE)),
                    Err(error) => reply.error(self.errno(&error)),
                }
            }
            Asked::GetBirth { file } => self.birth(node, file, reply),
            Asked::Forget { lookups } => {
                self.engine.forget(self.tree.index, node, lookups);
                reply.none();
            }
            Asked::ForgetSeveral(forgets) => {
                forgets.for_each(|(node, n)| self.engine.forget(self.tree.index, node, n));
                reply.none();
            }
            Asked::ReadLink => match reading::read_link(&self.tree, node) {
                Ok(target) => reply.data(&target),
                Err(error) => reply.error(self.errno(&error)),
            },
            Asked::StatFileSystem => self.stat_file_system(reply),
            Asked::GetXattr { name, bytes } => {
                self.answer_xattr(reply, bytes, reading::get_xattr(&self.tree, node, name));
            }
            Asked::ListXattr { bytes } => {
                let trusted = caller.uid == ROOT_UID;
                self.answer_xattr(reply, bytes, reading::list_xattr(&self.tree, node, trusted));
            }
            open => self.handle_open(node, open, reply),
        }
    }

    fn handle_open(&self, node: u64, asked: Asked<'_>, reply: Reply) {
        match asked {
            Asked::Open { flags } => self.open(node, flags, reply),
            Asked::Release { file } => {
                let closed = self.engine.files.close(file);
                reply.ok();
                // The kernel may have forgotten it before, by another thread's word.
                if let Some(inode) = closed.filter(|inode| inode.unused()) {
                    self.engine.forget(self.tree.index, inode.number(), 0);
                }
            }
            Asked::OpenDirectory => match reading::open_directory(&self.engine, &self.tree, node) {
                Ok(number) => reply.opened(number, 0),
                Err(error) => reply.error(self.errno(&error)),
            },
            Asked::ReleaseDirectory { directory } => {
                self.engine.files.close_directory(directory);
                reply.ok();
            }
            Asked::ReadDirectory { directory, offset, bytes } => {
                let mut listing = Listing::new(bytes);
                let (engine, tree) = (&self.engine, &self.tree);
                let read = reading::read_directory(engine, tree, directory, offset, |entry| {
                    !listing.add(entry.number, entry.next, format_of(entry.kind), entry.name)
                });
                self.answer_listing(reply, &listing, read);
            }
            Asked::ReadDirectoryPlus { directory, offset, bytes } => {
                self.read_directory_plus(directory, offset, bytes, reply);
            }
            Asked::Seek { file, offset, whence } => self.seek(file, offset, whence, reply),
            // Of a flush: nothing is held back that a close could bring out, the kernel need not
            // ask again. Of the rest: it has another way.
            _ => reply.error(libc::ENOSYS),
        }
    }

    fn look_up(&self, parent: u64, name: &[u8], reply: Reply) {
        let from = self.engine.viewpoint();
        match reading::look_up(&self.tree, parent, name) {
            Ok((inode, stat)) => {
                let is_root = inode.id.is_root();
                let generation = match is_root {
                    true => 0, // as the kernel has it
                    false => from.generation(inode.handle.generation(), &stat),
                };
                reply.entry(&entry_of(&stat, generation, is_root, from.remember()));
            }
            Err(error) => reply.error(self.errno(&error)),
        }
    }

    fn stat(&self, number: u64, file: Option<u64>) -> io::Result<Stat> {
        match file.and_then(|file| self.engine.files.file(file).ok()) {
            Some(file) => Ok(calls::fstat(&file.fd)?),
            None => self.tree.inode(number).and_then(|inode| self.tree.stat(&inode)),
        }
    }

    /// The kernel does not remember the time of birth, which is each node's own.
    fn birth(&self, number: u64, file: Option<u64>, reply: Reply) {
        let asked = |fd: BorrowedFd<'_>| {
            let stat = calls::fstat(fd)?;
            Ok((stat, reading::time_of_birth(fd)?))
        };
        let remember = self.engine.viewpoint().remember();
        let told = match file.and_then(|file| self.engine.files.file(file).ok()) {
            Some(file) => asked(file.fd.as_fd()),
            None => {
                self.tree.inode(number).and_then(|inode| asked(self.tree.path_fd(&inode)?.as_fd()))
            }
        };
        match told {
            Ok((stat, born)) => {
                let born = born.map(|(seconds, nanoseconds)| Time { seconds, nanoseconds });
                let shown = attributes(&stat, number == ROOT_INODE);
                reply.birth(remember, &shown, born);
            }
            Err(error) => reply.error(self.errno(&error)),
        }
    }

    fn open(&self, number: u64, flags: i32, reply: Reply) {
        if flags & libc::O_ACCMODE != libc::O_RDONLY && !self.primary() {
            return reply.error(libc::EROFS);
        }
        let opened = self.tree.inode(number).and_then(|inode| {
            let fd = self.engine.open_contents(&self.tree, &inode, flags)?;
            let incarnation = self.engine.incarnation.load(Ordering::Relaxed);
            Ok(self.engine.files.open(inode, fd, incarnation))
        });
        match opened {
            Ok(file) => reply.opened(file, self.cache_mode()),
            Err(error) => reply.error(self.errno(&error)),
        }
    }

    fn read(&self, file: u64, offset: u64, bytes: u32, reply: Reply) {
        let file = match self.engine.files.file(file) {
            Ok(file) => file,
            Err(error) => return reply.error(self.errno(&error)),
        };
        reading::with_buffer(bytes as usize, |buffer| {
            match crate::outbox::read_fully(file.fd.as_fd(), offset, buffer) {
                Ok(count) => reply.data(&buffer[..count]),
                Err(error) => {
                    let _ = self.engine.failure(&error);
                    reply.error(self.errno(&error));
                }
            }
        });
    }

    fn read_directory_plus(&self, directory: u64, offset: u64, bytes: u32, reply: Reply) {
        let (from, engine) = (self.engine.viewpoint(), &self.engine);
        let mut listing = Listing::new(bytes);
        let read = reading::read_directory_plus(engine, &self.tree, directory, offset, |entry| {
            let generation = from.generation(entry.generation, &entry.stat);
            let mut shown = entry_of(&entry.stat, generation, entry.is_root, from.remember());
            shown.attributes.number = entry.number;
            !listing.add_entry(&shown, entry.next, entry.name)
        });
        self.answer_listing(reply, &listing, read);
    }

    fn answer_listing(&self, reply: Reply, listing: &Listing, read: io::Result<()>) {
        match read {
            Ok(()) => reply.listing(listing),
            Err(error) => reply.error(self.errno(&error)),
        }
    }

    fn stat_file_system(&self, reply: Reply) {
        match calls::fstatvfs(self.tree.root_fd()) {
            Ok(s) => reply.file_system(&FileSystem {
                blocks: s.f_blocks,
                blocks_free: s.f_bfree,
                blocks_available: s.f_bavail,
                files: s.f_files,
                files_free: s.f_ffree,
                block_bytes: s.f_bsize as u32,
                name_max: s.f_namemax as u32,
                fragment_bytes: s.f_frsize as u32,
            }),
            Err(error) => reply.error(self.errno(&error.into())),
        }
    }

    fn seek(&self, file: u64, offset: u64, whence: u32, reply: Reply) {
        if self.engine.config.sync == SyncPolicy::Fsync {
            // The kernel asks before it brings out what it holds back: data would be taken for
            // holes. With this answer it takes holes for data, which is always right.
            return reply.error(libc::ENOSYS);
        }
        let found = self.engine.files.file(file).and_then(|file| {
            let from = match whence as i32 {
                libc::SEEK_DATA => SeekFrom::Data(offset),
                libc::SEEK_HOLE => SeekFrom::Hole(offset),
                _ => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
            };
            Ok(calls::seek(&file.fd, from)?)
        });
        match found {
            Ok(position) => reply.position(position),
            Err(error) => reply.error(self.errno(&error)),
        }
    }

    fn answer_xattr(&self, reply: Reply, bytes: u32, value: io::Result<Vec<u8>>) {
        match value {
            Ok(value) if bytes == 0 => reply.xattr_bytes(value.len() as u32),
            Ok(value) if value.len() <= bytes as usize => reply.data(&value),
            Ok(_) => reply.error(libc::ERANGE),
            Err(error) => reply.error(self.errno(&error)),
        }
    }
}
