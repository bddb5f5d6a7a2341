//! Requests of the kernel, as one closed union. Names and data are borrowed from the buffer.

use crate::out::Time;
pub use crate::parse::Forgets;

/// On whose behalf the kernel asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caller {
    pub uid: u32,
    pub gid: u32,
}

#[derive(PartialEq, Debug)]
pub struct Request<'a> {
    /// By this number it is answered.
    pub unique: u64,
    /// The file, or the directory of a name.
    pub node: u64,
    pub caller: Caller,
    pub operation: Operation<'a>,
}

/// `file` and `directory` are numbers that the handler gave out at open.
#[derive(PartialEq, Debug)]
pub enum Operation<'a> {
    Init(Init),
    Destroy,
    LookUp {
        name: &'a [u8],
    },
    Forget {
        lookups: u64,
    },
    ForgetSeveral(Forgets<'a>),
    GetAttributes {
        file: Option<u64>,
    },
    /// As `statx`: with the time of birth.
    GetBirth {
        file: Option<u64>,
    },
    SetAttributes(SetAttributes),
    ReadLink,
    MakeNode {
        name: &'a [u8],
        mode: u32,
        rdev: u32,
        umask: u32,
    },
    MakeDirectory {
        name: &'a [u8],
        mode: u32,
        umask: u32,
    },
    MakeSymlink {
        name: &'a [u8],
        target: &'a [u8],
    },
    Unlink {
        name: &'a [u8],
    },
    RemoveDirectory {
        name: &'a [u8],
    },
    Rename {
        name: &'a [u8],
        new_parent: u64,
        new_name: &'a [u8],
        flags: u32,
    },
    Link {
        file: u64,
        name: &'a [u8],
    },
    Open {
        flags: i32,
    },
    Create {
        name: &'a [u8],
        flags: i32,
        mode: u32,
        umask: u32,
    },
    /// A file without a name (O_TMPFILE).
    CreateUnnamed {
        mode: u32,
        umask: u32,
    },
    Read {
        file: u64,
        offset: u64,
        bytes: u32,
    },
    Write {
        file: u64,
        offset: u64,
        flags: i32,
        kill_suid: bool,
        data: &'a [u8],
    },
    Flush,
    Release {
        file: u64,
    },
    Sync {
        file: u64,
        data_only: bool,
    },
    OpenDirectory,
    ReadDirectory {
        directory: u64,
        offset: u64,
        bytes: u32,
    },
    /// With the attributes of each entry, which then counts as looked up.
    ReadDirectoryPlus {
        directory: u64,
        offset: u64,
        bytes: u32,
    },
    ReleaseDirectory {
        directory: u64,
    },
    SyncDirectory {
        data_only: bool,
    },
    StatFileSystem,
    GetXattr {
        name: &'a [u8],
        bytes: u32,
    },
    ListXattr {
        bytes: u32,
    },
    SetXattr {
        name: &'a [u8],
        value: &'a [u8],
        flags: u32,
        /// The caller may not keep the set-group-id bit with this access list.
        kill_sgid: bool,
    },
    RemoveXattr {
        name: &'a [u8],
    },
    Allocate {
        file: u64,
        offset: u64,
        length: u64,
        mode: u32,
    },
    Seek {
        file: u64,
        offset: u64,
        whence: u32,
    },
    /// What is not known here; the kernel has another way, or none.
    Unknown {
        opcode: u32,
    },
}

/// What the kernel can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Init {
    pub major: u32,
    pub minor: u32,
    pub max_readahead: u32,
    pub flags: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeOrNow {
    Time(Time),
    Now,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SetAttributes {
    pub file: Option<u64>,
    pub size: Option<u64>,
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub atime: Option<TimeOrNow>,
    pub mtime: Option<TimeOrNow>,
    /// The caller may not keep set-user-id and set-group-id bits with this change of size.
    pub kill_suid: bool,
}

/// Bytes that are no request. With a number, it can be answered with an error.
#[derive(PartialEq, Eq, Debug)]
pub struct Malformed {
    pub unique: Option<u64>,
    pub what: &'static str,
}
