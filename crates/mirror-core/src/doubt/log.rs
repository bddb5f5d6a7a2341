//! The set on disk: `state_dir/dirty-map`, a log of pages.
//!
//! A batch of records fills one or more pages of 4 KiB, and each page is written twice, one behind
//! the other, in one go that is then synced. The next batch is begun only after that. So only the
//! last batch can be torn, and then nothing in it was touched yet; and a page that rots or is
//! overwritten afterwards leaves its twin. A hole anywhere else is damage, and a damaged log is an
//! error: it says nothing at all, never less than it should.
//!
//! | bytes | of a page |
//! | --- | --- |
//! | 0..4 | magic `TFDM` |
//! | 4..6 | version, 1 |
//! | 6..8 | bytes of records in this page |
//! | 8..16 | base: the generation that the set belongs to; the same in all pages |
//! | 16..24 | number of the batch, from 0 |
//! | 24..28 | number of the page in its batch |
//! | 28..32 | pages in the batch |
//! | 32..36 | CRC-32 of bytes 0..32 and of the records |
//! | 36..40 | zero |
//! | 40.. | records; zeros behind them |
//!
//! All numbers are little-endian. The file's length is a multiple of [`CHUNK_BYTES`] and it ends in
//! zeros, written before they are needed, so that appending changes no length (which would cost a
//! second write to the disk) and a file that was cut short is noticed.

use std::fmt;

use super::{Identity, Name, Touched};

pub const PAGE_BYTES: usize = 4096;
/// The file grows by this.
pub const CHUNK_BYTES: usize = 256 << 10;
const TWIN_BYTES: usize = 2 * PAGE_BYTES;
const HEADER_BYTES: usize = 40;
const MAGIC: &[u8; 4] = b"TFDM";
const VERSION: u16 = 1;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogError(&'static str);

impl LogError {
    pub(super) const fn list() -> LogError {
        LogError("an item of the list makes no sense")
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "is damaged: {}", self.0)
    }
}

impl std::error::Error for LogError {}

/// What a log says, and where and how it goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    pub base: u64,
    pub records: Vec<Touched>,
}

