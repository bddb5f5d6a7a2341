//! Makes a tree again what it was before a resync that did not end, from what was kept (`kept`).
//!
//! It can be stopped anywhere and begun again: nothing that was kept is used up. First every name
//! that does not stand for what it stood for is moved into `.twofold-aside`; then every name that
//! is missing is brought back to its object, which is somewhere, since a resync removes nothing. No
//! rename can then make a loop: whatever leads to a directory now led to it before. Contents
//! follow, then attributes; times last, because all the rest changes them.
//!
//! When a resync was cut and another went on, the journal may also have names of directories that
//! the first one made. They end up aside, with what they hold, and do no harm but for a directory
//! that had come into one of them: it stood elsewhere before, and the journal has that earlier.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use mirror_core::kept::{Kept, What};
use mirror_core::message::{AttributeChange, FileKind};
use rustix::fs::{Mode, OFlags};

use crate::apply_resync::{names_of, remove_all};
use crate::below::{apply_attributes, apply_times, apply_xattr, link_fd, rename, reopen_directory};
use crate::calls;
use crate::kept::{clone_name, open_aside, read};
use crate::sys::{self, Handle};
use crate::tree::{kind_of, Tree, ASIDE};
use crate::xattrs;

/// Brings back the trees of this generation. The error is a sentence.
pub fn restore(trees: &[Arc<Tree>], generation: u64) -> Result<(), String> {
    for tree in trees {
        let lines = read(tree, generation)?;
        let objects = lines.len();
        Restoring::new(tree, lines)
            .and_then(|mut restoring| restoring.run())
            .map_err(|e| format!("{} cannot be made what it was: {e}", tree.path.display()))?;
        tracing::info!(objects, "{} is what it was before the resync", tree.path.display());
    }
    Ok(())
}

/// What was moved out of the way, and what was kept, is needed no longer.
pub fn clear(trees: &[Arc<Tree>]) -> io::Result<()> {
    crate::kept::discard(trees)?;
    for tree in trees {
        let mtime = crate::tree::mtime_of(&calls::fstat(tree.root_fd())?);
        match remove_all(tree.root_fd(), ASIDE.as_bytes()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        apply_times(tree.root_fd(), None, Some(mtime))?;
    }
    Ok(())
}

struct Restoring<'a> {
    tree: &'a Tree,
    aside: OwnedFd,
    /// The first line of each object: its attributes. In the order of the journal.
    attributes: Vec<Kept>,
    contents: Vec<(Handle, u64)>,
    directories: Vec<(Handle, HashMap<Vec<u8>, Handle>)>,
    /// In which directory each object stood, by the first line that has it.
    stood_in: HashMap<Handle, Handle>,
    next_aside: u64,
}

fn damaged() -> io::Error {
    io::Error::other("the journal names what cannot be an object")
}

fn at(what: &str, handle: &Handle, error: &io::Error) -> io::Error {
    io::Error::other(format!("{what} object {}: {error}", handle.hexadecimal()))
}

impl<'a> Restoring<'a> {
    fn new(tree: &'a Tree, lines: Vec<Kept>) -> io::Result<Self> {
        let mut restoring = Restoring {
            tree,
            aside: open_aside(tree)?,
            attributes: Vec::new(),
            contents: Vec::new(),
            directories: Vec::new(),
            stood_in: HashMap::new(),
            next_aside: 0,
        };
        let mut seen = std::collections::HashSet::new();
        for line in lines {
            let handle = Handle::from_hexadecimal(&line.handle).ok_or_else(damaged)?;
            match &line.what {
                What::Attributes => {}
                What::Contents(clone) => restoring.contents.push((handle, *clone)),
                What::Names(names) => {
                    let names = names.iter().map(|(name, handle)| {
                        Some((name.clone(), Handle::from_hexadecimal(handle)?))
                    });
                    let names: HashMap<_, _> = names.collect::<Option<_>>().ok_or_else(damaged)?;
                    for object in names.values() {
                        restoring.stood_in.entry(*object).or_insert(handle);
                    }
                    restoring.directories.push((handle, names));
                }
            }
            if seen.insert(handle) {
                restoring.attributes.push(line);
            }
        }
        Ok(restoring)
    }

    fn run(&mut self) -> io::Result<()> {
        let directories = std::mem::take(&mut self.directories);
        for (handle, names) in &directories {
            self.clear_names(handle, names).map_err(|e| at("names of", handle, &e))?;
        }
        for (handle, names) in &directories {
            self.bring_names(handle, names).map_err(|e| at("names of", handle, &e))?;
        }
        for (handle, clone) in &self.contents {
            self.bring_contents(handle, *clone).map_err(|e| at("contents of", handle, &e))?;
        }
        let objects = self.attributes.iter().map(|kept| {
            let handle = Handle::from_hexadecimal(&kept.handle).ok_or_else(damaged)?;
            self.set_attributes(&handle, kept).map_err(|e| at("attributes of", &handle, &e))?;
            Ok((handle, kept.mtime))
        });
        let objects = objects.collect::<io::Result<Vec<_>>>()?;
        for (handle, mtime) in objects {
            let path = self.open(&handle, libc::O_PATH | libc::O_NOFOLLOW)?;
            apply_times(path.as_fd(), None, Some(mtime))?;
        }
        Ok(calls::syncfs(&self.aside)?)
    }

