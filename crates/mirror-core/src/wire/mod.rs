//! THE replication format: every byte between two engines, and nothing else in the code knows them.
//!
//! A frame is a fixed header and a body; all numbers are little-endian.
//!
//! | bytes | field | |
//! | --- | --- | --- |
//! | 0..4 | magic | `TFMR` |
//! | 4..6 | version | of the protocol; another one is refused with a sentence |
//! | 6..8 | kind | what the body is: `kinds` |
//! | 8..12 | body_bytes | at most [`MAX_BODY_BYTES`] |
//! | 12..16 | reserved | zero |
//! | 16..24 | sequence | of the operation; in reports the one reported on, else zero |
//!
//! Bulk data is always the last field of its body, without a length of its own: it is sent from
//! where it lies and decoded as a slice of the input, so it is never copied.
//!
//! A decoder trusts nothing: every length is checked before use, names are checked so that no peer
//! can reach outside its tree, bytes after the last field are refused. Numbers that only the kernel
//! interprets (modes, flags of a call) are passed on as they are. TLS below keeps the bytes intact
//! and authentic, so the frame has no checksum.

mod bytes;
mod handshake;
mod kinds;
mod operation;
mod report;

use std::fmt;

use crate::message::{Hello, Operation, Report, Welcome};
use crate::units::Sequence;

pub use handshake::{
    decode_doubt, decode_hello, decode_welcome, encode_doubt, encode_hello, encode_welcome,
    is_doubt, DOUBT_PART_BYTES,
};
pub use operation::{decode_operation, encode_operation, encode_operation_split, fits};
pub use report::{decode_report, encode_report};

/// Length of the header of every frame.
pub const HEADER_BYTES: usize = 24;

/// Version of the protocol: both sides must have the same.
pub const VERSION: u16 = 1;

/// The most data one operation carries.
pub const MAX_DATA_BYTES: usize = 4 << 20;

/// A hole is asked about in one question up to this length; of a longer one nobody asks at once.
pub const MAX_HOLE_BYTES: u32 = 1 << 30;

/// The longest body: data, or a listing, and room for the fields beside it.
pub const MAX_BODY_BYTES: usize = MAX_DATA_BYTES + (64 << 10);

const MAGIC: [u8; 4] = *b"TFMR";
const BODY_BYTES_AT: usize = 8;

/// Why bytes were refused: what was being read, where, and what is wrong, as one sentence part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WireError {
    text: String,
}

impl WireError {
    fn new(text: String) -> Self {
        WireError { text }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for WireError {}

/// The checked header of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub kind: u16,
    pub body_bytes: u32,
    pub sequence: Sequence,
}

/// Any frame, for a reader that does not know which comes next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame<'a> {
    Operation(Sequence, Operation<'a>),
    Report(Report),
    Hello(Hello),
    Welcome(Welcome),
    Doubt(&'a [u8]),
}

pub fn decode_header(bytes: &[u8; HEADER_BYTES]) -> Result<Header, WireError> {
    let [m0, m1, m2, m3, v0, v1, k0, k1, b0, b1, b2, b3, r0, r1, r2, r3, sequence @ ..] = *bytes;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(WireError::new("header: these are not bytes of a Twofold mirror".into()));
    }
    let version = u16::from_le_bytes([v0, v1]);
    if version != VERSION {
        return Err(WireError::new(format!(
            "header: the peer speaks version {version} of the mirror protocol, this node {VERSION}"
        )));
    }
    let kind = u16::from_le_bytes([k0, k1]);
    if kinds::name(kind).is_none() {
        return Err(WireError::new(format!("header: there is no message of kind {kind:#06x}")));
    }
    let body_bytes = u32::from_le_bytes([b0, b1, b2, b3]);
    if body_bytes as usize > MAX_BODY_BYTES {
        return Err(WireError::new(format!(
            "header: a body of {body_bytes} bytes is longer than the allowed {MAX_BODY_BYTES}"
        )));
    }
    if [r0, r1, r2, r3] != [0; 4] {
        return Err(WireError::new("header: the reserved bytes 12 to 15 are not zero".into()));
    }
    Ok(Header { kind, body_bytes, sequence: Sequence::from_le_bytes(sequence) })
}

/// Length of the first frame in `buffer` when it is there whole; `None`: more bytes are needed.
pub fn frame_len(buffer: &[u8]) -> Result<Option<usize>, WireError> {
    let Some(header) = buffer.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let whole = HEADER_BYTES + decode_header(header)?.body_bytes as usize;
    Ok((buffer.len() >= whole).then_some(whole))
}

/// Decode the first frame in `buffer`, which must be there whole (see [`frame_len`]).
pub fn decode_frame(buffer: &[u8]) -> Result<Frame<'_>, WireError> {
    let Some((header, rest)) = buffer.split_first_chunk::<HEADER_BYTES>() else {
        return Err(WireError::new(format!("header: only {} bytes are there", buffer.len())));
    };
    let header = decode_header(header)?;
    let body = rest.get(..header.body_bytes as usize).ok_or_else(|| {
        WireError::new(format!(
            "frame: {} bytes of a body of {} bytes are there",
            rest.len(),
            header.body_bytes
        ))
    })?;
    Ok(match header.kind {
        kinds::HELLO => Frame::Hello(decode_hello(&header, body)?),
        kinds::DOUBT => Frame::Doubt(decode_doubt(&header, body)?),
        kind if kinds::is_operation(kind) => {
            Frame::Operation(header.sequence, decode_operation(&header, body)?)
        }
        kind if kinds::is_report(kind) => Frame::Report(decode_report(&header, body)?),
        _ => Frame::Welcome(decode_welcome(&header, body)?),
    })
}

/// Write a header whose body length is not known yet; returns where the frame starts.
fn begin_frame(kind: u16, sequence: Sequence, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&sequence.to_le_bytes());
    assert_eq!(out.len() - start, HEADER_BYTES);
    start
}

/// Fill in the body length; `following` bytes of data come after what is in `out`.
fn end_frame(start: usize, following: usize, out: &mut [u8]) {
    let body_bytes = out.len() - start - HEADER_BYTES + following;
    assert!(body_bytes <= MAX_BODY_BYTES, "a frame of {body_bytes} bytes: ask `fits` first");
    let at = start + BODY_BYTES_AT;
    out[at..at + 4].copy_from_slice(&(body_bytes as u32).to_le_bytes());
}
