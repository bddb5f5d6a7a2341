//! A file at rest, as the bytes that `table` keeps of it: flags, lookups, handle, places.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use mirror_core::message::FileKind;
use mirror_core::packed::Packed;
use mirror_core::units::FileId;
use parking_lot::Mutex;

use crate::progress::{Mark, Progress};
use crate::sys::Handle;
use crate::tree::{Inode, Place};

const KIND: u8 = 0x07;
/// Bound, and done, in the session that began last.
pub const BOUND: u8 = 0x08;
pub const DONE: u8 = 0x10;
/// It has, or had, several names.
pub const LINKED: u8 = 0x20;

/// The file that was put to rest, awake.
pub fn wake(tree: u8, session: u64, number: u64, bytes: &[u8]) -> Option<Inode> {
    let flags = *bytes.first()?;
    let (handle, mut rest) = handle_of(bytes)?;
    let mut places = Vec::new();
    while let Some((parent, after)) = take_number(rest) {
        let (length, after) = after.split_first()?;
        let (name, after) = after.split_at_checked(usize::from(*length))?;
        places.push(Place { parent: FileId::new(tree, parent), name: name.into() });
        rest = after;
    }
    let mut mark = Mark::default();
    if flags & DONE != 0 {
        mark.set(session, Progress::Done);
    }
    let kind = FileKind::from_number(flags & KIND)?;
    let mut inode = Inode::new(FileId::new(tree, number), handle, kind);
    inode.lookups = AtomicU64::new(lookups_of(bytes));
    inode.bound_session = AtomicU64::new(if flags & BOUND != 0 { session } else { 0 });
    inode.linked.store(flags & LINKED != 0, Ordering::Relaxed);
    inode.places = Mutex::new(places);
    inode.order = Mutex::new(mark);
    Some(inode)
}

/// False: it has to stay awake. `hands`: the caller's and the table's hold on it.
pub fn put_to_rest(rest: &mut Packed, inode: &Arc<Inode>, session: u64, hands: usize) -> bool {
    let held = Arc::strong_count(inode) > hands
        || inode.id.is_root()
        || inode.opens.load(Ordering::Acquire) > 0
        || inode.time_untold.load(Ordering::Acquire)
        || inode.held.lock().is_some();
    if held {
        return false;
    }
    let Some(mark) = inode.order.try_lock() else { return false };
    let mut flags = inode.kind as u8;
    match mark.progress(session) {
        Progress::Untouched => {}
        Progress::Copying { .. } => return false,
        Progress::Done => flags |= DONE,
    }
    if session != 0 && inode.bound_session.load(Ordering::Acquire) == session {
        flags |= BOUND;
    }
    let places = inode.places.lock();
    let linked = inode.linked.load(Ordering::Relaxed) || places.len() > 1;
    flags |= if linked { LINKED } else { 0 };
    let lookups = inode.lookups.load(Ordering::Acquire);
    let mut bytes = Vec::with_capacity(96);
    bytes.push(flags);
    put_number(&mut bytes, lookups);
    put_number(&mut bytes, u64::from(inode.handle.kind() as u32));
    bytes.push(inode.handle.bytes().len() as u8);
    bytes.extend_from_slice(inode.handle.bytes());
    // A file of one name that the kernel does not know comes back by that name.
    if lookups > 0 || linked {
        for place in places.iter() {
            let Ok(length) = u8::try_from(place.name.len()) else { return false };
            put_number(&mut bytes, place.parent.inode());
            bytes.push(length);
            bytes.extend_from_slice(&place.name);
        }
    }
    rest.insert(inode.number(), &bytes)
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
