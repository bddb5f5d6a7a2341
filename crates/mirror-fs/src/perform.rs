//! Changes to one file: done here, put into the stream, answered when the secondary has them.
//!
//! The file's order lock is held from the local change to the stream, so both copies see the
//! changes of a file in one order. A local error is the application's answer and nothing is sent.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::Arc;

use mirror_core::message::{AttributeChange, FileKind, Operation};
use mirror_core::pieces;
use mirror_core::units::FileTime;
use rustix::fs as rfs;

use crate::answer::{errno_of, Answer, Done, Join, Reply};
use crate::below::{apply_attributes, apply_xattr, drop_suid, truncate, write_fully};
use crate::calls;
use crate::change::{Change, Durable};
use crate::config::SyncPolicy;
use crate::engine::Engine;
use crate::files::OpenFile;
use crate::mode::Mode;
use crate::progress::{Progress, Send};
use crate::resume::Doubt;
use crate::tree::{mtime_of, Inode, Tree};

/// What remains to be done after the mode has been let go: a sync of this disk, which may be long.
pub enum Remainder {
    Nothing,
    Sync { fd: SyncFd, data_only: bool, join: Arc<Join> },
}

pub enum SyncFd {
    File(Arc<OpenFile>),
    Own(OwnedFd),
}

impl Remainder {
    pub fn run(self, engine: &Engine) {
        if let Remainder::Sync { fd, data_only, join } = self {
            let fd = match &fd {
                SyncFd::File(file) => file.fd.as_fd(),
                SyncFd::Own(fd) => fd.as_fd(),
            };
            let synced = if data_only { calls::fdatasync(fd) } else { calls::fsync(fd) };
            join.done_here(synced.err().map_or(0, |error| {
                // What was written before may be lost here, and the other node has it.
                engine.standing.lock().trusted = false;
                engine.failure(&error.into())
            }));
        }
    }
}

/// The bits of a mode without set-group-id, if it has that.
fn without_sgid(mode: u32) -> Option<u32> {
    (mode & libc::S_ISGID != 0).then_some(mode & 0o7777 & !libc::S_ISGID)
}

impl Engine {
    /// Does the change. The gate is open and `mode` is held.
    pub(crate) fn perform(
        &self, mode: &Mode, tree: &Arc<Tree>, change: Change<'_>, answer: Answer,
    ) -> Remainder {
        match change {
            Change::Write { number, file, offset, data, kill_suid, sync } => {
                let write = Write { file, offset, data: &data, kill_suid, sync };
                return self.write(mode, tree, number, write, answer);
            }
            Change::Sync { number, file, data_only } => {
                return self.sync(mode, tree, number, file, data_only, answer);
            }
            Change::SetAttributes { number, file, size, kill_suid, change } => {
                let done = self.set_attributes(mode, tree, number, file, size, kill_suid, change);
                self.settle_file(tree, number, done, answer);
            }
            Change::SetXattr { number, name, value, flags, kill_sgid } => {
                let value = Some((&*value, flags));
                let done = self.set_xattr(mode, tree, number, &name, value, kill_sgid);
                self.settle_file(tree, number, done, answer);
            }
            Change::RemoveXattr { number, name } => {
                let done = self.set_xattr(mode, tree, number, &name, None, false);
                self.settle_file(tree, number, done, answer);
            }
            Change::Allocate { number, file, mode: how, offset, length } => {
                let done = self.allocate(mode, tree, number, file, (how, offset, length));
                self.settle_file(tree, number, done, answer);
            }
            names => return self.perform_name(mode, tree, names, answer),
        }
        Remainder::Nothing
    }

    /// Answers a change whose operations stand in the stream already, in their order: the answer
    /// waits for everything before it by means of a ping of its own.
    pub(crate) fn settle(&self, done: io::Result<Done>, answer: Answer) {
        match done {
            Ok(done) => self.outbox.put(&Operation::Ping, Some(Reply::Alone(answer, Ok(done)))),
            Err(error) => answer(Err(self.failure(&error))),
        }
    }

