//! A resync that was cut goes on where it was: what is remembered of it (`mirror_core::remembered`)
//! follows what the primary does to its files, with a secondary and without.
//!
//! Every few seconds a checkpoint is put into the stream: a sync of each tree's root, which on a
//! secondary in a resync means the whole tree. A change is noted *after* its operation stands in
//! the stream, under the file's order lock, so that no checkpoint can be believed to cover a change
//! that follows it. Names count as well: the next resync finds a file over there by its name, so a
//! file that was given another, or has several, is looked at again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;

use mirror_core::message::{FileKind, Operation};
use mirror_core::remembered::Remembered;
use mirror_core::units::FileId;
use parking_lot::Mutex;

use crate::answer::Reply;
use crate::engine::Engine;
use crate::source::Source;
use crate::tree::Inode;

#[derive(Default)]
pub struct Resumption {
    /// There may be something to forget; else a change costs nothing.
    active: AtomicBool,
    pub memory: Mutex<Remembered>,
}

/// What a change is about to make doubtful.
pub enum Doubt {
    Bytes(FileId, u64, u64),
    File(FileId),
    /// A directory moved, and with it everything below.
    All,
}

/// Notes the doubt when it goes out of scope: after the operation was put into the stream, and also
/// when the change failed half-way.
pub struct Touch<'a> {
    resumption: &'a Resumption,
    doubt: Doubt,
}

impl Drop for Touch<'_> {
    fn drop(&mut self) {
        if self.resumption.active.load(Ordering::Acquire) {
            let mut memory = self.resumption.memory.lock();
            match self.doubt {
                Doubt::Bytes(id, offset, length) => memory.changed(id, offset, length),
                Doubt::File(id) => memory.forget(id),
                Doubt::All => memory.forget_all(),
            }
        }
    }
}

impl Resumption {
    /// To be held, like the order lock, until the change stands in the stream.
    pub fn touch(&self, doubt: Doubt) -> Touch<'_> {
        Touch { resumption: self, doubt }
    }

    /// A resync into the copy of this generation begins; `unfinished`: one before did not end.
    pub fn begin(&self, copy: u64, unfinished: bool) {
        self.active.store(true, Ordering::Release);
        self.memory.lock().begin(copy, unfinished);
    }

    /// The copies are equal, or other ones from now on.
    pub fn end(&self) {
        self.memory.lock().forget_all();
        self.active.store(false, Ordering::Release);
    }
}

impl Engine {
    /// A file gets, loses or changes a name.
    pub(crate) fn touch_name(&self, inode: &Inode) -> Touch<'_> {
        self.resumption.touch(match inode.kind {
            FileKind::Directory => Doubt::All,
            _ => Doubt::File(inode.id),
        })
    }

    /// Puts a checkpoint into the stream, unless there is nothing to confirm.
    pub(crate) fn checkpoint(self: &Arc<Self>, source: &Arc<Source>) {
        let mode = self.mode.read();
        if mode.session != source.session || source.checkpoint_out.swap(true, Ordering::AcqRel) {
            return;
        }
        if !self.resumption.memory.lock().checkpoint() {
            source.checkpoint_out.store(false, Ordering::Release);
            return;
        }
        let left = Arc::new(AtomicUsize::new(self.trees.len()));
        for tree in &self.trees {
            let (engine, source, left) = (Arc::downgrade(self), source.clone(), left.clone());
            let synced = Reply::Wake(Box::new(move || {
                // Also called when nobody will answer any more; then the resync is cancelled.
                let last = left.fetch_sub(1, Ordering::AcqRel) == 1;
                if let (true, false, Some(engine)) = (last, source.is_cancelled(), engine.upgrade())
                {
                    engine.resumption.memory.lock().confirmed();
                    source.checkpoint_out.store(false, Ordering::Release);
                }
            }));
            let operation = Operation::Sync { id: FileId::root(tree.index), data_only: false };
            self.outbox.put(&operation, Some(synced));
        }
    }
}
