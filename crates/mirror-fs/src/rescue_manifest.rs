//! THE format of a rescue on disk. A rescue is a directory:
//!
//! | name | what |
//! | --- | --- |
//! | `about.json` | [`About`]: whose data, since when, why, whether it is finished |
//! | `names.jsonl` | one [`Name`] a line: every name as it stood, with all attributes |
//! | `saved.jsonl` | one [`Saved`] a line, appended: what became of an object |
//! | `data/N` | contents of object N: all of it, or the saved zones, at their places |
//!
//! `about.json` is written aside and renamed. `names.jsonl` is whole before anything is
//! overwritten; when the rescue is finished only names that were touched remain in it. A last line
//! of `saved.jsonl` without its end was cut by a crash and counts for nothing.
//!
//! Names, targets and attribute names may hold any byte: what is not printable UTF-8, and `%`,
//! stands as `%` and two hexadecimal digits. A checksum of contents does not depend on where the
//! file system keeps holes: see [`Checksum`].

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

pub const FORMAT: u32 = 1;
pub const ABOUT: &str = "about.json";
pub const NAMES: &str = "names.jsonl";
pub const SAVED: &str = "saved.jsonl";
pub const DATA: &str = "data";

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct About {
    pub format: u32,
    pub id: String,
    pub module: String,
    pub node: String,
    pub peer: String,
    /// The generation of the data that is saved here, 16 hexadecimal digits.
    pub generation: String,
    /// `diverged` or `never_replicated`.
    pub reason: String,
    /// The replicated directories; `tree` of a name counts in here.
    pub trees: Vec<String>,
    pub begun_s: u64,
    pub ended_s: Option<u64>,
    pub state: State,
    /// Older rescues that were removed to make room for this one.
    pub removed: Vec<String>,
}

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The names are being written down; nothing has been overwritten.
    Listing,
    /// A resync is overwriting, or was cut.
    Saving,
    Complete,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(deny_unknown_fields)]
pub struct Name {
    pub object: u32,
    pub tree: u8,
    /// Below the tree; empty: the tree's own directory.
    pub path: String,
    /// Which file it is: two names with one identity are hard links.
    pub identity: String,
    /// `regular`, `directory`, `symlink`, `char_device`, `block_device`, `fifo`, `socket`.
    pub kind: String,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    /// Seconds and nanoseconds since 1970.
    pub mtime: (i64, u32),
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rdev: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Name, and value in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub xattrs: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(tag = "saved", rename_all = "snake_case", deny_unknown_fields)]
pub enum Saved {
    /// All contents are in `data/N`. No checksum: it was shared with a large file.
    Whole {
        object: u32,
        bytes: u64,
        checksum: String,
    },
    /// From here on zones of it are saved before they change; what is not saved did not change.
    Zones {
        object: u32,
    },
    Zone {
        object: u32,
        offset: u64,
        length: u64,
        checksum: String,
    },
    /// Its name or attributes changed, or it went; its contents did not change here.
    Changed {
        object: u32,
    },
    /// There was no room for this part; it was overwritten.
    LeftOut {
        object: u32,
        offset: u64,
        length: u64,
    },
}

impl Saved {
    pub fn object(&self) -> u32 {
        match self {
            Saved::Whole { object, .. }
            | Saved::Zones { object }
            | Saved::Zone { object, .. }
            | Saved::Changed { object }
            | Saved::LeftOut { object, .. } => *object,
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One line of a file of lines.
pub fn line(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("plain fields become JSON");
    bytes.push(b'\n');
    bytes
}

/// The lines of a file; a last one that was cut is left out, any other that is wrong is an error.
pub fn parse_lines<T: for<'a> Deserialize<'a>>(path: &Path, bytes: &[u8]) -> io::Result<Vec<T>> {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let lines = bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let parse = |(number, line)| {
        serde_json::from_slice(line)
            .map_err(|e| io::Error::other(format!("{}: line {}: {e}", path.display(), number + 1)))
    };
    lines.enumerate().map(parse).collect()
}

/// Bytes as text that can be read, and turned back.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || c == '%' {
                let mut utf8 = [0; 4];
                c.encode_utf8(&mut utf8).bytes().for_each(|byte| escape_byte(byte, &mut text));
            } else {
                text.push(c);
            }
        }
        chunk.invalid().iter().for_each(|byte| escape_byte(*byte, &mut text));
    }
    text
}

fn escape_byte(byte: u8, text: &mut String) {
    text.push('%');
    text.push_str(&hex(&[byte]));
}

pub fn unescape(text: &str) -> io::Result<Vec<u8>> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        if bytes[at] == b'%' {
            let digits = text.get(at + 1..at + 3).unwrap_or("");
            out.extend(unhex(digits).filter(|b| b.len() == 1).ok_or_else(|| bad(text))?);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    Ok(out)
}

fn bad(text: &str) -> io::Error {
    io::Error::other(format!("{text:?} is not written as a rescue writes it"))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() % 2 != 0 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

/// Blocks of this size that hold only zeros do not count.
pub const BLOCK_BYTES: usize = 4096;

/// The checksum of contents: XXH3 (128 bits) of each block that is not all zeros, its number
/// before it; so a hole and zeros that were written are the same.
#[derive(Default)]
pub struct Checksum(Xxh3);

impl Checksum {
    /// `data` stands at `offset`, which is a multiple of the block size.
    pub fn add(&mut self, offset: u64, data: &[u8]) {
        debug_assert_eq!(offset % BLOCK_BYTES as u64, 0);
        for (number, block) in (offset / BLOCK_BYTES as u64..).zip(data.chunks(BLOCK_BYTES)) {
            if block.iter().any(|byte| *byte != 0) {
                self.0.update(&number.to_le_bytes());
                self.0.update(block);
            }
        }
    }

    pub fn text(&self) -> String {
        format!("{:032x}", self.0.digest128())
    }
}
