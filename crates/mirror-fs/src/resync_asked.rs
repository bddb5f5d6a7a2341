//! A resync that a person has asked for: everything is compared by checksum, whatever is believed.
//!
//! What is believed is dropped first, durably. Then the session ends, and the secondary dials again
//! at once. One that has everything is let go in a moment in which nothing is under way to it, so
//! writes wait for the time of a handshake; both copies then say that they are equal, and a
//! resync begins although they do (`wanted`). That word is kept until a resync has ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::control::Refusal;
use crate::engine::Engine;
use crate::mode::{Gate, Role};
use crate::primary::LOST;

/// How long the secondary has for what is under way to it.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Why writes wait meanwhile.
const ASKED: &str = "a resync of everything begins";

/// Wanted, and the session of the resync that does it.
#[derive(Default)]
pub struct Asked(Mutex<Option<u64>>);

impl Asked {
    pub fn is_wanted(&self) -> bool {
        self.0.lock().is_some()
    }

    fn ask(&self) {
        *self.0.lock() = Some(0);
    }

    pub fn take_back(&self) {
        *self.0.lock() = None;
    }

    /// A resync begins in this session.
    pub fn begins(&self, session: u64) {
        let mut asked = self.0.lock();
        if let Some(doing) = &mut *asked {
            *doing = session;
        }
    }

    /// The resync of this session has ended; one that began before the question does not count.
    pub fn ended(&self, session: u64) {
        self.0.lock().take_if(|doing| *doing == session);
    }
}

/// What follows from the question.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begins {
    Now,
    /// When the other node comes.
    Later,
}

impl Begins {
    pub fn as_str(self) -> &'static str {
        match self {
            Begins::Now => "now",
            Begins::Later => "later",
        }
    }
}

impl Engine {
    pub fn compare_everything(self: &Arc<Self>) -> Result<Begins, Refusal> {
        let _roles = self.roles.lock();
        {
            let mode = self.mode.read();
            if mode.role != Role::Primary {
                return Err(Refusal::new("not_primary", "a resync begins on the primary"));
            }
            if mode.gate != Gate::Open {
                return Err(Refusal::new("busy", "writes wait at this moment; try again"));
            }
        }
        if self.verifications.lock().is_running() {
            return Err(Refusal::new("busy", "a verification is running"));
        }
        let dropped = self.dirty.distrust("a person has asked for it");
        dropped.map_err(|e| Refusal::new("io_error", e.to_string()))?;
        self.resumption.memory.lock().forget_all();
        self.asked.ask();
        let (session, full) = self.hold_for_drain();
        if session == 0 {
            return Ok(Begins::Later);
        }
        if full && !self.drained() {
            self.asked.take_back();
            self.let_go_on();
            return Err(Refusal::new("busy", "the other node did not answer in time"));
        }
        // Whoever hears this connection gives it up; then the secondary dials.
        self.outbox.lost();
        let mut mode = self.mode.write();
        if mode.session == session && mode.gate == Gate::Frozen(ASKED) {
            mode.gate = Gate::Frozen(LOST);
        }
        drop(mode);
        self.touch();
        Ok(Begins::Now)
    }

    /// The session, and whether its secondary has everything: then no change begins any more.
    fn hold_for_drain(&self) -> (u64, bool) {
        let mut mode = self.mode.write();
        let full = mode.session != 0 && mode.full;
        if full && mode.gate == Gate::Open {
            mode.gate = Gate::Frozen(ASKED);
        }
        (mode.session, full)
    }

    fn drained(&self) -> bool {
        let until = Instant::now() + DRAIN_LIMIT;
        while self.outbox.waiting() > 0 && !self.outbox.is_lost() {
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        true
    }

    fn let_go_on(self: &Arc<Self>) {
        let mut mode = self.mode.write();
        if mode.gate == Gate::Frozen(ASKED) {
            mode.gate = Gate::Open;
        }
        drop(mode);
        self.release_parked();
        self.touch();
    }
}
