//! Which directories the data of this node stands in, and their format on disk: `state_dir/trees`.
//!
//! A replicated directory is often the root of a volume. When the volume is not mounted, an empty
//! directory of the system disk stands at the same path: taken for the data, it would be brought to
//! the other node as the truth, or be filled by a resync. So a node that has data remembers what
//! its directories *are* (the handle of the root, which a mount point below does not share), and an
//! engine that finds something else there does not start.
//!
//! ```text
//! twofold trees 1
//! tree 81:0200000000000000:8c1f... /srv/files
//! crc32 89abcdef
//! ```
//!
//! One line for each directory: its identity, then its path with every byte outside printable ASCII
//! (and `\`) as `\xNN`. The checksum covers every byte before its own line. As strict a reader as
//! that of the generation: what it accepts is what the writer writes.

use crate::disk::{crc32, DiskError};

const TITLE: &str = "twofold trees ";
const VERSION: &str = "1";
/// No record is longer; a longer file is not read.
pub const RECORD_MAX_BYTES: usize = 1 << 20;

/// One directory and what it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TreeIdentity {
    pub path: Vec<u8>,
    /// Opaque: letters, digits and colons; equal as long as it is the same directory.
    pub identity: String,
}

pub fn encode(trees: &[TreeIdentity]) -> Vec<u8> {
    let mut text = format!("{TITLE}{VERSION}\n");
    for TreeIdentity { path, identity } in trees {
        text.push_str(&format!("tree {identity} {}\n", escaped(path)));
    }
    let checksum = crc32(text.as_bytes());
    text.push_str(&format!("crc32 {checksum:08x}\n"));
    text.into_bytes()
}

pub fn decode(bytes: &[u8]) -> Result<Vec<TreeIdentity>, DiskError> {
    if bytes.len() > RECORD_MAX_BYTES {
        return Err(DiskError::damaged("it is too long for a record of directories"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| DiskError::damaged("it is not text"))?;
    let mut lines = text.lines();
    match lines.next().and_then(|first| first.strip_prefix(TITLE)) {
        Some(VERSION) => {}
        Some(other) => return Err(DiskError::of_version(other, VERSION)),
        None => return Err(DiskError::damaged("it does not begin as such a record does")),
    }
    let mut trees = Vec::new();
    for line in lines.filter_map(|line| line.strip_prefix("tree ")) {
        let (identity, path) =
            line.split_once(' ').ok_or_else(|| DiskError::damaged("a line cannot be read"))?;
        let path = plain(path).ok_or_else(|| DiskError::damaged("a path cannot be read"))?;
        trees.push(TreeIdentity { path, identity: identity.to_owned() });
    }
    if encode(&trees) != bytes {
        return Err(DiskError::damaged("it is not as this program writes it"));
    }
    Ok(trees)
}

fn escaped(path: &[u8]) -> String {
    let mut text = String::new();
    for byte in path {
        match byte {
            b'\\' | 0..=0x1f | 0x7f..=0xff => text.push_str(&format!("\\x{byte:02x}")),
            plain => text.push(char::from(*plain)),
        }
    }
    text
}

fn plain(text: &str) -> Option<Vec<u8>> {
    let mut path = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'\\' {
            path.push(*first);
            rest = after;
            continue;
        }
        let digits = std::str::from_utf8(after.get(1..3)?).ok()?;
        path.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &after[3..];
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Vec<TreeIdentity> {
        vec![
            TreeIdentity { path: b"/srv/my files".to_vec(), identity: "ef53:1:0200".into() },
            TreeIdentity { path: b"/srv/\\ \xff\n".to_vec(), identity: "58465342:81:aa".into() },
        ]
    }

    /// The bytes of version 1 never change.
    const GOLDEN: &[u8] = b"twofold trees 1\n\
        tree ef53:1:0200 /srv/my files\n\
        tree 58465342:81:aa /srv/\\x5c \\xff\\x0a\n\
        crc32 20d8c7e0\n";

    #[test]
    fn what_is_written_is_read_and_never_changes() {
        let bytes = encode(&example());
        assert_eq!(std::str::from_utf8(&bytes), std::str::from_utf8(GOLDEN));
        assert_eq!(decode(&bytes), Ok(example()));
    }

    #[test]
    fn every_damage_of_one_byte_is_noticed() {
        let bytes = encode(&example());
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut other = bytes.clone();
                other[at] ^= 1 << bit;
                assert!(decode(&other).is_err(), "byte {at}, bit {bit}");
            }
            assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
}
