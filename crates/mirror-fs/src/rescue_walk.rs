//! Writes down what a tree holds, name by name, before a resync changes it: `names.jsonl`.
//!
//! Nothing else writes to the trees meanwhile (a secondary serves nobody, and no session runs). The
//! list says which files were there (by identity, so that a rename does not confuse it) and where
//! their line stands; memory is a few words for each file.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use mirror_core::message::FileKind;
use rustix::fs::{Mode, OFlags, Stat};

use crate::apply_resync::names_of;
use crate::below::{read_target, reopen_directory};
use crate::calls;
use crate::effect::{self, Effect};
use crate::rescue_manifest::{escape, hex, line, Name, NAMES};
use crate::sys;
use crate::tree::{kind_of, mtime_of, Tree, ASIDE};
use crate::xattrs;

/// A file that was here: the number of its object, and where its first line stands.
#[derive(Clone, Copy)]
pub struct Known {
    pub object: u32,
    pub line: u64,
}

pub type Listed = HashMap<u128, Known>;

pub fn kind_name(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Regular => "regular",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symlink",
        FileKind::CharDevice => "char_device",
        FileKind::BlockDevice => "block_device",
        FileKind::Fifo => "fifo",
        FileKind::Socket => "socket",
    }
}

/// Is there nothing in any of the trees?
pub fn empty(trees: &[Arc<Tree>]) -> io::Result<bool> {
    for tree in trees {
        let local = tree.local_names(tree.root_fd())?;
        for name in names_of(&reopen_directory(tree.root_fd())?)? {
            let hidden = name == ASIDE.as_bytes() || name == b"lost+found";
            if !hidden && !local.stands(tree.root_fd(), &name)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

pub fn open_path(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(calls::openat(directory, OsStr::from_bytes(name), flags, Mode::empty())?)
}

struct Walk<'a> {
    out: BufWriter<File>,
    at: u64,
    listed: Listed,
    go_on: &'a dyn Fn() -> bool,
}

/// Lists all trees into `dir`; on disk when it returns. `go_on` false: it is given up.
pub fn list(dir: &Path, trees: &[Arc<Tree>], go_on: &dyn Fn() -> bool) -> io::Result<Listed> {
    effect::at(Effect::RescueMake)?;
    let out = BufWriter::new(File::create(dir.join(NAMES))?);
    let mut walk = Walk { out, at: 0, listed: HashMap::new(), go_on };
    for tree in trees {
        let root = open_path(tree.root_fd(), b".")?;
        let stat = calls::fstat(&root)?;
        walk.enter(tree, &root, &stat, &mut Vec::new(), stat.st_dev)?;
    }
    walk.out.flush()?;
    effect::at(Effect::RescueSync)?;
    walk.out.get_ref().sync_all()?;
    Ok(walk.listed)
}

impl Walk<'_> {
    fn enter(
        &mut self, tree: &Tree, path_fd: &OwnedFd, stat: &Stat, path: &mut Vec<u8>, device: u64,
    ) -> io::Result<()> {
        if !(self.go_on)() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        self.name(tree.index, path_fd.as_fd(), stat, path)?;
        if kind_of(stat.st_mode) != FileKind::Directory {
            return Ok(());
        }
        let directory = reopen_directory(path_fd.as_fd())?;
        let mut names = names_of(&directory)?;
        names.sort();
        let local = tree.local_names(directory.as_fd())?;
        for name in names {
            let hidden = path.is_empty() && name == ASIDE.as_bytes();
            if hidden || local.stands(directory.as_fd(), &name)? {
                continue;
            }
            let fd = open_path(directory.as_fd(), &name)?;
            let stat = calls::fstat(&fd)?;
            if stat.st_dev != device {
                continue;
            }
            let length = path.len();
            if length > 0 {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            self.enter(tree, &fd, &stat, path, device)?;
            path.truncate(length);
        }
        Ok(())
    }

    fn name(&mut self, tree: u8, fd: BorrowedFd<'_>, stat: &Stat, path: &[u8]) -> io::Result<()> {
        let identity = sys::handle_of(fd)?.identity();
        let next = self.listed.len() as u32;
        let known = *self.listed.entry(identity).or_insert(Known { object: next, line: self.at });
        let name = describe(known.object, tree, fd, stat, path, identity)?;
        let bytes = line(&name);
        self.at += bytes.len() as u64;
        effect::at(Effect::RescueWrite)?;
        self.out.write_all(&bytes)
    }
}

fn describe(
    object: u32, tree: u8, fd: BorrowedFd<'_>, stat: &Stat, path: &[u8], identity: u128,
) -> io::Result<Name> {
    let kind = kind_of(stat.st_mode);
    let mtime = mtime_of(stat);
    let xattrs = xattrs::read_all(fd)?;
    Ok(Name {
        object,
        tree,
        path: escape(path),
        identity: format!("{identity:032x}"),
        kind: kind_name(kind).into(),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: if kind == FileKind::Directory { 0 } else { stat.st_size as u64 },
        mtime: (mtime.seconds, mtime.nanoseconds),
        rdev: match kind {
            FileKind::CharDevice | FileKind::BlockDevice => stat.st_rdev,
            _ => 0,
        },
        target: escape(&read_target(fd, kind)?),
        xattrs: xattrs.iter().map(|(name, value)| (escape(name), hex(value))).collect(),
    })
}

/// Reads a list that was written before, line by line.
pub fn read_list(dir: &Path) -> io::Result<Listed> {
    let mut listed = HashMap::new();
    let mut offset = 0;
    each_name(dir, |name, bytes| {
        let identity = u128::from_str_radix(&name.identity, 16).map_err(io::Error::other)?;
        listed.entry(identity).or_insert(Known { object: name.object, line: offset });
        offset += bytes.len() as u64;
        Ok(())
    })?;
    Ok(listed)
}

/// Calls `with` for each name and its line.
pub fn each_name(
    dir: &Path, mut with: impl FnMut(Name, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let path = dir.join(NAMES);
    effect::at(Effect::RescueRead)?;
    let mut reader = BufReader::new(File::open(&path)?);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes)? == 0 || bytes.last() != Some(&b'\n') {
            return Ok(());
        }
        let name = serde_json::from_slice(&bytes)
            .map_err(|e| io::Error::other(format!("{}: {e}", path.display())))?;
        with(name, &bytes)?;
    }
}
