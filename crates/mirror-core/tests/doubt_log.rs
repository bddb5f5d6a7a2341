//! The log on disk and the list that is told: a damaged log is never read as one that says less,
//! and the bytes never change.

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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

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
            let what = match number % 2 {
                0 => What::Name,
                _ => What::File { zones, others: number % 3 == 0 },
            };
            Item { tree: number as u8, path: path.into_bytes(), what }
        }).collect();
        let list = List { base, heard: base ^ 1, told: vec![base; items.len()], items };
        let bytes = encode_list(&list).expect("short");
        prop_assert_eq!(decode_list(&bytes).expect("ours"), list);
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

fn golden() -> Vec<(&'static str, Vec<u8>)> {
    let records = vec![
        Touched::Place { file: file(2), parent: file(1), name: name("image") },
        Touched::Zones { file: file(2), first: 4, last: 7 },
        Touched::Zones { file: file(2), first: 9, last: u32::MAX },
        Touched::Attributes { file: file(2) },
        Touched::Name { directory: file(1), name: name("new"), before: None },
        Touched::Name { directory: file(1), name: name("old"), before: Some(file(5)) },
        Touched::Mark(0x0102_0304_0506_0708),
    ];
    let items = vec![
        Item { tree: 0, path: b"a/new".to_vec(), what: What::Name },
        Item {
            tree: 1,
            path: Vec::new(),
            what: What::File { zones: vec![(4, 7), (9, u32::MAX)], others: false },
        },
        Item {
            tree: 0,
            path: b"b".to_vec(),
            what: What::File { zones: vec![(1, 1)], others: true },
        },
    ];
    let (heard, told) = (0x0102_0304_0506_0708, vec![3, u64::MAX]);
    let list = List { base: 0x1122_3344_5566_7788, heard, told, items };
    let page = |batch, records: &[Touched]| {
        let twin = encode_batch(0x1122_3344_5566_7788, batch, records);
        let used = twin[..PAGE_BYTES].iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        assert_eq!(twin[..PAGE_BYTES], twin[PAGE_BYTES..]);
        twin[..used].to_vec()
    };
    vec![
        ("empty_page", page(0, &[])),
        ("page", page(1, &records)),
        ("heard", Heard { written: 7, mark: 0x0102_0304_0506_0708 }.encode()[..28].to_vec()),
        ("list", encode_list(&list).expect("short")),
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
