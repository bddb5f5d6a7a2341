//! The beginning of a resync that looks only at what is in doubt.
//!
//! It is one moment: the mode is held for writing, so nothing changes. What is in doubt here and
//! what the other node has told is brought together by path, and then, in this order, the secondary
//! is told of every directory on the way, of the names that are no more or mean something else, and
//! of the names that are. When the moment is over both trees have the same names, but for what is
//! below a name in doubt, and of everything else only the contents and attributes in the plan may
//! differ. From there on it is a resync like any other: what is in the plan is *untouched* until it
//! is begun, all else counts as *done* (`Engine::ordered`), and what is below a name in doubt
//! cannot be bound until its directory was listed, so it is not told of before.
//!
//! What stands at a name in doubt may be another file over there: its contents are compared, and
//! those of everything below, however it came to stand there.
//!
//! Whatever does not fit together is no reason to guess: then everything is compared.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;
use std::sync::Arc;

use mirror_core::doubt::{covered, Identity, Item, What};
use mirror_core::message::{Entry, FileKind, Operation};
use mirror_core::units::FileId;
use rustix::fs::Stat;

use crate::below::read_target;
use crate::doubt_link::Agreed;
use crate::doubt_told::{at, joined, told, Paths, ITEMS_MAX};
use crate::mode::Mode;
use crate::noting::identity;
use crate::progress::Progress;
use crate::resync::{Over, Run};
use crate::source::{bytes_of, Ranges};
use crate::sys::Handle;
use crate::tree::{Inode, Tree};
use crate::zone::metadata_of;

type Path = (u8, Vec<u8>);
type Names = BTreeMap<Vec<u8>, Option<Identity>>;

/// A name that is in doubt and stands: the file, and how it is now.
struct Standing {
    name: Vec<u8>,
    inode: Arc<Inode>,
    stat: Stat,
}

struct Plan<'r, 'e> {
    run: &'r Run<'e>,
    mode: &'r Mode,
    /// Every name in doubt; what is below one is looked at whole.
    in_doubt: BTreeSet<Path>,
    directories: HashMap<Path, Arc<Inode>>,
    /// Files in doubt by a name that is not.
    certain: HashMap<FileId, Path>,
    paths: Paths,
}

fn wrong(text: &str) -> io::Error {
    io::Error::other(text)
}

fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&[], path),
    }
}

impl Run<'_> {
    pub(crate) fn begin_doubt(&self) -> Result<(), Over> {
        let mut mode = self.engine.mode.write();
        self.current(&mode)?;
        match self.plan(&mode) {
            Ok(()) => {
                mode.partial = true;
                Ok(())
            }
            Err(error) => {
                drop(mode);
                let why = format!("what is in doubt does not fit together: {error}");
                if let Err(error) = self.engine.dirty.distrust(&why) {
                    return Err(self.failed(&format!("the dirty map cannot be removed: {error}")));
                }
                self.engine.outbox.lost();
                Err(Over)
            }
        }
    }

    fn certain<'p>(
        &self, paths: impl Iterator<Item = &'p Path>,
    ) -> io::Result<HashMap<FileId, Path>> {
        let mut certain = HashMap::new();
        for (index, path) in paths {
            let Some(tree) = self.engine.trees.get(usize::from(*index)) else { continue };
            if let Some(handle) = at(tree, path)? {
                if let Some(inode) = tree.enter_handle(&handle)? {
                    certain.insert(inode.id, (*index, path.clone()));
                }
            }
        }
        Ok(certain)
    }

    fn plan(&self, mode: &Mode) -> io::Result<()> {
        let _ = self.source.planned_at.set(self.engine.dirty.now());
        let Some(Agreed { base, theirs }) = &self.source.agreed else {
            return Err(wrong("nothing was agreed on"));
        };
        // It may have been given up since: then nothing in it would mean nothing.
        if self.engine.dirty.base() != *base {
            return Err(wrong("this node's map is not the one that was agreed on"));
        }
        let own = told(self.engine).map_err(io::Error::other)?;
        if own.len() + theirs.len() > ITEMS_MAX {
            return Err(wrong("too much is in doubt"));
        }
        let mut names: BTreeMap<Path, Names> = BTreeMap::new();
        let mut files: BTreeMap<Path, Ranges> = BTreeMap::new();
        let mut in_doubt = BTreeSet::new();
        let own = own.into_iter().map(|doubtful| (doubtful.item, doubtful.before));
        for (Item { tree, path, what }, before) in
            own.chain(theirs.iter().map(|item| (item.clone(), None)))
        {
            match what {
                What::Name => {
                    let (directory, name) = split(&path);
                    let of = names.entry((tree, directory.to_vec())).or_default();
                    let known = of.entry(name.to_vec()).or_default();
                    *known = known.or(before);
                    in_doubt.insert((tree, path));
                }
                What::File(zones) => {
                    let ranges = files.entry((tree, path)).or_default();
                    ranges.extend(zones.into_iter().map(bytes_of));
                }
            }
        }
        names.retain(|(tree, path), _| !covered(&in_doubt, *tree, path));
        files.retain(|(tree, path), _| !covered(&in_doubt, *tree, path));
        let (directories, paths) = (HashMap::new(), Paths::default());
        let certain = self.certain(files.keys())?;
        let mut plan = Plan { run: self, mode, in_doubt, directories, certain, paths };
        plan.tell_names(names)?;
        for ((tree, path), ranges) in files {
            plan.file(tree, &path, ranges)?;
        }
        Ok(())
    }
}

