//! Files without a name (O_TMPFILE).
//!
//! Nobody finds such a file after a crash, on any system: so it stays on this node, and nothing of
//! it is told. When it is given a name the secondary gets all of it at a name beside, then the real
//! one, as with a file that comes over the border (`border`). What was written or synced before was
//! promised for this name, so the caller waits until the secondary has it on its disk.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use mirror_core::message::{Creator, FileKind, Operation};
use mirror_core::units::{FileId, FileTime};
use parking_lot::MutexGuard;

use crate::answer::{Answer, Done, Join, Reply};
use crate::below::make_unnamed;
use crate::border::name_beside;
use crate::calls;
use crate::engine::Engine;
use crate::mode::Mode;
use crate::names::{Named, Wait};
use crate::perform::{Remainder, SyncFd};
use crate::progress::Mark;
use crate::tree::{size_of, Inode, Tree};

/// A disk that is slower is taken for one that hangs.
const SLOW_DISK_BYTES_PER_MS: u64 = 10_000;

/// A file that is about to get its first name. Nobody changes it until the secondary is told.
pub(crate) struct Unnamed<'i> {
    inode: &'i Arc<Inode>,
    /// The name under which the secondary gets it.
    beside: Vec<u8>,
    #[allow(dead_code)] // it is only held
    order: MutexGuard<'i, Mark>,
}

impl<'i> Unnamed<'i> {
    /// `None`: it has a name. The order of the directory is held.
    pub(crate) fn of(
        mode: &Mode, path: BorrowedFd<'_>, inode: &'i Arc<Inode>,
    ) -> io::Result<Option<Unnamed<'i>>> {
        if inode.kind != FileKind::Regular {
            return Ok(None);
        }
        let order = inode.order.lock();
        let unnamed = calls::fstat(path)?.st_nlink == 0;
        Ok(unnamed.then(|| Unnamed { inode, beside: name_beside(mode), order }))
    }
}

impl Engine {
    pub(crate) fn create_unnamed(
        &self, tree: &Arc<Tree>, parent: u64, mode: u32, creator: Creator,
    ) -> Named {
        let parent = tree.inode(parent)?;
        let directory = tree.path_fd(&parent)?;
        let fd = make_unnamed(directory.as_fd(), mode, creator)?;
        let stat = calls::fstat(&fd)?;
        let inode = tree.count_lookup(tree.enter(fd.as_fd(), &stat)?);
        let generation = inode.handle.generation();
        let file = self.files.open(inode, fd, self.incarnation.load(Ordering::Relaxed));
        Ok((Done::Created { stat, generation, file }, Wait::Nothing))
    }

    /// Before it gets a name in this directory. All of it is in doubt then, and so is the name
    /// beside: a secondary that dies while it has the file only by that one comes back with it.
    pub(crate) fn note_unnamed(
        &self, tree: &Tree, file: &Unnamed<'_>, parent: &Inode,
    ) -> io::Result<()> {
        self.note_from(tree, file.inode, 0)?;
        self.note_name(tree, parent, &file.beside, None)
    }

    /// Both nodes sync a file that the secondary has just got whole.
    pub(crate) fn sync_new(
        &self, tree: &Tree, id: FileId, done: Done, answer: Answer,
    ) -> Remainder {
        let opened = tree.inode(id.inode()).and_then(|inode| {
            let fd = tree.open_file(&inode, libc::O_RDONLY | libc::O_NOATIME)?;
            Ok((size_of(fd.as_fd())?, fd))
        });
        let (bytes, fd) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                answer(Err(self.failure(&error)));
                return Remainder::Nothing;
            }
        };
        let least = Duration::from_millis(bytes / SLOW_DISK_BYTES_PER_MS);
        let join = Join::giving(least, 2, answer, done);
        let sync = Operation::Sync { id, data_only: false };
        self.outbox.put(&sync, Some(Reply::Joined(join.clone())));
        Remainder::Sync { fd: SyncFd::Own(fd), data_only: false, join }
    }

    /// In step: it has just got this name.
    pub(crate) fn introduce_unnamed(
        &self, mode: &Mode, tree: &Arc<Tree>, file: Unnamed<'_>, (parent, name): (&Inode, &[u8]),
        parent_mtime: FileTime,
    ) -> io::Result<()> {
        self.introduce_whole(tree, file.inode, (parent.id, &file.beside), parent_mtime)?;
        file.inode.bound_session.store(mode.session, Ordering::Release);
        self.name_whole(parent.id, &file.beside, name, parent_mtime);
        Ok(())
    }
}
