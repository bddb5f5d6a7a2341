//! The replication of Twofold as pure decisions.
//!
//! No file, socket, thread, clock or unsafe code in here: input comes as arguments, what is to be
//! done comes back as values. `mirror-fs` performs it.
#![forbid(unsafe_code)]

pub mod disk;
pub mod doubt;
pub mod exclusion;
pub mod generation;
pub mod kept;
pub mod message;
pub mod pace;
pub mod packed;
pub mod pieces;
pub mod remembered;
pub mod rescue;
pub mod tree_identity;
pub mod units;
pub mod verify;
pub mod window;
pub mod wire;
pub mod yielding;
