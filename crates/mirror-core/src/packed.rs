//! A table from numbers to short strings of bytes that costs little more than the bytes: about 18
//! each. For what there may be a million of.
//!
//! The strings lie one after the other in one run of bytes, and an index says where each begins.
//! What is removed or replaced leaves a gap; when a quarter of the bytes are gaps, what is left
//! moves together. The order of a walk is that of the last insertions: the same input gives the
//! same table, whatever the hash.

use hashbrown::HashTable;

/// Key and length before each string.
const HEAD_BYTES: usize = 10;
/// Fewer gaps than this are not worth the work.
const GAPS_MIN_BYTES: usize = 64 << 10;

#[derive(Default)]
pub struct Packed {
    /// Where in `bytes` each string's head begins.
    index: HashTable<u32>,
    bytes: Vec<u8>,
    gaps: usize,
}

fn hash(key: u64) -> u64 {
    let mut hash = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

fn key_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |key, byte| (key << 8) | u64::from(*byte))
}

fn length_at(bytes: &[u8], at: usize) -> usize {
    usize::from(bytes[at + 8]) | usize::from(bytes[at + 9]) << 8
}

impl Packed {
    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    fn find(&self, key: u64) -> Option<usize> {
        let same = |at: &u32| key_at(&self.bytes, *at as usize) == key;
        self.index.find(hash(key), same).map(|at| *at as usize)
    }

    pub fn contains(&self, key: u64) -> bool {
        self.find(key).is_some()
    }

    pub fn get(&self, key: u64) -> Option<&[u8]> {
        let at = self.find(key)?;
        let begin = at + HEAD_BYTES;
        Some(&self.bytes[begin..begin + length_at(&self.bytes, at)])
    }

    pub fn get_mut(&mut self, key: u64) -> Option<&mut [u8]> {
        let at = self.find(key)?;
        let begin = at + HEAD_BYTES;
        let end = begin + length_at(&self.bytes, at);
        Some(&mut self.bytes[begin..end])
    }

    /// Replaces what stood there. False: it is too long, or the table is full (4 GiB); then
    /// nothing stands there.
    #[must_use]
    pub fn insert(&mut self, key: u64, value: &[u8]) -> bool {
        self.remove(key);
        let (at, length) = (u32::try_from(self.bytes.len()), u16::try_from(value.len()));
        let (Ok(at), Ok(length)) = (at, length) else { return false };
        self.bytes.extend_from_slice(&key.to_le_bytes());
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(value);
        let bytes = &self.bytes;
        self.index.insert_unique(hash(key), at, |at| hash(key_at(bytes, *at as usize)));
        true
    }

    /// True: it was there.
    pub fn remove(&mut self, key: u64) -> bool {
        let bytes = &self.bytes;
        let same = |at: &u32| key_at(bytes, *at as usize) == key;
        let Ok(entry) = self.index.find_entry(hash(key), same) else { return false };
        let (at, _) = entry.remove();
        self.gaps += HEAD_BYTES + length_at(&self.bytes, at as usize);
        if self.gaps > GAPS_MIN_BYTES && self.gaps > self.bytes.len() / 4 {
            self.close_gaps(|_, _| true);
        }
        true
    }

    /// Keeps those for which `keep` is true; it may change their bytes.
    pub fn retain(&mut self, keep: impl FnMut(u64, &mut [u8]) -> bool) {
        self.close_gaps(keep);
    }

    pub fn for_each(&self, mut with: impl FnMut(u64, &[u8])) {
        let mut at = 0;
        while at < self.bytes.len() {
            let (key, begin) = (key_at(&self.bytes, at), at + HEAD_BYTES);
            let end = begin + length_at(&self.bytes, at);
            if self.find(key) == Some(at) {
                with(key, &self.bytes[begin..end]);
            }
            at = end;
        }
    }

    fn close_gaps(&mut self, mut keep: impl FnMut(u64, &mut [u8]) -> bool) {
        let (mut from, mut to) = (0, 0);
        while from < self.bytes.len() {
            let (key, begin) = (key_at(&self.bytes, from), from + HEAD_BYTES);
            let end = begin + length_at(&self.bytes, from);
            let stands = |at: &u32| *at as usize == from;
            if let Ok(mut entry) = self.index.find_entry(hash(key), stands) {
                if keep(key, &mut self.bytes[begin..end]) {
                    self.bytes.copy_within(from..end, to);
                    *entry.get_mut() = to as u32;
                    to += end - from;
                } else {
                    entry.remove();
                }
            }
            from = end;
        }
        self.bytes.truncate(to);
        self.gaps = 0;
        self.bytes.shrink_to(2 * to);
        let bytes = &self.bytes;
        let room = 2 * self.index.len();
        self.index.shrink_to(room, |at| hash(key_at(bytes, *at as usize)));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(
            steps in prop::collection::vec((0_u64..40, prop::option::of(0_usize..9000)), 0..400),
        ) {
            let (mut packed, mut map) = (Packed::default(), BTreeMap::new());
            for (key, length) in steps {
                match length {
                    Some(length) => {
                        let value = vec![key as u8 ^ length as u8; length];
                        prop_assert!(packed.insert(key, &value));
                        map.insert(key, value);
                    }
                    None => prop_assert_eq!(packed.remove(key), map.remove(&key).is_some()),
                }
                prop_assert_eq!(packed.get(key), map.get(&key).map(Vec::as_slice));
            }
            prop_assert_eq!(packed.len(), map.len());
            let mut seen = BTreeMap::new();
            packed.for_each(|key, value| assert!(seen.insert(key, value.to_vec()).is_none()));
            prop_assert_eq!(&seen, &map);
            packed.retain(|key, value| {
                value.fill(1);
                key % 3 != 0
            });
            map.retain(|key, value| {
                value.fill(1);
                key % 3 != 0
            });
            for key in 0..40 {
                prop_assert_eq!(packed.get(key), map.get(&key).map(Vec::as_slice));
            }
        }
    }

    #[test]
    fn gaps_are_closed() {
        let mut packed = Packed::default();
        for round in 0..100_000_u64 {
            assert!(packed.insert(round % 10, &round.to_le_bytes()));
        }
        assert!(packed.bytes.capacity() < 4 * GAPS_MIN_BYTES);
        assert_eq!(packed.get(9), Some(&99_999_u64.to_le_bytes()[..]));
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let mut packed = Packed::default();
        assert!(packed.insert(1, b"before"));
        assert!(!packed.insert(1, &vec![0; 70_000]));
        assert!(!packed.contains(1));
    }
}
