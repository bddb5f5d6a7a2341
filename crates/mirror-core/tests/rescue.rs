//! When something is saved before a resync overwrites it, in which form, and within which bounds.

use mirror_core::generation::Relation;
use mirror_core::rescue::{
    directory_name, is_directory_name, plan, zones, Before, Bound, Disk, Limits, Plan, Reason,
    Room, WhenFull, ZONE_BYTES,
};

#[test]
fn the_whole_table_of_plans() {
    for relation in Relation::ALL {
        for bits in 0..8 {
            let bit = |n: u32| bits & (1 << n) != 0;
            let (sync_target, begun, empty) = (bit(0), bit(1), bit(2));
            let wanted = match (relation, sync_target, begun, empty) {
                (Relation::Diverged | Relation::MineBlank, true, true, _) => Plan::GoOn,
                (Relation::Diverged, true, false, _) => Plan::TooLate,
                (Relation::Diverged, false, _, false) => Plan::Begin(Reason::Diverged),
                (Relation::MineBlank, false, _, false) => Plan::Begin(Reason::NeverReplicated),
                _ => Plan::Nothing,
            };
            let before = Before { relation, sync_target, begun, empty };
            assert_eq!(plan(before), wanted, "{before:?}");
        }
    }
}

#[test]
fn nothing_that_is_contained_in_the_primarys_data_is_saved() {
    for relation in [Relation::Equal, Relation::TheirsNewer] {
        let before = Before { relation, sync_target: false, begun: false, empty: false };
        assert_eq!(plan(before), Plan::Nothing);
    }
}

#[test]
fn the_bounds_hold_to_the_byte() {
    let limits = Limits { limit_bytes: 100, reserve_bytes: 50, ..Limits::default() };
    let disk = |free_bytes| Disk { bytes: 2000, free_bytes };
    assert_eq!(limits.room(40, 60, disk(90), 0), Room::Yes);
    assert_eq!(limits.room(41, 60, disk(1000), 0), Room::Stop(Bound::Limit));
    assert_eq!(limits.room(40, 60, disk(89), 0), Room::Stop(Bound::Reserve));
    assert_eq!(limits.room(41, 60, disk(1000), 2), Room::RemoveOldest);
    let go_on = Limits { when_full: WhenFull::GoOn, ..limits };
    assert_eq!(go_on.room(41, 60, disk(1000), 2), Room::RemoveOldest);
    assert_eq!(go_on.room(41, 60, disk(1000), 0), Room::LeaveOut(Bound::Limit));
    assert_eq!(go_on.room(u64::MAX, 60, disk(1000), 0), Room::LeaveOut(Bound::Limit));
}

#[test]
fn a_small_disk_keeps_a_tenth_free() {
    let limits = Limits { reserve_bytes: 2 << 30, ..Limits::default() };
    assert_eq!(limits.reserve(500 << 20), 50 << 20);
    assert_eq!(limits.reserve(1 << 40), 2 << 30);
    let disk = |free_bytes| Disk { bytes: 500 << 20, free_bytes };
    assert_eq!(limits.room(1 << 20, 0, disk(51 << 20), 0), Room::Yes);
    assert_eq!(limits.room(1 << 20, 0, disk((51 << 20) - 1), 0), Room::Stop(Bound::Reserve));
}

#[test]
fn zones_cover_the_range_and_end_with_the_file() {
    assert_eq!(zones(0, 1, 10), 0..1);
    assert_eq!(zones(ZONE_BYTES - 1, 2, 3 * ZONE_BYTES), 0..2);
    assert_eq!(zones(ZONE_BYTES, u64::MAX, 3 * ZONE_BYTES + 1), 1..4);
    assert!(zones(5, 0, 10).is_empty());
    assert!(zones(10, 5, 10).is_empty());
}

#[test]
fn names_sort_by_time_and_nothing_else_looks_like_one() {
    assert_eq!(directory_name(0, 0), "19700101T000000Z-0000000000000000");
    assert_eq!(directory_name(951_782_399, 255), "20000228T235959Z-00000000000000ff");
    assert_eq!(directory_name(951_782_400, 1), "20000229T000000Z-0000000000000001");
    assert_eq!(directory_name(1_709_251_200, 1), "20240301T000000Z-0000000000000001");
    assert_eq!(directory_name(4_107_542_399, 1), "21000228T235959Z-0000000000000001");
    assert_eq!(directory_name(4_107_542_400, 1), "21000301T000000Z-0000000000000001");
    assert!(is_directory_name(&directory_name(1_795_000_000, u64::MAX)));
    for other in ["", "..", "20240301T000000Z-000000000000000", "20240301T000000Z/0000000000000001"]
    {
        assert!(!is_directory_name(other), "{other}");
    }
}
