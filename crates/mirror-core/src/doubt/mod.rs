//! What may differ between the two copies: the dirty map and the activity set in one.
//!
//! At a *checkpoint* both disks are known to hold the same: everything done before it stands on
//! both, synced. From there on the primary keeps a set of what it touches: zones of files,
//! attributes, names. Whatever happens later (a link cut, a process killed, a power cut that drops
//! what was not synced, on either node) a thing that was not touched since the checkpoint is on
//! each disk as it was then. So the copies can differ only in
//!
//! - what the primary of that time has touched since (its secondary did nothing else), and
//! - what the other node has touched, if it served later. That node keeps a set of its own.
//!
//! A resync looks at the union of both sets and at nothing else. For that the set on disk must
//! never lack anything: a thing is *admitted*, that is, written to the log and synced, before it is
//! touched. Two words for what is in the set: *doubtful* is what was touched since the last
//! confirmed checkpoint; *active* is what is on disk besides, because it was touched before and
//! will be again: it costs nothing to touch it, and after a crash it is looked at as well. With a
//! secondary that has everything, checkpoints make the doubtful active and a rewrite of the log
//! drops what was not touched for long (least recently touched first). Without one nothing is ever
//! dropped.
//!
//! Time is counted in *epochs*: a checkpoint begins a new one in a moment in which no change is
//! half done, and when it is confirmed everything of older epochs is doubtful no more.
//!
//! The set belongs to one *base*: the generation both nodes had. Against any other it is useless.
//! Base 0 says that it covers nothing yet.

mod cover;
mod file;
mod large;
mod list;
mod log;
mod marks;
mod rewriting;

use std::collections::BTreeMap;

use cover::Cover;
pub use cover::Moves;
use file::File;
pub use list::{covered, decode_list, encode_list, Item, List, What, LIST_MAX_BYTES};
pub use log::{decode_log, encode_batch, Log, LogError, CHUNK_BYTES, PAGE_BYTES};
use marks::Marks;
pub use marks::{are_linked, Heard, Mark, MARKS_MAX, SLOT_BYTES};

pub const ZONE_BYTES: u64 = 1 << 20;
/// Things that stay in the log although they are not doubtful.
pub const ACTIVE_MAX: usize = 1024;
/// Beyond so many things the set gives up: then everything is compared.
pub const THINGS_MAX: usize = 400_000;
/// The epoch of what is in the log and was not touched in it.
const ACTIVE: u32 = 1;

/// A file of this node for as long as it exists, also after a restart: tree and handle.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Identity {
    pub tree: u8,
    pub kind: i32,
    pub length: u8,
    /// Zero beyond `length`.
    pub bytes: [u8; 24],
}

pub type Name = Box<[u8]>;

/// One record of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Touched {
    /// `last` included; `u32::MAX`: up to the end of the file.
    Zones {
        file: Identity,
        first: u32,
        last: u32,
    },
    Attributes {
        file: Identity,
    },
    /// The file stands at this name.
    Place {
        file: Identity,
        parent: Identity,
        name: Name,
    },
    /// `before`: what stood there, if it lives on elsewhere it is known again by that.
    Name {
        directory: Identity,
        name: Name,
        before: Option<Identity>,
    },
    /// Nothing was touched; the other node is told this (`marks`).
    Mark(Mark),
}

/// The number of the batch that has to be on disk before the thing may be touched.
pub type Batch = u64;

#[derive(Clone, Debug)]
struct Entry {
    epoch: u32,
    before: Option<Identity>,
    batch: Batch,
}

/// The set in memory: exact where the log is only never too small.
#[derive(Debug)]
pub struct Doubt {
    pub base: u64,
    epoch: u32,
    confirmed: u32,
    files: BTreeMap<Identity, File>,
    names: BTreeMap<(Identity, Name), Entry>,
    marks: Marks,
    covers: BTreeMap<Identity, Cover>,
    /// How often something was given another name.
    moves: u64,
    queue: Vec<Touched>,
    filling: Batch,
    durable: Batch,
}

impl Default for Doubt {
    fn default() -> Doubt {
        Doubt::empty(0)
    }
}

/// A doubtful file, for the plan of a resync.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DoubtfulFile {
    pub file: Identity,
    /// First and last zone of each run.
    pub zones: Vec<(u32, u32)>,
    pub places: Vec<(Identity, Name)>,
}

impl Doubt {
    pub fn empty(base: u64) -> Doubt {
        Doubt {
            base,
            epoch: ACTIVE + 1,
            confirmed: ACTIVE,
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            marks: Marks::default(),
            covers: BTreeMap::new(),
            moves: 0,
            queue: Vec::new(),
            filling: 1,
            durable: 0,
        }
    }

