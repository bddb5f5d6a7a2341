//! Puts what a rescue holds together again, in a directory of its own, never over the live one.
//!
//! A file that was saved whole is as it was, with owner, mode, times and extended attributes. Of a
//! file saved by zones the rest is a hole, or, if asked for, what stands in the live directory now:
//! that was the same when the resync ended, and may have changed since. Names of which only the
//! name or an attribute changed, with contents that did not, are counted and not made.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use mirror_core::message::{AttributeChange, Creator, FileKind};
use mirror_core::units::FileTime;
use rustix::fs as rfs;
use serde_json::{json, Value};

use crate::below::{apply_attributes, apply_xattr, make_node};
use crate::change::NewNode;
use crate::rescue_manifest::{unescape, unhex, Name, DATA};
use crate::rescue_read::{open, Holding, Opened};
use crate::rescue_store::{checksum_of, root_of};
use crate::rescue_walk::{each_name, kind_name, open_path};

const PIECE_BYTES: usize = 1 << 20;

#[derive(Default)]
struct Done {
    files: u64,
    others: u64,
    attributes_only: u64,
    /// Saved by zones; what was not saved is a hole, or from the live directory.
    partial: Vec<String>,
    /// The checksum is not that of the manifest.
    damaged: Vec<String>,
    left_out: Vec<String>,
}

struct Extract<'a> {
    opened: &'a Opened,
    into: &'a Path,
    with_current: bool,
    /// Directories of the list that were not made yet, by tree and path.
    directories: HashMap<(u8, Vec<u8>), Name>,
    made: Vec<(PathBuf, Name)>,
    made_paths: HashSet<(u8, Vec<u8>)>,
    links: HashMap<u32, PathBuf>,
    done: Done,
}

/// Extracts into a directory that is new or empty. `with_current`: fill up files that were saved
/// by zones from the live directory.
///
/// In a thread of its own: making files as their owners changes what the thread may do and its
/// umask, and the caller may be a daemon that starts programs.
pub fn extract(state_dir: &Path, id: &str, into: &Path, with_current: bool) -> io::Result<Value> {
    std::thread::scope(|scope| {
        let done = scope.spawn(|| extract_here(state_dir, id, into, with_current)).join();
        done.unwrap_or_else(|_| Err(io::Error::other("extracting has ended by a fault of Twofold")))
    })
}

fn extract_here(state_dir: &Path, id: &str, into: &Path, with_current: bool) -> io::Result<Value> {
    let opened = open(state_dir, id)?;
    let into = &destination(state_dir, &opened, into)?;
    let mut extract = Extract {
        opened: &opened,
        into,
        with_current,
        directories: HashMap::new(),
        made: Vec::new(),
        made_paths: HashSet::new(),
        links: HashMap::new(),
        done: Done::default(),
    };
    each_name(&opened.dir, |name, _| extract.one(name))?;
    // The innermost first: what is made in a directory changes its time.
    while let Some((path, name)) = extract.made.pop() {
        set_attributes(&path, &name)?;
    }
    let done = extract.done;
    Ok(json!({
        "id": id, "into": into, "files": done.files, "others": done.others,
        "attributes_only": done.attributes_only, "partial": done.partial,
        "damaged": done.damaged, "left_out": done.left_out,
    }))
}

