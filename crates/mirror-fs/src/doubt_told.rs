//! What this node has in doubt, by path: for the other node, and for the plan of a resync.
//!
//! A directory is found by its handle, wherever it is now; the system tells its path, which is
//! walked from the root and must lead to it. A file is found by a name under which it was known.
//! What is gone is not told: then the name it had is in doubt. A file that lives and cannot be
//! found is a reason to compare everything.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use mirror_core::doubt::{Identity, Item, Name, What};
use mirror_core::message::FileKind;
use mirror_core::units::FileId;
use rustix::fs::{Mode, OFlags};

use crate::apply_resync::names_of;
use crate::calls;
use crate::engine::Engine;
use crate::sys::{self, Handle};
use crate::tree::{Tree, ASIDE};

/// A plan with more is not made: it would hold up the application for too long.
pub const ITEMS_MAX: usize = 50_000;

/// An item, and what stood at the name when it was touched first.
pub struct Doubtful {
    pub item: Item,
    pub before: Option<Identity>,
}

/// Paths that were found already; None: it is gone.
#[derive(Default)]
pub(crate) struct Paths(HashMap<Identity, Option<Vec<u8>>>);

fn opened(tree: &Tree, handle: &Handle) -> io::Result<Option<OwnedFd>> {
    match sys::open_handle(tree.root_fd(), handle, libc::O_PATH | libc::O_NOFOLLOW) {
        Ok(fd) => Ok((calls::fstat(&fd)?.st_nlink > 0).then_some(fd)),
        Err(error) if error.raw_os_error() == Some(libc::ESTALE) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    match path.is_empty() {
        true => name.to_vec(),
        false => [path, b"/", name].concat(),
    }
}

/// What stands at a path now.
pub(crate) fn at(tree: &Tree, path: &[u8]) -> io::Result<Option<Handle>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut here: Option<OwnedFd> = None;
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        let directory = here.as_ref().map_or(tree.root_fd(), |fd| fd.as_fd());
        match calls::openat(directory, OsStr::from_bytes(name), flags, Mode::empty()) {
            Ok(fd) => here = Some(fd),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    let found = here.as_ref().map_or(tree.root_fd(), |fd| fd.as_fd());
    Ok(Some(sys::handle_of(found)?))
}

impl Paths {
    /// The path of a directory; None: it is gone.
    pub(crate) fn of(&mut self, tree: &Tree, directory: &Identity) -> io::Result<Option<Vec<u8>>> {
        if let Some(known) = self.0.get(directory) {
            return Ok(known.clone());
        }
        let path = path_of(tree, directory)?;
        self.0.insert(*directory, path.clone());
        Ok(path)
    }
}

fn path_of(tree: &Tree, directory: &Identity) -> io::Result<Option<Vec<u8>>> {
    let lost = || io::Error::other("the path of a directory cannot be found");
    let handle = Handle::from_identity(directory);
    let Some(fd) = opened(tree, &handle)? else { return Ok(None) };
    let root = calls::readlinkat(rustix::fs::CWD, sys::proc_path(tree.root_fd()))?;
    let path = calls::readlinkat(rustix::fs::CWD, sys::proc_path(fd.as_fd()))?;
    let below = path.strip_prefix(root.as_slice()).ok_or_else(lost)?;
    let below = below.strip_prefix(b"/").unwrap_or(below);
    match at(tree, below)? {
        Some(found) if found == handle => Ok(Some(below.to_vec())),
        _ => Err(lost()),
    }
}

/// What a resync that did not end has moved away is gone as far as names go; the name it had is in
/// doubt.
fn stands_aside(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').next() == Some(ASIDE.as_bytes())
}

fn is_aside(tree: &Tree, handle: &Handle) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let aside = match calls::openat(tree.root_fd(), ASIDE, flags, Mode::empty()) {
        Ok(aside) => aside,
        Err(rustix::io::Errno::NOENT) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    for name in names_of(&aside)? {
        if at(tree, &joined(ASIDE.as_bytes(), &name))?.is_some_and(|found| found == *handle) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Everything that is in doubt here. The error is part of a sentence.
pub fn told(engine: &Engine) -> Result<Vec<Doubtful>, String> {
    let (names, files) = engine.dirty.see(|d| (d.doubtful_names(), d.doubtful_files()));
    if names.len() + files.len() > ITEMS_MAX {
        return Err("too much is in doubt to be told apart".into());
    }
    let failed = |error: io::Error| error.to_string();
    let mut paths = Paths::default();
    let mut told = Vec::new();
    for (directory, name, before) in names {
        let tree = tree_of(engine, &directory)?;
        let path = paths.of(tree, &directory).map_err(failed)?;
        if let Some(path) = path.filter(|path| !stands_aside(path)) {
            let path = joined(&path, &name);
            told.push(Doubtful { item: Item { tree: tree.index, path, what: What::Name }, before });
        }
    }
    for found in files {
        let tree = tree_of(engine, &found.file)?;
        let handle = Handle::from_identity(&found.file);
        let Some(fd) = opened(tree, &handle).map_err(failed)? else { continue };
        let stat = calls::fstat(&fd).map_err(|error| failed(error.into()))?;
        let directory = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
        let path = match directory {
            true => paths.of(tree, &found.file).map_err(failed)?,
            false => place_of(tree, &handle, &found.places, &mut paths).map_err(failed)?,
        };
        let Some(path) = path else {
            // A resync that did not end may have moved it away: its name is in doubt then.
            if is_aside(tree, &handle).map_err(failed)? {
                continue;
            }
            return Err("a file that is in doubt has no known name".into());
        };
        if stands_aside(&path) {
            continue;
        }
        let what = What::File(found.zones);
        told.push(Doubtful { item: Item { tree: tree.index, path, what }, before: None });
    }
    Ok(told)
}

fn tree_of<'e>(engine: &'e Engine, identity: &Identity) -> Result<&'e Tree, String> {
    let tree = engine.trees.get(usize::from(identity.tree));
    tree.map(|tree| &**tree).ok_or_else(|| "it is about a directory that is not replicated".into())
}

/// A path at which the file stands now.
fn place_of(
    tree: &Tree, handle: &Handle, places: &[(Identity, Name)], paths: &mut Paths,
) -> io::Result<Option<Vec<u8>>> {
    for (parent, name) in places {
        let Some(parent) = paths.of(tree, parent)? else { continue };
        let path = joined(&parent, name);
        if at(tree, &path)?.is_some_and(|found| found == *handle) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// What stood at a name, if it still is somewhere: its number and kind. Only where it would cost
/// something to make it anew.
pub(crate) fn lives(tree: &Tree, before: &Identity) -> io::Result<Option<(FileId, FileKind)>> {
    let Some(inode) = tree.enter_handle(&Handle::from_identity(before))? else { return Ok(None) };
    let dear = matches!(inode.kind, FileKind::Regular | FileKind::Directory);
    Ok(dear.then_some((inode.id, inode.kind)))
}
