//! A kernel that has no memory at the moment, and what the engine makes of it.
//!
//! The engine's threads may not wait for memory that is set free by writing
//! (`sys::protect_process`), and where a control group bounds it, the kernel ends no process for
//! their sake: a call then comes back with ENOMEM, nothing of it done. That passes. An application,
//! and the kernel that writes back a page, take it for an error for good; so the engine tries
//! again, for a bounded time. Not for a sync: that says only once that something was lost.

use std::time::Duration;

use rustix::io::{Errno, Result};

const FIRST: Duration = Duration::from_millis(1);
/// Twice as long each time: about two seconds in all.
const LAST: Duration = Duration::from_millis(1024);

/// The call, again while it finds no memory; its last answer.
pub fn patiently<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    let mut wait = FIRST;
    loop {
        match call() {
            Err(Errno::NOMEM) if wait <= LAST => {
                std::thread::sleep(wait);
                wait *= 2;
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_comes_back_is_no_error() {
        let mut left = 5;
        let done = patiently(|| {
            left -= 1;
            if left > 0 {
                Err(Errno::NOMEM)
            } else {
                Ok(7)
            }
        });
        assert_eq!((done, left), (Ok(7), 0));
    }

    #[test]
    fn other_errors_are_told_at_once() {
        let mut calls = 0;
        let done: Result<()> = patiently(|| {
            calls += 1;
            Err(Errno::IO)
        });
        assert_eq!((done, calls), (Err(Errno::IO), 1));
    }
}
