//! The journal of the kept copy: what stood on a secondary before a resync changed it.
//!
//! One line for each object (file, directory, anything) that the resync is about to touch, written
//! and durable *before* the change: how it was. From these lines, with the contents that were set
//! aside as clones, the tree can be made again what it was. Only the first line of an object
//! counts. The first line of the journal names the generation that is kept.
//!
//! Each line ends with its checksum. A torn last line was not durable, so what it announces was not
//! done: it is left out. A bad line before others is damage, and then nothing is believed.
//!
//! Objects are known by their handles, opaque here: text without spaces, commas and colons.

use std::fmt::Write as _;

use crate::disk::crc32;
use crate::units::FileTime;

const TITLE: &str = "twofold kept 1";
/// What stands for an empty list or value.
const NONE: &str = "-";

/// How an object was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    pub handle: String,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: FileTime,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub what: What,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum What {
    /// A regular file; its contents are in the clone of this number.
    Contents(u64),
    /// Only the attributes change.
    Attributes,
    /// A directory: names and the handles of what they stood for.
    Names(Vec<(Vec<u8>, String)>),
}

pub fn encode_title(generation: u64) -> Vec<u8> {
    ended(format!("{TITLE} {generation:016x}"))
}

pub fn encode(kept: &Kept) -> Vec<u8> {
    let Kept { handle, mode, uid, gid, mtime, xattrs, what } = kept;
    let time = format!("{} {}", mtime.seconds, mtime.nanoseconds);
    let xattrs = list(xattrs.iter().map(|(n, v)| format!("{}={}", hex(n), hex(v))));
    let (word, rest) = match what {
        What::Contents(clone) => ("contents", format!("{clone:x}")),
        What::Attributes => ("attributes", NONE.into()),
        What::Names(names) => {
            ("names", list(names.iter().map(|(name, handle)| format!("{}:{handle}", hex(name)))))
        }
    };
    ended(format!("{word} {handle} {mode:o} {uid} {gid} {time} {xattrs} {rest}"))
}

/// The generation and the objects, in the order of the journal. The error is part of a sentence.
pub fn decode(journal: &[u8]) -> Result<(u64, Vec<Kept>), String> {
    let mut lines: Vec<&[u8]> = journal.split(|byte| *byte == b'\n').collect();
    // What follows the last newline was never durable as a line.
    lines.pop();
    let last = lines.len().saturating_sub(1);
    let mut generation = None;
    let mut all = Vec::new();
    for (number, line) in lines.into_iter().enumerate() {
        let Some(text) = checked(line) else {
            if number == last && number > 0 {
                break;
            }
            return Err(format!("line {} of the journal is damaged", number + 1));
        };
        let read = match number {
            0 => title(text).map(|found| generation = Some(found)),
            _ => object(text).map(|kept| all.push(kept)),
        };
        read.ok_or_else(|| format!("line {} of the journal cannot be read", number + 1))?;
    }
    let generation = generation.ok_or("the journal is empty")?;
    Ok((generation, all))
}

fn title(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix(TITLE)?.strip_prefix(' ')?, 16).ok()
}

fn object(text: &str) -> Option<Kept> {
    let mut fields = text.split(' ');
    let mut field = || fields.next();
    let word = field()?;
    let handle = field()?.to_owned();
    let mode = u32::from_str_radix(field()?, 8).ok()?;
    let (uid, gid) = (field()?.parse().ok()?, field()?.parse().ok()?);
    let mtime = FileTime { seconds: field()?.parse().ok()?, nanoseconds: field()?.parse().ok()? };
    let pairs = items(field()?).map(|item| {
        let (name, value) = item.split_once('=')?;
        Some((unhex(name)?, unhex(value)?))
    });
    let xattrs = pairs.collect::<Option<Vec<_>>>()?;
    let rest = field()?;
    let what = match word {
        "contents" => What::Contents(u64::from_str_radix(rest, 16).ok()?),
        "attributes" => What::Attributes,
        "names" => {
            let names = items(rest).map(|item| {
                let (name, handle) = item.split_once(':')?;
                Some((unhex(name)?, handle.to_owned()))
            });
            What::Names(names.collect::<Option<Vec<_>>>()?)
        }
        _ => return None,
    };
    fields.next().is_none().then_some(Kept { handle, mode, uid, gid, mtime, xattrs, what })
}

fn ended(mut text: String) -> Vec<u8> {
    let checksum = crc32(text.as_bytes());
    text.push_str(&format!(" {checksum:08x}\n"));
    text.into_bytes()
}

fn checked(line: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(line).ok()?;
    let (text, checksum) = text.rsplit_once(' ')?;
    (u32::from_str_radix(checksum, 16).ok()? == crc32(text.as_bytes())).then_some(text)
}

fn list(items: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = items.collect();
    if all.is_empty() {
        NONE.into()
    } else {
        all.join(",")
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|item| *item != NONE)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}
