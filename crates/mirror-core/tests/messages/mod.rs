//! Strategies for every message, and a fixed example of each for the golden vectors.
#![allow(dead_code)] // each test file uses its part

pub mod examples;

use mirror_core::generation::{Generation, LastRole, Relation, HISTORY_MAX};
use mirror_core::message::*;
use mirror_core::units::{FileId, FileTime, MAX_INODE};
use mirror_core::verify::{Seen, Verified, Verify};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// An operation that owns its bytes: strategies cannot borrow.
#[derive(Clone, Debug)]
pub struct Sample {
    pub form: usize,
    pub id: FileId,
    pub parent: FileId,
    pub name: Vec<u8>,
    pub other_name: Vec<u8>,
    pub data: Vec<u8>,
    pub target: Vec<u8>,
    pub kind: FileKind,
    pub creator: Creator,
    pub change: AttributeChange,
    pub metadata: Metadata,
    pub entries: Vec<Entry>,
    pub ids: Vec<FileId>,
    pub offset: u64,
    pub word: u32,
    pub long: u64,
    pub flag: bool,
    pub times: [FileTime; 2],
}

pub const FORMS: usize = 38;

impl Sample {
    /// One of the forms of an operation, made of this sample's parts.
    pub fn operation(&self) -> Operation<'_> {
        self.named().or_else(|| self.on_file()).unwrap_or_else(|| self.in_stream())
    }

    fn named(&self) -> Option<Operation<'_>> {
        let (id, parent, name) = (self.id, self.parent, self.name.as_slice());
        let [mtime, parent_mtime] = self.times;
        Some(match self.form {
            0 => Operation::Bind { id, parent, name },
            1 => Operation::Unbind { ids: self.ids.clone() },
            2 => Operation::Make {
                id,
                parent,
                name,
                kind: self.kind,
                mode: self.word,
                rdev: self.long,
                target: &self.target,
                creator: self.creator,
                mtime,
                parent_mtime,
            },
            3 => Operation::Link { id, parent, name, parent_mtime },
            4 => Operation::Unlink { parent, name, parent_mtime },
            5 => Operation::RemoveDirectory { parent, name, parent_mtime },
            6 => Operation::Rename {
                parent,
                name,
                new_parent: id,
                new_name: &self.other_name,
                flags: self.word,
                parent_mtime,
                new_parent_mtime: mtime,
            },
            7 => Operation::Detach { id, parent, name, parent_mtime },
            8 => Operation::Attach { id, parent, name, parent_mtime },
            _ => return None,
        })
    }

    fn on_file(&self) -> Option<Operation<'_>> {
        let (id, offset, name) = (self.id, self.offset, self.name.as_slice());
        let (mtime, kill_suid) = (self.times[0], self.flag);
        Some(match self.form {
            9 => {
                let more = !kill_suid;
                Operation::Write { id, offset, mtime, kill_suid, more, data: &self.data }
            }
            10 => Operation::Truncate { id, size: offset, mtime, kill_suid },
            11 => {
                let length = u64::from(self.word);
                Operation::Allocate { id, mode: self.word, offset, length, mtime }
            }
            12 => Operation::SetAttributes { id, change: self.change },
            13 => Operation::SetXattr { id, name, value: &self.data, flags: self.word },
            14 => Operation::RemoveXattr { id, name },
            15 => Operation::Sync { id, data_only: self.flag },
            _ => return None,
        })
    }

    fn in_stream(&self) -> Operation<'_> {
        let (id, offset) = (self.id, self.offset);
        match self.form {
            16 => Operation::ResyncBegin,
            17 => Operation::Entries { id, entries: self.entries.clone() },
            18 => Operation::EntriesEnd { id },
            19 => Operation::FileBegin { id, size: offset },
            20 => Operation::AskChecksum { id, offset, length: self.word % (4 << 20) },
            21 => Operation::Zone { id, offset, data: ZoneData::Bytes(&self.data) },
            22 => Operation::Zone { id, offset, data: ZoneData::Hole(u64::from(self.word)) },
            23 => Operation::FileEnd { id, metadata: self.metadata.clone() },
            24 => match self.entries.first() {
                Some(entry) => {
                    let (entry, parent_mtime) = (entry.clone(), self.times[1]);
                    Operation::Place { parent: self.parent, entry, parent_mtime }
                }
                None => Operation::Ping,
            },
            25 => {
                Operation::ResyncEnd { generation: self.long.max(1), history: vec![self.long; 3] }
            }
            26 => Operation::Ping,
            27 => Operation::HandOver { epoch: self.long },
            34 => Operation::SyncTree { id },
            37 => Operation::Mark { mark: self.long },
            35 => Operation::EntriesSome { id },
            36 => {
                let was = self.flag.then_some((id, self.kind));
                Operation::Vacate { parent: self.parent, name: &self.name, was }
            }
            _ => Operation::Verify(self.verify()),
        }
    }
}

