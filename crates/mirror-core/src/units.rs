//! Newtypes: a number that means something carries its meaning in its type.

use std::fmt;

/// A file of the replicated trees, as the primary numbers it: the tree's index in the top byte,
/// the primary's inode number below it. The root of each tree is inode 1, as FUSE has it.
/// Valid for one session of the link; both nodes keep a table from it to their own file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u64);

/// Inode number of a tree's root in a [`FileId`].
pub const ROOT_INODE: u64 = 1;

/// Inode numbers above this are refused (the top byte belongs to the tree's index).
pub const MAX_INODE: u64 = (1 << 56) - 1;

impl FileId {
    pub fn new(tree: u8, inode: u64) -> Self {
        debug_assert!(inode <= MAX_INODE);
        FileId((u64::from(tree) << 56) | inode)
    }

    pub fn root(tree: u8) -> Self {
        FileId::new(tree, ROOT_INODE)
    }

    pub fn tree(self) -> u8 {
        (self.0 >> 56) as u8
    }

    pub fn inode(self) -> u64 {
        self.0 & MAX_INODE
    }

    pub fn is_root(self) -> bool {
        self.inode() == ROOT_INODE
    }
}

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.tree(), self.inode())
    }
}

/// Position of an operation in the one ordered stream of a session; the first is 1.
pub type Sequence = u64;

/// Counts the changes of role of a module; a command of an older epoch is refused.
pub type Epoch = u64;

/// A modification time: seconds and nanoseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FileTime {
    pub seconds: i64,
    pub nanoseconds: u32,
}
