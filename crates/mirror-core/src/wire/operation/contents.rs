//! Operations on one file: its bytes, its attributes, its safety on disk.
//!
//! The fixed fields before bulk data are padded to a multiple of eight.

use super::super::bytes::{Reader, Writer};
use super::super::{kinds, WireError, MAX_DATA_BYTES};
use crate::message::{AttributeChange, Operation};

const MODE: u8 = 1;
const UID: u8 = 2;
const GID: u8 = 4;
const ATIME: u8 = 8;
const MTIME: u8 = 16;
const ALL: u8 = MODE | UID | GID | ATIME | MTIME;

/// Append the fields without bulk data, or answer false: not one of these.
pub fn encode(operation: &Operation<'_>, w: &mut Writer<'_>) -> bool {
    match operation {
        Operation::Write { id, offset, mtime, kill_suid, more, data: _ } => {
            w.id(*id).u64(*offset).time(*mtime).flag(*kill_suid).flag(*more).zeros(2);
        }
        Operation::Truncate { id, size, mtime, kill_suid } => {
            w.id(*id).u64(*size).time(*mtime).flag(*kill_suid);
        }
        Operation::Allocate { id, mode, offset, length, mtime } => {
            w.id(*id).u32(*mode).u64(*offset).u64(*length).time(*mtime);
        }
        Operation::SetAttributes { id, change } => {
            w.id(*id);
            encode_change(change, w);
        }
        Operation::SetXattr { id, name, value, flags } => {
            w.id(*id).name(name).value(value).u32(*flags);
        }
        Operation::RemoveXattr { id, name } => {
            w.id(*id).name(name);
        }
        Operation::Sync { id, data_only } => {
            w.id(*id).flag(*data_only);
        }
        _ => return false,
    }
    true
}

/// Read the fields; `None`: not one of these.
pub fn decode<'a>(kind: u16, r: &mut Reader<'a>) -> Result<Option<Operation<'a>>, WireError> {
    Ok(Some(match kind {
        kinds::WRITE => {
            let (id, offset, mtime) = (r.id("id")?, r.u64("offset")?, r.time("mtime")?);
            let (kill_suid, more) = (r.flag("kill_suid")?, r.flag("more")?);
            r.zeros(2)?;
            let data = decode_data(offset, r)?;
            Operation::Write { id, offset, mtime, kill_suid, more, data }
        }
        kinds::TRUNCATE => Operation::Truncate {
            id: r.id("id")?,
            size: r.offset("size")?,
            mtime: r.time("mtime")?,
            kill_suid: r.flag("kill_suid")?,
        },
        kinds::ALLOCATE => {
            let (id, mode) = (r.id("id")?, r.u32("mode")?);
            let (offset, length) = (r.u64("offset")?, r.u64("length")?);
            r.file_end("length", offset, length)?;
            Operation::Allocate { id, mode, offset, length, mtime: r.time("mtime")? }
        }
        kinds::SET_ATTRIBUTES => {
            Operation::SetAttributes { id: r.id("id")?, change: decode_change(r)? }
        }
        kinds::SET_XATTR => Operation::SetXattr {
            id: r.id("id")?,
            name: r.xattr_name("name")?,
            value: r.value("value")?,
            flags: r.u32("flags")?,
        },
        kinds::REMOVE_XATTR => {
            Operation::RemoveXattr { id: r.id("id")?, name: r.xattr_name("name")? }
        }
        kinds::SYNC => Operation::Sync { id: r.id("id")?, data_only: r.flag("data_only")? },
        _ => return Ok(None),
    }))
}

/// Bulk data: everything that is left.
pub fn decode_data<'a>(offset: u64, r: &mut Reader<'a>) -> Result<&'a [u8], WireError> {
    let length = r.remaining();
    if length > MAX_DATA_BYTES {
        return Err(r.error("data", &format!("{length} bytes are more than {MAX_DATA_BYTES}")));
    }
    r.file_end("data", offset, length as u64)?;
    r.take("data", length)
}

fn encode_change(change: &AttributeChange, w: &mut Writer<'_>) {
    let bit = |there: bool, bit: u8| if there { bit } else { 0 };
    w.u8(bit(change.mode.is_some(), MODE)
        | bit(change.uid.is_some(), UID)
        | bit(change.gid.is_some(), GID)
        | bit(change.atime.is_some(), ATIME)
        | bit(change.mtime.is_some(), MTIME));
    for number in [change.mode, change.uid, change.gid].into_iter().flatten() {
        w.u32(number);
    }
    for time in [change.atime, change.mtime].into_iter().flatten() {
        w.time(time);
    }
}

fn decode_change(r: &mut Reader<'_>) -> Result<AttributeChange, WireError> {
    let set = r.u8("set")?;
    if set & !ALL != 0 {
        return Err(r.error("set", &format!("{set:#04x} names unknown attributes")));
    }
    let mut change = AttributeChange::default();
    if set & MODE != 0 {
        change.mode = Some(r.u32("mode")?);
    }
    if set & UID != 0 {
        change.uid = Some(r.u32("uid")?);
    }
    if set & GID != 0 {
        change.gid = Some(r.u32("gid")?);
    }
    if set & ATIME != 0 {
        change.atime = Some(r.time("atime")?);
    }
    if set & MTIME != 0 {
        change.mtime = Some(r.time("mtime")?);
    }
    Ok(change)
}
