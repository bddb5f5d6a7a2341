//! A directory in which many names change is admitted whole: its own name goes into the log, which
//! covers all that stands below it, and then a further name in it costs no sync.
//!
//! In memory each name is noted as ever, so only what is read from a log after a crash is coarser.
//! A cover holds until the next rewrite of the log, which writes the names one by one. So whatever
//! was in the log when it began is in the log as long as it holds: when the directory gets another
//! name, that name is in the log for the same reason, and the names changed until then stand below
//! it; from there on it is covered no more.

use super::{Batch, Doubt, Identity, Name, Touched};

/// So many names of one directory are admitted one by one before it is worth a cover.
const NAMES_BEFORE: u32 = 4;

#[derive(Clone, Debug, Default)]
pub(super) struct Cover {
    /// Names that were admitted one by one since the last rewrite.
    admitted: u32,
    /// It was looked at and is not to be asked for again.
    refused: bool,
    /// The batch with the directory's own name.
    batch: Option<Batch>,
    /// A name in it was touched last.
    epoch: u32,
}

impl Cover {
    pub(super) fn touched(&mut self, epoch: u32) {
        self.epoch = epoch;
    }
}

/// A moment between which and the next no directory may have got another name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moves(u64);

impl Doubt {
    /// Is a cover worth its while, if one is possible?
    pub fn wants_cover(&self, directory: &Identity) -> Option<Moves> {
        let wants = self.covers.get(directory).is_some_and(|cover| {
            cover.admitted >= NAMES_BEFORE && !cover.refused && cover.batch.is_none()
        });
        wants.then_some(Moves(self.moves))
    }

    /// Too much stands below it: it is not asked for again before the next rewrite.
    pub fn refuse_cover(&mut self, directory: &Identity) {
        if let Some(cover) = self.covers.get_mut(directory) {
            cover.refused = true;
        }
    }

    /// All names in this directory are in doubt, for the log. `place`: where it stood at `since`.
    pub fn cover(
        &mut self, id: Identity, (parent, name): (Identity, Name), since: Moves,
    ) -> Option<Batch> {
        if since.0 != self.moves {
            return None;
        }
        let (epoch, filling) = (self.epoch, self.filling);
        let cover = self.covers.entry(id).or_default();
        if cover.batch.is_some() {
            return None;
        }
        (cover.batch, cover.epoch) = (Some(filling), epoch);
        self.queue.push(Touched::Name { directory: parent, name, before: Some(id) });
        Some(filling)
    }

    /// The batch that covers a new name in this directory. None: it is admitted by itself.
    pub(super) fn covering(&mut self, directory: &Identity) -> Option<Batch> {
        let epoch = self.epoch;
        let cover = self.covers.entry(*directory).or_default();
        if cover.batch.is_none() {
            cover.admitted += 1;
        }
        cover.epoch = epoch;
        cover.batch
    }

    /// The directory gets another name, which goes into the log.
    pub(super) fn uncover(&mut self, id: &Identity) {
        self.moves += 1;
        self.covers.remove(id);
    }

    /// Some cover has nothing to cover any more: a rewrite makes the log exact again.
    pub fn has_idle_cover(&self) -> bool {
        let idle = |epoch: u32| epoch <= self.confirmed;
        self.covers.values().any(|cover| cover.batch.is_some() && idle(cover.epoch))
    }
}