impl Sample {
    fn verify(&self) -> Verify<'_> {
        let (check, parent, name) = (self.long, self.parent, self.name.as_slice());
        match self.form {
            28 => {
                let names = vec![(self.other_name.clone(), 3), (self.name.clone(), 4)];
                let (directory, path) = (self.id, self.data.as_slice());
                Verify::Names { check, directory, path, after: &[], up_to: name, names }
            }
            29 => Verify::Entry { check, parent, name },
            30 => Verify::Itself { check, directory: self.id },
            31 => {
                let (hole, length) = (self.flag, u64::from(self.word % (4 << 20)));
                let (offset, ordered) = (self.offset, !hole);
                Verify::Zone { check, parent, name, offset, length, hole, ordered }
            }
            32 => Verify::TakeAway { parent, name, parent_mtime: self.times[1] },
            _ => Verify::Repaired,
        }
    }
}

pub fn samples() -> impl Strategy<Value = Sample> {
    let files = (0..FORMS, ids(), ids(), names(), names(), vec(any::<u8>(), 0..300));
    let parts =
        (kinds(), creators(), changes(), metadata(), vec(entries(), 0..4), vec(ids(), 0..9));
    let numbers = (0..1u64 << 62, any::<u32>(), any::<u64>(), any::<bool>(), times(), times());
    (files, parts, numbers).prop_map(|(files, parts, numbers)| {
        let (form, id, parent, name, other_name, data) = files;
        let ((kind, target), creator, change, metadata, entries, ids) = parts;
        let (offset, word, long, flag, one, two) = numbers;
        let times = [one, two];
        Sample {
            form,
            id,
            parent,
            name,
            other_name,
            data,
            target,
            kind,
            creator,
            change,
            metadata,
            entries,
            ids,
            offset,
            word,
            long,
            flag,
            times,
        }
    })
}

fn ids() -> impl Strategy<Value = FileId> {
    (any::<u8>(), 1..=MAX_INODE).prop_map(|(tree, inode)| FileId::new(tree, inode))
}

fn names() -> impl Strategy<Value = Vec<u8>> {
    let byte =
        any::<u8>().prop_filter("a name has no slash and no zero", |b| *b != 0 && *b != b'/');
    vec(byte, 1..=255).prop_filter("not a way out", |n| n != b"." && n != b"..")
}

fn times() -> impl Strategy<Value = FileTime> {
    (any::<i64>(), 0..1_000_000_000u32)
        .prop_map(|(seconds, nanoseconds)| FileTime { seconds, nanoseconds })
}

/// A kind of file, and a link's target for the one kind that has it.
fn kinds() -> impl Strategy<Value = (FileKind, Vec<u8>)> {
    let kind = prop::sample::select(vec![
        FileKind::Regular,
        FileKind::Directory,
        FileKind::Symlink,
        FileKind::CharDevice,
        FileKind::BlockDevice,
        FileKind::Fifo,
        FileKind::Socket,
    ]);
    (kind, vec(1..=255u8, 1..400)).prop_map(|(kind, target)| match kind {
        FileKind::Symlink => (kind, target),
        _ => (kind, Vec::new()),
    })
}

fn creators() -> impl Strategy<Value = Creator> {
    any::<(u32, u32, u32)>().prop_map(|(uid, gid, umask)| Creator { uid, gid, umask })
}

fn changes() -> impl Strategy<Value = AttributeChange> {
    let numbers = any::<(Option<u32>, Option<u32>, Option<u32>)>();
    (numbers, proptest::option::of(times()), proptest::option::of(times())).prop_map(
        |((mode, uid, gid), atime, mtime)| AttributeChange { mode, uid, gid, atime, mtime },
    )
}

