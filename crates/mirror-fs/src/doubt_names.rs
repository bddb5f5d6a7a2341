//! Which files stand at a name in doubt, or below one: those are looked at whole, however they came
//! to stand there, and need not be told of by themselves.
//!
//! A file in doubt that is not where it was noted must be among them: what gave it its name noted
//! that first. After a crash it may also be back at a name that it had before. If it is not, the
//! set lacks something, and everything is compared.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use mirror_core::doubt::covered;
use mirror_core::message::FileKind;
use rustix::fs::{Mode, OFlags};

use crate::apply_resync::names_of;
use crate::calls;
use crate::doubt_told::{joined, opened_at};
use crate::sys::{self, Handle};
use crate::tree::{kind_of, Tree};

/// More names are not gone through: the application may be waiting.
const LOOKED_AT_MAX: usize = 50_000;

/// Names in doubt: tree and path.
pub(crate) type Names = BTreeSet<(u8, Vec<u8>)>;

/// How many of its names were found.
pub(crate) type Found = HashMap<Handle, u64>;

/// The files among these that stand at or below the names in doubt.
pub(crate) fn standing_in_doubt(
    tree: &Tree, names: &Names, sought: impl Fn(&Handle) -> bool,
) -> io::Result<Found> {
    let above = |path: &[u8]| path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    let own = names.iter().filter(|(index, path)| {
        *index == tree.index && !covered(names, *index, &path[..above(path)])
    });
    let mut left: Vec<Vec<u8>> = own.map(|(_, path)| path.clone()).collect();
    let (mut found, mut looked_at) = (Found::new(), 0);
    while let Some(path) = left.pop() {
        looked_at += 1;
        if looked_at > LOOKED_AT_MAX {
            return Err(io::Error::other("too much stands below what is in doubt"));
        }
        let Some(fd) = opened_at(tree, &path)? else { continue };
        let stat = calls::fstat(&fd)?;
        if stat.st_dev != tree.device() {
            continue;
        }
        if kind_of(stat.st_mode) == FileKind::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let below = calls::openat(fd.as_fd(), OsStr::from_bytes(b"."), flags, Mode::empty())?;
            left.extend(names_of(&below)?.iter().map(|name| joined(&path, name)));
            continue;
        }
        let handle = sys::handle_of(fd.as_fd())?;
        if sought(&handle) {
            *found.entry(handle).or_default() += 1;
        }
    }
    Ok(found)
}
