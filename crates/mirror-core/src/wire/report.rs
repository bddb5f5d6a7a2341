//! Reports as frames. The number of the operation reported on is in the header, so that the most
//! frequent message, "applied up to here", is a header and nothing else.

use super::bytes::{Reader, Writer};
use super::{begin_frame, end_frame, kinds, Header, WireError};
use crate::message::Report;

/// Append the whole frame of a report. A long text is cut.
pub fn encode_report(report: &Report, out: &mut Vec<u8>) {
    let (kind, sequence) = match report {
        Report::Applied { sequence } => (kinds::APPLIED, *sequence),
        Report::Synced { sequence, .. } => (kinds::SYNCED, *sequence),
        Report::Failed { sequence, .. } => (kinds::FAILED, *sequence),
        Report::Checksum { .. } => (kinds::CHECKSUM, 0),
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
        _ => return Err(r.error("kind", "a report was expected")),
    };
    if matches!(report, Report::Checksum { .. } | Report::Goodbye) {
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
