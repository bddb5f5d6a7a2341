//! Whose data is newer: a pure comparison of two small records, one of each node.
//!
//! A *generation* is a random number that names one version of the data. Both copies have the same
//! number while they are connected. The first write that one node makes without the other gives
//! that
//! node a fresh number *before* the write is released, and the old number moves into its past. So:
//!
//! - a node that wrote nothing alone has not diverged: its number is in the other's past;
//! - two nodes that both wrote alone have different numbers and a common past: a split brain;
//! - no common past at all: two different sets of data, which must never be merged in silence.
//!
//! Clocks play no part. The past is the base (the last number both nodes had) and a short history.
//! The comparison is symmetric: swapped arguments give the mirrored answer, so that both nodes
//! always come to the same conclusion. Learned from DRBD's generation identifiers.

use crate::units::Epoch;

/// How many older generations are remembered.
pub const HISTORY_MAX: usize = 10;

/// The role this node had last; it breaks the tie between equal copies after both were away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum LastRole {
    #[default]
    None = 0,
    Primary = 1,
    Secondary = 2,
}

impl LastRole {
    pub fn from_number(number: u8) -> Option<LastRole> {
        match number {
            0 => Some(LastRole::None),
            1 => Some(LastRole::Primary),
            2 => Some(LastRole::Secondary),
            _ => None,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            LastRole::None => "none",
            LastRole::Primary => "primary",
            LastRole::Secondary => "secondary",
        }
    }

    pub fn from_name(name: &str) -> Option<LastRole> {
        match name {
            "none" => Some(LastRole::None),
            "primary" => Some(LastRole::Primary),
            "secondary" => Some(LastRole::Secondary),
            _ => None,
        }
    }
}

/// What a node knows about its own copy. Kept on disk (see `disk`), sent in the handshake.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Generation {
    /// Names the version of the data that stands on this node; 0: there is none yet.
    pub current: u64,
    /// The last generation that both nodes had; equal to `current` when nothing was written alone.
    pub base: u64,
    /// Older generations, the youngest first, at most [`HISTORY_MAX`].
    pub history: Vec<u64>,
    pub role: LastRole,
    /// Stopped in order: the copy is exactly that of its generation.
    pub clean: bool,
    /// This node went on alone, so nobody else can be newer.
    pub sole: bool,
    /// A resync into this node did not end: the copy is a mixture of two versions.
    pub sync_target: bool,
    /// This node handed over, or was told that the other goes on.
    pub outdated: bool,
    /// The highest epoch of any command seen.
    pub epoch: Epoch,
}

/// What a copy is worth, as far as its node can know by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Worth {
    Nothing,
    /// Two versions mixed: a resync into it did not end, and what was there before is gone.
    Mixture,
    /// The same, but the copy from before that resync can be brought back: consistent, and older
    /// than the other node's. Serving it takes a person's decision, and makes it a generation of
    /// its own: the other node's changes are not in it.
    MixtureOverKept,
    /// Whole, and the other node is known to have gone on.
    Older,
    UpToDate,
}

impl Worth {
    /// The word used in status and interfaces.
    pub fn as_str(self) -> &'static str {
        match self {
            Worth::Nothing => "nothing",
            Worth::Mixture => "mixture",
            Worth::MixtureOverKept => "mixture_over_kept",
            Worth::Older => "older",
            Worth::UpToDate => "up_to_date",
        }
    }
}

/// How my generation compares with the other node's. The numbers are those of the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Relation {
    Equal = 0,
    MineNewer = 1,
    TheirsNewer = 2,
    MineBlank = 3,
    TheirsBlank = 4,
    BothBlank = 5,
    Diverged = 6,
    Unrelated = 7,
}

impl Relation {
    pub const ALL: [Relation; 8] = [
        Relation::Equal,
        Relation::MineNewer,
        Relation::TheirsNewer,
        Relation::MineBlank,
        Relation::TheirsBlank,
        Relation::BothBlank,
        Relation::Diverged,
        Relation::Unrelated,
    ];

    pub fn from_number(number: u8) -> Option<Relation> {
        Relation::ALL.into_iter().find(|relation| *relation as u8 == number)
    }

    /// The word used in status, journal and interfaces.
    pub fn as_str(self) -> &'static str {
        match self {
            Relation::Equal => "equal",
            Relation::MineNewer => "mine_newer",
            Relation::TheirsNewer => "theirs_newer",
            Relation::MineBlank => "mine_blank",
            Relation::TheirsBlank => "theirs_blank",
            Relation::BothBlank => "both_blank",
            Relation::Diverged => "diverged",
            Relation::Unrelated => "unrelated",
        }
    }

    /// The same relation as the other node sees it.
    pub fn mirrored(self) -> Relation {
        match self {
            Relation::MineNewer => Relation::TheirsNewer,
            Relation::TheirsNewer => Relation::MineNewer,
            Relation::MineBlank => Relation::TheirsBlank,
            Relation::TheirsBlank => Relation::MineBlank,
            same => same,
        }
    }
}

