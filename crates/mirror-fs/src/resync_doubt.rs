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
//! Whatever does not fit together is no reason to guess: then everything is compared. That is tried
//! before the secondary is welcomed, and again when the session has begun.

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
use crate::doubt_told::{at, joined, lives, told, Paths, ITEMS_MAX};
use crate::engine::Engine;
use crate::mode::Mode;
use crate::noting::identity;
use crate::progress::Progress;
use crate::resync::{Over, Run};
use crate::source::{bytes_of, Ranges};
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
    engine: &'r Engine,
    /// None: it is only tried, and nothing is told.
    telling: Option<(&'r Run<'e>, &'r Mode)>,
    /// Every name in doubt; what is below one is looked at whole.
    in_doubt: BTreeSet<Path>,
    directories: HashMap<Path, Arc<Inode>>,
    /// Files in doubt by a name that is not.
    certain: HashMap<FileId, Path>,
    paths: Paths,
}

/// What a plan says to the secondary.
struct Telling<'r, 'e> {
    run: &'r Run<'e>,
    mode: &'r Mode,
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
                Err(self.begin_again(&format!("what is in doubt does not fit together: {error}")))
            }
        }
    }

    fn plan(&self, mode: &Mode) -> io::Result<()> {
        let _ = self.source.planned_at.set(self.engine.dirty.now());
        let Some(agreed) = &self.source.agreed else {
            return Err(wrong("nothing was agreed on"));
        };
        Plan::new(self.engine, Some((self, mode))).make(agreed)
    }
}

/// Before it is agreed on: would everything fit together if it began now?
pub(crate) fn try_plan(engine: &Engine, agreed: &Agreed) -> io::Result<()> {
    // Nothing changes meanwhile.
    let _mode = engine.mode.write();
    Plan::new(engine, None).make(agreed)
}

impl<'r, 'e> Plan<'r, 'e> {
    fn new(engine: &'r Engine, telling: Option<(&'r Run<'e>, &'r Mode)>) -> Plan<'r, 'e> {
        Plan {
            engine,
            telling,
            in_doubt: BTreeSet::new(),
            directories: HashMap::new(),
            certain: HashMap::new(),
            paths: Paths::default(),
        }
    }

    fn make(&mut self, Agreed { base, theirs }: &Agreed) -> io::Result<()> {
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
                    // What stands over there is known only if nothing was done to it there.
                    let first = !of.contains_key(name);
                    let known = of.entry(name.to_vec()).or_default();
                    *known = before.filter(|_| first);
                    in_doubt.insert((tree, path));
                }
                What::File { zones, .. } => {
                    let ranges = files.entry((tree, path)).or_default();
                    ranges.extend(zones.into_iter().map(bytes_of));
                }
            }
        }
        names.retain(|(tree, path), _| !covered(&in_doubt, *tree, path));
        files.retain(|(tree, path), _| !covered(&in_doubt, *tree, path));
        let only_there = |item: &&Item| matches!(item.what, What::File { others: true, .. });
        if theirs.iter().filter(only_there).any(|item| covered(&in_doubt, item.tree, &item.path)) {
            // What stands here at a name over there that nobody has told may be another file.
            return Err(wrong("not all names of a file in doubt are known over there"));
        }
        self.in_doubt = in_doubt;
        self.find_certain(files.keys())?;
        self.tell_names(names)?;
        for ((tree, path), ranges) in files {
            self.file(tree, &path, ranges)?;
        }
        Ok(())
    }

    fn find_certain<'p>(&mut self, paths: impl Iterator<Item = &'p Path>) -> io::Result<()> {
        for (index, path) in paths {
            let Some(tree) = self.engine.trees.get(usize::from(*index)) else { continue };
            if let Some(handle) = at(tree, path)? {
                if let Some(inode) = tree.enter_handle(&handle)? {
                    self.certain.insert(inode.id, (*index, path.clone()));
                }
            }
        }
        Ok(())
    }
}