    /// As `settle`; of what stays on this node nothing stands in the stream.
    fn settle_file(&self, tree: &Tree, number: u64, done: io::Result<Done>, answer: Answer) {
        let local = tree.excludes() && tree.inode(number).is_ok_and(|i| tree.stays_here(&i));
        match done {
            Ok(done) if local => Reply::Alone(answer, Ok(done)).give(),
            done => self.settle(done, answer),
        }
    }

    /// An errno for the application; errors of the disk are also a fact for the control plane.
    pub(crate) fn failure(&self, error: &io::Error) -> i32 {
        let errno = errno_of(error);
        let what = match errno {
            libc::EIO | libc::EUCLEAN => "io_error",
            libc::EROFS => "read_only",
            _ => return errno,
        };
        self.note_failed(what, &format!("the disk of this node failed: {error}"));
        errno
    }

    fn write(
        &self, mode: &Mode, tree: &Arc<Tree>, number: u64, write: Write<'_>, answer: Answer,
    ) -> Remainder {
        let length = write.data.len() as u64;
        let (inode, file) = match self.open_noted(tree, number, &write) {
            Ok(found) => found,
            Err(error) => {
                answer(Err(self.failure(&error)));
                return Remainder::Nothing;
            }
        };
        let (mark, known) = self.ordered(mode, tree, &inode);
        let doubt = Doubt::Bytes(inode.id, write.offset, length);
        let _touch = self.resumption.touch(doubt);
        let mut written = 0;
        let mut sent = false;
        while written < write.data.len() {
            // In pieces, so that the secondary works on one while we work on the next.
            let bytes = pieces::next_bytes(written, write.data.len());
            let piece = &write.data[written..written + bytes];
            let offset = write.offset + written as u64;
            let count = match self.write_here(tree, &inode, &file, offset, piece, &write) {
                Ok(count) => count,
                // Some of it is written and sent: that much is the application's answer.
                Err(_) if written > 0 => break,
                Err(error) => {
                    drop(mark);
                    answer(Err(self.failure(&error)));
                    return Remainder::Nothing;
                }
            };
            let sends = mode.full || mark.for_write(mode.session) == Send::All;
            let data = if known && sends { &piece[..count] } else { &piece[..0] };
            written += count;
            if !data.is_empty() {
                let (id, kill_suid) = (inode.id, write.kill_suid);
                let mtime = FileTime::default();
                let more = written < write.data.len() && count == piece.len();
                let operation = Operation::Write { id, offset, mtime, kill_suid, more, data };
                sent = true;
                if written == write.data.len() && write.sync == Durable::No {
                    self.time_changed(tree, &inode);
                    let reply = Reply::Alone(answer, Ok(Done::Written(written as u32)));
                    self.outbox.put_write(&operation, Some(reply), tree, &inode);
                    return Remainder::Nothing;
                }
                self.outbox.put_write(&operation, None, tree, &inode);
            }
            if count < piece.len() {
                break;
            }
        }
        if sent {
            self.time_changed(tree, &inode);
        }
        let done = Done::Written(written as u32);
        if write.sync == Durable::No {
            drop(mark);
            match sent {
                true => self.settle(Ok(done), answer),
                false => answer(Ok(done)),
            }
            return Remainder::Nothing;
        }
        let data_only = write.sync == Durable::Data;
        let join = Join::new(2, answer, done);
        self.put_sync(&Operation::Sync { id: inode.id, data_only }, sent, &join);
        drop(mark);
        Remainder::Sync { fd: SyncFd::File(file), data_only, join }
    }

    /// The file, when it stands in the dirty map that these bytes of it are about to change.
    fn open_noted(
        &self, tree: &Tree, number: u64, write: &Write<'_>,
    ) -> io::Result<(Arc<Inode>, Arc<OpenFile>)> {
        let (inode, file) = self.open_inode(number, write.file)?;
        self.note_bytes(tree, &inode, write.offset, write.data.len() as u64)?;
        Ok((inode, file))
    }

