//! A simulated application beside a simulated resync.

use std::time::Duration;

use mirror_core::yielding::{Kind, Yielding};

const STEP: Duration = Duration::from_micros(500);

/// The application makes a change every step; it takes `quiet` alone, and what `beside` says (by
/// its number) while the resync works. Returns the mean, the 99th percentile (both in quiet times)
/// and the part of the time in which the resync worked, all of the second half.
fn run(seconds: u64, quiet: Duration, beside: impl Fn(u64) -> Duration) -> (f64, f64, f64) {
    let mut yielding = Yielding::default();
    let steps = seconds * 1_000_000 / STEP.as_micros() as u64;
    let (mut took_all, mut worked) = (Vec::new(), 0);
    for number in 0..steps {
        let begun = STEP * number as u32;
        let works = yielding.may_work(begun).is_ok();
        let took = if works { beside(number) } else { quiet };
        yielding.answered(begun + took.min(STEP), Kind::Other, took);
        if number > steps / 2 {
            took_all.push(took.as_secs_f64());
            worked += u64::from(works);
        }
    }
    took_all.sort_by(f64::total_cmp);
    let mean = took_all.iter().sum::<f64>() / took_all.len() as f64;
    let slow = took_all[took_all.len() * 99 / 100];
    let quiet = quiet.as_secs_f64();
    (mean / quiet, slow / quiet, worked as f64 / took_all.len() as f64)
}

const QUIET: Duration = Duration::from_micros(150);

#[test]
fn a_resync_that_hurts_nobody_works_nearly_all_the_time() {
    let (mean, slow, share) = run(20, QUIET, |_| QUIET.mul_f64(1.3));
    assert!(mean < 1.5 && slow < 1.5, "{mean} {slow}");
    assert!(share > 0.8, "{share}");
}

#[test]
fn where_every_change_suffers_the_slowest_of_a_hundred_stay_within_three_times() {
    let (mean, slow, share) = run(60, QUIET, |_| QUIET * 5);
    assert!(mean < 2.0 && slow <= 3.0, "{mean} {slow}");
    assert!(share >= 0.004, "{share}");
}

#[test]
fn where_a_few_changes_suffer_much_the_resync_goes_on_at_a_smaller_share() {
    // One in thirty waits ten times as long: at a share of 0.3 that is one in a hundred.
    let (mean, slow, share) = run(60, QUIET, |n| if n % 30 == 0 { QUIET * 10 } else { QUIET });
    assert!(mean < 2.0 && slow <= 3.0, "{mean} {slow}");
    assert!((0.08..0.5).contains(&share), "{share}");
}

#[test]
fn without_an_application_it_works_all_the_time_again() {
    let mut yielding = Yielding::default();
    for number in 0..10_000_u32 {
        let now = STEP * number;
        let took = if yielding.may_work(now).is_ok() { QUIET * 20 } else { QUIET };
        yielding.answered(now, Kind::Other, took);
    }
    assert!(yielding.share() < 0.1, "{}", yielding.share());
    let mut now = STEP * 10_000;
    let until = now + Duration::from_secs(3);
    while now < until {
        now += match yielding.may_work(now) {
            Ok(()) => STEP,
            Err(wait) => wait,
        };
    }
    assert!(yielding.share() >= 1.0, "{}", yielding.share());
}

#[test]
fn slow_syncs_are_not_compared_with_fast_writes() {
    let mut yielding = Yielding::default();
    let mut least = 1.0_f64;
    for number in 0..60_000_u32 {
        let now = STEP * number;
        let works = yielding.may_work(now).is_ok();
        // Syncs take forty times as long as writes, and happen more often while the resync works.
        let every = if works { 5 } else { 50 };
        match number % every {
            0 => yielding.answered(now, Kind::Sync, QUIET * 40),
            _ => yielding.answered(now, Kind::Other, QUIET),
        }
        least = least.min(yielding.share());
    }
    assert!(least > 0.25, "{least}");
}