fn metadata() -> impl Strategy<Value = Metadata> {
    let xattr_name = vec(1..=255u8, 1..=255);
    let xattrs = vec((xattr_name, vec(any::<u8>(), 0..100)), 0..4);
    (any::<(u32, u32, u32)>(), 0..1u64 << 63, times(), xattrs).prop_map(
        |((mode, uid, gid), size, mtime, xattrs)| Metadata { mode, uid, gid, size, mtime, xattrs },
    )
}

fn entries() -> impl Strategy<Value = Entry> {
    (names(), ids(), kinds(), any::<u64>()).prop_map(|(name, id, (kind, target), rdev)| Entry {
        name,
        id,
        kind,
        rdev,
        target,
    })
}

pub fn reports() -> impl Strategy<Value = Report> {
    let errno = 0..=4095i32;
    let texts = any::<String>().prop_map(|t| t.chars().take(1000).collect::<String>());
    prop_oneof![
        any::<u64>().prop_map(|sequence| Report::Applied { sequence }),
        (any::<u64>(), errno.clone())
            .prop_map(|(sequence, errno)| Report::Synced { sequence, errno }),
        (any::<u64>(), errno, texts).prop_map(|(sequence, errno, text)| Report::Failed {
            sequence,
            errno,
            text
        }),
        (ids(), 0..1u64 << 62, any::<u32>(), any::<u128>(), any::<bool>()).prop_map(
            |(id, offset, length, checksum, holes_only)| Report::Checksum {
                id,
                offset,
                length,
                checksum,
                holes_only
            }
        ),
        verified().prop_map(Report::Verified),
        Just(Report::Goodbye),
    ]
}

fn verified() -> impl Strategy<Value = Verified> {
    let seen = (kinds(), any::<u64>(), metadata())
        .prop_map(|((kind, target), rdev, metadata)| Seen { kind, rdev, target, metadata });
    prop_oneof![
        (any::<u64>(), vec(names(), 0..5), any::<bool>())
            .prop_map(|(check, differing, more)| Verified::Names { check, differing, more }),
        (any::<u64>(), proptest::option::of(seen))
            .prop_map(|(check, seen)| Verified::Entry { check, seen }),
        any::<(u64, u128)>().prop_map(|(check, checksum)| Verified::Zone { check, checksum }),
        (any::<u64>(), 0..=4095i32)
            .prop_map(|(check, errno)| Verified::Unreadable { check, errno }),
    ]
}

pub fn generations() -> impl Strategy<Value = Generation> {
    let role = prop::sample::select(vec![LastRole::None, LastRole::Primary, LastRole::Secondary]);
    let history = vec(any::<u64>(), 0..=HISTORY_MAX);
    let flags = any::<(bool, bool, bool, bool)>();
    (any::<(u64, u64, u64)>(), history, role, flags).prop_map(
        |((current, base, epoch), history, role, (clean, sole, sync_target, outdated))| {
            Generation { current, base, history, role, clean, sole, sync_target, outdated, epoch }
        },
    )
}

pub fn hellos() -> impl Strategy<Value = Hello> {
    let names = ("[a-z0-9-]{1,60}", "[a-z0-9-]{1,60}", "[a-z0-9-]{1,60}");
    (names, any::<(u8, u64, bool, Option<(u64, u64)>)>(), generations()).prop_map(
        |((cluster, module, node), (trees, epoch, trusted, resume), generation)| Hello {
            cluster,
            module,
            node,
            trees,
            epoch,
            generation,
            trusted,
            resume,
        },
    )
}

pub fn welcomes() -> impl Strategy<Value = Welcome> {
    let reason = "[ -~]{0,200}";
    prop_oneof![
        any::<u64>().prop_map(|session| Welcome::Resume { session }),
        any::<(u64, u64, u64)>().prop_map(|(session, generation, epoch)| Welcome::InSync {
            session,
            generation,
            epoch
        }),
        (any::<(u64, u64, bool)>(), reason, select(Relation::ALL.to_vec())).prop_map(
            |((session, epoch, doubt), reason, relation)| Welcome::Resync {
                session,
                reason,
                epoch,
                relation,
                doubt
            }
        ),
        reason.prop_map(|reason| Welcome::Refused { reason }),
    ]
}
