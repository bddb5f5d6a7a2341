//! What is done again after a cut, and what is not.

use mirror_core::remembered::{Remembered, ZONE_BYTES};
use mirror_core::units::FileId;

const FILE: FileId = FileId(7);
const HANDLE: u64 = 99;
const SIZE: u64 = 4 * ZONE_BYTES + 1000;

/// Zones 0 and 1 durable, 2 awaited, 3 equal, the last (short) one doubtful.
fn remembered() -> Remembered {
    let mut remembered = Remembered::default();
    remembered.begin(5, false);
    for zone in 0..4 {
        remembered.equal(FILE, HANDLE, zone * ZONE_BYTES, ZONE_BYTES, SIZE);
        if zone == 1 {
            assert!(remembered.checkpoint());
            remembered.confirmed();
        }
        if zone == 2 {
            assert!(remembered.checkpoint());
        }
    }
    remembered
}

#[test]
fn after_a_cut_only_what_is_durable_is_not_done_again() {
    let mut remembered = remembered();
    remembered.begin(5, true);
    assert_eq!(remembered.doubtful(FILE, HANDLE, SIZE), [(2 * ZONE_BYTES, SIZE)]);
    remembered.confirmed();
    assert_eq!(remembered.doubtful(FILE, HANDLE, SIZE), [(2 * ZONE_BYTES, SIZE)], "a late word");
}

#[test]
fn another_copy_another_file_or_a_whole_resync_knows_nothing() {
    for (copy, unfinished) in [(6, true), (5, false)] {
        let mut remembered = remembered();
        remembered.begin(copy, unfinished);
        assert_eq!(remembered.doubtful(FILE, HANDLE, SIZE), [(0, SIZE)]);
    }
    assert_eq!(remembered().doubtful(FILE, HANDLE + 1, SIZE), [(0, SIZE)]);
    let mut forgetful = remembered();
    forgetful.forget(FILE);
    assert_eq!(forgetful.doubtful(FILE, HANDLE, SIZE), [(0, SIZE)]);
}

#[test]
fn a_change_makes_its_zones_doubtful_whatever_they_were() {
    let mut remembered = remembered();
    remembered.changed(FILE, ZONE_BYTES - 1, 2);
    remembered.changed(FILE, 2 * ZONE_BYTES, 1);
    remembered.confirmed();
    remembered.checkpoint();
    remembered.confirmed();
    let rest = [(0, 3 * ZONE_BYTES), (4 * ZONE_BYTES, SIZE)];
    assert_eq!(remembered.doubtful(FILE, HANDLE, SIZE), rest);
}

#[test]
fn a_zone_in_parts_is_equal_when_all_of_them_are() {
    let mut remembered = Remembered::default();
    remembered.begin(5, false);
    let part = ZONE_BYTES / 16;
    for number in 0..16 {
        assert!(!remembered.checkpoint());
        remembered.equal(FILE, HANDLE, number * part, part, SIZE);
    }
    assert!(remembered.checkpoint());
    remembered.equal(FILE, HANDLE, 4 * ZONE_BYTES, 1000, SIZE);
    assert!(remembered.checkpoint(), "the short one at the end is whole");
    remembered.confirmed();
    assert_eq!(remembered.doubtful(FILE, HANDLE, SIZE), [(ZONE_BYTES, 4 * ZONE_BYTES)]);
}

#[test]
fn a_change_in_the_middle_of_parts_begins_the_zone_again() {
    let mut remembered = Remembered::default();
    remembered.begin(5, false);
    let half = ZONE_BYTES / 2;
    remembered.equal(FILE, HANDLE, 0, half, SIZE);
    remembered.changed(FILE, 10, 10);
    remembered.equal(FILE, HANDLE, half, half, SIZE);
    assert!(!remembered.checkpoint());
}
