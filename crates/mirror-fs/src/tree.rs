//! One replicated directory: the tree below the mount, and the table of its files in use.
//!
//! The engine opens the directory *before* FUSE is mounted over it and works below ever after. A
//! file is found again by its handle (`sys::Handle`), so the table holds no open descriptors and a
//! rename changes nothing. The number of a file is its inode number; the root's is 1.
//!
//! Locks, in this order: `Inode::order` of directories by number, then of one file; then the leaf
//! locks `Tree::table`, `Tree::forgotten` and `Inode::places`, in this order, and `Tree::mistaken`,
//! which are never held across a system call.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::Arc;

use mirror_core::exclusion::Exclusion;
use mirror_core::message::FileKind;
use mirror_core::units::{FileId, FileTime, MAX_INODE, ROOT_INODE};
use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags, Stat};

use crate::calls;
use crate::excluded::Excluded;
use crate::forgotten::{Forgotten, FORGOTTEN_MAX};
use crate::progress::Mark;
use crate::sys::{self, Handle};
use crate::table::Table;

/// Kept at the top of each tree and hidden from the mount: what a resync moves out of the way.
pub const ASIDE: &str = ".twofold-aside";

/// One name under which a file is known to stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    pub parent: FileId,
    pub name: Box<[u8]>,
}

/// A file in use: known to the kernel, or to a running resync.
pub struct Inode {
    pub id: FileId,
    pub handle: Handle,
    pub kind: FileKind,
    /// How often the kernel has looked it up and not forgotten it.
    pub lookups: AtomicU64,
    /// It has done so since the file came into the table.
    pub looked_up: AtomicBool,
    pub opens: AtomicU32,
    /// The session of the link in which the secondary knows this number.
    pub bound_session: AtomicU64,
    /// The session of a resync of what is in doubt in which this is to be looked at.
    pub doubt_session: AtomicU64,
    /// None of its names is replicated (`excluded`).
    pub local: AtomicBool,
    pub places: Mutex<Vec<Place>>,
    /// It has lost its last name but the kernel still uses it, or is about to: this holds it, and
    /// so its number, until the kernel has done with it.
    pub held: Mutex<Option<OwnedFd>>,
    /// It was written to, and the secondary has not been told its modification time (`times`).
    pub time_untold: AtomicBool,
    /// Held from the local change until the operation stands in the stream: so the order of the
    /// local changes of a file is the order of its operations.
    pub order: Mutex<Mark>,
}

/// A descriptor of a file for path operations: the root's own, or one opened by handle.
pub enum PathFd<'a> {
    Root(BorrowedFd<'a>),
    Own(OwnedFd),
}

impl AsFd for PathFd<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            PathFd::Root(fd) => fd.as_fd(),
            PathFd::Own(fd) => fd.as_fd(),
        }
    }
}

pub struct Tree {
    pub index: u8,
    pub path: PathBuf,
    pub excluded: Excluded,
    root: OwnedFd,
    device: u64,
    pub(crate) table: Mutex<Table>,
    pub(crate) forgotten: Mutex<Forgotten>,
    /// Names that the kernel holds for as good as before, and that are not (`kernel_caches`). Two
    /// at most of each change that was under way as this node gave way, and of each that failed.
    pub(crate) mistaken: Mutex<Vec<Place>>,
}

pub fn kind_of(mode: u32) -> FileKind {
    match mode & libc::S_IFMT {
        libc::S_IFDIR => FileKind::Directory,
        libc::S_IFLNK => FileKind::Symlink,
        libc::S_IFCHR => FileKind::CharDevice,
        libc::S_IFBLK => FileKind::BlockDevice,
        libc::S_IFIFO => FileKind::Fifo,
        libc::S_IFSOCK => FileKind::Socket,
        _ => FileKind::Regular,
    }
}

pub fn mtime_of(stat: &Stat) -> FileTime {
    FileTime { seconds: stat.st_mtime, nanoseconds: stat.st_mtime_nsec as u32 }
}

/// The number under which a file is known, except the root.
pub fn number_of(stat: &Stat) -> u64 {
    // Only the root may be 1; a file system that numbers another file so is given a free one.
    if stat.st_ino == ROOT_INODE || stat.st_ino > MAX_INODE {
        MAX_INODE - (stat.st_ino & 0xffff)
    } else {
        stat.st_ino
    }
}

