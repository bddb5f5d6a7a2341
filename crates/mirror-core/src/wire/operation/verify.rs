//! Questions of a verification. The answers are in `wire::report`.

use super::super::bytes::{Reader, Writer};
use super::super::{kinds, WireError};
use crate::message::Operation;
use crate::verify::{Verify, NAMES_MAX};

/// The shortest item of a list of names: a name of one byte and a digest.
const ITEM_MIN_BYTES: usize = 2 + 16;

pub fn kind_of(verify: &Verify<'_>) -> u16 {
    match verify {
        Verify::Names { .. } => kinds::VERIFY_NAMES,
        Verify::Entry { .. } => kinds::VERIFY_ENTRY,
        Verify::Itself { .. } => kinds::VERIFY_ITSELF,
        Verify::Zone { .. } => kinds::VERIFY_ZONE,
        Verify::TakeAway { .. } => kinds::VERIFY_TAKE_AWAY,
        Verify::Repaired => kinds::VERIFY_REPAIRED,
    }
}

/// Append the fields, or answer false: not one of these.
pub fn encode(operation: &Operation<'_>, w: &mut Writer<'_>) -> bool {
    let Operation::Verify(verify) = operation else { return false };
    match verify {
        Verify::Names { check, directory, path, after, up_to, names } => {
            w.u64(*check).id(*directory).value(path).value(after).value(up_to).count(names.len());
            for (name, digest) in names {
                w.name(name).u128(*digest);
            }
        }
        Verify::Entry { check, parent, name } => {
            w.u64(*check).id(*parent).name(name);
        }
        Verify::Itself { check, directory } => {
            w.u64(*check).id(*directory);
        }
        Verify::Zone { check, parent, name, offset, length, hole, ordered } => {
            w.u64(*check).id(*parent).name(name).u64(*offset).u64(*length);
            w.flag(*hole).flag(*ordered);
        }
        Verify::TakeAway { parent, name, parent_mtime } => {
            w.id(*parent).name(name).time(*parent_mtime);
        }
        Verify::Repaired => {}
    }
    true
}

/// Read the fields; `None`: not one of these.
pub fn decode<'a>(kind: u16, r: &mut Reader<'a>) -> Result<Option<Operation<'a>>, WireError> {
    let verify = match kind {
        kinds::VERIFY_NAMES => decode_names(r)?,
        kinds::VERIFY_ENTRY => {
            Verify::Entry { check: r.u64("check")?, parent: r.id("parent")?, name: r.name("name")? }
        }
        kinds::VERIFY_ITSELF => {
            Verify::Itself { check: r.u64("check")?, directory: r.id("directory")? }
        }
        kinds::VERIFY_ZONE => decode_zone(r)?,
        kinds::VERIFY_TAKE_AWAY => Verify::TakeAway {
            parent: r.id("parent")?,
            name: r.name("name")?,
            parent_mtime: r.time("parent_mtime")?,
        },
        kinds::VERIFY_REPAIRED => Verify::Repaired,
        _ => return Ok(None),
    };
    Ok(Some(Operation::Verify(verify)))
}

fn decode_names<'a>(r: &mut Reader<'a>) -> Result<Verify<'a>, WireError> {
    let (check, directory) = (r.u64("check")?, r.id("directory")?);
    let (path, after, up_to) = (r.value("path")?, r.value("after")?, r.value("up_to")?);
    let count = r.count("names", ITEM_MIN_BYTES)?;
    if count > NAMES_MAX {
        return Err(r.error("names", &format!("{count} names are too many")));
    }
    let names = (0..count)
        .map(|_| Ok((r.name("name")?.to_vec(), r.u128("digest")?)))
        .collect::<Result<_, WireError>>()?;
    Ok(Verify::Names { check, directory, path, after, up_to, names })
}

fn decode_zone<'a>(r: &mut Reader<'a>) -> Result<Verify<'a>, WireError> {
    let (check, parent, name) = (r.u64("check")?, r.id("parent")?, r.name("name")?);
    let (offset, length) = (r.u64("offset")?, r.u64("length")?);
    r.file_end("length", offset, length)?;
    let (hole, ordered) = (r.flag("hole")?, r.flag("ordered")?);
    if !hole && length > super::MAX_DATA_BYTES as u64 {
        return Err(r.error("length", &format!("a zone of {length} bytes is too long")));
    }
    Ok(Verify::Zone { check, parent, name, offset, length, hole, ordered })
}
