//! Modification times of files that are being written.
//!
//! Both copies must end up with the primary's times, but asking for a file's time after each write
//! is dear in a hidden way: the kernel then stamps the next write anew, so that each fsync has to
//! commit the inode as well as the data, on both nodes. So a write carries no time. A few times a
//! second, and before the role is handed over, the secondary is told the times of the files that
//! were written since. After a sudden take-over the last writes have the secondary's own times,
//! which differ by what its clock does and by a fraction of a second.

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use mirror_core::message::{AttributeChange, Operation};

use crate::engine::Engine;
use crate::mode::{Gate, Mode};
use crate::progress::Send;
use crate::tree::{mtime_of, Inode, Tree};

/// So much later, at most, a secondary knows the time of a write.
pub const TELL_EVERY: Duration = Duration::from_millis(100);

impl Engine {
    /// The file has been written to.
    pub(crate) fn time_changed(&self, tree: &Arc<Tree>, inode: &Arc<Inode>) {
        if !inode.time_untold.swap(true, Ordering::AcqRel) {
            self.untold.lock().push((tree.clone(), inode.clone()));
        }
    }

    /// Tells the secondary the times that it does not know.
    pub(crate) fn tell_times(&self) {
        let mode = self.mode.read();
        let alone = mode.session == 0;
        // When it is undecided they are kept: should the secondary come back as it left, it still
        // lacks them. After going on alone only a resync brings it back, which tells all times.
        if mode.gate != Gate::Open || !alone && self.outbox.is_lost() {
            return;
        }
        let untold = self.tell_untold(&mode);
        drop(mode);
        self.forget_told(untold);
    }

    pub(crate) fn tell_untold(&self, mode: &Mode) -> Vec<(Arc<Tree>, Arc<Inode>)> {
        let untold = std::mem::take(&mut *self.untold.lock());
        for (tree, inode) in &untold {
            match mode.session {
                0 => inode.time_untold.store(false, Ordering::Release),
                _ => self.tell_time(mode, tree, inode),
            }
        }
        untold
    }

    pub(crate) fn forget_told(&self, untold: Vec<(Arc<Tree>, Arc<Inode>)>) {
        for (tree, inode) in untold {
            // The kernel may have dropped it meanwhile.
            if inode.unused() {
                self.forget(tree.index, inode.number(), 0);
            }
        }
    }

    fn tell_time(&self, mode: &Mode, tree: &Arc<Tree>, inode: &Arc<Inode>) {
        let (mark, known) = self.ordered(mode, tree, inode);
        // Under the lock, or a verification could take a time that is on its way for one that is
        // known there.
        inode.time_untold.store(false, Ordering::Release);
        // The secondary's file changes now, which may be after a checkpoint.
        if self.note_attributes(tree, inode).is_err() {
            return;
        }
        if known && (mode.full || mark.for_attributes(mode.session) == Send::All) {
            match tree.stat(inode) {
                Ok(stat) => {
                    let mtime = Some(mtime_of(&stat));
                    let change = AttributeChange { mtime, ..AttributeChange::default() };
                    self.outbox.put(&Operation::SetAttributes { id: inode.id, change }, None);
                }
                // A file that is gone has no time to tell.
                Err(e) if matches!(e.raw_os_error(), Some(libc::ESTALE | libc::ENOENT)) => {}
                // No application waits for this answer, so nobody else would ask again.
                Err(error) => {
                    self.failure(&error);
                    self.time_changed(tree, inode);
                }
            }
        }
    }

    /// The thread that tells them, and the kernel of names that it is mistaken about.
    pub fn keep_telling_times(self: &Arc<Self>) {
        let engine = Arc::downgrade(self);
        crate::primary::spawn("times", move || loop {
            std::thread::sleep(TELL_EVERY);
            match engine.upgrade() {
                Some(engine) => {
                    if !engine.untold.lock().is_empty() {
                        engine.tell_times();
                    }
                    engine.correct_names_soon();
                }
                None => return,
            }
        });
    }
}