impl Tree {
    /// Opens the directory that is to be replicated. A mistake is a sentence for a person.
    pub fn open(index: u8, path: &Path, exclusion: Arc<Exclusion>) -> Result<Tree, String> {
        let shown = path.display();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = calls::open(path, flags, Mode::empty())
            .map_err(|e| format!("the replicated directory {shown} cannot be opened: {e}"))?;
        let stat = calls::fstat(&root)
            .map_err(|e| format!("the replicated directory {shown} cannot be read: {e}"))?;
        let handle = sys::handle_of(root.as_fd()).map_err(|e| {
            format!(
                "the file system of {shown} cannot give files a stable identity ({e}): put the \
                 directory on ext4, xfs or btrfs"
            )
        })?;
        sys::open_handle(root.as_fd(), &handle, libc::O_PATH).map_err(|e| {
            format!(
                "files of {shown} cannot be opened by their identity ({e}): run as root with \
                 CAP_DAC_READ_SEARCH"
            )
        })?;
        let tree = Tree {
            index,
            path: path.to_owned(),
            excluded: Excluded::new(exclusion),
            root,
            device: stat.st_dev,
            table: Mutex::new(Table::new(index)),
            forgotten: Mutex::new(Forgotten::new(FORGOTTEN_MAX)),
            mistaken: Mutex::new(Vec::new()),
        };
        let inode = Inode::new(FileId::root(index), handle, FileKind::Directory);
        inode.lookups.store(1, Ordering::Relaxed);
        tree.table.lock().insert(Arc::new(inode));
        Ok(tree)
    }

    pub fn root_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The file that the kernel knows by this number.
    pub fn inode(&self, number: u64) -> io::Result<Arc<Inode>> {
        let known = self.table.lock().get(number);
        known.ok_or_else(|| io::Error::from_raw_os_error(libc::ESTALE))
    }