    /// Writes a piece on this node; returns how much of it.
    fn write_here(
        &self, tree: &Tree, inode: &Inode, file: &OpenFile, offset: u64, piece: &[u8],
        write: &Write<'_>,
    ) -> io::Result<usize> {
        let count = write_fully(file.fd.as_fd(), offset, piece)?;
        if write.kill_suid && drop_suid(file.fd.as_fd(), true)?.1 {
            // Or the kernel would run the changed program with its owner's rights.
            self.attributes_changed(tree, inode);
        }
        Ok(count)
    }

    fn put_sync(&self, sync: &Operation<'_>, sent: bool, join: &Arc<Join>) {
        if sent {
            self.outbox.put(sync, Some(Reply::Joined(join.clone())));
        } else {
            join.part_done(0);
        }
    }

    fn sync(
        &self, mode: &Mode, tree: &Arc<Tree>, number: u64, file: Option<u64>, data_only: bool,
        answer: Answer,
    ) -> Remainder {
        let opened = tree.inode(number).and_then(|inode| {
            let fd = match file {
                Some(file) => SyncFd::File(self.files.file(file)?),
                None => SyncFd::Own(tree.open_file(&inode, libc::O_RDONLY)?),
            };
            Ok((inode, fd))
        });
        let (inode, fd) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                answer(Err(self.failure(&error)));
                return Remainder::Nothing;
            }
        };
        let (mark, known) = self.ordered(mode, tree, &inode);
        let begun = mode.full || mark.progress(mode.session) != Progress::Untouched;
        let join = Join::new(2, answer, Done::Nothing);
        let operation = Operation::Sync { id: inode.id, data_only };
        self.put_sync(&operation, known && begun, &join);
        drop(mark);
        Remainder::Sync { fd, data_only, join }
    }

    #[allow(clippy::too_many_arguments)]
    fn set_attributes(
        &self, mode: &Mode, tree: &Arc<Tree>, number: u64, file: Option<u64>, size: Option<u64>,
        kill_suid: bool, change: AttributeChange,
    ) -> io::Result<Done> {
        let inode = tree.inode(number)?;
        let (mut mark, known) = self.ordered(mode, tree, &inode);
        let path = match tree.path_fd(&inode) {
            Ok(path) => path,
            Err(error) if size.is_none() => return gone(tree, &inode, &change, error),
            Err(error) => return Err(error),
        };
        let _touch = size.map(|_| self.resumption.touch(Doubt::File(inode.id)));
        self.note_attributes(tree, &inode)?;
        if let Some(size) = size {
            let before = calls::fstat(path.as_fd())?.st_size as u64;
            self.note_from(tree, &inode, size.min(before))?;
            let mtime = match file.and_then(|file| self.files.file(file).ok()) {
                Some(file) => {
                    self.of_this_incarnation(&file)?;
                    truncate(file.fd.as_fd(), size, kill_suid)?
                }
                None => {
                    let fd = tree.open_file(&inode, libc::O_WRONLY)?;
                    truncate(fd.as_fd(), size, kill_suid)?
                }
            };
            if known && (mode.full || mark.for_layout(mode.session, false) == Send::All) {
                let id = inode.id;
                self.outbox.put(&Operation::Truncate { id, size, mtime, kill_suid }, None);
            }
        }
        if change != AttributeChange::default() {
            let several = change.uid.is_some() || change.gid.is_some();
            let applied = apply_attributes(path.as_fd(), &change);
            // The first of several may have been done when a later one failed.
            if several {
                self.told(applied)?
            } else {
                applied?
            }
            if known && (mode.full || mark.for_attributes(mode.session) == Send::All) {
                self.outbox.put(&Operation::SetAttributes { id: inode.id, change }, None);
            }
        }
        let stat = calls::fstat(path.as_fd())?;
        Ok(Done::Attributes(stat))
    }

    fn set_xattr(
        &self, mode: &Mode, tree: &Arc<Tree>, number: u64, name: &[u8],
        value: Option<(&[u8], u32)>, kill_sgid: bool,
    ) -> io::Result<Done> {
        let inode = tree.inode(number)?;
        let (mark, known) = self.ordered(mode, tree, &inode);
        let path = tree.path_fd(&inode)?;
        self.note_attributes(tree, &inode)?;
        apply_xattr(path.as_fd(), name, value)?;
        let without = match kill_sgid {
            true => without_sgid(calls::fstat(path.as_fd())?.st_mode),
            false => None,
        };
        let change = AttributeChange { mode: without, ..AttributeChange::default() };
        if without.is_some() {
            self.told(apply_attributes(path.as_fd(), &change))?;
        }
        if known && (mode.full || mark.for_attributes(mode.session) == Send::All) {
            let id = inode.id;
            let operation = match value {
                Some((value, flags)) => Operation::SetXattr { id, name, value, flags },
                None => Operation::RemoveXattr { id, name },
            };
            self.outbox.put(&operation, None);
            if without.is_some() {
                self.outbox.put(&Operation::SetAttributes { id, change }, None);
            }
        }
        Ok(Done::Nothing)
    }

    fn allocate(
        &self, mode: &Mode, tree: &Arc<Tree>, number: u64, file: u64,
        (how, offset, length): (u32, u64, u64),
    ) -> io::Result<Done> {
        const MOVES_DATA: u32 = 0x08 | 0x20; // FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE
        let (inode, file) = self.open_inode(number, file)?;
        let (mut mark, known) = self.ordered(mode, tree, &inode);
        let _touch = self.resumption.touch(Doubt::File(inode.id));
        match how & MOVES_DATA {
            0 => self.note_bytes(tree, &inode, offset, length)?,
            _ => self.note_from(tree, &inode, offset)?,
        }
        let flags = rfs::FallocateFlags::from_bits_retain(how);
        calls::fallocate(&file.fd, flags, offset, length)?;
        let mtime = mtime_of(&calls::fstat(&file.fd)?);
        let moves = how & MOVES_DATA != 0;
        if known && (mode.full || mark.for_layout(mode.session, moves) == Send::All) {
            let id = inode.id;
            let operation = Operation::Allocate { id, mode: how, offset, length, mtime };
            self.outbox.put(&operation, None);
        }
        Ok(Done::Nothing)
    }

    fn open_inode(&self, number: u64, file: u64) -> io::Result<(Arc<Inode>, Arc<OpenFile>)> {
        let file = self.files.file(file)?;
        debug_assert_eq!(file.inode.number(), number);
        self.of_this_incarnation(&file)?;
        Ok((file.inode.clone(), file))
    }

    /// Under the `fsync` policy a file that was opened before a change of role is another one to
    /// the kernel than that of the same name now, with a size and contents of its own: it must not
    /// change what lies below both.
    fn of_this_incarnation(&self, file: &OpenFile) -> io::Result<()> {
        let now = self.incarnation.load(Ordering::Relaxed);
        match self.config.sync == SyncPolicy::Fsync && file.incarnation != now {
            true => Err(io::Error::from_raw_os_error(libc::ESTALE)),
            false => Ok(()),
        }
    }
}

/// With a write-back cache the kernel brings the times of a file out late, even when the file has
/// lost its last name meanwhile. There is nothing to set then, and that is no error.
fn gone(
    tree: &Tree, inode: &Inode, change: &AttributeChange, error: io::Error,
) -> io::Result<Done> {
    let only_times = change.mode.is_none() && change.uid.is_none() && change.gid.is_none();
    let regular = inode.kind == FileKind::Regular;
    if error.raw_os_error() != Some(libc::ESTALE) || !only_times || !regular {
        return Err(error);
    }
    let mut stat = calls::fstat(tree.root_fd())?;
    (stat.st_ino, stat.st_nlink, stat.st_size) = (inode.number(), 0, 0);
    stat.st_mode = libc::S_IFREG;
    Ok(Done::Attributes(stat))
}

struct Write<'a> {
    file: u64,
    offset: u64,
    data: &'a [u8],
    kill_suid: bool,
    sync: Durable,
}
