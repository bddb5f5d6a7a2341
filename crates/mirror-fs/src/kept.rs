//! The last consistent copy of a secondary, kept while a resync changes it.
//!
//! A resync makes a mixture of two versions, and should the primary die before its end, nobody has
//! a whole copy any more. Where the file system can share blocks between files (reflink), what is
//! about to change is therefore kept first: contents as a clone, names and attributes as a line of
//! a journal (`mirror_core::kept`). Both lie in the hidden `.twofold-aside` of the tree, on the
//! file system they are about, and are on disk before the change is made. Nothing is removed during
//! a resync, so every object that stood is still there. With the journal the tree can be made again
//! what it was (`kept_restore`).
//!
//! Keeping is a service, not a condition: where it becomes impossible (no reflink, little space),
//! the journal is durably removed and the resync goes on without. A journal that stays is whole.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use mirror_core::kept::{decode, encode, encode_title, Kept, What};
use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags};

use crate::apply_resync::names_of;
use crate::below::{apply_times, reopen_directory};
use crate::calls;
use crate::sys::{self, Handle};
use crate::tree::{mtime_of, Tree, ASIDE};
use crate::zone::metadata_of;

const JOURNAL: &str = "kept.journal";
/// A journal is not read beyond this.
const JOURNAL_MAX_BYTES: u64 = 4 << 30;
/// Of the file system; with less left over nothing is kept.
const FREE_MIN: f64 = 0.05;

/// What has been kept of one tree.
struct Shelf {
    tree: Arc<Tree>,
    aside: OwnedFd,
    journal: std::fs::File,
    contents: HashSet<u64>,
    names: HashSet<u64>,
    attributes: HashSet<u64>,
    /// Objects that the resync made: there is nothing of them to keep.
    made: HashSet<u64>,
    next_clone: u64,
    /// Something was kept and is perhaps not on disk yet.
    unsynced: bool,
}

/// During a resync into this node: is the copy from before it kept, and if not, why.
pub type Told = Arc<Mutex<Option<Result<(), String>>>>;

pub struct Keeper {
    shelves: Vec<Shelf>,
    /// Why nothing is kept any more.
    ended: Option<String>,
}

/// A handle takes much room; a number of 64 bits tells objects apart well enough.
fn number_of(handle: &Handle) -> u64 {
    let mut hasher = DefaultHasher::new();
    handle.hash(&mut hasher);
    hasher.finish()
}

pub(crate) fn clone_name(number: u64) -> String {
    format!("kept-{number:x}")
}

/// The hidden directory of a tree, made if it is not there. The root keeps its time.
pub(crate) fn open_aside(tree: &Tree) -> io::Result<OwnedFd> {
    let mtime = mtime_of(&calls::fstat(tree.root_fd())?);
    match calls::mkdirat(tree.root_fd(), ASIDE, Mode::from_raw_mode(0o700)) {
        Ok(()) => apply_times(tree.root_fd(), None, Some(mtime))?,
        Err(rustix::io::Errno::EXIST) => {}
        Err(e) => return Err(e.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(calls::openat(tree.root_fd(), ASIDE, flags, Mode::empty())?)
}

/// The journal of a tree, if it is one of this generation: what was kept. The error is a sentence.
pub(crate) fn read(tree: &Tree, generation: u64) -> Result<Vec<Kept>, String> {
    let shown = tree.path.join(ASIDE).join(JOURNAL);
    let found = read_journal(tree).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => "an earlier resync that did not end left none".to_owned(),
        _ => format!("{} cannot be read: {e}", shown.display()),
    })?;
    match decode(&found) {
        Ok((kept, lines)) if kept == generation => Ok(lines),
        Ok(_) => Err(format!("{} belongs to another generation", shown.display())),
        Err(why) => Err(format!("{}: {why}", shown.display())),
    }
}

fn read_journal(tree: &Tree) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let aside = calls::openat(tree.root_fd(), ASIDE, flags, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = std::fs::File::from(calls::openat(&aside, JOURNAL, flags, Mode::empty())?);
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(&mut file, JOURNAL_MAX_BYTES), &mut bytes)?;
    Ok(bytes)
}

/// Removes the journals durably: from here on nothing can be brought back.
pub(crate) fn discard(trees: &[Arc<Tree>]) -> io::Result<()> {
    for tree in trees {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let aside = match calls::openat(tree.root_fd(), ASIDE, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => continue,
            other => other?,
        };
        match calls::unlinkat(&aside, JOURNAL, rustix::fs::AtFlags::empty()) {
            Err(rustix::io::Errno::NOENT) => continue,
            other => other?,
        }
        calls::fsync(&aside)?;
    }
    Ok(())
}

