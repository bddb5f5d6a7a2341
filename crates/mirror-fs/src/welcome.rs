//! What a secondary's copy is worth when a primary lets it in, and when one goes on without it.
//!
//! Both are told by different ways (the stream, the control plane), so either may come first. The
//! epoch of the last welcome decides: who was let in after the primary had gone on alone has, or is
//! being given, all that was written alone.

use std::sync::atomic::Ordering;

use mirror_core::units::Epoch;

use crate::control::Refusal;
use crate::engine::Engine;
use crate::mode::Role;
use crate::roles::disk_failed;

impl Engine {
    /// A primary of this epoch lets this node in: with a copy that is `whole`, or to be made so.
    pub(crate) fn let_in(&self, epoch: Epoch, whole: bool) -> Result<(), String> {
        // Before the record: `outdate` looks at it while it has the record for itself.
        self.welcomed.store(epoch, Ordering::Relaxed);
        let recorded = self.record(|g| {
            g.epoch = g.epoch.max(epoch);
            g.role = Role::Secondary.last();
            g.clean = false;
            g.sole = false;
            if whole {
                g.outdated = false;
            } else {
                g.sync_target = true;
            }
        });
        if recorded.is_err() {
            self.welcomed.store(0, Ordering::Relaxed);
        }
        recorded
    }

    /// The primary goes on alone in the epoch `alone`. That may be told late: a copy that has been
    /// welcomed in that epoch since is being brought up to date, or is in step, and stays so.
    pub fn outdate(&self, epoch: Epoch, alone: Epoch) -> Result<(), Refusal> {
        let _roles = self.roles.lock();
        let welcomed = || self.welcomed.load(Ordering::Relaxed) >= alone;
        if welcomed() {
            return Ok(());
        }
        self.check_epoch(epoch)?;
        if self.mode.read().role == Role::Primary {
            return Err(Refusal::new("is_primary", "this node is primary itself"));
        }
        self.record(|g| {
            if !welcomed() {
                g.epoch = epoch;
                g.outdated = true;
                g.sole = false;
            }
        })
        .map_err(disk_failed)?;
        self.touch();
        Ok(())
    }
}
