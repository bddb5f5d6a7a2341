//! What the two engines say to each other, as one closed union.
//!
//! The primary sends [`Operation`]s, each with a sequence number, in one ordered stream. The
//! secondary answers with [`Report`]s. Before that, one [`Hello`] from the secondary and one
//! [`Welcome`] from the primary. The bytes are in `wire`; nothing else knows them.
//!
//! A file is named by [`FileId`]. The secondary learns what a number means from `Bind` (the file
//! that stands at this name at this point of the stream), from `Make`, and from the resync's
//! `Entries`; from then on a rename changes nothing.
//!
//! `mtime` fields carry the primary's modification time after the change, so that both copies have
//! the same times although each kernel stamps its own. A `Write` leaves it zero, which means "told
//! later": asking for the time after each write is dear, so it follows in a `SetAttributes`.

use crate::generation::{Generation, Relation};
use crate::units::{Epoch, FileId, FileTime, Sequence};
use crate::verify::{Verified, Verify};

/// What a directory entry is. The numbers are those of the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum FileKind {
    Regular = 1,
    Directory = 2,
    Symlink = 3,
    CharDevice = 4,
    BlockDevice = 5,
    Fifo = 6,
    Socket = 7,
}

impl FileKind {
    pub fn from_number(number: u8) -> Option<FileKind> {
        Some(match number {
            1 => FileKind::Regular,
            2 => FileKind::Directory,
            3 => FileKind::Symlink,
            4 => FileKind::CharDevice,
            5 => FileKind::BlockDevice,
            6 => FileKind::Fifo,
            7 => FileKind::Socket,
            _ => return None,
        })
    }
}

/// On whose behalf a file is made: owner, group and mode mask, exactly as the caller's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Creator {
    pub uid: u32,
    pub gid: u32,
    pub umask: u32,
}

/// The attributes a person can set. `None` leaves one as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AttributeChange {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub atime: Option<FileTime>,
    pub mtime: Option<FileTime>,
}

/// All attributes of a file as they are, sent when a resync has finished with it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metadata {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub mtime: FileTime,
    /// Every extended attribute (ACLs among them); what is not listed is removed.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// One name of a directory in a resync's listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub name: Vec<u8>,
    pub id: FileId,
    pub kind: FileKind,
    pub rdev: u64,
    /// Target of a symbolic link, else empty.
    pub target: Vec<u8>,
}

/// Contents of a zone: bytes, or nothing but zeros (which stays a hole).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ZoneData<'a> {
    Bytes(&'a [u8]),
    Hole(u64),
}

/// One step of the stream, from the primary to the secondary. Borrowed data is never copied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Operation<'a> {
    /// `id` is from now on the file that stands at `name` in `parent`.
    Bind {
        id: FileId,
        parent: FileId,
        name: &'a [u8],
    },
    /// These numbers will not be used again.
    Unbind {
        ids: Vec<FileId>,
    },
    /// A new file, directory, link target, device, fifo or socket.
    Make {
        id: FileId,
        parent: FileId,
        name: &'a [u8],
        kind: FileKind,
        mode: u32,
        rdev: u64,
        target: &'a [u8],
        creator: Creator,
        mtime: FileTime,
        parent_mtime: FileTime,
    },
    Link {
        id: FileId,
        parent: FileId,
        name: &'a [u8],
        parent_mtime: FileTime,
    },
    Unlink {
        parent: FileId,
        name: &'a [u8],
        parent_mtime: FileTime,
    },
    RemoveDirectory {
        parent: FileId,
        name: &'a [u8],
        parent_mtime: FileTime,
    },
    /// `flags` as in renameat2.
    Rename {
        parent: FileId,
        name: &'a [u8],
        new_parent: FileId,
        new_name: &'a [u8],
        flags: u32,
        parent_mtime: FileTime,
        new_parent_mtime: FileTime,
    },
    Write {
        id: FileId,
        offset: u64,
        mtime: FileTime,
        kill_suid: bool,
        /// The next piece of the same write follows: nobody waits for this one by itself.
        more: bool,
        data: &'a [u8],
    },
    Truncate {
        id: FileId,
        size: u64,
        mtime: FileTime,
        kill_suid: bool,
    },
    /// `mode` as in fallocate(2).
    Allocate {
        id: FileId,
        mode: u32,
        offset: u64,
        length: u64,
        mtime: FileTime,
    },
    SetAttributes {
        id: FileId,
        change: AttributeChange,
    },
    SetXattr {
        id: FileId,
        name: &'a [u8],
        value: &'a [u8],
        flags: u32,
    },
    RemoveXattr {
        id: FileId,
        name: &'a [u8],
    },
    /// Answered by its own [`Report::Synced`], not by the running acknowledgement.
    Sync {
        id: FileId,
        data_only: bool,
    },

    /// Everything that was applied to this tree before goes to disk; answered as a `Sync` is.
    SyncTree {
        id: FileId,
    },
    /// The primary's log of what it touches has this mark (`doubt`), and a record for whatever it
    /// says before the next. It is on the secondary's disk before anything else is done there.
    Mark {
        mark: u64,
    },

    /// The secondary's copy is not up to date from here to `ResyncEnd`; its table of
    /// numbers is empty.
    ResyncBegin,
    /// A part of the listing of a directory; several may follow each other.
    Entries {
        id: FileId,
        entries: Vec<Entry>,
    },
    /// The listing is whole: make the names of the directory exactly those.
    EntriesEnd {
        id: FileId,
    },
    /// The listing has some names of the directory only: make these, and leave the others.
    EntriesSome {
        id: FileId,
    },
    /// Whatever stands at this name goes aside. `was`: if it is of this kind, it is most likely
    /// this file, which is needed again under another name.
    Vacate {
        parent: FileId,
        name: &'a [u8],
        was: Option<(FileId, FileKind)>,
    },
    /// Work on the contents of this regular file begins; make it this long.
    FileBegin {
        id: FileId,
        size: u64,
    },
    /// Answer with the checksum of this zone ([`Report::Checksum`]).
    AskChecksum {
        id: FileId,
        offset: u64,
        length: u32,
    },
    Zone {
        id: FileId,
        offset: u64,
        data: ZoneData<'a>,
    },
    /// Contents are done; set everything else.
    FileEnd {
        id: FileId,
        metadata: Metadata,
    },
    /// The file leaves this name but will be needed again: set it aside under its number.
    Detach {
        id: FileId,
        parent: FileId,
        name: &'a [u8],
        parent_mtime: FileTime,
    },
    /// The file known as `id` also gets this name (it may stand aside, or elsewhere).
    Attach {
        id: FileId,
        parent: FileId,
        name: &'a [u8],
        parent_mtime: FileTime,
    },
    /// A file that is not known yet gets this name, empty; its contents follow later.
    Place {
        parent: FileId,
        entry: Entry,
        parent_mtime: FileTime,
    },
    /// Everything has been said: the copy is that of this generation, which has this past.
    ResyncEnd {
        generation: u64,
        history: Vec<u64>,
    },

    /// The copies are compared while they are in use.
    Verify(Verify<'a>),

    /// Nothing to say, still here.
    Ping,
    /// The primary has stopped writing for good; the copy is complete. `goes_on`: it expects the
    /// other to serve.
    HandOver {
        epoch: Epoch,
    },
}

