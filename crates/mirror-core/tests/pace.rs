//! The bandwidth of a resync over simulated time.

use std::time::Duration;

use mirror_core::pace::{Bucket, Meter};

const PIECE: u64 = 128 << 10;

/// Takes pieces as fast as it is let, for this long; returns the bytes.
fn greedy(bucket: &mut Bucket, from: Duration, length: Duration) -> u64 {
    let (mut now, mut sent) = (from, 0);
    while now < from + length {
        match bucket.ready(now) {
            Ok(()) => {
                bucket.charge(PIECE);
                sent += PIECE;
            }
            Err(wait) => now += wait.max(Duration::from_nanos(1)),
        }
    }
    sent
}

#[test]
fn over_ten_seconds_the_limit_is_kept_within_a_piece_and_a_burst() {
    for limit in [10_000_u64, 1 << 20, 50 << 20, 1 << 30] {
        let mut bucket = Bucket::new(Some(limit));
        let sent = greedy(&mut bucket, Duration::from_secs(100), Duration::from_secs(10));
        let most = limit * 10 + limit / 20 + 2 * PIECE;
        assert!(sent <= most, "limit {limit}: {sent} > {most}");
        assert!(sent + PIECE >= limit * 10, "limit {limit}: {sent}");
    }
}

#[test]
fn a_rest_is_not_saved_up() {
    let mut bucket = Bucket::new(Some(1 << 20));
    bucket.charge(PIECE);
    let later = Duration::from_secs(3600);
    let sent = greedy(&mut bucket, later, Duration::from_secs(1));
    assert!(sent <= (1 << 20) + (1 << 20) / 20 + 2 * PIECE, "{sent}");
}

#[test]
fn a_piece_larger_than_a_second_passes_and_is_paid_for() {
    let mut bucket = Bucket::new(Some(1000));
    assert_eq!(bucket.ready(Duration::ZERO), Ok(()));
    bucket.charge(10_000);
    let wait = bucket.ready(Duration::from_secs(1)).unwrap_err();
    assert!((wait.as_secs_f64() - 9.0).abs() < 0.01, "{wait:?}");
}

#[test]
fn another_limit_counts_at_once() {
    let mut bucket = Bucket::new(Some(1000));
    bucket.charge(1 << 20);
    assert!(bucket.ready(Duration::from_secs(1)).is_err());
    bucket.set_limit(Some(100 << 20));
    assert_eq!(bucket.ready(Duration::from_secs(1)), Ok(()));
    bucket.set_limit(None);
    bucket.charge(1 << 40);
    assert_eq!(bucket.ready(Duration::from_secs(1)), Ok(()));
}

#[test]
fn the_time_left_follows_the_pace_of_the_last_seconds() {
    let mut meter = Meter::default();
    let mut count = 0;
    // 60 s at 10 a second, then 30 s at 100 a second.
    for tenth in 0..900_u64 {
        meter.note(Duration::from_millis(tenth * 100), count);
        count += if tenth < 600 { 1 } else { 10 };
    }
    let now = Duration::from_secs(90);
    let rate = meter.rate(now, count).unwrap();
    assert!((rate - 100.0).abs() < 5.0, "{rate}");
    let left = meter.time_for(now, count, 1000).unwrap();
    assert!((left.as_secs_f64() - 10.0).abs() < 1.0, "{left:?}");
}

#[test]
fn nothing_is_said_of_a_pace_nobody_has_seen_yet() {
    let mut meter = Meter::default();
    assert_eq!(meter.rate(Duration::ZERO, 0), None);
    meter.note(Duration::ZERO, 0);
    assert_eq!(meter.time_for(Duration::from_millis(1), 0, 10), None);
    assert_eq!(meter.time_for(Duration::from_secs(5), 0, 10), None, "nothing moves");
}
