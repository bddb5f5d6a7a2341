//! Checkpoints: moments from which on both disks are known to hold the same, so that what was
//! touched before is in doubt no more (`mirror_core::doubt`).
//!
//! While the secondary has everything, one is made now and then: a new epoch begins while no change
//! is half done (the mode is held for writing), the times of written files are told, a sync of
//! every tree is put into the stream, and this node's disk is synced beside it. It counts when both
//! have answered and the session is still the same. It costs what the two syncs cost, so it is made
//! more rarely where they take long.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mirror_core::message::Operation;
use mirror_core::units::FileId;

use crate::answer::Reply;
use crate::engine::Engine;
use crate::mode::{Gate, Mode, Role};
use crate::primary::spawn;

const LOOK_UP_EVERY: Duration = Duration::from_millis(200);
/// Between two checkpoints, as a multiple of what the last one took.
const PART_OF_TIME: u32 = 20;

/// Why a checkpoint came to nothing.
struct Failed;

impl Engine {
    /// The thread that makes them.
    pub fn keep_checkpointing(self: &Arc<Self>) {
        let engine = Arc::downgrade(self);
        spawn("checkpoint", move || {
            let (mut next, mut covered) = (Instant::now(), 0);
            loop {
                std::thread::sleep(LOOK_UP_EVERY);
                let Some(engine) = engine.upgrade() else { return };
                if !engine.may_checkpoint(&engine.mode.read()) {
                    continue;
                }
                let base = engine.dirty.base();
                let first = base != engine.generation().current;
                // The first of a session is not waited for; one that failed is.
                let due = next <= Instant::now() || (first && covered != 0);
                if !due || !(first || engine.dirty.see(|doubt| doubt.is_doubtful())) {
                    continue;
                }
                let begun = Instant::now();
                let made = engine.make_checkpoint();
                covered = if made.is_ok() { engine.dirty.base() } else { 0 };
                let every = Duration::from_millis(engine.config.checkpoint_every_ms);
                // Without a rest where none is wanted at all: a test's.
                let rest = begun.elapsed() * PART_OF_TIME;
                next = Instant::now() + if every.is_zero() { every } else { every.max(rest) };
            }
        });
    }

    fn may_checkpoint(&self, mode: &Mode) -> bool {
        // While the role is handed over, answers come that the secondary has not given.
        let open = mode.gate == Gate::Open;
        let together = open && mode.role == Role::Primary && mode.session != 0 && mode.full;
        let equal = !self.dirty.is_held()
            && !self.asked.is_wanted()
            && !self.verifications.lock().repairs();
        together && equal && !self.outbox.is_lost()
    }

    fn make_checkpoint(self: &Arc<Self>) -> Result<(), Failed> {
        // Most of them before everything has to stand still.
        self.tell_times();
        let (told, done) = sync_channel(1);
        let untold;
        let (session, ended) = {
            let mode = self.mode.write();
            if !self.may_checkpoint(&mode) {
                return Err(Failed);
            }
            untold = self.tell_untold(&mode);
            if !self.untold.lock().is_empty() {
                // A time that could not be read: the other copy does not have it.
                return Err(Failed);
            }
            let ended = self.dirty.begin_checkpoint().ok_or(Failed)?;
            let left = Arc::new(AtomicUsize::new(self.trees.len()));
            for tree in &self.trees {
                let (told, left) = (told.clone(), left.clone());
                let synced = Reply::Wake(Box::new(move || {
                    if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                        let _ = told.send(());
                    }
                }));
                let operation = Operation::SyncTree { id: FileId::root(tree.index) };
                self.outbox.put(&operation, Some(synced));
            }
            (mode.session, ended)
        };
        self.forget_told(untold);
        if let Err(error) = self.sync_trees() {
            self.failure(&error);
            let _ = self.dirty.distrust("this node's disk could not be synced");
            return Err(Failed);
        }
        self.answered(&done, session)?;
        // What leaves the set must not be missing from a copy of before: that has another mark.
        let (told, heard) = sync_channel(1);
        let mark = {
            let mode = self.mode.read();
            if mode.session != session || !self.may_checkpoint(&mode) {
                return Err(Failed);
            }
            let wake = Reply::Wake(Box::new(move || {
                let _ = told.send(());
            }));
            let tell = |mark| self.outbox.put(&Operation::Mark { mark }, Some(wake));
            self.dirty.tell_mark(tell).map_err(|_| Failed)?
        };
        self.answered(&heard, session)?;
        // The answer also comes when nobody will give one any more; then the session is over.
        let mode = self.mode.read();
        if mode.session != session || !self.may_checkpoint(&mode) {
            return Err(Failed);
        }
        let current = self.generation().current;
        self.dirty.confirm(ended, mark, current, &self.outbox).map_err(|_| Failed)
    }

    fn answered(&self, answer: &Receiver<()>, session: u64) -> Result<(), Failed> {
        loop {
            match answer.recv_timeout(LOOK_UP_EVERY) {
                Ok(()) => return Ok(()),
                Err(RecvTimeoutError::Timeout) if self.mode.read().session == session => {}
                Err(_) => return Err(Failed),
            }
        }
    }
}
