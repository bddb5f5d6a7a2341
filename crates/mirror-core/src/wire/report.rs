//! Reports as frames. The number of the operation reported on is in the header, so that the most
//! frequent message, "applied up to here", is a header and nothing else.

use super::bytes::{Reader, Writer};
use super::operation::{decode_metadata, encode_metadata};
use super::{begin_frame, end_frame, kinds, Header, WireError};
use crate::message::Report;
use crate::verify::{Seen, Verified, DIFFERING_MAX};

/// Append the whole frame of a report. A long text is cut.
pub fn encode_report(report: &Report, out: &mut Vec<u8>) {
    let (kind, sequence) = match report {
        Report::Applied { sequence } => (kinds::APPLIED, *sequence),
        Report::Synced { sequence, .. } => (kinds::SYNCED, *sequence),
        Report::Failed { sequence, .. } => (kinds::FAILED, *sequence),
        Report::Checksum { .. } => (kinds::CHECKSUM, 0),
        Report::Verified(verified) => (kind_of(verified), 0),
        Report::Goodbye => (kinds::GOODBYE, 0),
    };
    let start = begin_frame(kind, sequence, out);
    let mut w = Writer(out);
    match report {
        Report::Applied { .. } | Report::Goodbye => {}
        Report::Synced { errno, .. } => {
            w.i32(*errno);
        }
        Report::Failed { errno, text, .. } => {
            w.i32(*errno).text(text);
        }
        Report::Checksum { id, offset, length, checksum, holes_only } => {
            w.id(*id).u64(*offset).u32(*length).u128(*checksum).flag(*holes_only);
        }
        Report::Verified(verified) => encode_verified(verified, &mut w),
    }
    end_frame(start, 0, out);
}

pub fn decode_report(header: &Header, body: &[u8]) -> Result<Report, WireError> {
    let mut r = Reader::new(header, body)?;
    let sequence = header.sequence;
    let report = match header.kind {
        kinds::APPLIED => Report::Applied { sequence },
        kinds::SYNCED => Report::Synced { sequence, errno: decode_errno(&mut r)? },
        kinds::FAILED => {
            Report::Failed { sequence, errno: decode_errno(&mut r)?, text: r.text("text")? }
        }
        kinds::CHECKSUM => {
            let (id, offset, length) = (r.id("id")?, r.u64("offset")?, r.u32("length")?);
            r.file_end("length", offset, u64::from(length))?;
            let (checksum, holes_only) = (r.u128("checksum")?, r.flag("holes_only")?);
            Report::Checksum { id, offset, length, checksum, holes_only }
        }
        kinds::GOODBYE => Report::Goodbye,
        kind => match decode_verified(kind, &mut r)? {
            Some(verified) => Report::Verified(verified),
            None => return Err(r.error("kind", "a report was expected")),
        },
    };
    if matches!(report, Report::Checksum { .. } | Report::Verified(_) | Report::Goodbye) {
        r.unnumbered(header)?;
    }
    r.end(report)
}

/// 0, or the number of an error as Linux has them.
fn decode_errno(r: &mut Reader<'_>) -> Result<i32, WireError> {
    match r.i32("errno")? {
        errno @ 0..=4095 => Ok(errno),
        other => Err(r.error("errno", &format!("{other} is no error number"))),
    }
}

fn kind_of(verified: &Verified) -> u16 {
    match verified {
        Verified::Names { .. } => kinds::VERIFIED_NAMES,
        Verified::Entry { .. } => kinds::VERIFIED_ENTRY,
        Verified::Zone { .. } => kinds::VERIFIED_ZONE,
        Verified::Unreadable { .. } => kinds::UNREADABLE,
    }
}

fn encode_verified(verified: &Verified, w: &mut Writer<'_>) {
    match verified {
        Verified::Names { check, differing, more } => {
            w.u64(*check).flag(*more).count(differing.len());
            for name in differing {
                w.name(name);
            }
        }
        Verified::Entry { check, seen } => {
            w.u64(*check).flag(seen.is_some());
            if let Some(Seen { kind, rdev, target, metadata }) = seen {
                w.kind(*kind).u64(*rdev).target(target);
                encode_metadata(metadata, w);
            }
        }
        Verified::Zone { check, checksum } => {
            w.u64(*check).u128(*checksum);
        }
        Verified::Unreadable { check, errno } => {
            w.u64(*check).i32(*errno);
        }
    }
}

fn decode_verified(kind: u16, r: &mut Reader<'_>) -> Result<Option<Verified>, WireError> {
    Ok(Some(match kind {
        kinds::VERIFIED_NAMES => {
            let (check, more) = (r.u64("check")?, r.flag("more")?);
            let count = r.count("differing", 2)?;
            if count > DIFFERING_MAX {
                return Err(r.error("differing", &format!("{count} names are too many")));
            }
            let differing =
                (0..count).map(|_| Ok(r.name("name")?.to_vec())).collect::<Result<_, _>>()?;
            Verified::Names { check, differing, more }
        }
        kinds::VERIFIED_ENTRY => {
            let check = r.u64("check")?;
            let seen = match r.flag("seen")? {
                true => Some(decode_seen(r)?),
                false => None,
            };
            Verified::Entry { check, seen }
        }
        kinds::VERIFIED_ZONE => {
            Verified::Zone { check: r.u64("check")?, checksum: r.u128("checksum")? }
        }
        kinds::UNREADABLE => {
            Verified::Unreadable { check: r.u64("check")?, errno: decode_errno(r)? }
        }
        _ => return Ok(None),
    }))
}

fn decode_seen(r: &mut Reader<'_>) -> Result<Seen, WireError> {
    let (kind, rdev) = (r.kind("kind")?, r.u64("rdev")?);
    let target = r.target("target", kind)?.to_vec();
    Ok(Seen { kind, rdev, target, metadata: decode_metadata(r)? })
}
