//! The resync, which rides in the same stream, and what is said about the stream itself.

use super::super::bytes::{Reader, Writer};
use super::super::{kinds, WireError, MAX_HOLE_BYTES};
use super::contents::decode_data;
use crate::message::{Entry, Metadata, Operation, ZoneData};

const BYTES: u8 = 1;
const HOLE: u8 = 2;

/// The shortest entry: a name of one byte, number, kind, device, no target.
const ENTRY_MIN_BYTES: usize = 2 + 8 + 1 + 8 + 2;
/// The shortest extended attribute: a name of one byte, an empty value.
const XATTR_MIN_BYTES: usize = 2 + 4;

/// Append the fields without bulk data, or answer false: not one of these.
pub fn encode(operation: &Operation<'_>, w: &mut Writer<'_>) -> bool {
    match operation {
        Operation::ResyncBegin | Operation::Ping => {}
        Operation::Entries { id, entries } => {
            w.id(*id).count(entries.len());
            for entry in entries {
                encode_entry(entry, w);
            }
        }
        Operation::EntriesEnd { id }
        | Operation::EntriesSome { id }
        | Operation::SyncTree { id } => {
            w.id(*id);
        }
        Operation::Vacate { parent, name, was } => {
            w.id(*parent).name(name).flag(was.is_some());
            if let Some((id, kind)) = was {
                w.id(*id).kind(*kind);
            }
        }
        Operation::FileBegin { id, size } => {
            w.id(*id).u64(*size);
        }
        Operation::AskChecksum { id, offset, length } => {
            w.id(*id).u64(*offset).u32(*length);
        }
        Operation::Zone { id, offset, data } => {
            w.id(*id).u64(*offset);
            match data {
                ZoneData::Bytes(_) => w.u8(BYTES).zeros(7),
                ZoneData::Hole(length) => w.u8(HOLE).zeros(7).u64(*length),
            };
        }
        Operation::FileEnd { id, metadata } => {
            w.id(*id);
            encode_metadata(metadata, w);
        }
        Operation::Place { parent, entry, parent_mtime } => {
            w.id(*parent);
            encode_entry(entry, w);
            w.time(*parent_mtime);
        }
        Operation::ResyncEnd { generation, history } => {
            w.u64(*generation).history(history);
        }
        Operation::HandOver { epoch: number } | Operation::Mark { mark: number } => {
            w.u64(*number);
        }
        _ => return false,
    }
    true
}

/// Read the fields; `None`: not one of these.
pub fn decode<'a>(kind: u16, r: &mut Reader<'a>) -> Result<Option<Operation<'a>>, WireError> {
    Ok(Some(match kind {
        kinds::RESYNC_BEGIN => Operation::ResyncBegin,
        kinds::PING => Operation::Ping,
        kinds::ENTRIES => {
            let id = r.id("id")?;
            let count = r.count("entries", ENTRY_MIN_BYTES)?;
            let entries = (0..count).map(|_| decode_entry(r)).collect::<Result<_, _>>()?;
            Operation::Entries { id, entries }
        }
        kinds::ENTRIES_END => Operation::EntriesEnd { id: r.id("id")? },
        kinds::ENTRIES_SOME => Operation::EntriesSome { id: r.id("id")? },
        kinds::SYNC_TREE => Operation::SyncTree { id: r.id("id")? },
        kinds::MARK => Operation::Mark { mark: r.u64("mark")? },
        kinds::VACATE => {
            let (parent, name) = (r.id("parent")?, r.name("name")?);
            let was = match r.flag("was")? {
                true => Some((r.id("was")?, r.kind("was kind")?)),
                false => None,
            };
            Operation::Vacate { parent, name, was }
        }
        kinds::FILE_BEGIN => Operation::FileBegin { id: r.id("id")?, size: r.offset("size")? },
        kinds::ASK_CHECKSUM => {
            let (id, offset, length) = (r.id("id")?, r.u64("offset")?, r.u32("length")?);
            if length > MAX_HOLE_BYTES {
                return Err(r.error("length", &format!("a zone of {length} bytes is too long")));
            }
            r.file_end("length", offset, u64::from(length))?;
            Operation::AskChecksum { id, offset, length }
        }
        kinds::ZONE => {
            let (id, offset) = (r.id("id")?, r.u64("offset")?);
            Operation::Zone { id, offset, data: decode_zone_data(offset, r)? }
        }
        kinds::FILE_END => Operation::FileEnd { id: r.id("id")?, metadata: decode_metadata(r)? },
        kinds::PLACE => Operation::Place {
            parent: r.id("parent")?,
            entry: decode_entry(r)?,
            parent_mtime: r.time("parent_mtime")?,
        },
        kinds::RESYNC_END => Operation::ResyncEnd {
            generation: decode_generation(r)?,
            history: r.history("history")?,
        },
        kinds::HAND_OVER => Operation::HandOver { epoch: r.u64("epoch")? },
        _ => return Ok(None),
    }))
}

fn decode_zone_data<'a>(offset: u64, r: &mut Reader<'a>) -> Result<ZoneData<'a>, WireError> {
    let form = r.u8("form")?;
    r.zeros(7)?;
    match form {
        BYTES => Ok(ZoneData::Bytes(decode_data(offset, r)?)),
        HOLE => {
            let length = r.u64("length")?;
            r.file_end("length", offset, length)?;
            Ok(ZoneData::Hole(length))
        }
        other => Err(r.error("form", &format!("{other} is neither bytes nor a hole"))),
    }
}

fn decode_generation(r: &mut Reader<'_>) -> Result<u64, WireError> {
    match r.u64("generation")? {
        0 => Err(r.error("generation", "0 means no data")),
        generation => Ok(generation),
    }
}

/// How long an entry is on the wire.
pub fn entry_bytes(entry: &Entry) -> usize {
    ENTRY_MIN_BYTES - 1 + entry.name.len() + entry.target.len()
}

fn encode_entry(entry: &Entry, w: &mut Writer<'_>) {
    w.name(&entry.name).id(entry.id).kind(entry.kind).u64(entry.rdev).target(&entry.target);
}

fn decode_entry(r: &mut Reader<'_>) -> Result<Entry, WireError> {
    let (name, id, kind) = (r.name("entry name")?, r.id("entry id")?, r.kind("entry kind")?);
    Ok(Entry {
        name: name.to_vec(),
        id,
        kind,
        rdev: r.u64("entry rdev")?,
        target: r.target("entry target", kind)?.to_vec(),
    })
}

pub(in crate::wire) fn encode_metadata(metadata: &Metadata, w: &mut Writer<'_>) {
    w.u32(metadata.mode).u32(metadata.uid).u32(metadata.gid).u64(metadata.size);
    w.time(metadata.mtime).count(metadata.xattrs.len());
    for (name, value) in &metadata.xattrs {
        w.name(name).value(value);
    }
}

pub(in crate::wire) fn decode_metadata(r: &mut Reader<'_>) -> Result<Metadata, WireError> {
    let (mode, uid, gid) = (r.u32("mode")?, r.u32("uid")?, r.u32("gid")?);
    let (size, mtime) = (r.offset("size")?, r.time("mtime")?);
    let count = r.count("xattrs", XATTR_MIN_BYTES)?;
    let xattrs = (0..count)
        .map(|_| Ok((r.xattr_name("xattr name")?.to_vec(), r.value("xattr value")?.to_vec())))
        .collect::<Result<_, _>>()?;
    Ok(Metadata { mode, uid, gid, size, mtime, xattrs })
}
