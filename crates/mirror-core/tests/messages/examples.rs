//! One fixed example of each message. The golden vectors are made of these; never change one, add.

use mirror_core::generation::{Generation, LastRole, Relation};
use mirror_core::message::*;
use mirror_core::units::{FileId, FileTime};
use mirror_core::verify::{Seen, Verified, Verify};
use mirror_core::wire;

const TIME: FileTime = FileTime { seconds: 1_700_000_000, nanoseconds: 123_456_789 };
const BEFORE_1970: FileTime = FileTime { seconds: -2, nanoseconds: 999_999_999 };

fn id(inode: u64) -> FileId {
    FileId::new(1, inode)
}

fn generation() -> Generation {
    Generation {
        current: 0x1122_3344_5566_7788,
        base: 0x8877_6655_4433_2211,
        history: vec![0x8877_6655_4433_2211, 3],
        role: LastRole::Primary,
        clean: true,
        sole: true,
        sync_target: false,
        outdated: false,
        epoch: 42,
    }
}

fn entries() -> Vec<Entry> {
    vec![
        Entry {
            name: b"file with \xff byte".to_vec(),
            id: id(20),
            kind: FileKind::Regular,
            rdev: 0,
            target: vec![],
        },
        Entry {
            name: b"link".to_vec(),
            id: id(21),
            kind: FileKind::Symlink,
            rdev: 0,
            target: b"../elsewhere".to_vec(),
        },
        Entry {
            name: b"tty".to_vec(),
            id: id(22),
            kind: FileKind::CharDevice,
            rdev: 0x0405,
            target: vec![],
        },
    ]
}

/// Every example as (name, frame).
pub fn all() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let operations = names().into_iter().chain(contents()).chain(stream());
    for (sequence, (name, operation)) in (1..).zip(operations) {
        let mut frame = Vec::new();
        wire::encode_operation(sequence, &operation, &mut frame);
        all.push((name.to_owned(), frame));
    }
    for (name, report) in reports() {
        let mut frame = Vec::new();
        wire::encode_report(&report, &mut frame);
        all.push((name.to_owned(), frame));
    }
    all.extend(handshake());
    for (name, operation) in verification() {
        let mut frame = Vec::new();
        wire::encode_operation(1000, &operation, &mut frame);
        all.push((name.to_owned(), frame));
    }
    for (name, operation) in doubt() {
        let mut frame = Vec::new();
        wire::encode_operation(2000, &operation, &mut frame);
        all.push((name.to_owned(), frame));
    }
    let mut part = Vec::new();
    wire::encode_doubt(b"a part of a list", &mut part);
    all.push(("doubt".to_owned(), part));
    for (name, verified) in verified() {
        let mut frame = Vec::new();
        wire::encode_report(&Report::Verified(verified), &mut frame);
        all.push((name.to_owned(), frame));
    }
    all
}

type Named = Vec<(&'static str, Operation<'static>)>;

fn names() -> Named {
    let (parent, name, parent_mtime, mtime) = (FileId::root(1), &b"name"[..], TIME, BEFORE_1970);
    vec![
        ("bind", Operation::Bind { id: id(7), parent, name }),
        ("unbind", Operation::Unbind { ids: vec![id(7), id(8)] }),
        (
            "make_link",
            Operation::Make {
                id: id(9),
                parent,
                name,
                kind: FileKind::Symlink,
                mode: 0o120_777,
                rdev: 0,
                target: b"/target",
                creator: Creator { uid: 1000, gid: 100, umask: 0o022 },
                mtime,
                parent_mtime,
            },
        ),
        ("link", Operation::Link { id: id(9), parent, name, parent_mtime }),
        ("unlink", Operation::Unlink { parent, name, parent_mtime }),
        ("remove_directory", Operation::RemoveDirectory { parent, name, parent_mtime }),
        (
            "rename",
            Operation::Rename {
                parent,
                name,
                new_parent: id(30),
                new_name: b"new",
                flags: 1,
                parent_mtime,
                new_parent_mtime: mtime,
            },
        ),
        ("detach", Operation::Detach { id: id(9), parent, name, parent_mtime }),
        ("attach", Operation::Attach { id: id(9), parent, name, parent_mtime }),
    ]
}

fn contents() -> Named {
    let (id, offset, mtime) = (id(12), 0x1_0000, TIME);
    let change = AttributeChange { mode: Some(0o640), mtime: Some(TIME), ..Default::default() };
    vec![
        (
            "write",
            Operation::Write {
                id,
                offset,
                mtime,
                kill_suid: true,
                more: false,
                data: b"sixteen bytes ok",
            },
        ),
        ("truncate", Operation::Truncate { id, size: 5, mtime, kill_suid: false }),
        ("allocate", Operation::Allocate { id, mode: 3, offset, length: 4096, mtime }),
        ("set_attributes", Operation::SetAttributes { id, change }),
        (
            "set_xattr",
            Operation::SetXattr { id, name: b"user.mime", value: b"text/plain", flags: 1 },
        ),
        ("remove_xattr", Operation::RemoveXattr { id, name: b"user.mime" }),
        ("sync", Operation::Sync { id, data_only: true }),
    ]
}

