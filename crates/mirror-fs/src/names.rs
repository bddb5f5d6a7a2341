//! Changes to the names of a tree: make, link, unlink, rename.
//!
//! The order locks of the directories concerned are held, in the order of their numbers. While a
//! resync runs, a directory is either *done* (the secondary has the same names) or not. A name that
//! moves between the two is told to the secondary in terms of what it knows: set aside what leaves
//! a done directory, attach or place what comes into one.
//!
//! A file that loses a name but lives on (another link, or still open) is made known to the
//! secondary by number first, while the name still leads to it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::Arc;

use mirror_core::message::{Creator, FileKind, Operation};
use mirror_core::units::{FileId, FileTime};
use rustix::fs::Stat;

use crate::answer::{Answer, Done, Reply};
use crate::below::{self, link_fd, make_node, unlink};
use crate::calls;
use crate::change::{Change, NewNode};
use crate::engine::Engine;
use crate::kernel_caches::names_that_leave;
use crate::leaving::Leaving;
use crate::mode::Mode;
use crate::perform::Remainder;
use crate::progress::Progress;
use crate::tree::{mtime_of, Inode, Tree};
use crate::unnamed::Unnamed;

pub(crate) const RENAME_EXCHANGE: u32 = 2;
pub(crate) const RENAME_WHITEOUT: u32 = 4;

/// What the application gets, and what it must wait for.
pub(crate) type Named = io::Result<(Done, Wait)>;

#[derive(Clone, Copy)]
pub(crate) enum Wait {
    Nothing,
    /// The secondary has done everything before it.
    Applied,
    /// And has this regular file on its disk: all of it has just come there, and what of it was
    /// synced before was promised.
    Synced(FileId),
}

impl Wait {
    pub(crate) fn if_sent(sent: bool) -> Wait {
        match sent {
            true => Wait::Applied,
            false => Wait::Nothing,
        }
    }
}

pub(crate) fn mtime_now(directory: BorrowedFd<'_>) -> io::Result<FileTime> {
    Ok(mtime_of(&calls::fstat(directory)?))
}

impl Engine {
    pub(crate) fn perform_name(
        &self, mode: &Mode, tree: &Arc<Tree>, change: Change<'_>, answer: Answer,
    ) -> Remainder {
        let named = match &change {
            Change::Make { parent, name, node, creator } => {
                self.make(mode, tree, *parent, name, node, *creator)
            }
            Change::Create { parent, name, mode: file_mode, flags, creator } => {
                self.create(mode, tree, *parent, name, (*file_mode, *flags), *creator)
            }
            Change::CreateUnnamed { parent, mode, creator } => {
                self.create_unnamed(tree, *parent, *mode, *creator)
            }
            Change::Link { number, parent, name } => self.link(mode, tree, *number, *parent, name),
            Change::Unlink { parent, name } => self.remove(mode, tree, *parent, name, false),
            Change::RemoveDirectory { parent, name } => {
                self.remove(mode, tree, *parent, name, true)
            }
            Change::Rename { parent, name, new_parent, new_name, flags } => {
                self.rename(mode, tree, (*parent, name), (*new_parent, new_name), *flags)
            }
            _ => Err(io::ErrorKind::Unsupported.into()),
        };
        match named {
            Ok((done, Wait::Nothing)) => Reply::Alone(answer, Ok(done)).give(),
            Ok((done, Wait::Applied)) => {
                self.settle(
                    Ok(done),
                    tree.mistaken_when_refused(names_that_leave(&change), answer),
                );
            }
            Ok((done, Wait::Synced(id))) => return self.sync_new(tree, id, done, answer),
            Err(error) => answer(Err(self.failure(&error))),
        }
        Remainder::Nothing
    }

    fn refuse_hidden(tree: &Tree, parent: &Inode, name: &[u8]) -> io::Result<()> {
        if tree.hidden(parent.id, name) {
            return Err(io::Error::from_raw_os_error(libc::EPERM));
        }
        Ok(())
    }

    fn make(
        &self, mode: &Mode, tree: &Arc<Tree>, parent: u64, name: &[u8], node: &NewNode<'_>,
        creator: Creator,
    ) -> Named {
        let parent = tree.inode(parent)?;
        Self::refuse_hidden(tree, &parent, name)?;
        let _border = tree.border(false);
        let order = self.ordered(mode, tree, &parent);
        let directory = tree.path_fd(&parent)?;
        self.note_name(tree, &parent, name, None)?;
        make_node(directory.as_fd(), name, node, creator)?;
        let (inode, stat) = self.told(tree.find_at(directory.as_fd(), parent.id, name))?;
        self.note_made(tree, &inode, &parent, name);
        let at = (directory.as_fd(), name);
        let send = self.sends(mode, tree, &order, &parent, at, node.kind)?;
        if send {
            let made = Operation::Make {
                id: inode.id,
                parent: parent.id,
                name,
                kind: node.kind,
                mode: node.mode,
                rdev: node.rdev,
                target: &node.target,
                creator,
                mtime: mtime_of(&stat),
                parent_mtime: self.told(mtime_now(directory.as_fd()))?,
            };
            self.outbox.put(&made, None);
            self.now_known(mode, &inode);
        }
        let inode = tree.count_lookup(inode);
        let generation = inode.handle.generation();
        Ok((Done::Entry { stat, generation }, Wait::if_sent(send)))
    }