fn destination(state_dir: &Path, opened: &Opened, into: &Path) -> io::Result<PathBuf> {
    let refuse = |why: String| Err(io::Error::other(why));
    let shown = into.display();
    if !into.is_absolute() {
        return refuse(format!("{shown} is not an absolute path"));
    }
    let (Some(parent), Some(name)) = (into.parent(), into.file_name()) else {
        return refuse(format!("{shown} cannot be extracted into; name a new directory"));
    };
    let Ok(parent) = parent.canonicalize() else {
        return refuse(format!("{} does not exist", parent.display()));
    };
    let mut real = parent.join(name);
    if let Ok(resolved) = real.canonicalize() {
        real = resolved;
    }
    let mut live: Vec<PathBuf> = opened.about.trees.iter().map(PathBuf::from).collect();
    live.push(root_of(state_dir));
    for tree in live {
        let tree = tree.canonicalize().unwrap_or(tree);
        if real.starts_with(&tree) || tree.starts_with(&real) {
            let tree = tree.display();
            return refuse(format!("{shown} lies in or above {tree}; choose a directory outside"));
        }
    }
    match fs::read_dir(&real) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return refuse(format!("{shown} is not empty; choose a new directory"));
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => fs::create_dir(&real)?,
        Err(e) => return refuse(format!("{shown}: {e}")),
    }
    Ok(real)
}

fn kind_of_name(name: &Name) -> Option<FileKind> {
    use FileKind as K;
    let all =
        [K::Regular, K::Directory, K::Symlink, K::CharDevice, K::BlockDevice, K::Fifo, K::Socket];
    all.into_iter().find(|kind| kind_name(*kind) == name.kind)
}

impl Extract<'_> {
    fn one(&mut self, name: Name) -> io::Result<()> {
        let path = unescape(&name.path)?;
        if path.split(|byte| *byte == b'/').any(|part| part == b"..") || path.first() == Some(&b'/')
        {
            return Err(io::Error::other(format!("{:?} leaves its directory", name.path)));
        }
        let Some(kind) = kind_of_name(&name) else {
            return Err(io::Error::other(format!("{:?}: unknown kind {:?}", name.path, name.kind)));
        };
        let holding = self.opened.holdings.get(&name.object).cloned();
        if kind == FileKind::Directory {
            let key = (name.tree, path.clone());
            self.directories.insert(key, name.clone());
            if holding.is_some() {
                self.done.others += u64::from(!path.is_empty());
                self.directory(name.tree, &path)?;
            }
            return Ok(());
        }
        let Some(holding) = holding else { return Ok(()) };
        let has_contents = holding.whole.is_some() || holding.by_zones;
        if kind == FileKind::Regular && !has_contents {
            self.done.attributes_only += 1;
            return Ok(());
        }
        let (parent, base) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(at) => (&path[..at], &path[at + 1..]),
            None => (&path[..0], &path[..]),
        };
        let at = self.directory(name.tree, parent)?.join(OsStr::from_bytes(base));
        if let Some(first) = self.links.get(&name.object) {
            return fs::hard_link(first, &at);
        }
        self.links.insert(name.object, at.clone());
        if kind == FileKind::Regular {
            self.file(&name, &holding, &at)?;
            self.done.files += 1;
        } else {
            let node = NewNode {
                kind,
                mode: name.mode,
                rdev: name.rdev,
                target: unescape(&name.target)?.into(),
            };
            let directory = File::open(at.parent().unwrap_or(self.into))?;
            make_node(directory.as_fd(), base, &node, Creator::default())?;
            self.done.others += 1;
        }
        set_attributes(&at, &name)
    }

    /// The directory at this path of a tree, made with those above it.
    fn directory(&mut self, tree: u8, path: &[u8]) -> io::Result<PathBuf> {
        let mut at = self.into.to_owned();
        if self.opened.about.trees.len() > 1 {
            at.push(tree.to_string());
            if !at.is_dir() {
                fs::create_dir(&at)?;
            }
        }
        let mut end = 0;
        loop {
            let key = (tree, path[..end].to_vec());
            let below = at.join(OsStr::from_bytes(&path[..end]));
            if self.made_paths.insert(key.clone()) {
                if end > 0 {
                    fs::create_dir(&below)?;
                }
                if let Some(name) = self.directories.get(&key) {
                    self.made.push((below.clone(), name.clone()));
                }
            }
            if end == path.len() {
                return Ok(below);
            }
            let from = if end == 0 { 0 } else { end + 1 };
            let next = path[from..].iter().position(|byte| *byte == b'/');
            end = next.map_or(path.len(), |at| from + at);
        }
    }

    fn file(&mut self, name: &Name, holding: &Holding, at: &Path) -> io::Result<()> {
        let to = File::options().write(true).read(true).create_new(true).open(at)?;
        let data = self.opened.dir.join(DATA).join(name.object.to_string());
        if let Some(wanted) = &holding.whole {
            let from = File::open(data)?;
            if rfs::ioctl_ficlone(&to, &from).is_err() {
                copy_data(&from, &to, 0, name.size)?;
            }
            to.set_len(name.size)?;
            if !wanted.is_empty() && checksum_of(&to, 0, name.size)? != *wanted {
                self.done.damaged.push(name.path.clone());
            }
            return Ok(());
        }
        to.set_len(name.size)?;
        self.done.partial.push(name.path.clone());
        if self.with_current {
            let tree = &self.opened.about.trees[usize::from(name.tree)];
            let live = Path::new(tree).join(OsStr::from_bytes(&unescape(&name.path)?));
            if let Ok(live) = File::open(live) {
                let size = live.metadata()?.len().min(name.size);
                copy_data(&live, &to, 0, size)?;
            }
        }
        if holding.left_out > 0 {
            self.done.left_out.push(name.path.clone());
        }
        let mut sound = true;
        for (offset, length, wanted) in &holding.zones {
            let from = File::open(&data)?;
            let hole = rfs::FallocateFlags::PUNCH_HOLE | rfs::FallocateFlags::KEEP_SIZE;
            let _ = rfs::fallocate(&to, hole, *offset, *length);
            copy_data(&from, &to, *offset, *length)?;
            sound &= checksum_of(&to, *offset, *length)? == *wanted;
        }
        if !sound {
            self.done.damaged.push(name.path.clone());
        }
        Ok(())
    }
}

