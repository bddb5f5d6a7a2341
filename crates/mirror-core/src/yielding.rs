//! How a resync gives way to the application: it works in a share of the time only, and the share
//! follows from what the application feels.
//!
//! Time is cut into cycles. In the first part of each the resync works, in the rest it is *quiet*.
//! The changes that the application makes in quiet times tell how long they take without a resync;
//! compared with all changes of late they tell what the resync costs. So nothing has to be known of
//! the machine, and what the machine does besides counts on both sides. While the application makes
//! no changes there is nobody to give way to, and the resync works all the time.
//!
//! What is held: on average a change takes no more than twice its quiet time, and no more than one
//! in a hundred takes longer than two and a half times what the slowest of a hundred take in quiet.
//! That leaves room to the promise, which is three times. A little less than a hundredth of the
//! time is always used: a resync has to end, and what happens so seldom is within the promise.
//!
//! Syncs and other changes are judged apart: they take times that do not compare.
//!
//! Time is an argument: since any fixed moment, and never going back.

use std::time::Duration;

const CYCLE: Duration = Duration::from_millis(200);
/// After the work stops, until the last of it is out of the way.
const SETTLES: Duration = Duration::from_millis(5);
const SHARE_MIN: f64 = 0.008;
/// While the application makes changes; the rest of the time shows how long they should take.
const SHARE_MAX: f64 = 0.85;
/// Before it is known what the resync costs.
const SHARE_UNKNOWN: f64 = 0.3;
const MEAN_MAX: f64 = 2.0;
const MEAN_GOOD: f64 = 1.6;
const TAIL_TIMES: f64 = 2.5;
const TAIL_MAX: f64 = 0.01;
const TAIL_GOOD: f64 = 0.006;
/// What is remembered of a cycle after the next one.
const FADES: f64 = 0.9;
/// Fewer changes in quiet times tell nothing.
const TELLING: f64 = 20.0;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Sync,
    Other,
}

/// Four steps for each doubling, from 4 us to more than a minute.
const STEPS: usize = 96;
const SHORTEST_S: f64 = 4e-6;

/// How long changes took, the older ones faded.
struct Tally {
    counts: [f64; STEPS],
    count: f64,
    sum_s: f64,
}

impl Tally {
    fn new() -> Tally {
        Tally { counts: [0.0; STEPS], count: 0.0, sum_s: 0.0 }
    }

    fn step(seconds: f64) -> usize {
        let steps = (seconds / SHORTEST_S).max(1.0).log2() * 4.0;
        (steps as usize).min(STEPS - 1)
    }

    fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.counts[Tally::step(seconds)] += 1.0;
        self.count += 1.0;
        self.sum_s += seconds;
    }

    fn fade(&mut self) {
        self.counts.iter_mut().for_each(|count| *count *= FADES);
        self.count *= FADES;
        self.sum_s *= FADES;
    }

    fn mean_s(&self) -> f64 {
        self.sum_s / self.count
    }

    /// No more than a hundredth took longer than this; at the upper end of its step.
    fn slow_s(&self) -> f64 {
        let mut beyond = self.count * 0.01;
        for (step, count) in self.counts.iter().enumerate().rev() {
            beyond -= count;
            if beyond < 0.0 {
                return SHORTEST_S * 2f64.powf((step + 1) as f64 / 4.0);
            }
        }
        SHORTEST_S
    }

    fn part_beyond(&self, seconds: f64) -> f64 {
        let beyond: f64 = self.counts[Tally::step(seconds)..].iter().sum();
        beyond / self.count
    }
}

struct Felt {
    quiet: Tally,
    all: Tally,
}

/// What the changes of one kind say.
enum Word {
    Nothing,
    Unknown,
    TooMuch,
    Bearable,
    Good,
}

impl Felt {
    fn word(&self) -> Word {
        if self.all.count < 1.0 {
            return Word::Nothing;
        }
        if self.quiet.count < TELLING {
            return Word::Unknown;
        }
        let mean = self.all.mean_s() / self.quiet.mean_s();
        let tail = self.all.part_beyond(self.quiet.slow_s() * TAIL_TIMES);
        if mean > MEAN_MAX || tail > TAIL_MAX {
            Word::TooMuch
        } else if mean < MEAN_GOOD && tail < TAIL_GOOD {
            Word::Good
        } else {
            Word::Bearable
        }
    }
}

pub struct Yielding {
    share: f64,
    cycle_begun: Duration,
    /// The application made changes in this cycle.
    active: bool,
    felt: [Felt; 2],
}

impl Default for Yielding {
    fn default() -> Self {
        let felt = || Felt { quiet: Tally::new(), all: Tally::new() };
        Yielding { share: 1.0, cycle_begun: Duration::ZERO, active: false, felt: [felt(), felt()] }
    }
}

impl Yielding {
    /// The part of the time in which the resync works.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// The application makes changes: nothing of the resync's may be much at a time.
    pub fn gives_way(&self) -> bool {
        self.share < 1.0
    }

    fn quiet_since(&self) -> Duration {
        self.cycle_begun + CYCLE.mul_f64(self.share)
    }

    /// May the resync do something now? If not: after what time it is worth asking again.
    pub fn may_work(&mut self, now: Duration) -> Result<(), Duration> {
        self.turn(now);
        if self.share >= 1.0 || now < self.quiet_since() {
            return Ok(());
        }
        Err((self.cycle_begun + CYCLE).saturating_sub(now))
    }

    /// A change of the application was answered now.
    pub fn answered(&mut self, now: Duration, kind: Kind, took: Duration) {
        self.turn(now);
        if !self.active && self.share >= 1.0 {
            // Somebody is there: so the rest of this cycle is quiet.
            self.share = SHARE_UNKNOWN;
        }
        self.active = true;
        let begun = now.saturating_sub(took);
        let quiet = begun >= self.quiet_since() + SETTLES;
        let felt = &mut self.felt[kind as usize];
        felt.all.add(took);
        if quiet {
            felt.quiet.add(took);
        }
    }

    fn turn(&mut self, now: Duration) {
        let cycles = now.saturating_sub(self.cycle_begun).as_millis() / CYCLE.as_millis();
        if cycles == 0 {
            return;
        }
        self.judge();
        self.cycle_begun += CYCLE * cycles.min(u128::from(u32::MAX)) as u32;
        self.cycle_begun = self.cycle_begun.min(now);
        self.active = false;
        for felt in &mut self.felt {
            felt.quiet.fade();
            felt.all.fade();
        }
    }

    /// At the end of a cycle: the share of the next.
    fn judge(&mut self) {
        if !self.active {
            self.share = if self.share * 2.0 > SHARE_MAX { 1.0 } else { self.share * 2.0 };
            return;
        }
        let words = [self.felt[0].word(), self.felt[1].word()];
        let says = |wanted: fn(&Word) -> bool| words.iter().any(wanted);
        self.share = if says(|w| matches!(w, Word::TooMuch)) {
            self.share * 0.7
        } else if says(|w| matches!(w, Word::Unknown)) {
            self.share.min(SHARE_UNKNOWN)
        } else if says(|w| matches!(w, Word::Bearable)) {
            self.share
        } else {
            self.share * 1.15
        };
        self.share = self.share.clamp(SHARE_MIN, SHARE_MAX);
    }
}
