//! The kernel's side of a FUSE mount: what it asks, what it is answered, what it is told unasked.
//!
//! Each `read` of a descriptor of /dev/fuse gives one request, whole. It has a number, and it is
//! answered once, by one `write` of the descriptor that it came by, from any thread, at any time:
//! so an answer is a value (`Reply`) that can wait in a queue. Several threads have a descriptor
//! each (`Session`), among which the kernel shares the requests out.
//!
//! `parse` turns bytes into a closed union (`request`) and touches nothing; `out` makes the bytes
//! of answers; `session`, `reply` and `notices` read and write. All that stands here about the
//! protocol is from the kernel's `include/uapi/linux/fuse.h`. Numbers are in the order of the
//! processor.
//!
//! Nothing here knows of files: that is the handler's.

pub mod abi;
mod device;
mod listing;
mod notices;
mod out;
mod parse;
mod reply;
mod request;
mod session;

pub use listing::Listing;
pub use notices::Notices;
pub use out::{Attributes, Entry, FileSystem, Time};
pub use reply::Reply;
pub use request::{Caller, Forgets, Init, Malformed, Operation, Request, SetAttributes, TimeOrNow};
pub use session::{Handler, Session, Wishes};