const fn crc_table() -> [u32; 256] {
    let mut table = [0u32; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

static CRC: [u32; 256] = crc_table();

pub(super) fn crc32(parts: [&[u8]; 2]) -> u32 {
    let bytes = parts.into_iter().flatten();
    !bytes.fold(u32::MAX, |crc, byte| (crc >> 8) ^ CRC[((crc as u8) ^ byte) as usize])
}

fn put_identity(identity: &Identity, out: &mut Vec<u8>) {
    out.push(identity.tree);
    out.extend_from_slice(&identity.kind.to_le_bytes());
    out.push(identity.length);
    out.extend_from_slice(&identity.bytes[..usize::from(identity.length)]);
}

fn put_name(name: &Name, out: &mut Vec<u8>) {
    assert!((1..=255).contains(&name.len()), "a name of {} bytes", name.len());
    out.push(name.len() as u8);
    out.extend_from_slice(name);
}

fn put_record(record: &Touched, out: &mut Vec<u8>) {
    match record {
        Touched::Zones { file, first, last } => {
            out.push(1);
            put_identity(file, out);
            out.extend_from_slice(&first.to_le_bytes());
            out.extend_from_slice(&last.to_le_bytes());
        }
        Touched::Attributes { file } => {
            out.push(2);
            put_identity(file, out);
        }
        Touched::Place { file, parent, name } => {
            out.push(3);
            put_identity(file, out);
            put_identity(parent, out);
            put_name(name, out);
        }
        Touched::Name { directory, name, before } => {
            out.push(if before.is_some() { 5 } else { 4 });
            put_identity(directory, out);
            put_name(name, out);
            if let Some(before) = before {
                put_identity(before, out);
            }
        }
        Touched::Mark(mark) => {
            out.push(6);
            out.extend_from_slice(&mark.to_le_bytes());
        }
    }
}

/// The pages of one batch, each twice. A batch without records is one page.
pub fn encode_batch(base: u64, batch: u64, records: &[Touched]) -> Vec<u8> {
    let mut pages: Vec<Vec<u8>> = vec![Vec::new()];
    let mut record_bytes = Vec::new();
    for record in records {
        record_bytes.clear();
        put_record(record, &mut record_bytes);
        match pages.last_mut() {
            Some(page) if page.len() + record_bytes.len() <= PAGE_BYTES - HEADER_BYTES => {
                page.extend_from_slice(&record_bytes);
            }
            _ => pages.push(record_bytes.clone()),
        }
    }
    let count = pages.len() as u32;
    let mut out = Vec::with_capacity(pages.len() * TWIN_BYTES);
    for (number, payload) in (0u32..).zip(&pages) {
        let mut page = Vec::with_capacity(PAGE_BYTES);
        page.extend_from_slice(MAGIC);
        page.extend_from_slice(&VERSION.to_le_bytes());
        page.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        page.extend_from_slice(&base.to_le_bytes());
        page.extend_from_slice(&batch.to_le_bytes());
        page.extend_from_slice(&number.to_le_bytes());
        page.extend_from_slice(&count.to_le_bytes());
        let crc = crc32([&page, payload]);
        page.extend_from_slice(&crc.to_le_bytes());
        page.extend_from_slice(&[0; 4]);
        page.extend_from_slice(payload);
        page.resize(PAGE_BYTES, 0);
        out.extend_from_slice(&page);
        out.extend_from_slice(&page);
    }
    out
}

/// Where a page belongs.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Header {
    base: u64,
    batch: u64,
    number: u32,
    count: u32,
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

fn page(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let used = usize::from(u16::from_le_bytes([bytes[6], bytes[7]]));
    let payload = bytes.get(HEADER_BYTES..HEADER_BYTES + used)?;
    let known = bytes[..4] == *MAGIC && bytes[4..6] == VERSION.to_le_bytes();
    if !known || u32_at(bytes, 32) != crc32([&bytes[..32], payload]) {
        return None;
    }
    let header = Header {
        base: u64_at(bytes, 8),
        batch: u64_at(bytes, 16),
        number: u32_at(bytes, 24),
        count: u32_at(bytes, 28),
    };
    (header.number < header.count).then_some((header, payload))
}

/// Reads a log. Anything that a crash in the last batch does not explain is an error.
pub fn decode_log(bytes: &[u8]) -> Result<Log, LogError> {
    if bytes.is_empty() || bytes.len() % CHUNK_BYTES != 0 {
        return Err(LogError("it has not its whole length"));
    }
    if bytes[bytes.len() - TWIN_BYTES..].iter().any(|byte| *byte != 0) {
        return Err(LogError("its end is missing"));
    }
    let pages: Vec<_> = bytes.chunks_exact(TWIN_BYTES).map(page_of).collect();
    let there = pages.iter().enumerate().rev().find_map(|(at, page)| Some((at, (*page)?.0)));
    let Some((last, end)) = there else {
        return Err(LogError("nothing in it can be read"));
    };
    let last_batch_at = last.checked_sub(end.number as usize);
    let last_batch_at = last_batch_at.ok_or(LogError("its first page is missing"))?;
    let mut records = Vec::new();
    let mut expected = Header { base: end.base, batch: 0, number: 0, count: 0 };
    for found in &pages[..last_batch_at] {
        let (header, payload) = found.ok_or(LogError("a page in it cannot be read"))?;
        if expected.number == 0 {
            expected.count = header.count;
        }
        if header != expected {
            return Err(LogError("a page in it is not the one that belongs there"));
        }
        read_records(payload, &mut records)?;
        expected.number += 1;
        if expected.number == expected.count {
            (expected.batch, expected.number) = (expected.batch + 1, 0);
        }
    }
    if expected.number != 0 || expected.batch != end.batch {
        return Err(LogError("a batch in it is not whole"));
    }
    expected.count = end.count;
    for found in &pages[last_batch_at..=last] {
        match found {
            Some((header, _)) if *header != expected => {
                return Err(LogError("a page in it is not the one that belongs there"));
            }
            Some((_, payload)) => read_records(payload, &mut records)?,
            // Torn; but the first batch is synced before the file gets its name.
            None if end.batch > 0 => {}
            None => return Err(LogError("a page in it cannot be read")),
        }
        expected.number += 1;
    }
    if end.batch == 0 && expected.number != end.count {
        return Err(LogError("its first batch is not whole"));
    }
    Ok(Log { base: end.base, records })
}

fn page_of(twin: &[u8]) -> Option<(Header, &[u8])> {
    page(&twin[..PAGE_BYTES]).or_else(|| page(&twin[PAGE_BYTES..]))
}

const NO_RECORD: LogError = LogError("a record in it makes no sense");

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], LogError> {
    let (taken, rest) = bytes.split_at_checked(count).ok_or(NO_RECORD)?;
    *bytes = rest;
    Ok(taken)
}

fn take_identity(bytes: &mut &[u8]) -> Result<Identity, LogError> {
    let tree = take(bytes, 1)?[0];
    let kind = u32_at(take(bytes, 4)?, 0) as i32;
    let length = take(bytes, 1)?[0];
    if length > 24 {
        return Err(NO_RECORD);
    }
    let mut identity = Identity { tree, kind, length, bytes: [0; 24] };
    let taken = take(bytes, usize::from(length))?;
    identity.bytes[..taken.len()].copy_from_slice(taken);
    Ok(identity)
}

fn take_name(bytes: &mut &[u8]) -> Result<Name, LogError> {
    let length = usize::from(take(bytes, 1)?[0]);
    let name = take(bytes, length)?;
    if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') || name.contains(&0) {
        return Err(NO_RECORD);
    }
    Ok(name.into())
}

fn read_records(mut bytes: &[u8], records: &mut Vec<Touched>) -> Result<(), LogError> {
    while !bytes.is_empty() {
        let tag = take(&mut bytes, 1)?[0];
        if tag == 6 {
            records.push(Touched::Mark(u64_at(take(&mut bytes, 8)?, 0)));
            continue;
        }
        let file = take_identity(&mut bytes)?;
        records.push(match tag {
            1 => {
                let first = u32_at(take(&mut bytes, 4)?, 0);
                let last = u32_at(take(&mut bytes, 4)?, 0);
                if first > last {
                    return Err(NO_RECORD);
                }
                Touched::Zones { file, first, last }
            }
            2 => Touched::Attributes { file },
            3 => {
                let parent = take_identity(&mut bytes)?;
                Touched::Place { file, parent, name: take_name(&mut bytes)? }
            }
            4 => Touched::Name { directory: file, name: take_name(&mut bytes)?, before: None },
            5 => {
                let name = take_name(&mut bytes)?;
                let before = Some(take_identity(&mut bytes)?);
                Touched::Name { directory: file, name, before }
            }
            _ => return Err(NO_RECORD),
        });
    }
    Ok(())
}