/// How `mine` compares with `theirs`.
///
/// The rows, from the first that holds: a side without data is blank; the same current number is
/// equal; a current number in the other's past makes the other newer (in *both* pasts at once can
/// only be damage, and is treated as divergence so that a person looks at it); a common number in
/// both pasts is divergence; nothing in common is unrelated.
pub fn compare(mine: &Generation, theirs: &Generation) -> Relation {
    match (mine.has_data(), theirs.has_data()) {
        (false, false) => return Relation::BothBlank,
        (false, true) => return Relation::MineBlank,
        (true, false) => return Relation::TheirsBlank,
        (true, true) => {}
    }
    if mine.current == theirs.current {
        return Relation::Equal;
    }
    let mine_descends = mine.descends_from(theirs.current);
    let theirs_descends = theirs.descends_from(mine.current);
    match (mine_descends, theirs_descends) {
        (true, false) => Relation::MineNewer,
        (false, true) => Relation::TheirsNewer,
        (true, true) => Relation::Diverged,
        (false, false) if mine.past().any(|number| theirs.descends_from(number)) => {
            Relation::Diverged
        }
        (false, false) => Relation::Unrelated,
    }
}

impl Generation {
    pub fn has_data(&self) -> bool {
        self.current != 0
    }

    /// The generations before the current one: base, then history. Zeros are "nothing", never data.
    fn past(&self) -> impl Iterator<Item = u64> + '_ {
        let past = std::iter::once(self.base).chain(self.history.iter().copied());
        past.filter(move |number| *number != 0 && *number != self.current)
    }

    fn descends_from(&self, number: u64) -> bool {
        self.past().any(|older| older == number)
    }

    /// The record of a node that holds the first good data of a module.
    pub fn first(fresh: u64, epoch: Epoch) -> Generation {
        assert_ne!(fresh, 0, "generation 0 means no data");
        Generation { current: fresh, base: fresh, epoch, ..Generation::default() }
    }

    /// This node is about to write what the other does not get: a fresh number, made durable before
    /// the write is released. The base stays the last number both had: a node that forks
    /// again while
    /// it is still alone must not forget where it left the other, however often it does.
    #[must_use]
    pub fn fork(&self, fresh: u64) -> Generation {
        assert!(fresh != 0 && fresh != self.current, "a fork needs a fresh generation");
        Generation {
            current: fresh,
            base: if self.base == 0 { self.current } else { self.base },
            history: self.history_with_current(),
            ..self.clone()
        }
    }

    /// Both nodes agree on a fresh number while they are connected and equal.
    #[must_use]
    pub fn advance(&self, fresh: u64) -> Generation {
        Generation { base: fresh, ..self.fork(fresh) }
    }

    /// A resync into this node has ended: the copy is that of the primary.
    #[must_use]
    pub fn adopt(&self, theirs: &Generation) -> Generation {
        Generation {
            current: theirs.current,
            base: theirs.current,
            history: theirs.history.clone(),
            sync_target: false,
            outdated: false,
            sole: false,
            ..self.clone()
        }
    }

    /// The peer has received everything: nothing is known to this node alone any more.
    #[must_use]
    pub fn shared(&self) -> Generation {
        Generation { base: self.current, sole: false, ..self.clone() }
    }

    /// Before this node writes what the other does not get: is a fresh number needed? Not when it
    /// is alone and has one already. To be alone is not enough: it may have gone on alone, written
    /// nothing, and been stopped; then the other still has the same number.
    pub fn must_fork(&self) -> bool {
        !(self.sole && self.current != self.base)
    }

    /// `kept`: the copy from before an unfinished resync can be brought back.
    pub fn worth(&self, kept: bool) -> Worth {
        if !self.has_data() {
            Worth::Nothing
        } else if self.sync_target {
            if kept {
                Worth::MixtureOverKept
            } else {
                Worth::Mixture
            }
        } else if self.outdated {
            Worth::Older
        } else {
            Worth::UpToDate
        }
    }

    /// The data is whole and nobody is known to have newer. What is kept makes no difference here.
    pub fn up_to_date(&self) -> bool {
        self.worth(false) == Worth::UpToDate
    }

    /// Whether this node may become primary without hearing its peer.
    pub fn may_serve_without_peer(&self) -> bool {
        self.up_to_date() && self.sole
    }

    fn history_with_current(&self) -> Vec<u64> {
        let current = Some(self.current).filter(|number| *number != 0);
        let older = self.history.iter().copied().filter(|number| *number != self.current);
        current.into_iter().chain(older).take(HISTORY_MAX).collect()
    }
}