impl Plan<'_, '_> {
    fn tree(&self, tree: u8) -> io::Result<Arc<Tree>> {
        let tree = self.run.engine.trees.get(usize::from(tree));
        tree.cloned().ok_or_else(|| wrong("there is no such directory"))
    }

    fn put(&self, operation: &Operation<'_>) {
        self.run.put(operation);
    }

    /// The directory at this path, which the secondary then knows by its number.
    fn directory(&mut self, index: u8, path: &[u8]) -> io::Result<Arc<Inode>> {
        let key = (index, path.to_vec());
        if let Some(known) = self.directories.get(&key) {
            return Ok(known.clone());
        }
        let tree = self.tree(index)?;
        let found = if path.is_empty() {
            tree.inode(mirror_core::units::ROOT_INODE)?
        } else {
            let (above, name) = split(path);
            let parent = self.directory(index, above)?;
            let (inode, _) = tree.find(&parent, name)?;
            if inode.kind != FileKind::Directory {
                return Err(wrong("a directory has become something else"));
            }
            self.bind(&inode, &parent, name);
            inode
        };
        self.directories.insert(key, found.clone());
        Ok(found)
    }

    fn bind(&self, inode: &Inode, parent: &Inode, name: &[u8]) {
        if !inode.bound(self.mode.session) {
            self.put(&Operation::Bind { id: inode.id, parent: parent.id, name });
            inode.bound_session.store(self.mode.session, Ordering::Release);
        }
    }

    fn tell_names(&mut self, names: BTreeMap<Path, Names>) -> io::Result<()> {
        let mut standing: Vec<(Arc<Tree>, Arc<Inode>, Vec<Standing>)> = Vec::new();
        for ((index, path), names) in names {
            let tree = self.tree(index)?;
            let directory = self.directory(index, &path)?;
            let mut now = Vec::new();
            for (name, before) in names {
                if tree.hidden(directory.id, &name) {
                    continue;
                }
                let found = match tree.find(&directory, &name) {
                    Ok(found) => Some(found),
                    Err(e) if e.raw_os_error() == Some(libc::ENOENT) => None,
                    Err(e) if e.raw_os_error() == Some(libc::EXDEV) => continue,
                    Err(e) => return Err(e),
                };
                let same = found.as_ref().map(|(inode, _)| identity(&tree, inode)) == before;
                let was = match (before, same) {
                    (Some(before), false) => lives(&tree, &before)?,
                    _ => None,
                };
                if found.is_none() || was.is_some() {
                    self.put(&Operation::Vacate { parent: directory.id, name: &name, was });
                }
                now.extend(found.map(|(inode, stat)| Standing { name, inode, stat }));
            }
            standing.push((tree, directory, now));
        }
        self.links(&standing)?;
        for (tree, directory, now) in &standing {
            self.list(tree, directory, now)?;
        }
        for (tree, directory, _) in &standing {
            let path = tree.path_fd(directory)?;
            self.attributes(directory, path.as_fd())?;
        }
        Ok(())
    }

    /// A file with several names must be known over there by one that is not in doubt, unless all
    /// of them are told now: or it would become two files.
    fn links(&mut self, standing: &[(Arc<Tree>, Arc<Inode>, Vec<Standing>)]) -> io::Result<()> {
        let mut several: HashMap<FileId, (u64, &Arc<Tree>, &Standing)> = HashMap::new();
        for (tree, _, now) in standing {
            for one in now.iter().filter(|one| one.inode.kind != FileKind::Directory) {
                if one.stat.st_nlink > 1 {
                    several.entry(one.inode.id).or_insert((0, tree, one)).0 += 1;
                }
            }
        }
        for (told, tree, one) in several.into_values() {
            if told < one.stat.st_nlink && !self.bind_elsewhere(tree, &one.inode)? {
                return Err(wrong("not all names of a file with several are known"));
            }
        }
        Ok(())
    }

