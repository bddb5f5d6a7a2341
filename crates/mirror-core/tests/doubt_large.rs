//! Large files that were made lately: in the log by their names only as long as they are in doubt.

use mirror_core::doubt::*;

fn file(number: u8) -> Identity {
    let mut bytes = [0; 24];
    bytes[0] = number;
    Identity { tree: 0, kind: 1, length: 8, bytes }
}

/// Everything up to now is on both disks.
fn confirm_all(doubt: &mut Doubt) {
    let ended = doubt.begin_checkpoint();
    doubt.confirm(ended);
}

#[test]
fn a_large_new_file_leaves_the_log_when_both_disks_have_it() {
    let mut doubt = Doubt::empty(7);
    let made = |doubt: &mut Doubt, id: u8, parent: u8, text: &str, zones: u64| {
        doubt.touch_name(file(parent), text.as_bytes(), None);
        doubt.made(file(id), file(parent), text.as_bytes());
        doubt.touch_bytes(file(id), 0, zones * ZONE_BYTES, Vec::new);
    };
    made(&mut doubt, 1, 0, "large", 9);
    made(&mut doubt, 2, 0, "small", 8);
    // A large one in a directory that was made for it, and one that is written on.
    doubt.touch_name(file(0), b"folder", None);
    doubt.made(file(3), file(0), b"folder");
    made(&mut doubt, 4, 3, "image", 100);
    assert!(!doubt.has_large_name(), "they are doubtful");
    confirm_all(&mut doubt);
    doubt.touch_bytes(file(4), 5 * ZONE_BYTES, 1, Vec::new);
    assert!(doubt.has_large_name());
    let (batch, records) = doubt.rewrite();
    doubt.batch_written(batch);
    assert!(!doubt.has_large_name());
    let names: Vec<&[u8]> = records
        .iter()
        .filter_map(|record| match record {
            Touched::Name { name, .. } => Some(&**name),
            _ => None,
        })
        .collect();
    assert_eq!(names, [b"small"]);
    let after = Doubt::from_log(7, records);
    assert_eq!(after.doubtful_zones(&file(4)), [(5, 5)], "and what was written since");
    assert_eq!(after.doubtful_zones(&file(1)), []);
    let admitted = doubt.touch_name(file(0), b"large", None);
    assert!(admitted.is_some_and(|batch| !doubt.is_durable(batch)), "it is admitted anew");
}

#[test]
fn a_large_new_file_that_is_doubtful_stays_in_the_log() {
    let mut doubt = Doubt::empty(7);
    doubt.touch_name(file(0), b"large", None);
    doubt.made(file(1), file(0), b"large");
    doubt.touch_bytes(file(1), 0, 9 * ZONE_BYTES, Vec::new);
    confirm_all(&mut doubt);
    doubt.touch_name(file(0), b"large", Some(file(1)));
    assert!(!doubt.has_large_name());
    let (_, records) = doubt.rewrite();
    let named = |record: &Touched| matches!(record, Touched::Name { .. });
    assert_eq!(records.iter().filter(|record| named(record)).count(), 1);
}
