//! What a new log keeps: all that is doubtful, and of the rest what was touched last.

use std::collections::BTreeMap;

use super::{Batch, Doubt, File, Touched, ACTIVE, ACTIVE_MAX};

impl Doubt {
    /// Drops what is neither doubtful nor among the most recently touched, and returns the records
    /// of a new log, which is to take the place of the old one before anything else is admitted.
    /// What was queued is in it.
    pub fn rewrite(&mut self) -> (Batch, Vec<Touched>) {
        let confirmed = self.confirmed;
        let oldest = self.oldest_kept();
        let kept = |epoch: u32| epoch > confirmed || (epoch > ACTIVE && epoch >= oldest);
        // What they covered is written by name.
        self.covers.clear();
        let large = self.names_of_large();
        self.names.retain(|name, entry| kept(entry.epoch) && !large.contains(name));
        for file in self.files.values_mut() {
            if file.new <= confirmed {
                file.new = 0;
            }
            file.zones.iter_mut().filter(|epoch| !kept(**epoch)).for_each(|epoch| *epoch = 0);
            file.tail = file.tail.filter(|(_, epoch)| kept(*epoch));
            file.attributes = if kept(file.attributes) { file.attributes } else { 0 };
            file.logged = file.is_in_log();
        }
        self.files.retain(|_, file| file.new != 0 || file.is_in_log());
        self.queue.clear();
        let batch = self.filling;
        self.filling += 1;
        (batch, self.records())
    }

    /// How many records a rewrite would write, about.
    pub fn records_after_rewrite(&self) -> usize {
        let oldest = self.oldest_kept();
        let kept = |epoch: u32| epoch > self.confirmed || (epoch > ACTIVE && epoch >= oldest);
        let of_file = |file: &File| 2 + file.runs(kept, false).len();
        let names = self.names.values().filter(|entry| kept(entry.epoch)).count();
        names + self.files.values().map(of_file).sum::<usize>()
    }

    /// Among what is not doubtful, the epoch from which on things stay.
    fn oldest_kept(&self) -> u32 {
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        let mut count = |epoch: u32| {
            if epoch > ACTIVE && epoch <= self.confirmed {
                *counts.entry(epoch).or_default() += 1;
            }
        };
        self.names.values().for_each(|entry| count(entry.epoch));
        for file in self.files.values() {
            file.zones.iter().copied().for_each(&mut count);
            count(file.attributes);
            count(file.tail.map_or(0, |(_, epoch)| epoch));
        }
        let mut epochs: Vec<(u32, usize)> = counts.into_iter().collect();
        epochs.sort_unstable_by(|a, b| b.cmp(a));
        let (mut oldest, mut total) = (self.confirmed + 1, 0);
        for (epoch, things) in epochs {
            total += things;
            if total > ACTIVE_MAX {
                break;
            }
            oldest = epoch;
        }
        oldest
    }

    fn records(&self) -> Vec<Touched> {
        let mut records: Vec<Touched> = self.marks.records().collect();
        for ((directory, name), entry) in &self.names {
            let (directory, name, before) = (*directory, name.clone(), entry.before);
            records.push(Touched::Name { directory, name, before });
        }
        for (id, file) in &self.files {
            if !file.is_in_log() {
                continue;
            }
            for (parent, name) in file.places.iter().cloned() {
                records.push(Touched::Place { file: *id, parent, name });
            }
            for (first, last) in file.runs(|epoch| epoch != 0, false) {
                records.push(Touched::Zones { file: *id, first, last });
            }
            if file.attributes != 0 {
                records.push(Touched::Attributes { file: *id });
            }
        }
        records
    }
}
