//! Contents of larger files in a verification: zone by zone, holes in one question.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use mirror_core::verify::Verify;

use crate::looking::{hole_at, open_contents, sum_of};
use crate::queue::{HOLE_BYTES, ZONE_BYTES};
use crate::verify_run::{Asked, Over, Place, Run, Suspect};

/// A file whose contents are compared in zones.
pub(crate) struct Large {
    place: Arc<Place>,
    name: Box<[u8]>,
    open: Option<(OwnedFd, u64)>,
    offset: u64,
}

impl Large {
    pub fn new(place: Arc<Place>, name: Box<[u8]>) -> Large {
        Large { place, name, open: None, offset: 0 }
    }
}

impl Run<'_> {
    pub(crate) fn next_zone(&mut self, mut large: Large) -> Result<(), Over> {
        if large.open.is_none() {
            let opened = large.place.tree.path_fd(&large.place.inode).and_then(|directory| {
                let file = open_contents(directory.as_fd(), &large.name)?;
                let size = crate::tree::size_of(file.as_fd())?;
                Ok((file, size))
            });
            // Gone, or something else by now.
            let Ok(opened) = opened else { return Ok(()) };
            large.open = Some(opened);
        }
        let Some((file, size)) = &large.open else { return Ok(()) };
        let (file, left) = (file.as_fd(), size.saturating_sub(large.offset));
        if left == 0 {
            return Ok(());
        }
        let offset = large.offset;
        let hole = hole_at(file, offset, *size);
        let hole = if hole >= ZONE_BYTES.min(left) { hole.min(HOLE_BYTES) } else { 0 };
        let length = if hole > 0 { hole } else { ZONE_BYTES.min(left) };
        let read = match hole {
            0 => sum_of(file, offset, length, false),
            _ => Ok(0),
        };
        let sum = match read {
            Ok(sum) => sum,
            Err(error) => {
                self.unreadable(large.place.tree.index, large.place.path_of(&large.name), &error);
                return Ok(());
            }
        };
        self.read(if hole > 0 { 0 } else { length });
        let (parent, name) = (large.place.inode.id, large.name.clone());
        let (place, range) = (large.place.clone(), (offset, length));
        let asked = Asked::Zone { place, name: name.clone(), range, sum, ordered: false };
        large.offset += length;
        self.large.push_front(large);
        self.ask(asked, |check| {
            let (hole, ordered) = (hole > 0, false);
            Verify::Zone { check, parent, name: &name, offset, length, hole, ordered }
        })
    }

    /// Contents are compared once more from the beginning: something was repaired.
    pub(crate) fn compare_contents(&mut self, place: &Arc<Place>, name: &[u8]) {
        self.large.push_back(Large::new(place.clone(), name.into()));
    }

    pub(crate) fn suspect_range(&mut self, place: &Arc<Place>, name: &[u8], range: (u64, u64)) {
        let (from, length) = range;
        let mut offset = from;
        while offset < from + length {
            let length = ZONE_BYTES.min(from + length - offset);
            let (place, name) = (place.clone(), name.into());
            self.suspects.push(Suspect::Zone { place, name, offset, length });
            offset += length;
        }
    }
}
