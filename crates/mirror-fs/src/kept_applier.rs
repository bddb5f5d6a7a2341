//! Where an operation of the stream is about to change what is kept (`kept`): each is looked at
//! before it is applied. What a listing changes is known only while it is applied; there the
//! applier calls `keep_names` itself.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use mirror_core::generation::Worth;
use mirror_core::message::{FileKind, Operation};
use mirror_core::units::FileId;
use serde_json::json;

use crate::apply::Applier;
use crate::calls;
use crate::engine::Engine;
use crate::follower::DISK_FULL;
use crate::kept::{read, same_attributes, Keeper};
use crate::kept_restore;
use crate::tree::{kind_of, size_of};

impl Applier {
    /// Keeps what this operation is about to change.
    pub(crate) fn keep_before(&mut self, operation: &Operation<'_>) -> io::Result<()> {
        use Operation as O;
        if self.kept.is_none() || !self.resync.running {
            return Ok(());
        }
        match operation {
            O::Write { id, .. }
            | O::Truncate { id, .. }
            | O::Allocate { id, .. }
            | O::Zone { id, .. } => self.keep_contents(*id),
            O::FileBegin { id, size } => {
                let fd = self.contents(*id)?;
                match size_of(fd.as_fd())? == *size {
                    true => self.with_keeper(|k| k.prepare_contents(id.tree(), fd.as_fd())),
                    false => self.with_keeper(|k| k.contents(id.tree(), fd.as_fd())),
                }
            }
            O::FileEnd { id, metadata } => {
                let path = self.path_fd(*id)?;
                let stat = calls::fstat(&path)?;
                let regular = kind_of(stat.st_mode) == FileKind::Regular;
                if regular && stat.st_size as u64 != metadata.size {
                    self.keep_contents(*id)?;
                }
                if same_attributes(path.as_fd(), metadata)? {
                    return Ok(());
                }
                self.with_keeper(|k| k.attributes(id.tree(), path.as_fd()))
            }
            O::SetAttributes { id, .. } | O::SetXattr { id, .. } | O::RemoveXattr { id, .. } => {
                let path = self.path_fd(*id)?;
                self.with_keeper(|k| k.attributes(id.tree(), path.as_fd()))
            }
            O::Make { parent, .. }
            | O::Link { parent, .. }
            | O::Unlink { parent, .. }
            | O::RemoveDirectory { parent, .. }
            | O::Detach { parent, .. }
            | O::Attach { parent, .. }
            | O::Place { parent, .. } => {
                let directory = self.directory(*parent)?;
                self.keep_names(*parent, &directory)
            }
            O::Rename { parent, new_parent, .. } => {
                let (old, new) = (self.directory(*parent)?, self.directory(*new_parent)?);
                self.keep_names(*parent, &old)?;
                self.keep_names(*new_parent, &new)
            }
            _ => Ok(()),
        }
    }

    fn with_keeper(&mut self, what: impl FnOnce(&mut Keeper) -> io::Result<()>) -> io::Result<()> {
        let Some(keeper) = &mut self.kept else { return Ok(()) };
        what(keeper)?;
        if let Some(why) = keeper.ended() {
            let why = why.to_owned();
            if let Some(told) = &self.kept_told {
                *told.lock() = Some(Err(why));
            }
            self.kept = None;
        }
        Ok(())
    }

    fn keep_contents(&mut self, id: FileId) -> io::Result<()> {
        let fd = self.contents(id)?;
        self.with_keeper(|k| k.contents(id.tree(), fd.as_fd()))
    }

    /// Before names come into or go from a directory of the tree of `id`.
    pub(crate) fn keep_names(&mut self, id: FileId, directory: &OwnedFd) -> io::Result<()> {
        self.with_keeper(|k| k.names(id.tree(), directory.as_fd()))
    }

    /// This object was made here and now: there is nothing of it to keep.
    pub(crate) fn keep_made(&mut self, id: FileId) {
        if let (Some(keeper), Some(handle)) = (&mut self.kept, self.known.get(&id)) {
            keeper.made(id.tree(), &handle);
        }
    }
}

impl Engine {
    /// A resync into this node is about to begin: keeps what stands, where that is possible and
    /// worth it. To be called before it is recorded that the copy is a mixture.
    pub(crate) fn begin_keeping(&self) -> Option<Keeper> {
        let generation = self.generation();
        if !generation.has_data() {
            *self.kept.lock() = None;
            return None;
        }
        let keeper = match generation.sync_target {
            false => Keeper::begin(&self.trees, generation.current),
            true => Keeper::resume(&self.trees, generation.current),
        };
        let (keeper, told) = match keeper {
            Ok(keeper) => (Some(keeper), Ok(())),
            Err(why) => (None, Err(why)),
        };
        match &told {
            Ok(()) => tracing::info!("the copy as it is now is kept until the resync has ended"),
            Err(why) => tracing::info!("the copy as it is now is not kept: {why}"),
        }
        *self.kept.lock() = Some(told);
        keeper
    }

    /// What this node's copy is worth.
    pub(crate) fn worth(&self) -> Worth {
        let kept = matches!(*self.kept.lock(), Some(Ok(())));
        self.generation().worth(kept)
    }

    /// The copy that was kept is the copy that counts now.
    pub(crate) fn forget_kept(&self) {
        *self.kept.lock() = None;
        if let Err(error) = kept_restore::clear(&self.trees) {
            // It is hidden and belongs to an older generation: nobody takes it for anything.
            tracing::warn!("what was kept cannot be removed: {error}");
        }
    }

    /// A resync into this node has ended because its disk has no room. What it moved out of the way
    /// goes, or no other would come further: the next one brings nothing of it back. But for what
    /// only this node had and is being saved, which is taken from there at the end.
    pub(crate) fn make_room(&self, applier: &Applier) {
        let of_disk = |(what, _): &(&str, String)| *what == DISK_FULL;
        let is_full = self.facts.lock().failed.as_ref().is_some_and(of_disk);
        if is_full && applier.resync.running && applier.rescue.is_none() {
            tracing::info!("what the resync moved out of the way is removed, to make room");
            self.forget_kept();
        }
    }

    /// For the status: null, or whether the copy from before the resync is kept.
    pub(crate) fn kept_status(&self) -> serde_json::Value {
        match &*self.kept.lock() {
            None => serde_json::Value::Null,
            Some(Ok(())) => {
                json!({"kept": true, "text": "the copy from before the resync is kept"})
            }
            Some(Err(why)) => {
                let text = format!("no copy from before the resync is kept: {why}");
                json!({"kept": false, "text": text})
            }
        }
    }

    /// At the start: is there a kept copy of an unfinished resync?
    pub(crate) fn find_kept(&self) {
        let generation = self.generation();
        if generation.sync_target {
            let all = self.trees.iter().map(|tree| read(tree, generation.current).map(|_| ()));
            *self.kept.lock() = Some(all.collect());
        }
    }
}
