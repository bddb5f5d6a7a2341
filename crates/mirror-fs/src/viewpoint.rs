//! What an answer to the kernel is worth: for how long it may believe it, and by which number it
//! knows the file again.
//!
//! Both follow from the role in which this node looked, so they are taken before looking: what a
//! secondary has seen is not to be believed because it has become primary since.
//!
//! Under the `fsync` policy the kernel believes its own idea of a file's size for as long as it
//! knows the file by that number. Where that may be untrue (on a secondary, and after a change of
//! role), a new number makes it take the file as a new one.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustix::fs::Stat;

use crate::config::SyncPolicy;
use crate::engine::Engine;
use crate::mode::Role;
use crate::mounted::REMEMBER;

#[derive(Clone, Copy)]
pub(crate) struct Viewpoint {
    primary: bool,
    sync: SyncPolicy,
    incarnation: u64,
}

impl Engine {
    pub(crate) fn viewpoint(&self) -> Viewpoint {
        // Both at once: the count rises before a node serves, and after it has ceased to.
        let mode = self.mode.read();
        Viewpoint {
            primary: mode.role == Role::Primary,
            sync: self.config.sync,
            incarnation: self.incarnation.load(Relaxed),
        }
    }

    /// That of the answer to a change: it does not look at the mode (`answer::Answer`), and need
    /// not, since only a primary makes changes.
    pub(crate) fn viewpoint_of_primary(&self) -> Viewpoint {
        let incarnation = self.incarnation.load(Relaxed);
        Viewpoint { primary: true, sync: self.config.sync, incarnation }
    }
}

impl Viewpoint {
    pub fn remember(&self) -> Duration {
        match self.primary {
            true => REMEMBER,
            false => Duration::ZERO,
        }
    }

    /// The number that tells the kernel whether a file is still the one it knew.
    pub fn generation(&self, generation: u64, stat: &Stat) -> u64 {
        if self.sync == SyncPolicy::Write {
            return generation;
        }
        let mut shown = generation ^ self.incarnation.wrapping_mul(0x9e37_79b9);
        if !self.primary {
            shown ^= (stat.st_size as u64).wrapping_mul(0x85eb_ca6b) ^ stat.st_mtime_nsec;
        }
        shown & 0xffff_ffff
    }
}
