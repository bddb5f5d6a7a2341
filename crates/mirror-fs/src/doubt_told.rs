//! What this node has in doubt, by path: for the other node, and for the plan of a resync.
//!
//! A directory is found by its handle, wherever it is now; the system tells its path, which is
//! walked from the root and must lead to it. A file is found by a name under which it was known.
//! What is gone is not told: then the name it had is in doubt. What stands at a name in doubt is
//! looked at for that reason (`doubt_names`). A file that lives and cannot be found is a reason to
//! compare everything, and so is one that has a name which nobody tells of: the other node may lack
//! the name that is told, and find nothing wrong with the other.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use mirror_core::doubt::{covered, DoubtfulFile, Identity, Item, Name, What};
use mirror_core::message::FileKind;
use mirror_core::units::FileId;
use rustix::fs::{Mode, OFlags};

use crate::apply_resync::names_of;
use crate::calls;
use crate::doubt_names::{standing_in_doubt, Names};
use crate::engine::Engine;
use crate::sys::{self, Handle};
use crate::tree::{kind_of, Tree, ASIDE};

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
pub(crate) fn opened_at(tree: &Tree, path: &[u8]) -> io::Result<Option<OwnedFd>> {
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
    match here {
        Some(fd) => Ok(Some(fd)),
        None => Ok(Some(tree.root_fd().try_clone_to_owned()?)),
    }
}

pub(crate) fn at(tree: &Tree, path: &[u8]) -> io::Result<Option<Handle>> {
    let found = opened_at(tree, path)?;
    found.map(|fd| sys::handle_of(fd.as_fd())).transpose()
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
    let root = calls::readlinkat(rustix::fs::CWD, sys::proc_path(tree.root_fd()).as_c_str())?;
    let path = calls::readlinkat(rustix::fs::CWD, sys::proc_path(fd.as_fd()).as_c_str())?;
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
    let mut telling = Telling::new(engine);
    let failed = |error: io::Error| error.to_string();
    for (directory, name, before) in names {
        let tree = tree_of(engine, &directory)?;
        telling.name(tree, &directory, &name, before).map_err(failed)?;
    }
    for found in files {
        let tree = tree_of(engine, &found.file)?;
        telling.file(tree, found).map_err(failed)?;
    }
    telling.find_lost()?;
    Ok(telling.told)
}

struct Telling<'e> {
    engine: &'e Engine,
    told: Vec<Doubtful>,
    names: Names,
    paths: Paths,
    /// Files that stand at no name by which they were noted, and how many names each has.
    lost: HashMap<(u8, Handle), u64>,
}

