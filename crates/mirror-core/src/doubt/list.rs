//! What a node that comes back has in doubt, by path: numbers and handles mean nothing elsewhere.
//!
//! A path is relative to the root of its tree, without a slash at either end; the root's is empty.
//! A *name* in doubt covers everything below it.

use std::collections::BTreeSet;

use super::{LogError, Mark, MARKS_MAX};

/// What a node tells of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct List {
    pub base: u64,
    /// The mark that it heard last, and those that it told (`marks`).
    pub heard: Mark,
    pub told: Vec<Mark>,
    pub items: Vec<Item>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Item {
    pub tree: u8,
    pub path: Vec<u8>,
    pub what: What,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum What {
    /// Whatever stands at this path, and below it.
    Name,
    /// The file at this path: its attributes, and the contents of these zones (both included).
    /// `others`: it has other names, and not all of them are told.
    File { zones: Vec<(u32, u32)>, others: bool },
}

/// Is the path, or one above it, in the set of names?
pub fn covered(names: &BTreeSet<(u8, Vec<u8>)>, tree: u8, path: &[u8]) -> bool {
    let ends = (0..path.len()).filter(|at| path[*at] == b'/').chain([path.len()]);
    ends.into_iter().any(|end| end > 0 && names.contains(&(tree, path[..end].to_vec())))
}

/// Longest list; more is not in doubt in parts but as a whole.
pub const LIST_MAX_BYTES: usize = 16 << 20;
/// PATH_MAX is no bound for what can be reached from the root step by step; this is one.
const PATH_MAX: usize = 1 << 15;

/// None: too long to be told, so everything is in doubt.
pub fn encode_list(list: &List) -> Option<Vec<u8>> {
    let mut out = list.base.to_le_bytes().to_vec();
    out.extend_from_slice(&list.heard.to_le_bytes());
    out.extend_from_slice(&(list.told.len() as u32).to_le_bytes());
    out.extend(list.told.iter().flat_map(|mark| mark.to_le_bytes()));
    for item in &list.items {
        if item.path.len() > PATH_MAX || out.len() > LIST_MAX_BYTES {
            return None;
        }
        out.push(item.tree);
        out.extend_from_slice(&(item.path.len() as u32).to_le_bytes());
        out.extend_from_slice(&item.path);
        match &item.what {
            What::Name => out.push(1),
            What::File { zones, others } => {
                out.push(2 + u8::from(*others));
                out.extend_from_slice(&(zones.len() as u32).to_le_bytes());
                for (first, last) in zones {
                    out.extend_from_slice(&first.to_le_bytes());
                    out.extend_from_slice(&last.to_le_bytes());
                }
            }
        }
    }
    (out.len() <= LIST_MAX_BYTES).then_some(out)
}

const WRONG: LogError = LogError::list();

pub fn decode_list(mut bytes: &[u8]) -> Result<List, LogError> {
    fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], LogError> {
        let (taken, rest) = bytes.split_first_chunk::<N>().ok_or(WRONG)?;
        *bytes = rest;
        Ok(*taken)
    }
    let base = u64::from_le_bytes(take(&mut bytes)?);
    let heard = Mark::from_le_bytes(take(&mut bytes)?);
    let count = u32::from_le_bytes(take(&mut bytes)?) as usize;
    if count > MARKS_MAX {
        return Err(WRONG);
    }
    let told: Result<Vec<Mark>, _> =
        (0..count).map(|_| take(&mut bytes).map(Mark::from_le_bytes)).collect();
    let told = told?;
    let mut items = Vec::new();
    while !bytes.is_empty() {
        let [tree] = take(&mut bytes)?;
        let length = u32::from_le_bytes(take(&mut bytes)?) as usize;
        let (path, rest) = bytes.split_at_checked(length).ok_or(WRONG)?;
        bytes = rest;
        if !is_path(path) {
            return Err(WRONG);
        }
        let what = match take(&mut bytes)? {
            [1] if !path.is_empty() => What::Name,
            [kind @ (2 | 3)] => {
                let count = u32::from_le_bytes(take(&mut bytes)?) as usize;
                if count > bytes.len() / 8 {
                    return Err(WRONG);
                }
                let mut zones = Vec::with_capacity(count);
                for _ in 0..count {
                    let first = u32::from_le_bytes(take(&mut bytes)?);
                    let last = u32::from_le_bytes(take(&mut bytes)?);
                    if first > last {
                        return Err(WRONG);
                    }
                    zones.push((first, last));
                }
                What::File { zones, others: kind == 3 }
            }
            _ => return Err(WRONG),
        };
        items.push(Item { tree, path: path.to_vec(), what });
    }
    Ok(List { base, heard, told, items })
}

/// Steps down from the root and nowhere else.
fn is_path(path: &[u8]) -> bool {
    let step = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && name.len() <= 255;
    path.is_empty()
        || (path.len() <= PATH_MAX && !path.contains(&0) && path.split(|b| *b == b'/').all(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_covered_path_is_at_or_below_a_name() {
        let names = [(0, b"a/b".to_vec())].into_iter().collect();
        for (path, is) in
            [("a/b", true), ("a/b/c", true), ("a", false), ("a/bc", false), ("", false)]
        {
            assert_eq!(covered(&names, 0, path.as_bytes()), is, "{path}");
        }
        assert!(!covered(&names, 1, b"a/b"));
    }
}
