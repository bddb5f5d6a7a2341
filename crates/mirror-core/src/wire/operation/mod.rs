//! Operations as frames. The fields of each are in the order of its declaration in `message`, the
//! bulk data last. Three files share the work: names, contents of files, resync and the stream.

mod contents;
mod names;
mod stream;
mod verify;

pub(super) use stream::{decode_metadata, encode_metadata};

use super::bytes::{Reader, Writer, NAME_MAX, TARGET_MAX, VALUE_MAX};
use super::{begin_frame, end_frame, kinds, Header, WireError, MAX_BODY_BYTES, MAX_DATA_BYTES};
use crate::message::{Metadata, Operation, ZoneData};
use crate::units::Sequence;

/// Room for the fixed fields of any operation beside its names, data or list.
const FIXED_BYTES: usize = 256;

/// Append the whole frame of an operation.
pub fn encode_operation(sequence: Sequence, operation: &Operation<'_>, out: &mut Vec<u8>) {
    if let Some(data) = encode_operation_split(sequence, operation, out) {
        out.extend_from_slice(data);
    }
}

/// Append the frame of an operation without its bulk data, and return that data, which follows on
/// the wire. Operations without bulk data are written whole. Panics on one that does not [`fits`].
pub fn encode_operation_split<'a>(
    sequence: Sequence, operation: &Operation<'a>, out: &mut Vec<u8>,
) -> Option<&'a [u8]> {
    let start = begin_frame(kind_of(operation), sequence, out);
    let mut writer = Writer(out);
    let written = names::encode(operation, &mut writer)
        || contents::encode(operation, &mut writer)
        || stream::encode(operation, &mut writer)
        || verify::encode(operation, &mut writer);
    debug_assert!(written, "no encoder took {operation:?}");
    let data = match operation {
        Operation::Write { data, .. } => Some(*data),
        Operation::Zone { data: ZoneData::Bytes(data), .. } => Some(*data),
        _ => None,
    };
    let following = data.map_or(0, <[u8]>::len);
    assert!(following <= MAX_DATA_BYTES, "{following} bytes of data: ask `fits` first");
    end_frame(start, following, out);
    data
}

/// Decode the body of a frame. Names and data of the result are slices of `body`.
pub fn decode_operation<'a>(header: &Header, body: &'a [u8]) -> Result<Operation<'a>, WireError> {
    let mut reader = Reader::new(header, body)?;
    if !kinds::is_operation(header.kind) {
        return Err(reader.error("kind", "an operation was expected"));
    }
    let kind = header.kind;
    let operation = match names::decode(kind, &mut reader)? {
        Some(operation) => operation,
        None => match contents::decode(kind, &mut reader)? {
            Some(operation) => operation,
            None => match stream::decode(kind, &mut reader)? {
                Some(operation) => operation,
                None => match verify::decode(kind, &mut reader)? {
                    Some(operation) => operation,
                    None => return Err(reader.error("kind", "has no decoder")),
                },
            },
        },
    };
    reader.end(operation)
}

/// Whether an operation can be put into one frame and will be accepted by the peer. Everything that
/// comes from one system call does, except data that has to be cut at [`MAX_DATA_BYTES`], long
/// listings, and attributes of a size that only some file systems allow.
pub fn fits(operation: &Operation<'_>) -> bool {
    let list_bytes = match operation {
        Operation::Write { data, .. } | Operation::Zone { data: ZoneData::Bytes(data), .. } => {
            return data.len() <= MAX_DATA_BYTES;
        }
        Operation::SetXattr { value, name, .. } => {
            return value.len() <= VALUE_MAX && (1..=NAME_MAX).contains(&name.len());
        }
        Operation::Make { target, .. } => return target.len() <= TARGET_MAX,
        Operation::Unbind { ids } => ids.len() * 8,
        Operation::Entries { entries, .. } => entries.iter().map(stream::entry_bytes).sum(),
        Operation::FileEnd { metadata, .. } => match xattrs_bytes(metadata) {
            Some(bytes) => bytes,
            None => return false,
        },
        _ => return true,
    };
    FIXED_BYTES + list_bytes <= MAX_BODY_BYTES
}

fn xattrs_bytes(metadata: &Metadata) -> Option<usize> {
    let mut bytes = 0;
    for (name, value) in &metadata.xattrs {
        if !(1..=NAME_MAX).contains(&name.len()) || value.len() > VALUE_MAX {
            return None;
        }
        bytes += 1 + name.len() + 4 + value.len();
    }
    Some(bytes)
}

/// The one exhaustive list of operations in this format: a new one does not compile without a kind.
fn kind_of(operation: &Operation<'_>) -> u16 {
    match operation {
        Operation::Bind { .. } => kinds::BIND,
        Operation::Unbind { .. } => kinds::UNBIND,
        Operation::Make { .. } => kinds::MAKE,
        Operation::Link { .. } => kinds::LINK,
        Operation::Unlink { .. } => kinds::UNLINK,
        Operation::RemoveDirectory { .. } => kinds::REMOVE_DIRECTORY,
        Operation::Rename { .. } => kinds::RENAME,
        Operation::Write { .. } => kinds::WRITE,
        Operation::Truncate { .. } => kinds::TRUNCATE,
        Operation::Allocate { .. } => kinds::ALLOCATE,
        Operation::SetAttributes { .. } => kinds::SET_ATTRIBUTES,
        Operation::SetXattr { .. } => kinds::SET_XATTR,
        Operation::RemoveXattr { .. } => kinds::REMOVE_XATTR,
        Operation::Sync { .. } => kinds::SYNC,
        Operation::SyncTree { .. } => kinds::SYNC_TREE,
        Operation::Mark { .. } => kinds::MARK,
        Operation::ResyncBegin => kinds::RESYNC_BEGIN,
        Operation::Entries { .. } => kinds::ENTRIES,
        Operation::EntriesEnd { .. } => kinds::ENTRIES_END,
        Operation::EntriesSome { .. } => kinds::ENTRIES_SOME,
        Operation::Vacate { .. } => kinds::VACATE,
        Operation::FileBegin { .. } => kinds::FILE_BEGIN,
        Operation::AskChecksum { .. } => kinds::ASK_CHECKSUM,
        Operation::Zone { .. } => kinds::ZONE,
        Operation::FileEnd { .. } => kinds::FILE_END,
        Operation::Detach { .. } => kinds::DETACH,
        Operation::Attach { .. } => kinds::ATTACH,
        Operation::Place { .. } => kinds::PLACE,
        Operation::ResyncEnd { .. } => kinds::RESYNC_END,
        Operation::Verify(verify) => verify::kind_of(verify),
        Operation::Ping => kinds::PING,
        Operation::HandOver { .. } => kinds::HAND_OVER,
    }
}