    /// A file that the stream itself has just made is known there, and complete.
    pub(crate) fn now_known(&self, mode: &Mode, inode: &Inode) {
        if !mode.full {
            inode.order.lock().set(mode.session, Progress::Done);
        }
        inode.bound_session.store(mode.session, Ordering::Release);
    }

    fn create(
        &self, mode: &Mode, tree: &Arc<Tree>, parent: u64, name: &[u8],
        (file_mode, flags): (u32, i32), creator: Creator,
    ) -> Named {
        let node = NewNode {
            kind: FileKind::Regular,
            mode: file_mode,
            rdev: 0,
            target: std::borrow::Cow::Borrowed(b""),
        };
        let made = self.make(mode, tree, parent, name, &node, creator);
        let (stat, generation, wait) = match made {
            Ok((Done::Entry { stat, generation }, wait)) => (stat, generation, wait),
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) && flags & libc::O_EXCL == 0 => {
                // It came to exist since the kernel looked: then this is an ordinary open.
                let (inode, stat) = tree.find(&*tree.inode(parent)?, name)?;
                let inode = tree.count_lookup(inode);
                (stat, inode.handle.generation(), Wait::Nothing)
            }
            Err(e) => return Err(e),
            Ok(_) => return Err(io::ErrorKind::InvalidData.into()),
        };
        let (inode, _) = tree.find(&*tree.inode(parent)?, name)?;
        let fd = self.open_contents(tree, &inode, flags)?;
        let file = self.files.open(inode, fd, self.incarnation.load(Ordering::Relaxed));
        Ok((Done::Created { stat, generation, file }, wait))
    }

    /// Opens a file's contents for the kernel: to read, and to write when it will.
    pub(crate) fn open_contents(
        &self, tree: &Tree, inode: &Inode, flags: i32,
    ) -> io::Result<OwnedFd> {
        let access = match flags & libc::O_ACCMODE {
            libc::O_RDONLY => libc::O_RDONLY,
            // The kernel may read to complete a page even where the application only writes.
            _ => libc::O_RDWR,
        };
        tree.open_file(inode, access | libc::O_NOATIME)
    }

    fn link(&self, mode: &Mode, tree: &Arc<Tree>, number: u64, parent: u64, name: &[u8]) -> Named {
        let (inode, parent) = (tree.inode(number)?, tree.inode(parent)?);
        Self::refuse_hidden(tree, &parent, name)?;
        self.bind(mode, tree, &inode);
        let _border = tree.border(false);
        let order = self.ordered(mode, tree, &parent);
        let _touch = self.touch_name(&inode);
        let directory = tree.path_fd(&parent)?;
        let path = tree.path_fd(&inode)?;
        let unnamed = Unnamed::of(mode, path.as_fd(), &inode)?;
        if let Some(unnamed) = &unnamed {
            self.note_unnamed(tree, unnamed, &parent)?;
        }
        self.note_moved(tree, &inode, &parent, name);
        self.note_attributes(tree, &inode)?;
        self.note_name(tree, &parent, name, None)?;
        link_fd(path.as_fd(), directory.as_fd(), name)?;
        let at = (directory.as_fd(), name);
        tree.arrive(&inode, parent.id, at);
        let send = self.sends(mode, tree, &order, &parent, at, inode.kind)?;
        let wait = match send {
            true => self.tell_of_link(mode, tree, (&inode, unnamed), at, &parent)?,
            false => {
                drop(unnamed);
                Wait::Nothing
            }
        };
        let stat = calls::fstat(path.as_fd())?;
        drop(path);
        let inode = tree.count_lookup(inode);
        let generation = inode.handle.generation();
        Ok((Done::Entry { stat, generation }, wait))
    }

    /// A file that will live on without this name must be known by number before it loses it.
    fn keep_known(&self, mode: &Mode, tree: &Tree, inode: &Inode, stat: &Stat) {
        let lives_on = stat.st_nlink > 1 || inode.opens.load(Ordering::Acquire) > 0;
        if lives_on && inode.kind != FileKind::Directory {
            self.bind(mode, tree, inode);
        }
    }

    fn remove(
        &self, mode: &Mode, tree: &Arc<Tree>, parent: u64, name: &[u8], is_directory: bool,
    ) -> Named {
        let parent = tree.inode(parent)?;
        let (inode, stat) = tree.find(&parent, name)?;
        self.keep_known(mode, tree, &inode, &stat);
        let order = self.ordered(mode, tree, &parent);
        let directory = tree.path_fd(&parent)?;
        let mut leaving = Leaving::new(tree, &inode, &stat);
        let _touch = self.touch_name(&inode);
        self.note_name(tree, &parent, name, Some(&*inode))?;
        unlink(directory.as_fd(), name, is_directory)?;
        leaving.has_left(self, tree, &parent, name);
        let at = (directory.as_fd(), name);
        let sent = self.tell_of_removal(mode, tree, (&order, &parent), at, inode.kind);
        let sent = sent.inspect_err(|_| tree.mistaken_names([(parent.id, name)]))?;
        Ok((Done::Nothing, Wait::if_sent(sent)))
    }

    fn known_before_rename(
        &self, mode: &Mode, tree: &Tree, moved: &Inode, replaced: Option<&(Arc<Inode>, Stat)>,
    ) {
        if let Some((inode, stat)) = replaced {
            self.keep_known(mode, tree, inode, stat);
        }
        if mode.partial {
            // It may leave a directory that is done, whose files are not all known by number.
            self.bind(mode, tree, moved);
            if let Some((inode, _)) = replaced {
                self.bind(mode, tree, inode);
            }
        }
    }

    fn rename(
        &self, mode: &Mode, tree: &Arc<Tree>, (parent, name): (u64, &[u8]),
        (new_parent, new_name): (u64, &[u8]), flags: u32,
    ) -> Named {
        let (old, new) = (tree.inode(parent)?, tree.inode(new_parent)?);
        Self::refuse_hidden(tree, &new, new_name)?;
        let (moved, _) = tree.find(&old, name)?;
        let replaced = tree.find(&new, new_name).ok();
        self.known_before_rename(mode, tree, &moved, replaced.as_ref());
        let there = replaced.as_ref().map(|(inode, _)| inode);
        let folder = |inode: &Arc<Inode>| inode.kind == FileKind::Directory;
        let _border = tree.border(folder(&moved) || there.is_some_and(folder));
        let (old_fd, new_fd) = (tree.path_fd(&old)?, tree.path_fd(&new)?);
        let (from, to) = ((old_fd.as_fd(), name), (new_fd.as_fd(), new_name));
        let here = self.over_border(mode, tree, (&moved, there), from, to, flags)?;
        // Both directories, in the order of their numbers; one lock when they are the same.
        let (first, second) = if old.id <= new.id { (&old, &new) } else { (&new, &old) };
        let (first_lock, second_lock) = self.ordered_pair(mode, tree, first, second);
        let _touch = (self.touch_name(&moved), replaced.as_ref().map(|r| self.touch_name(&r.0)));
        let replaces = there.map(|inode| &**inode);
        self.note_rename(tree, (&old, name, &moved), (&new, new_name, replaces))?;
        let goes = replaced.as_ref().filter(|_| flags & RENAME_EXCHANGE == 0);
        let mut leaving = goes.map(|(inode, stat)| Leaving::new(tree, inode, stat));
        let renamed = below::rename(old_fd.as_fd(), name, new_fd.as_fd(), new_name, flags);
        if renamed.is_err() && flags & RENAME_WHITEOUT != 0 {
            // ext4 makes the device first and takes it back: the directory's time has changed.
            self.time_changed(tree, &old);
        }
        renamed?;
        // The new name first: there is always one by which the file can be told of.
        tree.arrive(&moved, new.id, to);
        moved.leave(old.id, name);
        self.links_move(mode, &[Some(&moved), replaces], false);
        let exchanged = there.filter(|_| flags & RENAME_EXCHANGE != 0);
        if let Some(inode) = exchanged {
            tree.arrive(inode, old.id, from);
            inode.leave(new.id, new_name);
        }
        if let Some(leaving) = &mut leaving {
            leaving.has_left(self, tree, &new, new_name);
        }
        let locks = (&first_lock, second_lock.as_ref());
        let done = self.sends_over(mode, tree, here, locks, (&old, &new));
        let (from, to) = ((&old, from), (&new, to));
        let told = self.tell_of_rename(mode, tree, (&moved, exchanged), (from, to), done, flags);
        let names = [(old.id, name), (new.id, new_name)];
        let wait = told.inspect_err(|_| tree.mistaken_names(names))?;
        Ok((Done::Nothing, wait))
    }
}