impl<'e> Telling<'e> {
    fn new(engine: &'e Engine) -> Telling<'e> {
        Telling {
            engine,
            told: Vec::new(),
            names: Names::new(),
            paths: Paths::default(),
            lost: HashMap::new(),
        }
    }

    fn name(
        &mut self, tree: &Tree, directory: &Identity, name: &[u8], before: Option<Identity>,
    ) -> io::Result<()> {
        let path = self.paths.of(tree, directory)?;
        if let Some(path) = path.filter(|path| !stands_aside(path)) {
            let path = joined(&path, name);
            self.names.insert((tree.index, path.clone()));
            let item = Item { tree: tree.index, path, what: What::Name };
            self.told.push(Doubtful { item, before });
        }
        Ok(())
    }

    fn file(&mut self, tree: &Tree, found: DoubtfulFile) -> io::Result<()> {
        let handle = Handle::from_identity(&found.file);
        let Some(fd) = opened(tree, &handle)? else { return Ok(()) };
        let stat = calls::fstat(&fd)?;
        let (path, links) = match kind_of(stat.st_mode) {
            FileKind::Directory => (self.paths.of(tree, &found.file)?, 1),
            _ => (self.place_of(tree, &handle, &found.places)?, stat.st_nlink),
        };
        let Some(path) = path else {
            // A resync that did not end may have moved it away: its name is in doubt then.
            if links > 1 || !is_aside(tree, &handle)? {
                self.lost.insert((tree.index, handle), links);
            }
            return Ok(());
        };
        if !stands_aside(&path) {
            let what = What::File { zones: found.zones, others: links > 1 };
            self.told.push(Doubtful { item: Item { tree: tree.index, path, what }, before: None });
        }
        Ok(())
    }

    /// A path at which the file stands now, one that is not in doubt by itself if there is any.
    fn place_of(
        &mut self, tree: &Tree, handle: &Handle, places: &[(Identity, Name)],
    ) -> io::Result<Option<Vec<u8>>> {
        let mut in_doubt = None;
        for (parent, name) in places {
            let Some(parent) = self.paths.of(tree, parent)? else { continue };
            let path = joined(&parent, name);
            if at(tree, &path)?.is_some_and(|found| found == *handle) {
                if !covered(&self.names, tree.index, &path) {
                    return Ok(Some(path));
                }
                in_doubt = Some(path);
            }
        }
        Ok(in_doubt)
    }

    /// What is not where it was noted stands at a name in doubt, by all of its names.
    fn find_lost(&self) -> Result<(), String> {
        for tree in &self.engine.trees {
            let mut lost = self.lost.iter().filter(|((index, _), _)| *index == tree.index);
            if lost.clone().next().is_none() {
                continue;
            }
            let sought = |handle: &Handle| self.lost.contains_key(&(tree.index, *handle));
            let found = standing_in_doubt(tree, &self.names, sought).map_err(|e| e.to_string())?;
            let names = |handle| found.get(handle).copied().unwrap_or(0);
            if lost.any(|((_, handle), links)| names(handle) < *links) {
                return Err("a file that is in doubt has no known name".into());
            }
        }
        Ok(())
    }
}

/// For the other node: which files have names that are told by nothing here?
pub(crate) fn with_others(engine: &Engine, mut told: Vec<Doubtful>) -> io::Result<Vec<Item>> {
    let names = told.iter().filter(|doubtful| doubtful.item.what == What::Name);
    let names: Names = names.map(|d| (d.item.tree, d.item.path.clone())).collect();
    for tree in &engine.trees {
        let mut several: HashMap<Handle, (u64, usize)> = HashMap::new();
        for (number, Doubtful { item, .. }) in told.iter().enumerate() {
            let others = matches!(item.what, What::File { others: true, .. });
            if others && item.tree == tree.index && covered(&names, item.tree, &item.path) {
                let Some(fd) = opened_at(tree, &item.path)? else { continue };
                let links = calls::fstat(&fd)?.st_nlink;
                several.insert(sys::handle_of(fd.as_fd())?, (links, number));
            }
        }
        if several.is_empty() {
            continue;
        }
        let found = standing_in_doubt(tree, &names, |handle| several.contains_key(handle))?;
        for (handle, (links, number)) in several {
            let all = found.get(&handle).is_some_and(|names| *names >= links);
            if let What::File { others, .. } = &mut told[number].item.what {
                *others = !all;
            }
        }
    }
    Ok(told.into_iter().map(|doubtful| doubtful.item).collect())
}

fn tree_of<'e>(engine: &'e Engine, identity: &Identity) -> Result<&'e Tree, String> {
    let tree = engine.trees.get(usize::from(identity.tree));
    tree.map(|tree| &**tree).ok_or_else(|| "it is about a directory that is not replicated".into())
}

/// What stood at a name, if it still is somewhere: its number and kind. Only where it would cost
/// something to make it anew.
pub(crate) fn lives(tree: &Tree, before: &Identity) -> io::Result<Option<(FileId, FileKind)>> {
    let Some(inode) = tree.enter_handle(&Handle::from_identity(before))? else { return Ok(None) };
    let dear = matches!(inode.kind, FileKind::Regular | FileKind::Directory);
    Ok(dear.then_some((inode.id, inode.kind)))
}