impl Plan<'_, '_> {
    fn tree(&self, tree: u8) -> io::Result<Arc<Tree>> {
        let tree = self.engine.trees.get(usize::from(tree));
        tree.cloned().ok_or_else(|| wrong("there is no such directory"))
    }

    fn put(&self, operation: &Operation<'_>) {
        if let Some((run, _)) = self.telling {
            run.put(operation);
        }
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
        let Some((run, mode)) = self.telling else { return };
        if !inode.bound(mode.session) {
            run.put(&Operation::Bind { id: inode.id, parent: parent.id, name });
            inode.bound_session.store(mode.session, Ordering::Release);
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
        let Some((run, mode)) = self.telling else { return Ok(()) };
        let told = Telling { run, mode };
        for (tree, directory, now) in &standing {
            told.list(tree, directory, now)?;
        }
        for (tree, directory, _) in &standing {
            let path = tree.path_fd(directory)?;
            told.attributes(directory, path.as_fd())?;
        }
        Ok(())
    }

    /// A file with several names must be known over there by one that is not in doubt, unless all
    /// of them are told: or it would become two files (`links`).
    fn links(&mut self, standing: &[(Arc<Tree>, Arc<Inode>, Vec<Standing>)]) -> io::Result<()> {
        let mut several: HashMap<FileId, (u64, &Arc<Tree>, &Standing)> = HashMap::new();
        for (tree, _, now) in standing {
            for one in now.iter().filter(|one| one.inode.kind != FileKind::Directory) {
                if one.stat.st_nlink > 1 {
                    several.entry(one.inode.id).or_insert((0, tree, one)).0 += 1;
                }
            }
        }
        let directory = |one: &Standing| one.inode.kind == FileKind::Directory;
        let directories = standing.iter().any(|(_, _, now)| now.iter().any(directory));
        for (told, tree, one) in several.into_values() {
            let names = one.stat.st_nlink;
            if told >= names || self.bind_elsewhere(tree, &one.inode)? {
                continue;
            }
            // The others may stand below a directory that is in doubt.
            if !directories {
                return Err(wrong("not all names of a file with several are known"));
            }
            if let Some((run, _)) = self.telling {
                run.source.links.told(one.inode.id, told, names, false);
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
        let Some((run, mode)) = self.telling else {
            let fits = inode.kind == FileKind::Regular || ranges.is_empty();
            return fits.then_some(()).ok_or_else(|| wrong("a file has become something else"));
        };
        let told = Telling { run, mode };
        if inode.doubt_session.load(Ordering::Acquire) == mode.session {
            // It has another name, which is in doubt: all of it is looked at anyway.
            return Ok(());
        }
        match inode.kind {
            FileKind::Regular => {
                inode.doubt_session.store(mode.session, Ordering::Release);
                let key = identity(&tree, &inode);
                run.source.ranges.lock().insert(key, ranges);
                told.look_at(&inode, bytes);
                Ok(())
            }
            _ if !ranges.is_empty() => Err(wrong("a file has become something else")),
            _ => {
                let path = tree.path_fd(&inode)?;
                told.attributes(&inode, path.as_fd())
            }
        }
    }
}

impl Telling<'_, '_> {
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
            self.run.put(&Operation::Entries { id: directory.id, entries });
        }
        self.run.put(&Operation::EntriesSome { id: directory.id });
        for Standing { inode, stat, .. } in standing {
            let first = inode.doubt_session.swap(self.mode.session, Ordering::AcqRel);
            inode.bound_session.store(self.mode.session, Ordering::Release);
            if first != self.mode.session {
                self.look_at(inode, stat.st_size as u64);
            }
        }
        Ok(())
    }

    fn look_at(&self, inode: &Inode, bytes: u64) {
        let source = self.run.source;
        if inode.kind == FileKind::Regular {
            source.figures.bytes_found.fetch_add(bytes, Ordering::Relaxed);
        }
        source.add(inode.id, inode.kind);
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
}
