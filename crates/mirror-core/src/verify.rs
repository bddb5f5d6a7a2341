//! What is said while two running copies are compared, as closed unions.
//!
//! The application goes on writing, so a comparison is made in two steps. First *beside* the
//! stream, cheaply, in large parts: what is equal then is equal. What is not may only have been
//! looked at at two different moments; it is looked at once more *in* the stream, with the file's
//! order lock held where it is asked for, so that both copies are at the same point. Only what
//! differs there is a difference.
//!
//! A file is named by its directory and name, not by its number: what a number means is part of
//! what is to be verified. Every question has a number of its own, `check`; the answer carries it.

use crate::message::{FileKind, Metadata};
use crate::units::{FileId, FileTime};

/// Names in one question, and names in one answer.
pub const NAMES_MAX: usize = 4096;
pub const DIFFERING_MAX: usize = 512;

/// From the primary to the secondary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verify<'a> {
    /// Beside the stream: of the names after `after`, up to and with `up_to` (empty: no bound),
    /// which are not as this list has them?
    Names {
        check: u64,
        directory: FileId,
        /// The directory's path in its tree, empty for the root: exclusions are by path.
        path: &'a [u8],
        after: &'a [u8],
        up_to: &'a [u8],
        /// Name and digest, ascending by name.
        names: Vec<(Vec<u8>, u128)>,
    },
    /// In the stream: what stands at this name?
    Entry { check: u64, parent: FileId, name: &'a [u8] },
    /// In the stream: what are the attributes of this directory?
    Itself { check: u64, directory: FileId },
    /// The checksum of a range. `hole`: it is only asked whether there are nothing but zeros.
    Zone {
        check: u64,
        parent: FileId,
        name: &'a [u8],
        offset: u64,
        length: u64,
        hole: bool,
        /// In the stream; else beside it.
        ordered: bool,
    },
    /// The primary has no such name: move it out of the way.
    TakeAway { parent: FileId, name: &'a [u8], parent_mtime: FileTime },
    /// Repairs are over: what was moved out of the way is needed no longer.
    Repaired,
}

/// Everything that two copies of a file must have in common but their contents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub kind: FileKind,
    pub rdev: u64,
    /// Target of a symbolic link, else empty.
    pub target: Vec<u8>,
    /// The size of a directory means nothing and is zero.
    pub metadata: Metadata,
}

/// From the secondary to the primary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verified {
    /// These names differ, or are on one side only. `more`: others do too.
    Names { check: u64, differing: Vec<Vec<u8>>, more: bool },
    /// `None`: nothing is there.
    Entry { check: u64, seen: Option<Seen> },
    /// For a hole: 0 when there are only zeros, else 1.
    Zone { check: u64, checksum: u128 },
    /// It could not be read.
    Unreadable { check: u64, errno: i32 },
}

impl Seen {
    /// In what the other differs, in words for a person; empty: in nothing.
    pub fn differences(&self, other: &Seen) -> Vec<&'static str> {
        if self.kind != other.kind || self.rdev != other.rdev || self.target != other.target {
            return vec!["kind"];
        }
        let (mine, theirs) = (&self.metadata, &other.metadata);
        let checks = [
            ("mode", mine.mode == theirs.mode || self.kind == FileKind::Symlink),
            ("owner", (mine.uid, mine.gid) == (theirs.uid, theirs.gid)),
            ("size", mine.size == theirs.size),
            ("mtime", mine.mtime == theirs.mtime),
            ("xattr", mine.xattrs == theirs.xattrs),
        ];
        checks.iter().filter(|(_, same)| !same).map(|(word, _)| *word).collect()
    }
}

impl Verified {
    pub fn check(&self) -> u64 {
        match self {
            Verified::Names { check, .. }
            | Verified::Entry { check, .. }
            | Verified::Zone { check, .. }
            | Verified::Unreadable { check, .. } => *check,
        }
    }
}
