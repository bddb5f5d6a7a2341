//! The set against a naive model, and its log: what was admitted is there after any crash.

use std::collections::{BTreeMap, BTreeSet};

use mirror_core::doubt::*;
use proptest::prelude::*;

fn file(number: u8) -> Identity {
    let mut bytes = [0; 24];
    bytes[0] = number;
    bytes[4] = 0x77;
    Identity { tree: 0, kind: 1, length: 8, bytes }
}

fn name(text: &str) -> Name {
    text.as_bytes().into()
}

fn place(number: u8) -> Vec<(Identity, Name)> {
    vec![(file(0), name(&format!("file{number}")))]
}

/// A log as the engine writes it: batches, then zeros up to a whole chunk.
fn log_of(base: u64, batches: &[Vec<Touched>]) -> Vec<u8> {
    let mut log = Vec::new();
    for (number, batch) in (0..).zip(batches) {
        log.extend(encode_batch(base, number, batch));
    }
    pad(&mut log);
    log
}

fn pad(log: &mut Vec<u8>) {
    let whole = (log.len() + 2 * PAGE_BYTES).div_ceil(CHUNK_BYTES) * CHUNK_BYTES;
    log.resize(whole, 0);
}

#[derive(Clone, Debug)]
enum Step {
    Bytes(u8, u32, u8),
    From(u8, u32),
    Attributes(u8),
    Name(u8, u8),
    /// All names of a directory go into the log, if that is worth it; it gets another name.
    Cover(u8),
    Move(u8),
    Begin,
    Confirm,
    Rewrite,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = 1..5u8;
    let step = prop_oneof![
        8 => (number.clone(), 0..300u32, 1..9u8).prop_map(|(f, z, n)| Step::Bytes(f, z, n)),
        1 => (number.clone(), 0..300u32).prop_map(|(f, z)| Step::From(f, z)),
        2 => number.clone().prop_map(Step::Attributes),
        8 => (number.clone(), 0..12u8).prop_map(|(d, n)| Step::Name(d, n)),
        2 => number.clone().prop_map(Step::Cover),
        1 => number.prop_map(Step::Move),
        2 => Just(Step::Begin),
        2 => Just(Step::Confirm),
        1 => Just(Step::Rewrite),
    ];
    prop::collection::vec(step, 1..120)
}

/// Each thing with the number of the checkpoint that would have to be confirmed to clear it.
#[derive(Default)]
struct Model {
    zones: BTreeMap<(u8, u32), u32>,
    attributes: BTreeMap<u8, u32>,
    names: BTreeMap<(u8, u8), u32>,
    /// How often a directory got another name.
    moves: BTreeMap<u8, u32>,
    begun: u32,
    confirmed: u32,
}

const ZONES: u32 = 320;

impl Model {
    fn zones(&self) -> BTreeSet<(u8, u32)> {
        let open = self.zones.iter().filter(|(_, at)| **at >= self.confirmed);
        open.map(|(zone, _)| *zone).collect()
    }

    fn names(&self) -> BTreeSet<(u8, u8)> {
        let open = self.names.iter().filter(|(_, at)| **at >= self.confirmed);
        open.map(|(name, _)| *name).collect()
    }

    fn stands_at(&self, directory: u8) -> Name {
        let moves = self.moves.get(&directory).copied().unwrap_or_default();
        name(&format!("directory{directory} {moves}"))
    }

    fn attributes(&self) -> BTreeSet<u8> {
        let open = self.attributes.iter().filter(|(_, at)| **at >= self.confirmed);
        open.map(|(file, _)| *file).collect()
    }
}

fn zones_of(doubt: &Doubt) -> BTreeSet<(u8, u32)> {
    let mut zones = BTreeSet::new();
    for found in doubt.doubtful_files() {
        for (first, last) in found.zones {
            zones.extend((first..=last.min(ZONES)).map(|zone| (found.file.bytes[0], zone)));
        }
    }
    zones
}

fn names_of(doubt: &Doubt) -> BTreeSet<(u8, Name)> {
    let names = doubt.doubtful_names();
    names.into_iter().map(|(d, name, _)| (d.bytes[0], name)).collect()
}

fn files_of(doubt: &Doubt) -> BTreeSet<u8> {
    doubt.doubtful_files().iter().map(|found| found.file.bytes[0]).collect()
}

fn is_all_in_the_log(log: &[Vec<Touched>], doubt: &Doubt, model: &Model) {
    let read = decode_log(&log_of(7, log)).expect("a whole log");
    let after = Doubt::from_log(read.base, read.records);
    assert!(zones_of(&after).is_superset(&model.zones()), "zones of the log");
    // By itself, or by the name at which its directory stands.
    let logged = names_of(&after);
    for (directory, name) in names_of(doubt) {
        let covered = logged.contains(&(0, model.stands_at(directory)));
        assert!(covered || logged.contains(&(directory, name)), "a name of {directory}");
    }
    assert!(files_of(&after).is_superset(&files_of(doubt)));
    for found in after.doubtful_files() {
        assert!(!found.places.is_empty());
    }
}