    fn open(&self, handle: &Handle, flags: i32) -> io::Result<OwnedFd> {
        sys::open_handle(self.tree.root_fd(), handle, flags)
    }

    /// A directory of the tree, for names.
    fn directory(&self, handle: &Handle) -> io::Result<OwnedFd> {
        let path = self.open(handle, libc::O_PATH | libc::O_DIRECTORY)?;
        reopen_directory(path.as_fd())
    }

    /// What stands at a name; None: nothing, or what has no handle.
    fn standing(&self, directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Handle>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match calls::openat(directory, OsStr::from_bytes(name), flags, Mode::empty()) {
            Ok(fd) => Ok(sys::handle_of(fd.as_fd()).ok()),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Moves aside every name that does not stand for what it stood for.
    fn clear_names(&mut self, of: &Handle, names: &HashMap<Vec<u8>, Handle>) -> io::Result<()> {
        let directory = self.directory(of)?;
        let root = sys::handle_of(self.tree.root_fd())?;
        for name in names_of(&directory)? {
            let hidden = name == ASIDE.as_bytes() && *of == root;
            let Some(now) = self.standing(directory.as_fd(), &name)? else { continue };
            if hidden || names.get(&name) == Some(&now) {
                continue;
            }
            loop {
                self.next_aside += 1;
                let aside = format!("restored-{:x}", self.next_aside);
                const NOREPLACE: u32 = 1;
                let to = (self.aside.as_fd(), aside.as_bytes());
                match rename(directory.as_fd(), &name, to.0, to.1, NOREPLACE) {
                    Err(e) if e.raw_os_error() == Some(libc::EEXIST) => {}
                    // Another file system is mounted there: not ours.
                    Err(e) if e.raw_os_error() == Some(libc::EBUSY) => break,
                    other => break other?,
                }
            }
        }
        Ok(())
    }

    /// Gives every name that is missing back to its object.
    fn bring_names(&self, to: &Handle, names: &HashMap<Vec<u8>, Handle>) -> io::Result<()> {
        let directory = self.directory(to)?;
        for (name, handle) in names {
            if self.standing(directory.as_fd(), name)?.is_some() {
                continue;
            }
            let path = self.open(handle, libc::O_PATH | libc::O_NOFOLLOW)?;
            if kind_of(calls::fstat(&path)?.st_mode) != FileKind::Directory {
                link_fd(path.as_fd(), directory.as_fd(), name)?;
                continue;
            }
            if self.stood_in.get(handle) != Some(to) {
                continue;
            }
            let (parent, now) = self.place_of(path.as_fd(), handle)?;
            rename(parent.as_fd(), &now, directory.as_fd(), name, 0)?;
        }
        Ok(())
    }

    /// Where a directory stands now.
    fn place_of(&self, path: BorrowedFd<'_>, handle: &Handle) -> io::Result<(OwnedFd, Vec<u8>)> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = calls::openat(path, "..", flags, Mode::empty())?;
        for name in names_of(&parent)? {
            if self.standing(parent.as_fd(), &name)? == Some(*handle) {
                return Ok((parent, name));
            }
        }
        Err(io::Error::other("a directory stands nowhere"))
    }

    fn bring_contents(&self, handle: &Handle, clone: u64) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = clone_name(clone);
        let from = calls::openat(&self.aside, name.as_str(), flags, Mode::empty())?;
        let to = self.open(handle, libc::O_RDWR)?;
        let size = crate::tree::size_of(from.as_fd())?;
        // First: a clone that ends within a block must end the file.
        calls::ftruncate(&to, size)?;
        Ok(calls::clone_contents(&to, &from)?)
    }

    fn set_attributes(&self, handle: &Handle, kept: &Kept) -> io::Result<()> {
        let path = self.open(handle, libc::O_PATH | libc::O_NOFOLLOW)?;
        let symlink = kind_of(calls::fstat(&path)?.st_mode) == FileKind::Symlink;
        let owner = AttributeChange {
            uid: Some(kept.uid),
            gid: Some(kept.gid),
            ..AttributeChange::default()
        };
        apply_attributes(path.as_fd(), &owner)?;
        let now = xattrs::read_all(path.as_fd())?;
        for (name, _) in now.iter().filter(|(n, _)| !kept.xattrs.iter().any(|(k, _)| k == n)) {
            apply_xattr(path.as_fd(), name, None)?;
        }
        for (name, value) in kept.xattrs.iter().filter(|kept| !now.contains(kept)) {
            apply_xattr(path.as_fd(), name, Some((value, 0)))?;
        }
        let mode = (!symlink).then_some(kept.mode);
        apply_attributes(path.as_fd(), &AttributeChange { mode, ..AttributeChange::default() })
    }
}
