//! A file at rest, as the bytes that `table` keeps of it: flags, lookups, handle, places.
//!
//! Every field of `Inode` is either in these bytes or keeps the file awake: `opens`, `held`,
//! `time_untold` and a copy that is under way do. Of the sessions in which something was true
//! (bound, to be looked at, done) only whether that is the one that began last: in any other they
//! mean nothing. All places are kept, for what is below a directory is told of by them, and a file
//! counts as local only as long as it gets no other.

use std::sync::atomic::{fence, AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

use mirror_core::message::FileKind;
use mirror_core::packed::Packed;
use mirror_core::units::FileId;
use parking_lot::Mutex;

use crate::progress::{Mark, Progress};
use crate::sys::Handle;
use crate::tree::{Inode, Place};

const KIND: u8 = 0x07;
/// Known to the secondary by number, to be looked at (`Inode::doubt_session`), done: all in the
/// session that began last.
pub const BOUND: u8 = 0x08;
pub const DOUBT: u8 = 0x10;
const DONE: u8 = 0x20;
const LOCAL: u8 = 0x40;
const LOOKED_UP: u8 = 0x80;
/// What means nothing in another session.
pub const OF_SESSION: u8 = BOUND | DOUBT | DONE;

/// The file that was put to rest, awake.
pub fn wake(tree: u8, session: u64, number: u64, bytes: &[u8]) -> Option<Inode> {
    let flags = *bytes.first()?;
    let (handle, mut rest) = handle_of(bytes)?;
    let mut places = Vec::new();
    while let Some((parent, after)) = take_number(rest) {
        let (length, after) = after.split_first()?;
        let (name, after) = after.split_at_checked(usize::from(*length))?;
        places.reserve_exact(1);
        places.push(Place { parent: FileId::new(tree, parent), name: name.into() });
        rest = after;
    }
    let mut mark = Mark::default();
    if flags & DONE != 0 {
        mark.set(session, Progress::Done);
    }
    let in_session = |flag: u8| AtomicU64::new(if flags & flag != 0 { session } else { 0 });
    let kind = FileKind::from_number(flags & KIND)?;
    let mut inode = Inode::new(FileId::new(tree, number), handle, kind);
    inode.lookups = AtomicU64::new(lookups_of(bytes));
    inode.looked_up = AtomicBool::new(flags & LOOKED_UP != 0);
    inode.bound_session = in_session(BOUND);
    inode.doubt_session = in_session(DOUBT);
    inode.local = AtomicBool::new(flags & LOCAL != 0);
    inode.places = Mutex::new(places);
    inode.order = Mutex::new(mark);
    Some(inode)
}

/// False: it has to stay awake. `hands`: the caller's and the table's hold on it. Called under the
/// table's lock, so nobody comes by another hold meanwhile.
pub fn put_to_rest(rest: &mut Packed, inode: &Arc<Inode>, session: u64, hands: usize) -> bool {
    if Arc::strong_count(inode) > hands {
        return false;
    }
    // Who let go of it has written what it had to write: that is to be seen here.
    fence(Ordering::Acquire);
    match pack(inode, session) {
        Some(bytes) => rest.insert(inode.number(), &bytes),
        None => false,
    }
}

fn pack(inode: &Inode, session: u64) -> Option<Vec<u8>> {
    let in_use = inode.id.is_root()
        || inode.opens.load(Ordering::Acquire) > 0
        || inode.time_untold.load(Ordering::Acquire)
        || inode.held.lock().is_some();
    if in_use {
        return None;
    }
    let progress = inode.order.try_lock()?.progress(session);
    let done = match progress {
        Progress::Untouched => false,
        Progress::Copying { .. } => return None,
        Progress::Done => true,
    };
    let of_session = |of: &AtomicU64| session != 0 && of.load(Ordering::Acquire) == session;
    let flags = [
        (of_session(&inode.bound_session), BOUND),
        (of_session(&inode.doubt_session), DOUBT),
        (done && session != 0, DONE),
        (inode.local.load(Ordering::Acquire), LOCAL),
        (inode.looked_up.load(Ordering::Acquire), LOOKED_UP),
    ];
    let set = flags.iter().filter(|(is, _)| *is).map(|(_, flag)| flag);
    let mut bytes = Vec::with_capacity(96);
    bytes.push(set.fold(inode.kind as u8, |all, flag| all | flag));
    put_number(&mut bytes, inode.lookups.load(Ordering::Acquire));
    put_number(&mut bytes, u64::from(inode.handle.kind() as u32));
    bytes.push(inode.handle.bytes().len() as u8);
    bytes.extend_from_slice(inode.handle.bytes());
    for place in inode.places.lock().iter() {
        put_number(&mut bytes, place.parent.inode());
        bytes.push(u8::try_from(place.name.len()).ok()?);
        bytes.extend_from_slice(&place.name);
    }
    Some(bytes)
}

fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn take_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let length = bytes.iter().take(10).position(|byte| byte & 0x80 == 0)? + 1;
    let (number, rest) = bytes.split_at(length);
    let number = number.iter().rev().fold(0, |all, byte| (all << 7) | u64::from(byte & 0x7f));
    Some((number, rest))
}

pub fn lookups_of(bytes: &[u8]) -> u64 {
    bytes.get(1..).and_then(take_number).map_or(0, |(lookups, _)| lookups)
}

/// The handle, and what follows it: the places.
pub fn handle_of(bytes: &[u8]) -> Option<(Handle, &[u8])> {
    let (_, rest) = take_number(bytes.get(1..)?)?;
    let (kind, rest) = take_number(rest)?;
    let (length, rest) = rest.split_first()?;
    let (bytes, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((Handle::new(kind as u32 as i32, bytes)?, rest))
}