/// What a file cut short left behind may make it more.
fn is_exact_in_memory(doubt: &Doubt, model: &Model) {
    let expected: BTreeSet<(u8, Name)> =
        model.names().iter().map(|(d, n)| (*d, [n + b'a'].into())).collect();
    let names: BTreeSet<_> = names_of(doubt).into_iter().filter(|(d, _)| *d > 0).collect();
    assert_eq!(names, expected);
    assert!(zones_of(doubt).is_superset(&model.zones()));
    let open: BTreeSet<u8> =
        model.zones().iter().map(|(f, _)| *f).chain(model.attributes()).collect();
    assert_eq!(files_of(doubt), open);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_is_doubtful_is_in_memory_and_in_the_log(steps in steps()) {
        let mut doubt = Doubt::empty(7);
        let mut model = Model::default();
        let mut log: Vec<Vec<Touched>> = vec![vec![]];
        let mut begun: Vec<(u32, u32)> = Vec::new();
        for step in steps {
            let at = model.begun;
            let wait = match step {
                Step::Bytes(f, zone, count) => {
                    let length = u64::from(count) * ZONE_BYTES - 5;
                    let offset = u64::from(zone) * ZONE_BYTES + 3;
                    for zone in zone..zone + u32::from(count) {
                        model.zones.insert((f, zone), at);
                    }
                    doubt.touch_bytes(file(f), offset, length, || place(f))
                }
                Step::From(f, zone) => {
                    model.zones.extend((zone..=ZONES).map(|zone| ((f, zone), at)));
                    doubt.touch_from(file(f), u64::from(zone) * ZONE_BYTES, || place(f))
                }
                Step::Attributes(f) => {
                    model.attributes.insert(f, at);
                    doubt.touch_attributes(file(f), || place(f))
                }
                Step::Name(d, n) => {
                    model.names.insert((d, n), at);
                    doubt.touch_name(file(d), &[n + b'a'], None)
                }
                Step::Cover(d) => doubt.wants_cover(&file(d)).and_then(|since| {
                    doubt.cover(file(d), (file(0), model.stands_at(d)), since)
                }),
                Step::Move(d) => {
                    let before = model.stands_at(d);
                    *model.moves.entry(d).or_default() += 1;
                    let now = model.stands_at(d);
                    doubt.moved(file(d), file(0), &now);
                    doubt.touch_name(file(0), &before, Some(file(d)));
                    doubt.touch_name(file(0), &now, None)
                }
                Step::Begin => {
                    begun.push((doubt.begin_checkpoint(), model.begun + 1));
                    model.begun += 1;
                    None
                }
                Step::Confirm => {
                    if let Some((epoch, number)) = begun.pop() {
                        doubt.confirm(epoch);
                        model.confirmed = model.confirmed.max(number);
                        begun.clear();
                    }
                    None
                }
                Step::Rewrite => {
                    let (batch, records) = doubt.rewrite();
                    log = vec![records];
                    doubt.batch_written(batch);
                    None
                }
            };
            if let Some(batch) = wait {
                let (number, records) = doubt.take_batch();
                prop_assert!(number >= batch);
                log.push(records);
                doubt.batch_written(number);
                prop_assert!(doubt.is_durable(batch));
            }
            is_exact_in_memory(&doubt, &model);
        }
        is_all_in_the_log(&log, &doubt, &model);
    }
}

#[test]
fn a_file_that_was_made_is_covered_by_its_name_until_the_next_epoch() {
    let mut doubt = Doubt::empty(1);
    let batch = doubt.touch_name(file(1), b"new", None).expect("to be admitted");
    let (number, _) = doubt.take_batch();
    assert_eq!(number, batch);
    doubt.batch_written(number);
    doubt.made(file(2), file(1), b"new");
    assert_eq!(doubt.touch_bytes(file(2), 0, 1 << 40, || place(2)), None);
    let ended = doubt.begin_checkpoint();
    // In the next epoch it is touched like any other, without another admission: its name is in
    // the log.
    assert_eq!(doubt.touch_bytes(file(2), 5 * ZONE_BYTES, 1, || place(2)), None);
    doubt.confirm(ended);
    let found = doubt.doubtful_files();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].zones, [(5, 5)]);
    assert!(!found[0].places.is_empty());
    assert_eq!(doubt.doubtful_names(), []);
    // When the log is written anew, the zone is in it.
    let (_, records) = doubt.rewrite();
    assert!(records.contains(&Touched::Zones { file: file(2), first: 5, last: 5 }));
}

