//! How fast a resync may go: the bandwidth a person permits, and how fast it really is.
//!
//! [`Bucket`] is a token bucket with debt: whoever finds it without debt may send a piece, also one
//! larger than what is saved up, and the next one waits until that is paid. So over any stretch of
//! time the limit is passed by one burst and one piece (of each sender) at most. [`Meter`] knows
//! the pace of the last seconds, from which follows the time that is left.
//!
//! Time is an argument: since any fixed moment, and never going back.

use std::collections::VecDeque;
use std::time::Duration;

/// What may be sent at once after a rest: the permitted bandwidth of this time.
const BURST: Duration = Duration::from_millis(50);

pub struct Bucket {
    limit_bytes_per_s: Option<u64>,
    /// Below zero: a debt.
    tokens: f64,
    filled: Duration,
}

impl Bucket {
    /// `None`: no limit.
    pub fn new(limit_bytes_per_s: Option<u64>) -> Bucket {
        Bucket { limit_bytes_per_s, tokens: 0.0, filled: Duration::ZERO }
    }

    pub fn limit_bytes_per_s(&self) -> Option<u64> {
        self.limit_bytes_per_s
    }

    /// Another limit from now on; a debt that was made under the old one is forgiven.
    pub fn set_limit(&mut self, limit_bytes_per_s: Option<u64>) {
        if self.limit_bytes_per_s != limit_bytes_per_s {
            self.limit_bytes_per_s = limit_bytes_per_s;
            self.tokens = 0.0;
        }
    }

    /// May something be sent now? If not: after what time it is worth asking again.
    pub fn ready(&mut self, now: Duration) -> Result<(), Duration> {
        let earned_in = now.saturating_sub(self.filled);
        self.filled = now;
        let Some(limit) = self.limit_bytes_per_s else { return Ok(()) };
        let limit = limit.max(1) as f64;
        let full = limit * BURST.as_secs_f64();
        self.tokens = (self.tokens + earned_in.as_secs_f64() * limit).min(full);
        if self.tokens < 0.0 {
            return Err(Duration::from_secs_f64(-self.tokens / limit));
        }
        Ok(())
    }

    /// This much was sent.
    pub fn charge(&mut self, bytes: u64) {
        if self.limit_bytes_per_s.is_some() {
            self.tokens -= bytes as f64;
        }
    }
}

/// The stretch of time over which a pace is measured, and how finely.
const SEEN: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(250);

/// A count that grows, and how fast it grew of late.
#[derive(Default)]
pub struct Meter {
    points: VecDeque<(Duration, u64)>,
}

impl Meter {
    /// The count now. More often than every [`STEP`] is harmless.
    pub fn note(&mut self, now: Duration, count: u64) {
        let due = self.points.back().is_none_or(|(at, _)| now >= *at + STEP);
        if due {
            self.points.push_back((now, count));
        }
        while self.points.len() > 2 && self.points[1].0 + SEEN < now {
            self.points.pop_front();
        }
    }

    /// Per second; `None` before there is anything to go by.
    pub fn rate(&self, now: Duration, count: u64) -> Option<f64> {
        let (since, before) = *self.points.front()?;
        let seconds = now.checked_sub(since).filter(|d| *d >= STEP)?.as_secs_f64();
        Some(count.saturating_sub(before) as f64 / seconds)
    }

    /// How long this much more takes at the pace of late; `None` when nothing moves.
    pub fn time_for(&self, now: Duration, count: u64, more: u64) -> Option<Duration> {
        let rate = self.rate(now, count)?;
        let seconds = more as f64 / rate;
        // Beyond ten years it is not a time but a way to say "never".
        (rate > 0.0 && seconds < 3e8).then(|| Duration::from_secs_f64(seconds))
    }
}