/// From the secondary to the primary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// Everything up to this number has been applied. Also sent when idle, as a sign of life.
    Applied {
        sequence: Sequence,
    },
    /// The sync with this number is on disk (errno 0) or failed.
    Synced {
        sequence: Sequence,
        errno: i32,
    },
    /// The operation with this number could not be applied: this copy is no longer good.
    Failed {
        sequence: Sequence,
        errno: i32,
        text: String,
    },
    Checksum {
        id: FileId,
        offset: u64,
        length: u32,
        checksum: u128,
        holes_only: bool,
    },
    Verified(Verified),
    /// Leaving in order; not coming back by itself.
    Goodbye,
}

/// First message of the secondary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    pub cluster: String,
    pub module: String,
    pub node: String,
    pub trees: u8,
    pub epoch: Epoch,
    pub generation: Generation,
    /// This copy is exactly that of its generation (stopped in order, or never away).
    pub trusted: bool,
    /// The session this copy was part of, and how far it got: (session, last applied).
    pub resume: Option<(u64, Sequence)>,
}

/// What the primary makes of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Welcome {
    /// Go on after `applied` in the same session.
    Resume {
        session: u64,
    },
    /// Both copies are equal: start a new session with nothing to copy.
    InSync {
        session: u64,
        generation: u64,
        epoch: Epoch,
    },
    /// Start a new session with a resync. `relation` is the primary's view of the two copies: it
    /// tells the secondary whether what will be overwritten is data that nobody else has. `doubt`:
    /// only what may differ (`doubt`) is looked at.
    Resync {
        session: u64,
        reason: String,
        epoch: Epoch,
        relation: Relation,
        doubt: bool,
    },
    Refused {
        reason: String,
    },
}

impl ZoneData<'_> {
    /// How much of the file it covers.
    pub fn length(&self) -> u64 {
        match self {
            ZoneData::Bytes(bytes) => bytes.len() as u64,
            ZoneData::Hole(length) => *length,
        }
    }
}

impl Operation<'_> {
    /// Belongs to a resync only.
    pub fn is_resync(&self) -> bool {
        use Operation as O;
        matches!(
            self,
            O::ResyncBegin
                | O::Entries { .. }
                | O::EntriesEnd { .. }
                | O::EntriesSome { .. }
                | O::Vacate { .. }
                | O::FileBegin { .. }
                | O::AskChecksum { .. }
                | O::Zone { .. }
                | O::FileEnd { .. }
                | O::Detach { .. }
                | O::Attach { .. }
                | O::Place { .. }
                | O::ResyncEnd { .. }
        )
    }
}