/// Copies the data of a range; holes stay holes.
fn copy_data(from: &File, to: &File, offset: u64, length: u64) -> io::Result<()> {
    let (mut at, end) = (offset, offset + length);
    let mut buffer = vec![0; PIECE_BYTES];
    while at < end {
        at = match rfs::seek(from, rfs::SeekFrom::Data(at)) {
            Ok(data) => at.max(data),
            Err(_) => return Ok(()),
        };
        let hole = rfs::seek(from, rfs::SeekFrom::Hole(at)).unwrap_or(end).min(end);
        if at >= hole {
            return Ok(());
        }
        let part = (hole - at).min(PIECE_BYTES as u64) as usize;
        let got = crate::outbox::read_fully(from, at, &mut buffer[..part])?;
        if got == 0 {
            return Ok(());
        }
        to.write_all_at(&buffer[..got], at)?;
        at += got as u64;
    }
    Ok(())
}

/// Owner, extended attributes, mode and time of what was made.
fn set_attributes(at: &Path, name: &Name) -> io::Result<()> {
    let directory = File::open(at.parent().unwrap_or(Path::new("/")))?;
    let base = at.file_name().unwrap_or(OsStr::new("."));
    let path = open_path(directory.as_fd(), base.as_bytes())?;
    let owner =
        AttributeChange { uid: Some(name.uid), gid: Some(name.gid), ..AttributeChange::default() };
    apply_attributes(path.as_fd(), &owner)?;
    for (attribute, value) in &name.xattrs {
        let value = unhex(value).unwrap_or_default();
        apply_xattr(path.as_fd(), &unescape(attribute)?, Some((&value, 0)))?;
    }
    let (seconds, nanoseconds) = name.mtime;
    let rest = AttributeChange {
        mode: (name.kind != kind_name(FileKind::Symlink)).then_some(name.mode),
        mtime: Some(FileTime { seconds, nanoseconds }),
        ..AttributeChange::default()
    };
    apply_attributes(path.as_fd(), &rest)
}