impl Keeper {
    /// Begins to keep what stands now as the copy of this generation. The error says why not.
    pub fn begin(trees: &[Arc<Tree>], generation: u64) -> Result<Keeper, String> {
        discard(trees).map_err(|e| format!("an old journal cannot be removed: {e}"))?;
        let mut shelves = Vec::new();
        for tree in trees {
            let shown = tree.path.display();
            let shelf = Shelf::begin(tree, generation).map_err(|e| match e.raw_os_error() {
                Some(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOTTY) => {
                    format!(
                        "the file system of {shown} cannot share blocks between files (reflink)"
                    )
                }
                _ => format!("nothing can be kept below {shown}: {e}"),
            })?;
            shelves.push(shelf);
        }
        let mut keeper = Keeper { shelves, ended: None };
        for index in 0..trees.len() {
            keeper.durable(index as u8).map_err(|e| e.to_string())?;
        }
        Ok(keeper)
    }

    /// Goes on with what an earlier, unfinished resync began.
    pub fn resume(trees: &[Arc<Tree>], generation: u64) -> Result<Keeper, String> {
        let shelves = trees.iter().map(|tree| {
            let lines = read(tree, generation)?;
            Shelf::resume(tree, &lines).map_err(|e| e.to_string())
        });
        Ok(Keeper { shelves: shelves.collect::<Result<_, _>>()?, ended: None })
    }

    /// Why nothing is kept any more; None: it is.
    pub fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// Before bytes or the size of this regular file change.
    pub fn contents(&mut self, tree: u8, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.keep(tree, |shelf| shelf.keep_contents(fd))?;
        self.durable(tree)
    }

    /// They will perhaps change soon: kept now, a change comes to disk together with others.
    pub fn prepare_contents(&mut self, tree: u8, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.keep(tree, |shelf| shelf.keep_contents(fd))
    }

    /// Before names come into or go from this directory.
    pub fn names(&mut self, tree: u8, directory: BorrowedFd<'_>) -> io::Result<()> {
        self.keep(tree, |shelf| shelf.keep_names(directory))?;
        self.durable(tree)
    }

    /// Before owner, mode, times or extended attributes change.
    pub fn attributes(&mut self, tree: u8, path: BorrowedFd<'_>) -> io::Result<()> {
        self.keep(tree, |shelf| shelf.keep_attributes(path))?;
        self.durable(tree)
    }

    /// The resync has made this object.
    pub fn made(&mut self, tree: u8, handle: &Handle) {
        if let Some(shelf) = self.shelves.get_mut(tree as usize) {
            shelf.made.insert(number_of(handle));
        }
    }

    fn keep(
        &mut self, tree: u8, what: impl FnOnce(&mut Shelf) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(shelf) = self.shelves.get_mut(tree as usize) else { return Ok(()) };
        match what(shelf) {
            Ok(()) => Ok(()),
            Err(error) => self.give_up(&error),
        }
    }

    fn durable(&mut self, tree: u8) -> io::Result<()> {
        self.keep(tree, |shelf| {
            if shelf.unsynced {
                calls::syncfs(&shelf.aside)?;
                shelf.unsynced = false;
            }
            Ok(())
        })
    }

    /// Nothing more can be kept: then what was kept so far is not a whole copy, and goes. Should
    /// even that fail, the resync must not go on.
    fn give_up(&mut self, why: &io::Error) -> io::Result<()> {
        let trees: Vec<_> = self.shelves.drain(..).map(|shelf| shelf.tree).collect();
        discard(&trees)?;
        tracing::warn!("the copy from before the resync is not kept any longer: {why}");
        self.ended = Some(why.to_string());
        Ok(())
    }
}

impl Shelf {
    fn begin(tree: &Arc<Tree>, generation: u64) -> io::Result<Shelf> {
        // As it is before the hidden directory is made in it.
        let root = metadata_of(tree.root_fd())?;
        let aside = open_aside(tree)?;
        for name in names_of(&aside)? {
            if name.starts_with(b"kept-") {
                calls::unlinkat(&aside, OsStr::from_bytes(&name), rustix::fs::AtFlags::empty())?;
            }
        }
        let mut shelf = Shelf::open(tree, aside)?;
        shelf.probe()?;
        shelf.journal.write_all(&encode_title(generation))?;
        let handle = sys::handle_of(tree.root_fd())?;
        shelf.attributes.insert(number_of(&handle));
        shelf.write(&handle, root, What::Attributes)?;
        Ok(shelf)
    }

