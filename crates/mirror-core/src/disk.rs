//! The generation record of a module on disk, `state_dir/generation`. (The record of what its
//! directories are stands in `tree_identity`.)
//!
//! It is text, because at a bad moment a person will want to read it with `cat`:
//!
//! ```text
//! twofold generation 1
//! current 1122334455667788
//! base 1122334455667788
//! history 0000000000000001 0000000000000002
//! role primary
//! clean yes
//! sole no
//! sync_target no
//! outdated no
//! epoch 7
//! crc32 89abcdef
//! ```
//!
//! The checksum covers every byte before its own line. The reader is as strict as a reader can be:
//! what it accepts is, byte for byte, what the writer writes for the same record. So a damaged file
//! is an error with a reason, never a record that looks older or newer than it is; the engine then
//! refuses to serve from it unless a person forces it.

use std::fmt;
use std::fmt::Write as _;

use crate::generation::{Generation, LastRole, HISTORY_MAX};

const TITLE: &str = "twofold generation ";
const VERSION: &str = "1";
/// No record is longer; a longer file is not read.
pub const RECORD_MAX_BYTES: usize = 1024;

/// Why a record on disk cannot be used: part of a sentence, to follow the path of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskError {
    text: String,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for DiskError {}

impl DiskError {
    pub(crate) fn damaged(why: &str) -> DiskError {
        DiskError { text: format!("is damaged: {why}") }
    }

    pub(crate) fn of_version(theirs: &str, ours: &str) -> DiskError {
        let text = format!("has version {theirs}; this program reads version {ours}");
        DiskError { text }
    }
}

fn damaged(why: &str) -> DiskError {
    DiskError::damaged(why)
}

/// The bytes of the generation record.
pub fn encode_generation(generation: &Generation) -> Vec<u8> {
    assert!(generation.history.len() <= HISTORY_MAX, "the history is bounded");
    let yes = |set: bool| if set { "yes" } else { "no" };
    let mut text = format!("{TITLE}{VERSION}\n");
    let mut line = |name: &str, value: &dyn fmt::Display| {
        writeln!(text, "{name} {value}").expect("a String takes every write");
    };
    line("current", &format_args!("{:016x}", generation.current));
    line("base", &format_args!("{:016x}", generation.base));
    let history: Vec<String> = generation.history.iter().map(|g| format!("{g:016x}")).collect();
    line("history", &history.join(" "));
    line("role", &generation.role.as_str());
    line("clean", &yes(generation.clean));
    line("sole", &yes(generation.sole));
    line("sync_target", &yes(generation.sync_target));
    line("outdated", &yes(generation.outdated));
    line("epoch", &generation.epoch);
    let checksum = crc32(text.as_bytes());
    text.push_str(&format!("crc32 {checksum:08x}\n"));
    text.into_bytes()
}

/// Read a generation record; anything but exactly what was written is refused with a reason.
pub fn decode_generation(bytes: &[u8]) -> Result<Generation, DiskError> {
    if bytes.is_empty() {
        return Err(damaged("it is empty"));
    }
    if bytes.len() > RECORD_MAX_BYTES {
        return Err(damaged("it is too long for a generation record"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text"))?;
    let version = text.strip_prefix(TITLE).and_then(|rest| rest.split('\n').next());
    match version {
        None => return Err(damaged("it does not begin as a generation record does")),
        Some(VERSION) => {}
        Some(other) => return Err(DiskError::of_version(other, VERSION)),
    }
    let body = text.rfind("crc32 ").ok_or_else(|| damaged("the checksum line is missing"))?;
    let checksum = text[body..].trim_start_matches("crc32 ").trim_end();
    if u32::from_str_radix(checksum, 16) != Ok(crc32(&bytes[..body])) {
        return Err(damaged("its checksum does not match its content"));
    }
    let generation = parse(&text[..body]).ok_or_else(|| damaged("a line cannot be read"))?;
    if encode_generation(&generation) != bytes {
        return Err(damaged("it is not written as this program writes it"));
    }
    Ok(generation)
}

fn parse(body: &str) -> Option<Generation> {
    let mut lines = body.lines().skip(1);
    let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let yes = |text: &str| match text {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    };
    let current = number(field("current")?)?;
    let base = number(field("base")?)?;
    let history =
        field("history")?.split_terminator(' ').map(number).collect::<Option<Vec<_>>>()?;
    if history.len() > HISTORY_MAX {
        return None;
    }
    Some(Generation {
        current,
        base,
        history,
        role: LastRole::from_name(field("role")?)?,
        clean: yes(field("clean")?)?,
        sole: yes(field("sole")?)?,
        sync_target: yes(field("sync_target")?)?,
        outdated: yes(field("outdated")?)?,
        epoch: field("epoch")?.parse().ok()?,
    })
}

/// CRC-32 as in zip and Ethernet: reflected, polynomial 0xedb88320. For records of a few hundred
/// bytes, so a bit at a time.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let low = crc & 1;
            crc >>= 1;
            if low == 1 {
                crc ^= 0xedb8_8320;
            }
        }
    }
    !crc
}