    /// What a log says after a restart: all of it is doubtful.
    pub fn from_log(base: u64, records: Vec<Touched>) -> Doubt {
        let mut doubt = Doubt::empty(base);
        let epoch = doubt.epoch;
        for record in records {
            match record {
                Touched::Zones { file, first, last } => {
                    let file = doubt.files.entry(file).or_default();
                    file.mark(first, last, epoch);
                    file.logged = true;
                }
                Touched::Attributes { file } => {
                    let file = doubt.files.entry(file).or_default();
                    (file.attributes, file.logged) = (epoch, true);
                }
                Touched::Place { file, parent, name } => {
                    let file = doubt.files.entry(file).or_default();
                    if !file.places.iter().any(|(p, n)| *p == parent && *n == name) {
                        file.places.push((parent, name));
                    }
                }
                Touched::Name { directory, name, before } => {
                    let entry = Entry { epoch, before, batch: 0 };
                    let known = doubt.names.entry((directory, name)).or_insert(entry);
                    known.before = known.before.or(before);
                }
                Touched::Mark(mark) => doubt.marks.push(mark),
            }
        }
        // Of what was new then, and is known by its name, only some places may be in the log.
        doubt.files.retain(|_, file| file.logged);
        doubt
    }

    /// Bytes of a file are about to change. `place` is asked for when the file is new here.
    pub fn touch_bytes(
        &mut self, file: Identity, offset: u64, length: u64,
        place: impl FnOnce() -> Vec<(Identity, Name)>,
    ) -> Option<Batch> {
        let zone = |at: u64| (at / ZONE_BYTES).min(u64::from(u32::MAX)) as u32;
        let (first, last) = (zone(offset), zone(offset.saturating_add(length.max(1) - 1)));
        self.touch_zones(file, first, last, place)
    }

    /// Everything of a file from this byte on.
    pub fn touch_from(
        &mut self, file: Identity, offset: u64, place: impl FnOnce() -> Vec<(Identity, Name)>,
    ) -> Option<Batch> {
        self.touch_bytes(file, offset, u64::MAX, place)
    }

    fn touch_zones(
        &mut self, id: Identity, first: u32, last: u32,
        place: impl FnOnce() -> Vec<(Identity, Name)>,
    ) -> Option<Batch> {
        let (epoch, filling, durable) = (self.epoch, self.filling, self.durable);
        let file = self.known(id, place);
        if file.new == epoch {
            file.grow(last);
            return None;
        }
        let admitted = file.new != 0 || file.has(first, last);
        let mut record = None;
        if !admitted {
            let (first, last) = file.admission(first, last);
            file.activate(first, last);
            (file.batch, file.logged) = (filling, true);
            record = Some(Touched::Zones { file: id, first, last });
        }
        file.mark(first, last, epoch);
        let batch = file.batch;
        self.queue.extend(record);
        (batch > durable).then_some(batch)
    }

    pub fn touch_attributes(
        &mut self, id: Identity, place: impl FnOnce() -> Vec<(Identity, Name)>,
    ) -> Option<Batch> {
        let (epoch, filling, durable) = (self.epoch, self.filling, self.durable);
        let file = self.known(id, place);
        if file.new == epoch {
            return None;
        }
        // Whatever of a file is in the log, its attributes are looked at.
        let admitted = file.new != 0 || file.logged;
        file.attributes = epoch;
        if !admitted {
            (file.batch, file.logged) = (filling, true);
        }
        let batch = file.batch;
        self.queue.extend((!admitted).then_some(Touched::Attributes { file: id }));
        (batch > durable).then_some(batch)
    }

    /// A name is about to be given to something else, or to nothing. `before`: what stands there.
    pub fn touch_name(
        &mut self, directory: Identity, name: &[u8], before: Option<Identity>,
    ) -> Option<Batch> {
        let epoch = self.epoch;
        if self.files.get(&directory).is_some_and(|file| file.new == epoch) {
            return None;
        }
        let key = (directory, Name::from(name));
        if let Some(entry) = self.names.get_mut(&key) {
            if entry.epoch <= self.confirmed {
                entry.before = before;
            }
            entry.epoch = epoch;
            if let Some(cover) = self.covers.get_mut(&directory) {
                cover.touched(epoch);
            }
            return (entry.batch > self.durable).then_some(entry.batch);
        }
        let covered = self.covering(&directory);
        if covered.is_none() {
            let (directory, name) = key.clone();
            self.queue.push(Touched::Name { directory, name, before });
        }
        let batch = covered.unwrap_or(self.filling);
        self.names.insert(key, Entry { epoch, before, batch });
        (batch > self.durable).then_some(batch)
    }

