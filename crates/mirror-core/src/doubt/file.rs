//! One file in the set: which of its zones were touched, and when.

use super::{Batch, Identity, Name, ACTIVE};

/// Files beyond this are not told apart by zones.
const ZONES_MAX: u32 = 1 << 21;
/// Zones admitted at once: of a file written here and there, and (growing) of one written through.
const ADMITTED: u32 = 4;
const ADMITTED_MAX: u32 = 64;
/// Names of one file that are remembered; of more the oldest are forgotten.
const PLACES_MAX: usize = 64;

#[derive(Clone, Debug, Default)]
pub(super) struct File {
    /// The epoch in which each zone was touched last; 0: it is not in the log.
    pub(super) zones: Vec<u32>,
    /// From this zone on, and the epoch.
    pub(super) tail: Option<(u32, u32)>,
    pub(super) attributes: u32,
    /// It was made in this epoch, so its name covers it.
    pub(super) new: u32,
    /// Up to here (in zones) it was written in that epoch.
    pub(super) end: u32,
    pub(super) places: Vec<(Identity, Name)>,
    /// The epoch in which its names were asked for last.
    pub(super) placed: u32,
    /// Some record of it is in the log.
    pub(super) logged: bool,
    pub(super) batch: Batch,
    pub(super) admitted_to: u32,
    pub(super) run: u32,
}

impl File {
    pub(super) fn has(&self, first: u32, last: u32) -> bool {
        let from_tail = |zone: u32| self.tail.is_some_and(|(tail, _)| zone >= tail);
        if last >= ZONES_MAX {
            return from_tail(first);
        }
        (first..=last).all(|zone| {
            self.zones.get(zone as usize).is_some_and(|epoch| *epoch != 0) || from_tail(zone)
        })
    }

    /// Those of these names that were not known.
    pub(super) fn learn(&mut self, places: Vec<(Identity, Name)>) -> Vec<(Identity, Name)> {
        let mut new = places;
        new.retain(|place| !self.places.contains(place));
        self.places.extend_from_slice(&new);
        self.places.drain(..self.places.len().saturating_sub(PLACES_MAX));
        new
    }

    pub(super) fn admission(&mut self, first: u32, last: u32) -> (u32, u32) {
        if last >= ZONES_MAX {
            return (first, u32::MAX);
        }
        let goes_on = first <= self.admitted_to && first + ADMITTED_MAX > self.admitted_to;
        self.run = match goes_on && self.admitted_to > 0 {
            true => (self.run * 2).clamp(ADMITTED, ADMITTED_MAX),
            false => ADMITTED,
        };
        let end = (last + 1).max(first + self.run).div_ceil(ADMITTED) * ADMITTED;
        self.admitted_to = end;
        (first, end - 1)
    }

    /// It is new, and this zone of it is written.
    pub(super) fn grow(&mut self, last: u32) {
        if last < ZONES_MAX {
            self.end = self.end.max(last + 1);
        }
    }

    /// In the log, whether or not it is touched.
    pub(super) fn activate(&mut self, first: u32, last: u32) {
        if last >= ZONES_MAX {
            return;
        }
        if self.zones.len() <= last as usize {
            self.zones.resize(last as usize + 1, 0);
        }
        for epoch in &mut self.zones[first as usize..=last as usize] {
            *epoch = (*epoch).max(ACTIVE);
        }
    }

    pub(super) fn mark(&mut self, first: u32, last: u32, epoch: u32) {
        if last >= ZONES_MAX {
            // The largest such range is kept; it stays as long as any of them is doubtful.
            let first = self.tail.map_or(first, |(before, _)| before.min(first));
            self.tail = Some((first, epoch));
            return;
        }
        if self.zones.len() <= last as usize {
            self.zones.resize(last as usize + 1, 0);
        }
        self.zones[first as usize..=last as usize].fill(epoch);
    }

    pub(super) fn is_doubtful(&self, confirmed: u32) -> bool {
        self.attributes > confirmed
            || self.new > confirmed
            || self.tail.is_some_and(|(_, epoch)| epoch > confirmed)
            || self.zones.iter().any(|epoch| *epoch > confirmed)
    }

    pub(super) fn is_in_log(&self) -> bool {
        self.attributes != 0 || self.tail.is_some() || self.zones.iter().any(|epoch| *epoch != 0)
    }

    /// Runs of zones whose epoch is meant; `whole`: all of them.
    pub(super) fn runs(&self, meant: impl Fn(u32) -> bool, whole: bool) -> Vec<(u32, u32)> {
        if whole {
            return vec![(0, u32::MAX)];
        }
        let mut runs: Vec<(u32, u32)> = Vec::new();
        let tail = self.tail.filter(|(_, epoch)| meant(*epoch)).map(|(first, _)| first);
        for (zone, epoch) in (0u32..).zip(&self.zones) {
            if !meant(*epoch) || tail.is_some_and(|tail| zone >= tail) {
                continue;
            }
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == zone => *last = zone,
                _ => runs.push((zone, zone)),
            }
        }
        runs.extend(tail.map(|first| (first, u32::MAX)));
        runs
    }
}
