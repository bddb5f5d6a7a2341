//! What is saved of a copy that is about to be overwritten: the decisions, without the world.
//!
//! A node whose data is not contained in the primary's (both wrote alone, or it was never part of
//! the pair) has something that nobody else has. Before a resync takes that away it is saved, in
//! a *rescue*: a directory of its own for each lost version of the data. What is here decides
//! whether there is one, in which form a file goes into it, and whether there is room. The bounds
//! are never crossed in silence: the oldest finished rescue makes room, and where that is not
//! enough the resync stops, unless the configuration says to go on without saving.

use crate::generation::Relation;

/// Contents of large files are saved in pieces of this size, aligned to it.
pub const ZONE_BYTES: u64 = 1 << 20;

/// Why there is something to save.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    Diverged,
    NeverReplicated,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Diverged => "diverged",
            Reason::NeverReplicated => "never_replicated",
        }
    }
}

/// What a resync into this node has to do about a rescue before it begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// Nothing here is only here.
    Nothing,
    /// Write down what is here, then save what is about to change.
    Begin(Reason),
    /// A resync was cut short: what it had not overwritten yet is still to be saved.
    GoOn,
    /// The copy is a mixture already, and there is no list of what was here before.
    TooLate,
}

/// What is known when the primary has spoken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Before {
    /// This node's copy against the primary's.
    pub relation: Relation,
    /// A resync into this copy has begun and not ended.
    pub sync_target: bool,
    /// There is an unfinished rescue of this very generation.
    pub begun: bool,
    /// There is nothing in the directories.
    pub empty: bool,
}

pub fn plan(before: Before) -> Plan {
    let reason = match before.relation {
        Relation::Diverged => Reason::Diverged,
        Relation::MineBlank => Reason::NeverReplicated,
        _ => return Plan::Nothing,
    };
    match (before.sync_target, before.begun, before.empty) {
        (true, true, _) => Plan::GoOn,
        // A first copy that was cut: everything here came from the primary.
        (true, false, _) if reason == Reason::NeverReplicated => Plan::Nothing,
        (true, false, _) => Plan::TooLate,
        // A list made before, of which nothing came, may be out of date: it is made again.
        (false, _, true) => Plan::Nothing,
        (false, _, false) => Plan::Begin(reason),
    }
}

/// What to do when there is no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WhenFull {
    /// Overwrite nothing more: the resync fails, a person decides.
    #[default]
    Stop,
    /// Overwrite without saving, and write down what was lost.
    GoOn,
}

/// The bounds of all rescues of a module on a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    pub limit_bytes: u64,
    /// How many rescues there may be.
    pub keep: u32,
    /// Space that stays free on the file system of the rescues, or a tenth of a smaller one.
    pub reserve_bytes: u64,
    /// A file up to this size is saved whole, a larger one by zones (unless a copy costs nothing).
    pub whole_file_bytes: u64,
    pub when_full: WhenFull,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            limit_bytes: 10 << 30,
            keep: 5,
            reserve_bytes: 2 << 30,
            whole_file_bytes: 64 << 20,
            when_full: WhenFull::Stop,
        }
    }
}

/// Whether so many bytes more may be saved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    Yes,
    /// After the oldest finished rescue is removed; ask again then.
    RemoveOldest,
    /// Stop, because of this bound.
    Stop(Bound),
    /// Leave it out, and write that down.
    LeaveOut(Bound),
}

/// The file system that the rescues lie on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disk {
    pub bytes: u64,
    pub free_bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bound {
    Limit,
    Reserve,
}

impl Limits {
    /// What stays free on a file system of this size.
    pub fn reserve(&self, disk_bytes: u64) -> u64 {
        self.reserve_bytes.min(disk_bytes / 10)
    }

    /// `used` by all rescues, `finished` older ones that may go.
    pub fn room(&self, need: u64, used: u64, disk: Disk, finished: usize) -> Room {
        let reserve = self.reserve(disk.bytes);
        let bound = if used.saturating_add(need) > self.limit_bytes {
            Bound::Limit
        } else if disk.free_bytes < reserve.saturating_add(need) {
            Bound::Reserve
        } else {
            return Room::Yes;
        };
        match (finished, self.when_full) {
            (1.., _) => Room::RemoveOldest,
            (0, WhenFull::Stop) => Room::Stop(bound),
            (0, WhenFull::GoOn) => Room::LeaveOut(bound),
        }
    }

    /// Is a file with this much data saved whole?
    pub fn whole(&self, data_bytes: u64) -> bool {
        data_bytes <= self.whole_file_bytes
    }
}

/// The zones (by number) that a range of a file touches, no further than its end.
pub fn zones(offset: u64, length: u64, size: u64) -> std::ops::Range<u64> {
    let end = offset.saturating_add(length).min(size);
    if end <= offset {
        return 0..0;
    }
    offset / ZONE_BYTES..end.div_ceil(ZONE_BYTES)
}

/// The name of a rescue: when it was begun (UTC), and the generation that it saves.
pub fn directory_name(unix_s: u64, generation: u64) -> String {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z-{generation:016x}")
}

/// Does this look like the name of a rescue? Nothing else is ever opened or removed as one.
pub fn is_directory_name(name: &str) -> bool {
    let shape = |(at, byte): (usize, u8)| match at {
        8 => byte == b'T',
        15 => byte == b'Z',
        16 => byte == b'-',
        17.. => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        _ => byte.is_ascii_digit(),
    };
    name.len() == 33 && name.bytes().enumerate().all(shape)
}

/// Year, month and day of a number of days since 1970 (the proleptic Gregorian calendar).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}