    /// A descriptor for path operations on this file.
    pub fn path_fd(&self, inode: &Inode) -> io::Result<PathFd<'_>> {
        if inode.id.is_root() {
            return Ok(PathFd::Root(self.root.as_fd()));
        }
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        sys::open_handle(self.root.as_fd(), &inode.handle, flags).map(PathFd::Own)
    }

    /// Opens the contents of a file by its handle.
    pub fn open_file(&self, inode: &Inode, flags: i32) -> io::Result<OwnedFd> {
        sys::open_handle(self.root.as_fd(), &inode.handle, flags)
    }

    pub fn stat(&self, inode: &Inode) -> io::Result<Stat> {
        Ok(calls::fstat(self.path_fd(inode)?)?)
    }

    /// Does this name in the directory lead to the file now? Names seen while this node followed
    /// were changed below it.
    pub fn leads(&self, directory: &Inode, name: &[u8], inode: &Inode) -> bool {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = self.path_fd(directory).and_then(|directory| {
            let fd = calls::openat(directory, OsStr::from_bytes(name), flags, Mode::empty())?;
            sys::handle_of(fd.as_fd())
        });
        handle.is_ok_and(|handle| handle == inode.handle)
    }

    pub fn device(&self) -> u64 {
        self.device
    }

    /// The name that hides what a resync moved aside.
    pub fn hidden(&self, parent: FileId, name: &[u8]) -> bool {
        parent.is_root() && name == ASIDE.as_bytes()
    }

    /// Finds `name` in `parent` and enters it into the table. Counts no lookup.
    pub fn find(&self, parent: &Inode, name: &[u8]) -> io::Result<(Arc<Inode>, Stat)> {
        if self.hidden(parent.id, name) {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        let directory = self.path_fd(parent)?;
        self.find_at(directory.as_fd(), parent.id, name)
    }

    /// As `find`, in a directory that is already open.
    pub fn find_at(
        &self, directory: BorrowedFd<'_>, parent: FileId, name: &[u8],
    ) -> io::Result<(Arc<Inode>, Stat)> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = calls::openat(directory, OsStr::from_bytes(name), flags, Mode::empty())?;
        let stat = calls::fstat(&fd)?;
        if stat.st_dev != self.device {
            // Another file system mounted inside the tree is not ours to replicate.
            return Err(io::Error::from_raw_os_error(libc::EXDEV));
        }
        let inode = self.enter(fd.as_fd(), &stat)?;
        inode.arrive(parent, name);
        Ok((inode, stat))
    }

    /// The table's entry for an open file; a new one when the number now means another file.
    pub(crate) fn enter(&self, fd: BorrowedFd<'_>, stat: &Stat) -> io::Result<Arc<Inode>> {
        let handle = sys::handle_of(fd)?;
        let root = self.table.lock().get(ROOT_INODE);
        if let Some(root) = root.filter(|root| root.handle == handle) {
            return Ok(root);
        }
        let number = number_of(stat);
        let mut table = loop {
            let mut table = self.table.lock();
            let old = match table.get(number) {
                Some(known) if known.handle == handle => return Ok(known),
                Some(old) if old.bound_session.load(Ordering::Acquire) != 0 => old,
                _ => break table,
            };
            drop(table);
            // The number means a new file now. From here on nobody tells the secondary to forget
            // it for the old file's sake: that would come after it was told of the new one.
            let _order = old.order.lock();
            old.bound_session.store(0, Ordering::Release);
        };
        let id = FileId::new(self.index, number);
        let fresh = Arc::new(Inode::new(id, handle, kind_of(stat.st_mode)));
        *fresh.places.lock() = self.forgotten.lock().places_of(number, &handle);
        if let Some(old) = table.get(number) {
            // The kernel will still forget the old file by this number: keep the count right.
            fresh.lookups.store(old.lookups.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        table.insert(fresh.clone());
        Ok(fresh)
    }

    /// The kernel is being told of this file: one lookup more. Returns the entry that counts it,
    /// which is another file's where the number has come to mean that one since.
    pub fn count_lookup(&self, inode: Arc<Inode>) -> Arc<Inode> {
        self.table.lock().count_lookup(inode)
    }

    /// The kernel forgets `count` lookups; returns the file if nobody uses it any more.
    pub fn forget(&self, number: u64, count: u64) -> Option<Arc<Inode>> {
        if number == ROOT_INODE {
            return None;
        }
        let mut table = self.table.lock();
        let inode = table.get(number)?;
        let before = inode.lookups.load(Ordering::Relaxed);
        inode.lookups.store(before.saturating_sub(count), Ordering::Relaxed);
        if inode.unused() {
            inode.held.lock().take();
        }
        let unused = inode.unused() && !table.keep_all;
        unused.then_some(inode)
    }

    /// Takes an unused file out of the table, unless it came into use again.
    pub fn drop_unused(&self, inode: &Arc<Inode>) {
        let mut table = self.table.lock();
        if table.is(inode) && inode.unused() && !table.keep_all {
            // In this order: who finds it no longer in the table finds it there.
            self.forgotten.lock().remember(inode);
            table.remove(inode);
        }
    }
}

impl Inode {
    pub fn new(id: FileId, handle: Handle, kind: FileKind) -> Inode {
        Inode {
            id,
            handle,
            kind,
            lookups: AtomicU64::new(0),
            looked_up: AtomicBool::new(false),
            opens: AtomicU32::new(0),
            bound_session: AtomicU64::new(0),
            doubt_session: AtomicU64::new(0),
            local: AtomicBool::new(false),
            places: Mutex::new(Vec::new()),
            held: Mutex::new(None),
            time_untold: AtomicBool::new(false),
            order: Mutex::new(Mark::default()),
        }
    }

    pub fn number(&self) -> u64 {
        self.id.inode()
    }

    /// Nobody has it in hand. While its time is to be told it stays: an entry that left the table
    /// would miss the names that the file gets.
    pub fn unused(&self) -> bool {
        let in_use =
            self.lookups.load(Ordering::Acquire) + u64::from(self.opens.load(Ordering::Acquire));
        in_use == 0 && !self.time_untold.load(Ordering::Acquire)
    }

    /// Does the secondary of this session know the file by its number?
    pub fn bound(&self, session: u64) -> bool {
        session != 0 && (self.id.is_root() || self.bound_session.load(Ordering::Acquire) == session)
    }

    /// This file stands no longer at that name.
    pub fn leave(&self, parent: FileId, name: &[u8]) {
        self.places.lock().retain(|p| p.parent != parent || &*p.name != name);
    }

    /// This file stands also at that name.
    pub fn arrive(&self, parent: FileId, name: &[u8]) {
        let place = Place { parent, name: name.into() };
        let mut places = self.places.lock();
        if !places.contains(&place) {
            // Most files have one name: no room is kept for more.
            places.reserve_exact(1);
            places.push(place);
            self.local.store(false, Ordering::Release);
        }
    }
}

/// Size of the file as the backing tree has it.
pub fn size_of(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(calls::fstat(fd)?.st_size as u64)
}