#[test]
fn many_names_of_one_directory_cost_few_batches() {
    let (directory, place) = (file(1), (file(0), name("d")));
    let mut doubt = Doubt::empty(7);
    let mut waits = 0;
    let make = |doubt: &mut Doubt, number: u32| {
        if let Some(since) = doubt.wants_cover(&directory) {
            doubt.cover(directory, place.clone(), since);
        }
        let wait = doubt.touch_name(directory, format!("{number}").as_bytes(), None).is_some();
        let (batch, _) = doubt.take_batch();
        doubt.batch_written(batch);
        u32::from(wait)
    };
    for number in 0..1000 {
        waits += make(&mut doubt, number);
    }
    assert_eq!(waits, 5, "four names, then the directory");
    let ended = doubt.begin_checkpoint();
    doubt.confirm(ended);
    assert!(doubt.has_idle_cover(), "a rewrite is due");
    let (batch, _) = doubt.rewrite();
    doubt.batch_written(batch);
    assert!(!doubt.has_idle_cover());
    assert_eq!(make(&mut doubt, 5000), 1, "the cover is no more");
    doubt.moved(directory, file(0), b"e");
    assert_eq!(doubt.doubtful(), (1, 0));
}

#[test]
fn a_change_between_the_checkpoint_and_its_confirmation_stays_doubtful() {
    let mut doubt = Doubt::empty(1);
    doubt.touch_bytes(file(1), 0, 1, || place(1));
    let ended = doubt.begin_checkpoint();
    doubt.touch_bytes(file(1), 0, 1, || place(1));
    doubt.confirm(ended);
    assert!(doubt.is_doubtful());
    let ended = doubt.begin_checkpoint();
    doubt.confirm(ended);
    assert!(!doubt.is_doubtful());
}

#[test]
fn writing_through_a_file_admits_ever_more_at_once() {
    let mut doubt = Doubt::empty(1);
    let mut syncs = 0;
    for zone in 0..1000u64 {
        if doubt.touch_bytes(file(1), zone * ZONE_BYTES, ZONE_BYTES, || place(1)).is_some() {
            syncs += 1;
            let (batch, _) = doubt.take_batch();
            doubt.batch_written(batch);
        }
    }
    assert!(syncs < 30, "{syncs} syncs for 1000 zones");
}

#[test]
fn the_least_recently_touched_leave_the_log_and_no_doubtful_one_does() {
    let mut doubt = Doubt::empty(1);
    for round in 0..10u32 {
        for zone in 0..400u64 {
            let zone = u64::from(round) * 400 + zone;
            doubt.touch_bytes(file(1), zone * ZONE_BYTES, 1, || place(1));
        }
        let ended = doubt.begin_checkpoint();
        if round < 9 {
            doubt.confirm(ended);
        }
    }
    let (_, records) = doubt.rewrite();
    let after = Doubt::from_log(1, records);
    let zones = zones_of_all(&after);
    assert!(zones.len() <= 400 + ACTIVE_MAX, "{}", zones.len());
    assert!((3600..4000).all(|zone| zones.contains(&zone)), "the doubtful ones");
    assert!(zones.contains(&3599) && !zones.contains(&0), "the latest of the others");
}

fn zones_of_all(doubt: &Doubt) -> BTreeSet<u32> {
    let files = doubt.doubtful_files();
    files.iter().flat_map(|f| f.zones.iter().flat_map(|(a, b)| *a..=*b)).collect()
}

#[test]
fn names_are_asked_for_again_in_the_next_epoch() {
    let other = || vec![(file(0), name("other"))];
    let mut doubt = Doubt::empty(1);
    doubt.touch_bytes(file(1), 0, 1, || place(1));
    // It moved between the two; nothing was said, since it was asked for just before.
    doubt.touch_bytes(file(1), ZONE_BYTES, 1, || panic!("once in an epoch"));
    let ended = doubt.begin_checkpoint();
    doubt.confirm(ended);
    doubt.touch_bytes(file(1), 0, 1, other);
    assert_eq!(doubt.doubtful_files()[0].places, [place(1), other()].concat());
    let (_, records) = doubt.take_batch();
    let known = Touched::Place { file: file(1), parent: file(0), name: name("other") };
    assert!(records.contains(&known));
}

#[test]
fn names_in_a_log_of_what_was_not_in_doubt_are_not_all_its_names() {
    let place_of_new = Touched::Place { file: file(1), parent: file(0), name: name("old") };
    let mut doubt = Doubt::from_log(1, vec![place_of_new]);
    assert!(doubt.touch_bytes(file(1), 0, 1, || place(1)).is_some());
    assert_eq!(doubt.doubtful_files()[0].places, place(1));
}

#[test]
fn the_names_of_a_file_are_bounded() {
    let mut doubt = Doubt::empty(1);
    doubt.touch_bytes(file(1), 0, 1, || place(1));
    for number in 0..1000 {
        doubt.moved(file(1), file(0), format!("{number}").as_bytes());
    }
    let places = doubt.doubtful_files()[0].places.clone();
    assert!(places.len() < 100, "{}", places.len());
    assert_eq!(places.last(), Some(&(file(0), name("999"))));
}
