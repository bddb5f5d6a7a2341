//! What has been sent and not yet answered.
//!
//! Two kinds wait. *Ordered* operations are answered together, in order, by one running number
//! ("applied up to here"). *Syncs* are answered one by one and in any order, because an fsync that
//! takes long on the other disk must not hold back the writes behind it. Both have their place in
//! the one sequence, which a second sending after a cut follows.
//!
//! Invariants: sequences only grow; `acknowledged` never moves back; `bytes` is the sum of what
//! waits. The bound is the caller's: it looks at `len` and `bytes` before it pushes.

use std::collections::{BTreeMap, VecDeque};

use crate::units::Sequence;

/// How an operation is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Ordered,
    Sync,
}

struct Waiting<T> {
    bytes: usize,
    item: T,
}

/// Operations that were sent and not yet answered, with whatever is to be done when they are.
pub struct Window<T> {
    ordered: VecDeque<(Sequence, Waiting<T>)>,
    syncs: BTreeMap<Sequence, Waiting<T>>,
    last_pushed: Sequence,
    acknowledged: Sequence,
    bytes: usize,
}

impl<T> Default for Window<T> {
    fn default() -> Self {
        Window {
            ordered: VecDeque::new(),
            syncs: BTreeMap::new(),
            last_pushed: 0,
            acknowledged: 0,
            bytes: 0,
        }
    }
}

impl<T> Window<T> {
    /// `sequence` must be greater than every one before it; `bytes` is what the item counts for.
    pub fn push(&mut self, sequence: Sequence, kind: Kind, bytes: usize, item: T) {
        assert!(
            sequence > self.last_pushed,
            "sequences grow: {sequence} after {}",
            self.last_pushed
        );
        self.last_pushed = sequence;
        self.bytes += bytes;
        let waiting = Waiting { bytes, item };
        match kind {
            Kind::Ordered => self.ordered.push_back((sequence, waiting)),
            Kind::Sync => {
                self.syncs.insert(sequence, waiting);
            }
        }
    }

    /// Whether the other side can truthfully say that it has applied up to `sequence`: not beyond
    /// what was sent, and not before what it said already.
    pub fn is_plausible(&self, sequence: Sequence) -> bool {
        (self.acknowledged..=self.last_pushed).contains(&sequence)
    }

    /// Everything ordered up to `up_to` is answered: take it out, in order. Taking only the
    /// first few
    /// of the iterator leaves the rest waiting. An old acknowledgement changes nothing.
    pub fn acknowledged(&mut self, up_to: Sequence) -> impl Iterator<Item = (Sequence, T)> + '_ {
        self.acknowledged = self.acknowledged.max(up_to.min(self.last_pushed));
        std::iter::from_fn(move || {
            if self.ordered.front()?.0 > up_to {
                return None;
            }
            let (sequence, waiting) = self.ordered.pop_front()?;
            self.bytes -= waiting.bytes;
            Some((sequence, waiting.item))
        })
    }

    /// The sync with this number is answered. `None`: no such sync waits.
    pub fn synced(&mut self, sequence: Sequence) -> Option<T> {
        let waiting = self.syncs.remove(&sequence)?;
        self.bytes -= waiting.bytes;
        Some(waiting.item)
    }

    /// What is to be said again, in order, to a peer that has applied up to `applied`: everything
    /// after it, and the syncs before it that were never answered.
    pub fn unanswered(&self, applied: Sequence) -> impl Iterator<Item = (Sequence, Kind, &T)> {
        self.iter().filter(move |(sequence, kind, _)| *sequence > applied || *kind == Kind::Sync)
    }

    /// Everything that waits, in the order of the sequence.
    pub fn iter(&self) -> impl Iterator<Item = (Sequence, Kind, &T)> {
        let mut ordered = self.ordered.iter().peekable();
        let mut syncs = self.syncs.iter().peekable();
        std::iter::from_fn(move || {
            let sync_first = match (ordered.peek(), syncs.peek()) {
                (Some((ordered, _)), Some((sync, _))) => *sync < ordered,
                (None, Some(_)) => true,
                (_, None) => false,
            };
            if sync_first {
                syncs.next().map(|(sequence, w)| (*sequence, Kind::Sync, &w.item))
            } else {
                ordered.next().map(|(sequence, w)| (*sequence, Kind::Ordered, &w.item))
            }
        })
    }

    /// The syncs that wait, in the order of the sequence.
    pub fn syncs(&self) -> impl Iterator<Item = &T> {
        self.syncs.values().map(|waiting| &waiting.item)
    }

    /// Empties the window for a new session, whose sequence starts again; in order.
    pub fn take_all(&mut self) -> Vec<(Sequence, T)> {
        let window = std::mem::take(self);
        let syncs = window.syncs.into_iter();
        let mut all: Vec<_> = window.ordered.into_iter().chain(syncs).collect();
        all.sort_by_key(|(sequence, _)| *sequence);
        all.into_iter().map(|(sequence, waiting)| (sequence, waiting.item)).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn len(&self) -> usize {
        self.ordered.len() + self.syncs.len()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}
