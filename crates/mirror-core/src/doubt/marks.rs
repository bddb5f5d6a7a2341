//! Marks: by them a set is known to be no older than the other node's copy.
//!
//! A node may be brought back to an earlier moment (a snapshot of its virtual machine, a disk from
//! a backup), with a set that is whole for its own disk and lacks what the other node has got
//! since. So whoever serves puts a random number, a *mark*, into its log with each batch of
//! records, and tells it to the other node before the first change that the batch was for. The
//! other node has it on its disk before it does anything that comes after it. Then
//!
//! - a log that has the mark which the other node heard last has every record for what the other
//!   node has got from it;
//! - with each confirmed checkpoint, which begins with a mark of its own, the marks of before leave
//!   the log, so a copy from before a checkpoint finds its mark nowhere.
//!
//! Two sets are believed together only when one of the nodes has heard a mark that the other's log
//! has (`are_linked`). A node that lets something leave its own set, having served, first forgets
//! the mark that it heard as a secondary: from there on its copy is linked by what it told only.

use std::collections::VecDeque;

use super::log::{crc32, u32_at, u64_at};
use super::{Doubt, Touched};

/// A random number that no other mark had; 0 is none.
pub type Mark = u64;

/// So many are remembered. What the other node heard last is among the youngest: it lags no more
/// than the operations under way.
pub const MARKS_MAX: usize = 8192;

#[derive(Clone, Debug, Default)]
pub(super) struct Marks(VecDeque<Mark>);

impl Marks {
    pub(super) fn push(&mut self, mark: Mark) {
        if self.0.len() >= MARKS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(mark);
    }

    pub(super) fn records(&self) -> impl Iterator<Item = Touched> + '_ {
        self.0.iter().map(|mark| Touched::Mark(*mark))
    }
}

impl Doubt {
    /// The other node is about to be told this mark, which is queued for the log.
    pub fn mark(&mut self, mark: Mark) {
        self.marks.push(mark);
        self.queue.push(Touched::Mark(mark));
    }

    /// Those that may have been told, the oldest first.
    pub fn marks(&self) -> impl Iterator<Item = Mark> + '_ {
        self.marks.0.iter().copied()
    }

    /// What was touched before the checkpoint with this mark is in doubt no more.
    pub fn drop_marks_before(&mut self, mark: Mark) {
        while self.marks.0.front().is_some_and(|oldest| *oldest != mark) {
            self.marks.0.pop_front();
        }
    }
}

/// Has one of the nodes heard a mark that the other's log has? Each: what it heard, what it told.
pub fn are_linked(mine: (Mark, &[Mark]), theirs: (Mark, &[Mark])) -> bool {
    let has = |told: &[Mark], heard: Mark| heard != 0 && told.contains(&heard);
    has(mine.1, theirs.0) || has(theirs.1, mine.0)
}

/// The mark heard last, on disk: two slots that are written in turn, so that a write which was cut
/// leaves the one before. Nothing that came after the new one has been done then.
///
/// | bytes | of a slot |
/// | --- | --- |
/// | 0..4 | magic `TFHM` |
/// | 4..8 | version, 1 |
/// | 8..16 | how often a mark was written; the larger one counts |
/// | 16..24 | the mark |
/// | 24..28 | CRC-32 of bytes 0..24 |
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Heard {
    pub written: u64,
    pub mark: Mark,
}

pub const SLOT_BYTES: usize = 4096;
const MAGIC: &[u8; 4] = b"TFHM";
const VERSION: u32 = 1;

impl Heard {
    pub fn encode(self) -> Vec<u8> {
        let mut slot = MAGIC.to_vec();
        slot.extend_from_slice(&VERSION.to_le_bytes());
        slot.extend_from_slice(&self.written.to_le_bytes());
        slot.extend_from_slice(&self.mark.to_le_bytes());
        let crc = crc32([&slot, &[]]);
        slot.extend_from_slice(&crc.to_le_bytes());
        slot.resize(SLOT_BYTES, 0);
        slot
    }

    /// Where its slot begins in the file.
    pub fn offset(self) -> u64 {
        self.written % 2 * SLOT_BYTES as u64
    }

    /// From both slots; what cannot be read says that nothing was heard.
    pub fn decode(slots: &[u8]) -> Heard {
        let valid = slots.chunks_exact(SLOT_BYTES).filter(|slot| {
            slot[..4] == *MAGIC
                && u32_at(slot, 4) == VERSION
                && u32_at(slot, 24) == crc32([&slot[..24], &[]])
        });
        let heard = valid.map(|slot| Heard { written: u64_at(slot, 8), mark: u64_at(slot, 16) });
        heard.max_by_key(|heard| heard.written).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_heard_by_either_links_both() {
        for (mine, theirs, linked) in [
            ((0, &[][..]), (0, &[][..]), false),
            ((0, &[0][..]), (0, &[0][..]), false),
            ((0, &[5, 6]), (6, &[]), true),
            ((0, &[5, 6]), (7, &[]), false),
            ((7, &[]), (0, &[7, 8]), true),
            ((7, &[7]), (0, &[]), false),
            ((0, &[]), (7, &[7]), false),
        ] {
            assert_eq!(are_linked(mine, theirs), linked, "{mine:?} {theirs:?}");
            assert_eq!(are_linked(theirs, mine), linked, "{theirs:?} {mine:?}");
        }
    }

    #[test]
    fn a_checkpoint_drops_the_marks_before_its_own() {
        let mut doubt = Doubt::empty(1);
        for mark in 1..=9 {
            doubt.mark(mark);
        }
        doubt.drop_marks_before(7);
        assert_eq!(doubt.marks().collect::<Vec<_>>(), [7, 8, 9]);
        let (_, records) = doubt.rewrite();
        let after = Doubt::from_log(1, records);
        assert_eq!(after.marks().collect::<Vec<_>>(), [7, 8, 9]);
        doubt.drop_marks_before(3);
        assert_eq!(doubt.marks().count(), 0);
    }

    #[test]
    fn a_torn_slot_leaves_the_mark_before() {
        let mut file = vec![0; 2 * SLOT_BYTES];
        let mut before = Heard::default();
        for written in 1..9 {
            let heard = Heard { written, mark: written * 1000 };
            let at = heard.offset() as usize;
            for torn_at in [0, 3, 12, 20, 27] {
                let mut torn = file.clone();
                torn[at..at + torn_at].copy_from_slice(&heard.encode()[..torn_at]);
                let found = Heard::decode(&torn);
                assert_eq!(found, before, "torn at {torn_at}");
            }
            file[at..at + SLOT_BYTES].copy_from_slice(&heard.encode());
            assert_eq!(Heard::decode(&file), heard);
            before = heard;
        }
        assert_eq!(Heard::decode(&file[..100]), Heard::default());
    }
}