    fn open(tree: &Arc<Tree>, aside: OwnedFd) -> io::Result<Shelf> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND | OFlags::CLOEXEC;
        let journal = calls::openat(&aside, JOURNAL, flags, Mode::from_raw_mode(0o600))?;
        Ok(Shelf {
            tree: tree.clone(),
            aside,
            journal: journal.into(),
            contents: HashSet::new(),
            names: HashSet::new(),
            attributes: HashSet::new(),
            made: HashSet::new(),
            next_clone: 1,
            unsynced: true,
        })
    }

    fn resume(tree: &Arc<Tree>, lines: &[Kept]) -> io::Result<Shelf> {
        let mut shelf = Shelf::open(tree, open_aside(tree)?)?;
        // A torn last line must not have another one written to its end.
        let whole: usize = read_journal(tree)?.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
        calls::ftruncate(&shelf.journal, whole as u64 + 1)?;
        for kept in lines {
            let Some(handle) = Handle::from_hexadecimal(&kept.handle) else { continue };
            let number = number_of(&handle);
            shelf.attributes.insert(number);
            match kept.what {
                What::Contents(clone) => {
                    shelf.contents.insert(number);
                    shelf.next_clone = shelf.next_clone.max(clone + 1);
                }
                What::Names(_) => {
                    shelf.names.insert(number);
                }
                What::Attributes => {}
            }
        }
        Ok(shelf)
    }

    /// Can blocks be shared here? Asked with a block of data: an empty file could be cloned anyhow.
    fn probe(&mut self) -> io::Result<()> {
        let one = self.new_clone()?;
        calls::pwrite(&one, &[1; 4096], 0)?;
        let two = self.new_clone()?;
        let cloned = calls::clone_contents(&two, &one);
        for number in [self.next_clone - 1, self.next_clone - 2] {
            let name = clone_name(number);
            calls::unlinkat(&self.aside, name.as_str(), rustix::fs::AtFlags::empty())?;
        }
        if cloned.is_err() {
            calls::unlinkat(&self.aside, JOURNAL, rustix::fs::AtFlags::empty())?;
        }
        Ok(cloned?)
    }

    fn new_clone(&mut self) -> io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let name = clone_name(self.next_clone);
        self.next_clone += 1;
        Ok(calls::openat(&self.aside, name.as_str(), flags, Mode::from_raw_mode(0o600))?)
    }

    fn has_room(&self) -> io::Result<()> {
        let stat = calls::fstatvfs(&self.aside)?;
        if (stat.f_bavail as f64) < stat.f_blocks as f64 * FREE_MIN {
            return Err(io::Error::other("the file system is nearly full"));
        }
        Ok(())
    }

    fn keep_contents(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let handle = sys::handle_of(fd)?;
        let number = number_of(&handle);
        if self.made.contains(&number) || !self.contents.insert(number) {
            return Ok(());
        }
        self.has_room()?;
        let before = metadata_of(fd)?;
        let clone = self.new_clone()?;
        calls::clone_contents(&clone, fd)?;
        let what = What::Contents(self.next_clone - 1);
        self.attributes.insert(number);
        self.write(&handle, before, what)
    }

    fn keep_names(&mut self, directory: BorrowedFd<'_>) -> io::Result<()> {
        let handle = sys::handle_of(directory)?;
        let number = number_of(&handle);
        if self.made.contains(&number) || !self.names.insert(number) {
            return Ok(());
        }
        self.has_room()?;
        let readable = reopen_directory(directory)?;
        let mut names = Vec::new();
        for name in names_of(&readable)? {
            let hidden = name == ASIDE.as_bytes() && handle == sys::handle_of(self.tree.root_fd())?;
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let path = OsStr::from_bytes(&name);
            let child = calls::openat(&readable, path, flags, Mode::empty())?;
            // What has no handle is another file system's, and is not touched either.
            if let (false, Ok(child)) = (hidden, sys::handle_of(child.as_fd())) {
                names.push((name, child.hexadecimal()));
            }
        }
        self.attributes.insert(number);
        let before = metadata_of(directory)?;
        self.write(&handle, before, What::Names(names))
    }

    fn keep_attributes(&mut self, path: BorrowedFd<'_>) -> io::Result<()> {
        let handle = sys::handle_of(path)?;
        let number = number_of(&handle);
        if self.made.contains(&number) || !self.attributes.insert(number) {
            return Ok(());
        }
        self.write(&handle, metadata_of(path)?, What::Attributes)
    }

    fn write(
        &mut self, handle: &Handle, before: mirror_core::message::Metadata, what: What,
    ) -> io::Result<()> {
        self.unsynced = true;
        self.journal.write_all(&encode(&Kept {
            handle: handle.hexadecimal(),
            mode: before.mode,
            uid: before.uid,
            gid: before.gid,
            mtime: before.mtime,
            xattrs: before.xattrs,
            what,
        }))
    }
}

/// The modification time of a path descriptor, for a look whether a change changes anything.
pub(crate) fn same_attributes(
    path: BorrowedFd<'_>, wanted: &mirror_core::message::Metadata,
) -> io::Result<bool> {
    let stat = calls::fstat(path)?;
    if mtime_of(&stat) != wanted.mtime {
        return Ok(false);
    }
    Ok(metadata_of(path)? == *wanted)
}
