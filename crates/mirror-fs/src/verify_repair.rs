//! Repairs what a verification has found: the secondary's copy is made what the primary's is.
//!
//! Both nodes are in step, so every change of the application is sent anyway. A repair therefore
//! only has to put what is here now into the stream, under the locks that keep it; a large file is
//! repaired zone by zone. A name that only the secondary has is moved out of the way and removed at
//! the end. A missing name of a file with several is left for a resync, which knows about links.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Release;
use std::sync::Arc;

use mirror_core::message::{Entry, FileKind, Operation, ZoneData};
use mirror_core::verify::Verify;

use crate::below::read_target;
use crate::calls;
use crate::looking::open_contents;
use crate::outbox::read_fully;
use crate::tree::{mtime_of, Inode};
use crate::verify_run::{Over, Place, Run};
use crate::verify_strict::Held;
use crate::zone::{metadata_of, only_hole};

impl Run<'_> {
    /// True: the name stands on both sides now.
    pub(crate) fn repair_entry(
        &mut self, place: &Arc<Place>, name: &[u8], what: &[&'static str],
    ) -> Result<bool, Over> {
        if !self.verification.repair {
            return Ok(false);
        }
        let absent = what.contains(&"missing") || what.contains(&"kind");
        let mut repaired = false;
        self.hold(place, name, |run, held| {
            repaired = run.make_equal(held, place, name, absent)?;
            Ok(())
        })?;
        if repaired {
            self.verification.note_repaired(place.tree.index, &place.path_of(name));
            self.compare_contents(place, name);
        }
        Ok(repaired)
    }

    fn make_equal(
        &mut self, held: &Held<'_>, place: &Arc<Place>, name: &[u8], absent: bool,
    ) -> io::Result<bool> {
        let parent = place.inode.id;
        let parent_mtime = mtime_of(&calls::fstat(held.directory.as_fd())?);
        let Some(child) = held.child else {
            self.put(Verify::TakeAway { parent, name, parent_mtime });
            return Ok(true);
        };
        let path = place.tree.path_fd(child)?;
        let stat = calls::fstat(path.as_fd())?;
        if absent {
            if stat.st_nlink > 1 && child.kind != FileKind::Directory {
                return Ok(false);
            }
            let (id, kind) = (child.id, child.kind);
            let target = read_target(path.as_fd(), kind)?;
            let entry = Entry { name: name.to_vec(), id, kind, rdev: stat.st_rdev, target };
            let placed = Operation::Place { parent, entry, parent_mtime };
            self.engine.outbox.put(&placed, None);
            child.bound_session.store(held.mode.session, Release);
        } else {
            self.bind_anew(held, place, child, name);
        }
        self.put_attributes(child, path.as_fd())?;
        Ok(true)
    }

    /// Everything but contents; a file gets its length.
    fn put_attributes(&self, inode: &Inode, path: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
        let (id, metadata) = (inode.id, metadata_of(path)?);
        let operation = Operation::FileEnd { id, metadata };
        if !mirror_core::wire::fits(&operation) {
            return Err(io::Error::other("its extended attributes are too many for a repair"));
        }
        self.engine.outbox.put(&operation, None);
        Ok(())
    }

    pub(crate) fn repair_itself(&mut self, place: &Arc<Place>) -> Result<(), Over> {
        if !self.verification.repair {
            return Ok(());
        }
        let engine = self.engine.clone();
        let mode = engine.mode.read();
        self.current(&mode)?;
        let (_order, known) = engine.ordered(&mode, &place.tree, &place.inode);
        let path = place.tree.path_fd(&place.inode);
        match (known, path) {
            (true, Ok(path)) if self.put_attributes(&place.inode, path.as_fd()).is_ok() => {
                self.verification.note_repaired(place.tree.index, &place.path);
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn repair_zone(
        &mut self, place: &Arc<Place>, name: &[u8], range: (u64, u64),
    ) -> Result<(), Over> {
        if !self.verification.repair {
            return Ok(());
        }
        self.hold(place, name, |run, held| {
            let Some(child) = held.child else { return Ok(()) };
            let file = open_contents(held.directory.as_fd(), name)?;
            run.bind_anew(held, place, child, name);
            let (id, (offset, length)) = (child.id, range);
            if only_hole(file.as_fd(), offset, length) {
                let data = ZoneData::Hole(length);
                run.engine.outbox.put(&Operation::Zone { id, offset, data }, None);
            } else {
                let mut bytes = vec![0; length as usize];
                let got = read_fully(file.as_fd(), offset, &mut bytes)?;
                let data = ZoneData::Bytes(&bytes[..got]);
                run.engine.outbox.put(&Operation::Zone { id, offset, data }, None);
            }
            run.put_attributes(child, place.tree.path_fd(child)?.as_fd())?;
            run.verification.note_repaired(place.tree.index, &place.path_of(name));
            Ok(())
        })
    }
}
