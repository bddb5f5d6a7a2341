//! The second look of a verification: with the order lock held here, at that point of the stream
//! there. What differs now is a difference; it is noted, and repaired where that was asked for.
//!
//! Of a name, the lock of its directory keeps it and the lock of the file keeps its attributes and
//! contents; a directory's own attributes are kept by its own lock, so they are asked for apart.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use std::sync::Arc;

use mirror_core::message::{AttributeChange, FileKind, Operation};
use mirror_core::verify::{Seen, Verified, Verify};

use crate::looking::{open_contents, seen, sum_of};
use crate::mode::Mode;
use crate::tree::{mtime_of, Inode, PathFd, Tree};
use crate::verify_run::{Asked, Over, Place, Run, Suspect};

/// A name that stands still: what is there, while its locks are held.
pub(crate) struct Held<'h> {
    pub mode: &'h Mode,
    pub directory: &'h PathFd<'h>,
    pub child: Option<&'h Arc<Inode>>,
}

impl Run<'_> {
    pub(crate) fn look_again(&mut self, suspect: Suspect) -> Result<(), Over> {
        self.verification.figures.looked_twice.fetch_add(1, Relaxed);
        match suspect {
            Suspect::Itself { place } => self.itself(place),
            Suspect::Entry { place, name } => {
                self.hold(&place.clone(), &name.clone(), |run, held| run.entry(held, place, name))
            }
            Suspect::Zone { place, name, offset, length } => {
                self.hold(&place.clone(), &name.clone(), |run, held| {
                    run.zone(held, place, name, (offset, length))
                })
            }
        }
    }

    /// Runs `work` with the locks of a name held. Something that is gone is no matter.
    pub(crate) fn hold(
        &mut self, place: &Arc<Place>, name: &[u8],
        work: impl FnOnce(&mut Self, &Held<'_>) -> io::Result<()>,
    ) -> Result<(), Over> {
        let engine = self.engine.clone();
        let mode = engine.mode.read();
        self.current(&mode)?;
        let tree: &Tree = &place.tree;
        let (_names, known) = engine.ordered(&mode, tree, &place.inode);
        if !known {
            return Ok(());
        }
        let mut work = Some(work);
        let mut done = || -> io::Result<()> {
            let directory = tree.path_fd(&place.inode)?;
            let child = match tree.find_at(directory.as_fd(), place.inode.id, name) {
                Ok((inode, _)) => Some(inode),
                Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::EXDEV)) => None,
                Err(e) => return Err(e),
            };
            let file = child.as_ref().filter(|inode| inode.kind != FileKind::Directory);
            let _contents = file.map(|inode| inode.order.lock());
            if let Some(file) = file {
                self.tell_time_now(&mode, tree, file)?;
            }
            let held = Held { mode: &mode, directory: &directory, child: child.as_ref() };
            let done = work.take().map_or(Ok(()), |work| work(self, &held));
            if let Some(child) = &child {
                self.release_later(tree, child);
            }
            done
        };
        match done() {
            Err(error) if !gone(&error) => self.unreadable(tree.index, place.path_of(name), &error),
            _ => {}
        }
        Ok(())
    }

    /// The secondary is told the time of a write before it is asked for it.
    fn tell_time_now(&self, mode: &Mode, tree: &Tree, inode: &Inode) -> io::Result<()> {
        if inode.time_untold.load(Relaxed) && inode.bound(mode.session) {
            let mtime = Some(mtime_of(&tree.stat(inode)?));
            inode.time_untold.swap(false, AcqRel);
            let change = AttributeChange { mtime, ..AttributeChange::default() };
            self.engine.outbox.put(&Operation::SetAttributes { id: inode.id, change }, None);
        }
        Ok(())
    }

    fn entry(&mut self, held: &Held<'_>, place: Arc<Place>, name: Box<[u8]>) -> io::Result<()> {
        let mine = match held.child {
            Some(child) => Some(seen(place.tree.path_fd(child)?.as_fd())?),
            None => None,
        };
        let parent = place.inode.id;
        let check = self.remember(Asked::Entry { place, name: name.clone(), mine });
        self.put(Verify::Entry { check, parent, name: &name });
        Ok(())
    }

    fn itself(&mut self, place: Arc<Place>) -> Result<(), Over> {
        let engine = self.engine.clone();
        let mode = engine.mode.read();
        self.current(&mode)?;
        let (_order, known) = engine.ordered(&mode, &place.tree, &place.inode);
        if known && self.tell_time_now(&mode, &place.tree, &place.inode).is_err() {
            return Ok(()); // it is gone
        }
        let mine = place.tree.path_fd(&place.inode).and_then(|fd| seen(fd.as_fd()));
        if let (true, Ok(mine)) = (known, mine) {
            let directory = place.inode.id;
            let check = self.remember(Asked::Itself { place: place.clone(), mine });
            self.put(Verify::Itself { check, directory });
        }
        Ok(())
    }

    fn zone(
        &mut self, held: &Held<'_>, place: Arc<Place>, name: Box<[u8]>, range: (u64, u64),
    ) -> io::Result<()> {
        if held.child.is_none_or(|child| child.kind != FileKind::Regular) {
            return Ok(());
        }
        let file = open_contents(held.directory.as_fd(), &name)?;
        let (offset, length) = range;
        let size = crate::tree::size_of(file.as_fd())?;
        let length = length.min(size.saturating_sub(offset));
        if length == 0 {
            return Ok(());
        }
        let sum = sum_of(file.as_fd(), offset, length, false)?;
        let parent = place.inode.id;
        let asked =
            Asked::Zone { place, name: name.clone(), range: (offset, length), sum, ordered: true };
        let check = self.remember(asked);
        let (hole, ordered) = (false, true);
        self.put(Verify::Zone { check, parent, name: &name, offset, length, hole, ordered });
        Ok(())
    }

    /// An answer from the stream: what it says stands.
    pub(crate) fn settled(&mut self, asked: Asked, answer: Verified) -> Result<(), Over> {
        match (asked, answer) {
            (Asked::Entry { place, name, mine }, Verified::Entry { seen, .. }) => {
                self.entry_settled(&place, &name, mine.as_ref(), seen.as_ref())
            }
            (Asked::Itself { place, mine }, Verified::Entry { seen: Some(theirs), .. }) => {
                let what = mine.differences(&theirs);
                if !what.is_empty() {
                    self.differs(&place, b"", &what, None);
                    self.repair_itself(&place)?;
                }
                Ok(())
            }
            (Asked::Zone { place, name, range, sum, .. }, Verified::Zone { checksum, .. }) => {
                if sum != checksum {
                    self.differs(&place, &name, &["contents"], Some(range));
                    self.repair_zone(&place, &name, range)?;
                }
                Ok(())
            }
            (Asked::Names { place } | Asked::Itself { place, .. }, _) => {
                self.differs(&place, b"", &["unreadable"], None);
                Ok(())
            }
            (Asked::Entry { place, name, .. } | Asked::Zone { place, name, .. }, _) => {
                self.do_not_enter(&place, &name);
                self.differs(&place, &name, &["unreadable"], None);
                Ok(())
            }
        }
    }

    fn entry_settled(
        &mut self, place: &Arc<Place>, name: &[u8], mine: Option<&Seen>, theirs: Option<&Seen>,
    ) -> Result<(), Over> {
        let what = match (mine, theirs) {
            (None, None) => return Ok(()),
            (None, Some(_)) => vec!["extra"],
            (Some(_), None) => vec!["missing"],
            (Some(mine), Some(theirs)) if mine.kind == theirs.kind && is_directory(mine) => {
                // Its attributes are kept by its own lock.
                return self.look_at_directory(place, name);
            }
            (Some(mine), Some(theirs)) => mine.differences(theirs),
        };
        if !what.is_empty() {
            self.differs(place, name, &what, None);
            let repaired = self.repair_entry(place, name, &what)?;
            let absent = what.contains(&"missing") || what.contains(&"kind");
            if absent && !repaired {
                self.do_not_enter(place, name);
            }
        } else if let Some(mine) = mine.filter(|mine| mine.kind == FileKind::Regular) {
            if mine.metadata.size <= crate::looking::SMALL_BYTES {
                self.suspect_range(place, name, (0, mine.metadata.size));
            }
        }
        Ok(())
    }

    fn look_at_directory(&mut self, place: &Arc<Place>, name: &[u8]) -> Result<(), Over> {
        if let Some(place) = self.directory_at(place, name)? {
            self.suspects.push(Suspect::Itself { place });
        }
        Ok(())
    }

    fn differs(&self, place: &Place, name: &[u8], what: &[&'static str], zone: Option<(u64, u64)>) {
        let path = match name {
            b"" => place.path.clone(),
            name => place.path_of(name),
        };
        self.verification.note(place.tree.index, path, what, zone);
    }

    /// A file has its number, on both sides, from its name on.
    pub(crate) fn bind_anew(&self, held: &Held<'_>, place: &Place, inode: &Inode, name: &[u8]) {
        let parent = place.inode.id;
        self.engine.outbox.put(&Operation::Bind { id: inode.id, parent, name }, None);
        inode.bound_session.store(held.mode.session, Release);
    }
}

fn is_directory(seen: &Seen) -> bool {
    seen.kind == FileKind::Directory
}

/// It was removed meanwhile.
pub(crate) fn gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ESTALE | libc::ENOENT | libc::ENOTDIR))
}
