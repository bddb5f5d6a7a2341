//! Entries of a directory, as many as the kernel has room for.

use crate::out::{Entry, Out};

const ALIGNMENT: usize = 8;
const NAME_OFFSET: usize = 24;

pub struct Listing {
    bytes: Vec<u8>,
    max_bytes: usize,
}

impl Listing {
    pub fn new(max_bytes: u32) -> Listing {
        Listing { bytes: Vec::new(), max_bytes: max_bytes as usize }
    }

    /// `next`: from where the kernel goes on after it; `kind`: the file's mode. False: no room.
    pub fn add(&mut self, number: u64, next: u64, kind: u32, name: &[u8]) -> bool {
        self.put(&[], number, next, kind, name)
    }

    /// With the attributes.
    pub fn add_entry(&mut self, entry: &Entry, next: u64, name: &[u8]) -> bool {
        let mut out = Out::new();
        out.entry(entry);
        let (number, mode) = (entry.attributes.number, entry.attributes.mode);
        self.put(out.part(), number, next, mode, name)
    }

    fn put(&mut self, entry: &[u8], number: u64, next: u64, kind: u32, name: &[u8]) -> bool {
        let bytes = entry.len() + (NAME_OFFSET + name.len()).next_multiple_of(ALIGNMENT);
        let end = self.bytes.len() + bytes;
        if end > self.max_bytes {
            return false;
        }
        self.bytes.extend_from_slice(entry);
        self.bytes.extend_from_slice(&number.to_ne_bytes());
        self.bytes.extend_from_slice(&next.to_ne_bytes());
        self.bytes.extend_from_slice(&(name.len() as u32).to_ne_bytes());
        self.bytes.extend_from_slice(&((kind & libc::S_IFMT) >> 12).to_ne_bytes());
        self.bytes.extend_from_slice(name);
        self.bytes.resize(end, 0);
        true
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_entries_as_there_is_room_for() {
        let mut listing = Listing::new(75);
        assert!(listing.add(5, 1, libc::S_IFREG, b"name"));
        assert!(listing.add(6, 2, libc::S_IFDIR, b"longer-name"));
        assert!(!listing.add(7, 3, libc::S_IFREG, b""));
        let bytes = listing.bytes();
        assert_eq!(bytes.len(), 32 + 40);
        // ino, off, namelen, type, name, as in fuse_dirent.
        assert_eq!(bytes[..8], 5u64.to_ne_bytes());
        assert_eq!(bytes[8..16], 1u64.to_ne_bytes());
        assert_eq!(bytes[16..20], 4u32.to_ne_bytes());
        assert_eq!(bytes[20..24], u32::from(libc::DT_REG).to_ne_bytes());
        assert_eq!(bytes[24..32], *b"name\0\0\0\0");
        assert_eq!(bytes[52..56], u32::from(libc::DT_DIR).to_ne_bytes());
    }
}