fn stream() -> Named {
    let (id, offset) = (id(12), 1 << 20);
    let metadata = Metadata {
        mode: 0o100_600,
        uid: 1,
        gid: 2,
        size: 3,
        mtime: TIME,
        xattrs: vec![(b"user.empty".to_vec(), vec![]), (b"user.x".to_vec(), vec![0, 255])],
    };
    let place = Operation::Place {
        parent: FileId::root(0),
        entry: entries().remove(1),
        parent_mtime: TIME,
    };
    vec![
        ("resync_begin", Operation::ResyncBegin),
        ("entries", Operation::Entries { id: FileId::root(1), entries: entries() }),
        ("entries_end", Operation::EntriesEnd { id: FileId::root(1) }),
        ("file_begin", Operation::FileBegin { id, size: 3 << 20 }),
        ("ask_checksum", Operation::AskChecksum { id, offset, length: 1 << 20 }),
        ("zone_bytes", Operation::Zone { id, offset, data: ZoneData::Bytes(b"zone") }),
        ("zone_hole", Operation::Zone { id, offset, data: ZoneData::Hole(1 << 40) }),
        ("file_end", Operation::FileEnd { id, metadata }),
        ("place", place),
        ("resync_end", Operation::ResyncEnd { generation: 77, history: vec![76, 75] }),
        ("ping", Operation::Ping),
        ("hand_over", Operation::HandOver { epoch: 43 }),
    ]
}

fn verification() -> Named {
    let (check, parent, directory, name) = (7, FileId::root(1), id(30), &b"name"[..]);
    let names = vec![(b"a".to_vec(), 1 << 127), (b"c \xff".to_vec(), 2)];
    let names =
        Verify::Names { check, directory, path: b"one/two", after: b"", up_to: b"c \xff", names };
    let zone = |hole, ordered, length| {
        let offset = 1 << 20;
        Operation::Verify(Verify::Zone { check, parent, name, offset, length, hole, ordered })
    };
    vec![
        ("verify_names", Operation::Verify(names)),
        ("verify_entry", Operation::Verify(Verify::Entry { check, parent, name })),
        ("verify_itself", Operation::Verify(Verify::Itself { check, directory })),
        ("verify_zone", zone(false, true, 1 << 20)),
        ("verify_hole", zone(true, false, 1 << 40)),
        (
            "verify_take_away",
            Operation::Verify(Verify::TakeAway { parent, name, parent_mtime: TIME }),
        ),
        ("verify_repaired", Operation::Verify(Verify::Repaired)),
    ]
}

fn doubt() -> Named {
    let (parent, name) = (FileId::root(1), &b"name"[..]);
    let was = Some((id(9), FileKind::Directory));
    vec![
        ("sync_tree", Operation::SyncTree { id: parent }),
        ("entries_some", Operation::EntriesSome { id: id(30) }),
        ("vacate", Operation::Vacate { parent, name, was: None }),
        ("vacate_was", Operation::Vacate { parent, name, was }),
    ]
}

fn verified() -> Vec<(&'static str, Verified)> {
    let check = 7;
    let metadata = Metadata {
        mode: 0o640,
        uid: 1,
        gid: 2,
        size: 3,
        mtime: TIME,
        xattrs: vec![(b"user.x".to_vec(), vec![0, 255])],
    };
    let target = b"elsewhere".to_vec();
    let seen = Some(Seen { kind: FileKind::Symlink, rdev: 0, target, metadata });
    vec![
        ("verified_names", Verified::Names { check, differing: vec![b"a".to_vec()], more: true }),
        ("verified_entry", Verified::Entry { check, seen }),
        ("verified_missing", Verified::Entry { check, seen: None }),
        ("verified_zone", Verified::Zone { check, checksum: 5 }),
        ("unreadable", Verified::Unreadable { check, errno: 5 }),
    ]
}

fn reports() -> Vec<(&'static str, Report)> {
    vec![
        ("applied", Report::Applied { sequence: 500 }),
        ("synced", Report::Synced { sequence: 501, errno: 0 }),
        (
            "failed",
            Report::Failed { sequence: 502, errno: 28, text: "No space left — full".into() },
        ),
        (
            "checksum",
            Report::Checksum {
                id: id(12),
                offset: 1 << 20,
                length: 1 << 20,
                checksum: 0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10,
                holes_only: false,
            },
        ),
        ("goodbye", Report::Goodbye),
    ]
}

fn handshake() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let hello = Hello {
        cluster: "9f0c".into(),
        module: "files".into(),
        node: "b".into(),
        trees: 2,
        epoch: 41,
        generation: generation(),
        trusted: true,
        resume: Some((0xfeed, 1234)),
    };
    for (name, hello) in [
        ("hello_blank", Hello { generation: Generation::default(), resume: None, ..hello.clone() }),
        ("hello", hello),
    ] {
        let mut frame = Vec::new();
        wire::encode_hello(&hello, &mut frame);
        all.push((name.to_owned(), frame));
    }
    let (session, generation, epoch) = (0xfeed, 77, 42);
    for (name, welcome) in [
        ("welcome_resume", Welcome::Resume { session }),
        ("welcome_in_sync", Welcome::InSync { session, generation, epoch }),
        (
            "welcome_resync",
            Welcome::Resync {
                session,
                reason: "both went on alone".into(),
                epoch,
                relation: Relation::Diverged,
                doubt: false,
            },
        ),
        (
            "welcome_resync_doubt",
            Welcome::Resync {
                session,
                reason: "its copy is older".into(),
                epoch,
                relation: Relation::MineNewer,
                doubt: true,
            },
        ),
        ("welcome_refused", Welcome::Refused { reason: "another cluster".into() }),
    ] {
        let mut frame = Vec::new();
        wire::encode_welcome(&welcome, &mut frame);
        all.push((name.to_owned(), frame));
    }
    all
}