    /// A file was made under a name that is in the set: that covers it for this epoch.
    pub fn made(&mut self, id: Identity, parent: Identity, name: &[u8]) {
        let epoch = self.epoch;
        // What the number of a file of before means: nothing any more.
        let fresh =
            File { new: epoch, places: vec![(parent, Name::from(name))], ..File::default() };
        self.files.insert(id, fresh);
    }

    /// A file got another name; it is found by it later.
    ///
    /// That is not waited for: after a crash, a file that stands where it was not noted stands at a
    /// name that is in doubt, or below one.
    pub fn moved(&mut self, id: Identity, parent: Identity, name: &[u8]) {
        self.uncover(&id);
        self.stands(id, vec![(parent, Name::from(name))]);
    }

    /// A file that is in the set has these names.
    pub fn stands(&mut self, id: Identity, places: Vec<(Identity, Name)>) {
        let Some(file) = self.files.get_mut(&id) else { return };
        for (parent, name) in file.learn(places) {
            self.queue.push(Touched::Place { file: id, parent, name });
        }
    }

    /// Its names are asked for once in each epoch: it may have got some of which nothing was said
    /// because it was not in the set at that moment.
    fn known(&mut self, id: Identity, place: impl FnOnce() -> Vec<(Identity, Name)>) -> &mut File {
        let file = self.files.entry(id).or_default();
        if file.placed != self.epoch {
            file.placed = self.epoch;
            for (parent, name) in file.learn(place()) {
                self.queue.push(Touched::Place { file: id, parent, name });
            }
        }
        file
    }

    /// What is to be written now, as one batch; `batch_written` follows.
    pub fn take_batch(&mut self) -> (Batch, Vec<Touched>) {
        let batch = self.filling;
        self.filling += 1;
        (batch, std::mem::take(&mut self.queue))
    }

    pub fn batch_written(&mut self, batch: Batch) {
        self.durable = self.durable.max(batch);
    }

    pub fn is_durable(&self, batch: Batch) -> bool {
        self.durable >= batch
    }

    /// A checkpoint begins, in a moment in which no change is half done. Returns its epoch.
    pub fn begin_checkpoint(&mut self) -> u32 {
        let ended = self.epoch;
        self.epoch += 1;
        ended
    }

    /// Everything done up to the end of this epoch is on both disks.
    pub fn confirm(&mut self, ended: u32) {
        self.confirmed = self.confirmed.max(ended.min(self.epoch - 1));
    }

    /// Has anything been touched since the last confirmed checkpoint?
    pub fn is_doubtful(&self) -> bool {
        let confirmed = self.confirmed;
        self.names.values().any(|entry| entry.epoch > confirmed)
            || self.files.values().any(|file| file.is_doubtful(confirmed))
    }

    /// How many names and files are doubtful.
    pub fn doubtful(&self) -> (usize, usize) {
        let names = self.names.values().filter(|entry| entry.epoch > self.confirmed).count();
        let files = self.files.values().filter(|file| file.is_doubtful(self.confirmed)).count();
        (names, files)
    }

    /// Zones that are in the log and not doubtful.
    pub fn stale_zones(&self) -> usize {
        let stale = |epoch: &&u32| **epoch != 0 && **epoch <= self.confirmed;
        self.files.values().map(|file| file.zones.iter().filter(stale).count()).sum()
    }

    pub fn things(&self) -> usize {
        self.names.len() + self.files.len()
    }

    pub fn is_too_large(&self) -> bool {
        self.things() > THINGS_MAX
    }

    pub fn doubtful_names(&self) -> Vec<(Identity, Name, Option<Identity>)> {
        let doubtful = self.names.iter().filter(|(_, entry)| entry.epoch > self.confirmed);
        doubtful.map(|((d, name), entry)| (*d, name.clone(), entry.before)).collect()
    }

    /// Runs of zones of this file that are doubtful.
    pub fn doubtful_zones(&self, id: &Identity) -> Vec<(u32, u32)> {
        let runs =
            |file: &File| file.runs(|epoch| epoch > self.confirmed, file.new > self.confirmed);
        self.files.get(id).map(runs).unwrap_or_default()
    }

    pub fn doubtful_files(&self) -> Vec<DoubtfulFile> {
        let doubtful = self.files.iter().filter(|(_, file)| file.is_doubtful(self.confirmed));
        let told = doubtful.map(|(id, file)| DoubtfulFile {
            file: *id,
            zones: self.doubtful_zones(id),
            places: file.places.clone(),
        });
        told.collect()
    }
}
