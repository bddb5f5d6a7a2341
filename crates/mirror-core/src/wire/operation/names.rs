//! Operations on names: which file a number is, and every change of a directory.

use super::super::bytes::{Reader, Writer};
use super::super::{kinds, WireError};
use crate::message::{Creator, Operation};

/// Append the fields, or answer false: not one of these.
pub fn encode(operation: &Operation<'_>, w: &mut Writer<'_>) -> bool {
    match operation {
        Operation::Bind { id, parent, name } => {
            w.id(*id).id(*parent).name(name);
        }
        Operation::Unbind { ids } => {
            w.count(ids.len());
            for id in ids {
                w.id(*id);
            }
        }
        Operation::Make { .. } => encode_make(operation, w),
        Operation::Link { id, parent, name, parent_mtime }
        | Operation::Detach { id, parent, name, parent_mtime }
        | Operation::Attach { id, parent, name, parent_mtime } => {
            w.id(*id).id(*parent).name(name).time(*parent_mtime);
        }
        Operation::Unlink { parent, name, parent_mtime }
        | Operation::RemoveDirectory { parent, name, parent_mtime } => {
            w.id(*parent).name(name).time(*parent_mtime);
        }
        Operation::Rename {
            parent,
            name,
            new_parent,
            new_name,
            flags,
            parent_mtime,
            new_parent_mtime,
        } => {
            w.id(*parent).name(name).id(*new_parent).name(new_name).u32(*flags);
            w.time(*parent_mtime).time(*new_parent_mtime);
        }
        _ => return false,
    }
    true
}

fn encode_make(operation: &Operation<'_>, w: &mut Writer<'_>) {
    let Operation::Make {
        id,
        parent,
        name,
        kind,
        mode,
        rdev,
        target,
        creator,
        mtime,
        parent_mtime,
    } = operation
    else {
        unreachable!("asked for a make only");
    };
    w.id(*id).id(*parent).name(name).kind(*kind).u32(*mode).u64(*rdev).target(target);
    w.u32(creator.uid).u32(creator.gid).u32(creator.umask);
    w.time(*mtime).time(*parent_mtime);
}

/// Read the fields; `None`: not one of these.
pub fn decode<'a>(kind: u16, r: &mut Reader<'a>) -> Result<Option<Operation<'a>>, WireError> {
    Ok(Some(match kind {
        kinds::BIND => {
            Operation::Bind { id: r.id("id")?, parent: r.id("parent")?, name: r.name("name")? }
        }
        kinds::UNBIND => {
            let count = r.count("ids", 8)?;
            let ids = (0..count).map(|_| r.id("id")).collect::<Result<_, _>>()?;
            Operation::Unbind { ids }
        }
        kinds::MAKE => decode_make(r)?,
        kinds::LINK => Operation::Link {
            id: r.id("id")?,
            parent: r.id("parent")?,
            name: r.name("name")?,
            parent_mtime: r.time("parent_mtime")?,
        },
        kinds::DETACH => Operation::Detach {
            id: r.id("id")?,
            parent: r.id("parent")?,
            name: r.name("name")?,
            parent_mtime: r.time("parent_mtime")?,
        },
        kinds::ATTACH => Operation::Attach {
            id: r.id("id")?,
            parent: r.id("parent")?,
            name: r.name("name")?,
            parent_mtime: r.time("parent_mtime")?,
        },
        kinds::UNLINK => Operation::Unlink {
            parent: r.id("parent")?,
            name: r.name("name")?,
            parent_mtime: r.time("parent_mtime")?,
        },
        kinds::REMOVE_DIRECTORY => Operation::RemoveDirectory {
            parent: r.id("parent")?,
            name: r.name("name")?,
            parent_mtime: r.time("parent_mtime")?,
        },
        kinds::RENAME => Operation::Rename {
            parent: r.id("parent")?,
            name: r.name("name")?,
            new_parent: r.id("new_parent")?,
            new_name: r.name("new_name")?,
            flags: r.u32("flags")?,
            parent_mtime: r.time("parent_mtime")?,
            new_parent_mtime: r.time("new_parent_mtime")?,
        },
        _ => return Ok(None),
    }))
}

fn decode_make<'a>(r: &mut Reader<'a>) -> Result<Operation<'a>, WireError> {
    let (id, parent, name) = (r.id("id")?, r.id("parent")?, r.name("name")?);
    let kind = r.kind("kind")?;
    Ok(Operation::Make {
        id,
        parent,
        name,
        kind,
        mode: r.u32("mode")?,
        rdev: r.u64("rdev")?,
        target: r.target("target", kind)?,
        creator: Creator { uid: r.u32("uid")?, gid: r.u32("gid")?, umask: r.u32("umask")? },
        mtime: r.time("mtime")?,
        parent_mtime: r.time("parent_mtime")?,
    })
}
