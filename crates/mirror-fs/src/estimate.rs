//! What a resync would look at if it began now, as the primary can know it.
//!
//! What the other node has in doubt is known only when it comes; after a crash of its own as
//! primary that is added. Nothing is read but names and sizes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use mirror_core::doubt::{covered, What};
use rustix::fs::{Mode, OFlags, Stat};
use serde_json::{json, Value};

use crate::apply_resync::names_of;
use crate::calls;
use crate::control::Refusal;
use crate::doubt_told::{at, told, Doubtful};
use crate::engine::Engine;
use crate::mode::Role;
use crate::source::{bytes_of, in_both};
use crate::sys;
use crate::tree::{Tree, ASIDE};

/// Counting takes no longer: who asks waits for the answer.
const COUNT_FOR: Duration = Duration::from_secs(3);
/// Counting goes no deeper: each level has a descriptor open.
const DEEPEST: usize = 200;

struct Sum {
    files: u64,
    bytes: u64,
    names: u64,
    begun: Instant,
    /// False: there are more.
    complete: bool,
}

fn is(stat: &Stat, kind: u32) -> bool {
    stat.st_mode & libc::S_IFMT == kind
}

impl Sum {
    fn new(names: usize) -> Sum {
        let (begun, names) = (Instant::now(), names as u64);
        Sum { files: 0, bytes: 0, names, begun, complete: true }
    }

    /// A name in doubt, and everything below.
    fn add(&mut self, tree: &Tree, fd: BorrowedFd<'_>, depth: usize) -> io::Result<()> {
        let stat = calls::fstat(fd)?;
        if stat.st_dev != tree.device() {
            return Ok(());
        }
        if depth > DEEPEST || self.begun.elapsed() > COUNT_FOR {
            self.complete = false;
            return Ok(());
        }
        if !is(&stat, libc::S_IFDIR) {
            self.files += 1;
            self.bytes += if is(&stat, libc::S_IFREG) { stat.st_size as u64 } else { 0 };
            return Ok(());
        }
        let root = calls::fstat(tree.root_fd())?.st_ino == stat.st_ino;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = crate::below::reopen_directory(fd)?;
        let local = tree.local_names(directory.as_fd())?;
        for name in names_of(&directory)? {
            // What went meanwhile is found missing below.
            let stays = local.stands(directory.as_fd(), &name).unwrap_or(false);
            if root && name == ASIDE.as_bytes() || stays {
                continue;
            }
            let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&name);
            match calls::openat(&directory, name, flags, Mode::empty()) {
                Ok(below) => self.add(tree, below.as_fd(), depth + 1)?,
                // It went meanwhile.
                Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn told(&self, looks_at: &str, why: Option<&str>) -> Value {
        json!({"looks_at": looks_at, "why": why, "names": self.names, "files": self.files,
               "bytes": self.bytes, "complete": self.complete})
    }
}

impl Engine {
    pub fn estimate(&self) -> Result<Value, Refusal> {
        if self.mode.read().role != Role::Primary {
            let text = "what would be copied is known on the node that serves";
            return Err(Refusal::new("not_primary", text));
        }
        let failed = |e: io::Error| Refusal::new("io_error", e.to_string());
        let items = match self.known_doubt() {
            Ok(items) => items,
            Err(why) => return self.whole(&why).map_err(failed),
        };
        let sum = self.sum(items.into_iter().map(|doubtful| doubtful.item).collect());
        let sum = sum.map_err(failed)?;
        let looks_at = if sum.files + sum.names == 0 { "nothing" } else { "part" };
        Ok(sum.told(looks_at, None))
    }

    /// The error: why everything is compared.
    fn known_doubt(&self) -> Result<Vec<Doubtful>, String> {
        if !self.dirty.is_used() {
            return Err("no map is kept of what changes".into());
        }
        let base = self.dirty.base();
        if base == 0 || base != self.generation().base {
            return Err("what the copies had in common last is not known yet".into());
        }
        told(self)
    }

    fn whole(&self, why: &str) -> io::Result<Value> {
        let mut sum = Sum::new(0);
        for tree in &self.trees {
            sum.add(tree, tree.root_fd(), 0)?;
        }
        Ok(sum.told("everything", Some(why)))
    }

    fn sum(&self, items: Vec<mirror_core::doubt::Item>) -> io::Result<Sum> {
        let names = items.iter().filter(|item| item.what == What::Name);
        let names: std::collections::BTreeSet<_> =
            names.map(|item| (item.tree, item.path.clone())).collect();
        let mut sum = Sum::new(names.len());
        for item in &items {
            let tree = &self.trees[usize::from(item.tree)];
            let Some(handle) = at(tree, &item.path)? else { continue };
            let flags = libc::O_PATH | libc::O_NOFOLLOW;
            let Ok(fd) = sys::open_handle(tree.root_fd(), &handle, flags) else { continue };
            match &item.what {
                What::Name => {
                    let above = item.path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                    if !covered(&names, item.tree, &item.path[..above]) {
                        sum.add(tree, fd.as_fd(), 0)?;
                    }
                }
                What::File { zones, .. } if !covered(&names, item.tree, &item.path) => {
                    let size = calls::fstat(&fd)?.st_size as u64;
                    let ranges: Vec<(u64, u64)> = zones.iter().copied().map(bytes_of).collect();
                    sum.files += 1;
                    let looked_at = in_both(&ranges, &[(0, size)]);
                    sum.bytes += looked_at.iter().map(|(start, end)| end - start).sum::<u64>();
                }
                What::File { .. } => {}
            }
        }
        Ok(sum)
    }

    /// For the status.
    pub(crate) fn doubt_status(&self) -> Value {
        let base = self.dirty.base();
        let (names, files) = self.dirty.see(|doubt| doubt.doubtful());
        json!({"base_is_known": base != 0 && base == self.generation().base,
               "names": names, "files": files})
    }
}
