//! What the application is told in the end, and by whom it is decided.
//!
//! An operation is done here, then acknowledged there, then answered: so the answer is a value that
//! waits. It knows nothing of FUSE; `fuse.rs` turns it into the kernel's reply.

use std::io;
use std::sync::atomic::{AtomicI32, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::fs::Stat;

/// The outcome of a change.
pub enum Done {
    Nothing,
    Written(u32),
    Attributes(Stat),
    Entry { stat: Stat, generation: u64 },
    Created { stat: Stat, generation: u64, file: u64 },
}

pub type Outcome = Result<Done, i32>;
/// It is given where the outcome is known: also by the thread that hears the secondary, and while
/// the change itself holds the mode. So it must not look at the mode, or wait for anything else.
pub type Answer = Box<dyn FnOnce(Outcome) + Send>;

/// An answer that waits for the secondary.
pub enum Reply {
    /// Given when the operation is acknowledged.
    Alone(Answer, Outcome),
    /// Given when all parts are done: the sync of this disk, and that of the other.
    Joined(Arc<Join>),
    /// Something inside the engine wants to know.
    Wake(Box<dyn FnOnce() + Send>),
}

impl Reply {
    pub fn give(self) {
        match self {
            Reply::Alone(answer, outcome) => answer(outcome),
            Reply::Joined(join) => join.part_done(0),
            Reply::Wake(wake) => wake(),
        }
    }

    /// The operation will not be acknowledged: the application gets this errno.
    pub fn fail(self, errno: i32) {
        match self {
            Reply::Alone(answer, _) => answer(Err(errno)),
            Reply::Joined(join) => join.part_done(errno),
            Reply::Wake(wake) => wake(),
        }
    }
}

/// Answers once when several parts are done; the first error wins.
pub struct Join {
    begun: Instant,
    /// What the other node is given at least, whatever this one needs.
    least: Duration,
    here: OnceLock<Duration>,
    left: AtomicU8,
    errno: AtomicI32,
    answer: Mutex<Option<(Answer, Done)>>,
}

impl Join {
    pub fn new(parts: u8, answer: Answer, done: Done) -> Arc<Join> {
        Join::giving(Duration::ZERO, parts, answer, done)
    }

    /// For a sync of what this node's disk has and the other's has not: it takes longer there.
    pub fn giving(least: Duration, parts: u8, answer: Answer, done: Done) -> Arc<Join> {
        Arc::new(Join {
            begun: Instant::now(),
            least,
            here: OnceLock::new(),
            left: AtomicU8::new(parts),
            errno: AtomicI32::new(0),
            answer: Mutex::new(Some((answer, done))),
        })
    }

    /// This node's part is done.
    pub fn done_here(&self, errno: i32) {
        let _ = self.here.set(self.begun.elapsed());
        self.part_done(errno);
    }

    /// The other node has had as long as this one needed, and then again as long and `limit`, since
    /// it was asked or (over a new connection) asked again.
    pub fn is_overdue(&self, asked_again: Instant, limit: Duration) -> bool {
        let Some(here) = self.here.get() else { return false };
        let here = self.least.max(*here);
        asked_again.max(self.begun + here).elapsed() > here + limit
    }

    pub fn part_done(&self, errno: i32) {
        if errno != 0 {
            let _ = self.errno.compare_exchange(0, errno, Ordering::AcqRel, Ordering::Acquire);
        }
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let waiting = self.answer.lock().take();
            if let Some((answer, done)) = waiting {
                match self.errno.load(Ordering::Acquire) {
                    0 => answer(Ok(done)),
                    errno => answer(Err(errno)),
                }
            }
        }
    }
}

/// The errno of an error, for the application.
pub fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}
