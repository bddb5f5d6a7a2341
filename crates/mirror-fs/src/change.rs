//! Everything that can change a replicated tree, as one closed union.
//!
//! A change arrives with borrowed data and is usually done at once. When writes are frozen it is
//! made to own its data and waits, with its answer, until the control plane has spoken.

use std::borrow::Cow;

use mirror_core::message::{AttributeChange, Creator, FileKind};

pub type Name<'a> = Cow<'a, [u8]>;

/// Files are named by their number in the tree; `file` is an open file of `files::OpenFiles`.
pub enum Change<'a> {
    Make {
        parent: u64,
        name: Name<'a>,
        node: NewNode<'a>,
        creator: Creator,
    },
    /// Make a regular file and open it with these flags of open(2).
    Create {
        parent: u64,
        name: Name<'a>,
        mode: u32,
        flags: i32,
        creator: Creator,
    },
    /// Make a regular file without a name and open it.
    CreateUnnamed {
        parent: u64,
        mode: u32,
        creator: Creator,
    },
    Link {
        number: u64,
        parent: u64,
        name: Name<'a>,
    },
    Unlink {
        parent: u64,
        name: Name<'a>,
    },
    RemoveDirectory {
        parent: u64,
        name: Name<'a>,
    },
    Rename {
        parent: u64,
        name: Name<'a>,
        new_parent: u64,
        new_name: Name<'a>,
        flags: u32,
    },
    Write {
        number: u64,
        file: u64,
        offset: u64,
        data: Cow<'a, [u8]>,
        kill_suid: bool,
        sync: Durable,
    },
    SetAttributes {
        number: u64,
        file: Option<u64>,
        size: Option<u64>,
        kill_suid: bool,
        change: AttributeChange,
    },
    SetXattr {
        number: u64,
        name: Name<'a>,
        value: Cow<'a, [u8]>,
        flags: u32,
        /// The set-group-id bit goes with it.
        kill_sgid: bool,
    },
    RemoveXattr {
        number: u64,
        name: Name<'a>,
    },
    Allocate {
        number: u64,
        file: u64,
        mode: u32,
        offset: u64,
        length: u64,
    },
    Sync {
        number: u64,
        file: Option<u64>,
        data_only: bool,
    },
}

/// What a name is made of, besides a regular file that is opened.
pub struct NewNode<'a> {
    pub kind: FileKind,
    pub mode: u32,
    pub rdev: u64,
    /// Of a symbolic link.
    pub target: Name<'a>,
}

/// What a write that returned means for the disk (O_DSYNC, O_SYNC).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durable {
    No,
    Data,
    All,
}

fn own(data: Cow<'_, [u8]>) -> Cow<'static, [u8]> {
    Cow::Owned(data.into_owned())
}

impl Change<'_> {
    pub fn into_owned(self) -> Change<'static> {
        match self {
            Change::Make { parent, name, node, creator } => {
                let NewNode { kind, mode, rdev, target } = node;
                let node = NewNode { kind, mode, rdev, target: own(target) };
                Change::Make { parent, name: own(name), node, creator }
            }
            Change::Create { parent, name, mode, flags, creator } => {
                Change::Create { parent, name: own(name), mode, flags, creator }
            }
            Change::CreateUnnamed { parent, mode, creator } => {
                Change::CreateUnnamed { parent, mode, creator }
            }
            Change::Link { number, parent, name } => {
                Change::Link { number, parent, name: own(name) }
            }
            Change::Unlink { parent, name } => Change::Unlink { parent, name: own(name) },
            Change::RemoveDirectory { parent, name } => {
                Change::RemoveDirectory { parent, name: own(name) }
            }
            Change::Rename { parent, name, new_parent, new_name, flags } => Change::Rename {
                parent,
                name: own(name),
                new_parent,
                new_name: own(new_name),
                flags,
            },
            Change::Write { number, file, offset, data, kill_suid, sync } => {
                Change::Write { number, file, offset, data: own(data), kill_suid, sync }
            }
            Change::SetAttributes { number, file, size, kill_suid, change } => {
                Change::SetAttributes { number, file, size, kill_suid, change }
            }
            Change::SetXattr { number, name, value, flags, kill_sgid } => {
                let (name, value) = (own(name), own(value));
                Change::SetXattr { number, name, value, flags, kill_sgid }
            }
            Change::RemoveXattr { number, name } => Change::RemoveXattr { number, name: own(name) },
            Change::Allocate { number, file, mode, offset, length } => {
                Change::Allocate { number, file, mode, offset, length }
            }
            Change::Sync { number, file, data_only } => Change::Sync { number, file, data_only },
        }
    }
}
