//! The set against a naive model, and its log: what was admitted is there after any crash, and a
//! damaged log is never read as one that says less.

use std::collections::{BTreeMap, BTreeSet};

use mirror_core::doubt::*;
use proptest::prelude::*;

const VECTORS: &str = include_str!("../../../tests/vectors/dirty_map.txt");

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
        4 => (number, 0..6u8).prop_map(|(d, n)| Step::Name(d, n)),
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

fn names_of(doubt: &Doubt) -> BTreeSet<(u8, u8)> {
    let names = doubt.doubtful_names();
    names.iter().map(|(d, name, _)| (d.bytes[0], name[0])).collect()
}

fn files_of(doubt: &Doubt) -> BTreeSet<u8> {
    doubt.doubtful_files().iter().map(|found| found.file.bytes[0]).collect()
}

fn is_all_in_the_log(log: &[Vec<Touched>], doubt: &Doubt, model: &Model) {
    let read = decode_log(&log_of(7, log)).expect("a whole log");
    let after = Doubt::from_log(read.base, read.records);
    assert!(zones_of(&after).is_superset(&model.zones()), "zones of the log");
    assert!(names_of(&after).is_superset(&names_of(doubt)));
    assert!(files_of(&after).is_superset(&files_of(doubt)));
    for found in after.doubtful_files() {
        assert!(!found.places.is_empty());
    }
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
                    for zone in zone..=ZONES {
                        model.zones.insert((f, zone), at);
                    }
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
            // In memory it is exact; what a file cut short left behind may make it more.
            let names = names_of(&doubt);
            let expected: BTreeSet<(u8, u8)> =
                model.names().iter().map(|(d, n)| (*d, n + b'a')).collect();
            prop_assert_eq!(&names, &expected);
            prop_assert!(zones_of(&doubt).is_superset(&model.zones()));
            let open: BTreeSet<u8> =
                model.zones().iter().map(|(f, _)| *f).chain(model.attributes()).collect();
            prop_assert_eq!(files_of(&doubt), open);
        }
        is_all_in_the_log(&log, &doubt, &model);
    }

    #[test]
    fn a_flipped_byte_takes_nothing_away(
        sizes in prop::collection::vec(0..300usize, 1..6), at in any::<u32>(), bit in 0..8u8,
    ) {
        let batches = batches(&sizes);
        let log = log_of(9, &batches);
        let mut flipped = log.clone();
        let used: usize = (0..).zip(&batches).map(|(n, b)| encode_batch(9, n, b).len()).sum();
        let at = at as usize % (used + PAGE_BYTES);
        flipped[at] ^= 1 << bit;
        if let Ok(read) = decode_log(&flipped) {
            prop_assert_eq!(read, decode_log(&log).expect("whole"));
        }
    }

    #[test]
    fn a_torn_last_batch_leaves_all_before(
        sizes in prop::collection::vec(0..300usize, 2..6), torn in any::<u64>(),
        junk in any::<bool>(),
    ) {
        let batches = batches(&sizes);
        let (last, before) = batches.split_last().expect("two at least");
        let mut log = Vec::new();
        for (number, batch) in (0..).zip(before) {
            log.extend(encode_batch(9, number, batch));
        }
        // Any of its pages may have come to the disk, and others in part.
        let pages = encode_batch(9, before.len() as u64, last);
        for (index, page) in pages.chunks(PAGE_BYTES).enumerate() {
            let begun = if junk { 2048 } else { 0 };
            let half = [&page[..begun], &vec![0; PAGE_BYTES - begun]].concat();
            log.extend(if torn >> (index % 64) & 1 == 1 { page } else { &half });
        }
        pad(&mut log);
        let read = decode_log(&log).expect("torn, not damaged");
        let certain: Vec<Touched> = before.concat();
        prop_assert!(certain.iter().all(|record| read.records.contains(record)));
    }

    #[test]
    fn a_log_cut_short_is_damaged(
        sizes in prop::collection::vec(0..300usize, 1..6), cut in any::<u32>(),
    ) {
        let log = log_of(9, &batches(&sizes));
        let cut = 1 + cut as usize % log.len();
        prop_assert!(decode_log(&log[..log.len() - cut]).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut whole = encode_batch(3, 0, &[]);
        whole[..bytes.len()].copy_from_slice(&bytes);
        pad(&mut whole);
        let _ = decode_log(&whole);
        let _ = decode_list(&bytes);
    }

    #[test]
    fn lists_survive(
        paths in prop::collection::vec("[a-z]{1,5}(/[a-z]{1,5}){0,3}", 0..9), base: u64,
    ) {
        let items: Vec<Item> = paths.into_iter().enumerate().map(|(number, path)| {
            let zones = (0..number as u32).map(|zone| (zone * 2, zone * 2 + 1)).collect();
            let what = if number % 2 == 0 { What::Name } else { What::File(zones) };
            Item { tree: number as u8, path: path.into_bytes(), what }
        }).collect();
        let bytes = encode_list(base, &items).expect("short");
        prop_assert_eq!(decode_list(&bytes).expect("ours"), (base, items));
        if !bytes.is_empty() {
            prop_assert!(decode_list(&bytes[..7]).is_err());
        }
    }
}

fn batches(sizes: &[usize]) -> Vec<Vec<Touched>> {
    let record = |number: usize| {
        let text = format!("name number {number} {}", "x".repeat(number % 200));
        Touched::Name { directory: file(3), name: name(&text), before: None }
    };
    let mut next = 0;
    let mut batch = |count: usize| {
        next += count;
        (next - count..next).map(record).collect()
    };
    sizes.iter().map(|count| batch(*count)).collect()
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

fn golden() -> Vec<(&'static str, Vec<u8>)> {
    let records = vec![
        Touched::Place { file: file(2), parent: file(1), name: name("image") },
        Touched::Zones { file: file(2), first: 4, last: 7 },
        Touched::Zones { file: file(2), first: 9, last: u32::MAX },
        Touched::Attributes { file: file(2) },
        Touched::Name { directory: file(1), name: name("new"), before: None },
        Touched::Name { directory: file(1), name: name("old"), before: Some(file(5)) },
    ];
    let items = [
        Item { tree: 0, path: b"a/new".to_vec(), what: What::Name },
        Item { tree: 1, path: Vec::new(), what: What::File(vec![(4, 7), (9, u32::MAX)]) },
    ];
    let page = |batch, records: &[Touched]| {
        let twin = encode_batch(0x1122_3344_5566_7788, batch, records);
        let used = twin[..PAGE_BYTES].iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        assert_eq!(twin[..PAGE_BYTES], twin[PAGE_BYTES..]);
        twin[..used].to_vec()
    };
    vec![
        ("empty_page", page(0, &[])),
        ("page", page(1, &records)),
        ("list", encode_list(0x1122_3344_5566_7788, &items).expect("short")),
    ]
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_bytes_never_change() {
    let lines: Vec<&str> = VECTORS.lines().filter(|line| !line.starts_with('#')).collect();
    let ours: Vec<String> =
        golden().iter().map(|(name, bytes)| format!("{name} {}", hexadecimal(bytes))).collect();
    assert_eq!(lines, ours, "\n{}", ours.join("\n"));
}