    fn bind_elsewhere(&mut self, tree: &Arc<Tree>, inode: &Arc<Inode>) -> io::Result<bool> {
        if let Some((index, path)) = self.certain.get(&inode.id).cloned() {
            let (above, name) = split(&path);
            let parent = self.directory(index, above)?;
            self.bind(inode, &parent, name);
            return Ok(true);
        }
        let places = inode.places.lock().clone();
        for place in places {
            let Ok(parent) = tree.revive(place.parent.inode()) else { continue };
            let Some(path) = self.paths.of(tree, &identity(tree, &parent))? else { continue };
            let certain = !covered(&self.in_doubt, tree.index, &joined(&path, &place.name));
            if certain && tree.leads(&parent, &place.name, inode) {
                let parent = self.directory(tree.index, &path)?;
                self.bind(inode, &parent, &place.name);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn list(&self, tree: &Arc<Tree>, directory: &Inode, standing: &[Standing]) -> io::Result<()> {
        const PART: usize = 1000;
        for part in standing.chunks(PART) {
            let mut entries = Vec::new();
            for Standing { name, inode, stat } in part {
                let target = match inode.kind {
                    FileKind::Symlink => read_target(tree.path_fd(inode)?.as_fd(), inode.kind)?,
                    _ => Vec::new(),
                };
                let (id, kind, rdev) = (inode.id, inode.kind, stat.st_rdev);
                entries.push(Entry { name: name.clone(), id, kind, rdev, target });
            }
            self.put(&Operation::Entries { id: directory.id, entries });
        }
        self.put(&Operation::EntriesSome { id: directory.id });
        for Standing { inode, stat, .. } in standing {
            let first = inode.doubt_session.swap(self.mode.session, Ordering::AcqRel);
            inode.bound_session.store(self.mode.session, Ordering::Release);
            if first != self.mode.session {
                self.look_at(tree, inode, stat.st_size as u64);
            }
        }
        Ok(())
    }

    fn look_at(&self, tree: &Arc<Tree>, inode: &Arc<Inode>, bytes: u64) {
        let source = self.run.source;
        if inode.kind == FileKind::Regular {
            source.figures.bytes_found.fetch_add(bytes, Ordering::Relaxed);
        }
        source.add(tree.clone(), inode.clone());
    }

    /// Attributes of something whose contents are none, or are equal.
    fn attributes(&self, inode: &Inode, path: BorrowedFd<'_>) -> io::Result<()> {
        let mut mark = inode.order.lock();
        if mark.progress(self.mode.session) != Progress::Done {
            self.run.put_metadata(inode.id, metadata_of(path)?);
            mark.set(self.mode.session, Progress::Done);
        }
        Ok(())
    }

    /// A file whose names are not in doubt.
    fn file(&mut self, index: u8, path: &[u8], ranges: Ranges) -> io::Result<()> {
        let tree = self.tree(index)?;
        let (above, name) = split(path);
        let (inode, bytes) = if path.is_empty() {
            (self.directory(index, path)?, 0)
        } else {
            let parent = self.directory(index, above)?;
            let (inode, stat) = tree.find(&parent, name)?;
            self.bind(&inode, &parent, name);
            (inode, stat.st_size as u64)
        };
        if inode.doubt_session.load(Ordering::Acquire) == self.mode.session {
            // It has another name, which is in doubt: all of it is looked at anyway.
            return Ok(());
        }
        match inode.kind {
            FileKind::Regular => {
                inode.doubt_session.store(self.mode.session, Ordering::Release);
                let key = identity(&tree, &inode);
                self.run.source.ranges.lock().insert(key, ranges);
                self.look_at(&tree, &inode, bytes);
                Ok(())
            }
            _ if !ranges.is_empty() => Err(wrong("a file has become something else")),
            _ => {
                let path = tree.path_fd(&inode)?;
                self.attributes(&inode, path.as_fd())
            }
        }
    }
}

/// What stood at a name, if it still is somewhere: its number and kind. Only where it would cost
/// something to make it anew.
fn lives(tree: &Tree, before: &Identity) -> io::Result<Option<(FileId, FileKind)>> {
    let Some(inode) = tree.enter_handle(&Handle::from_identity(before))? else { return Ok(None) };
    let dear = matches!(inode.kind, FileKind::Regular | FileKind::Directory);
    Ok(dear.then_some((inode.id, inode.kind)))
}
