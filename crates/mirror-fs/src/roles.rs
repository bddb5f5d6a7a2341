//! The commands of the control plane: who serves, who follows, when to go on alone.
//!
//! A command carries an epoch; one older than what this node has seen is refused, whoever sends
//! it. What a command makes true is on disk before it takes effect.

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use mirror_core::generation::{Generation, Worth};
use mirror_core::message::Operation;
use mirror_core::units::Epoch;

use crate::answer::Reply;
use crate::control::Refusal;
use crate::engine::{fresh_number, Engine};
use crate::follower::Follower;
use crate::kept_restore;
use crate::mode::{Gate, Role};
use std::sync::Arc;

/// How long an orderly hand-over waits for the secondary to acknowledge what is under way.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn disk_failed(text: String) -> Refusal {
    Refusal::new("io_error", text)
}

impl Engine {
    pub(crate) fn check_epoch(&self, epoch: Epoch) -> Result<(), Refusal> {
        let seen = self.generation().epoch;
        if epoch < seen {
            let text = format!("the command is of epoch {epoch}, but epoch {seen} has begun");
            return Err(Refusal::new("stale_epoch", text));
        }
        Ok(())
    }

    pub fn become_primary(
        self: &Arc<Self>, epoch: Epoch, alone: bool, first: bool, force: bool,
    ) -> Result<(), Refusal> {
        let _roles = self.roles.lock();
        self.check_epoch(epoch)?;
        let role = self.mode.read().role;
        if role == Role::Primary {
            self.record(|g| g.epoch = epoch).map_err(disk_failed)?;
            let waits = matches!(self.mode.read().gate, Gate::Frozen(_));
            return if alone && waits { self.go_on_alone(epoch) } else { Ok(()) };
        }
        self.may_be_primary(role, alone, first, force)?;
        self.stop_following();
        let begun = self.begin_as_primary(role, epoch, alone, first, force);
        if begun.is_err() && role == Role::Secondary {
            // It is a secondary still, so it goes on knocking.
            *self.follower.lock() = Some(Follower::start(self.clone()));
        }
        begun
    }

    fn begin_as_primary(
        self: &Arc<Self>, role: Role, epoch: Epoch, alone: bool, first: bool, force: bool,
    ) -> Result<(), Refusal> {
        // The last words of the link may have changed what this copy is worth.
        self.may_be_primary(role, alone, first, force)?;
        let before = self.generation();
        let forced = force && !before.up_to_date();
        let kept = force && self.worth() == Worth::MixtureOverKept;
        if kept {
            kept_restore::restore(&self.trees, before.current).map_err(disk_failed)?;
        }
        let blank = !before.has_data();
        self.record(|g| {
            if blank {
                *g = Generation::first(fresh_number(), epoch);
            } else if forced {
                *g = g.fork(fresh_number());
            }
            g.epoch = epoch;
            g.role = Role::Primary.last();
            g.clean = false;
            g.sole = alone || (blank && first);
            g.outdated = false;
            g.sync_target = false;
        })
        .map_err(disk_failed)?;
        self.standing.lock().trusted |= blank || forced;
        self.asked.take_back();
        self.begin_as_source(blank || forced).map_err(disk_failed)?;
        if kept {
            self.forget_kept();
        }
        // While writes are refused: one that waits at the gate holds its directory in the kernel,
        // which would have to be waited for. What is asked until then is not believed for long.
        self.drop_caches();
        {
            let mut mode = self.mode.write();
            mode.role = Role::Primary;
            mode.session = 0;
            mode.full = false;
            if alone || blank {
                mode.fork_due = before.must_fork() && !blank && !forced;
                mode.gate = Gate::Open;
                self.outbox.detach();
            } else {
                mode.fork_due = false;
                mode.gate = Gate::Frozen("the secondary has not come yet");
                self.outbox.expect();
            }
            let mut facts = self.facts.lock();
            facts.peer_up_to_date = false;
            facts.failed = None;
        }
        self.trees.iter().for_each(|tree| tree.excluded.several.lock().forget());
        self.release_parked();
        self.touch();
        tracing::info!(epoch, alone, forced, "this node is primary");
        Ok(())
    }

    /// `follow: false` hands over and stands still. A node that is about to stop must not begin a
    /// resync from who takes over: cut by the stop, it would leave a mixture in place of a copy.
    pub fn become_secondary(self: &Arc<Self>, epoch: Epoch, follow: bool) -> Result<(), Refusal> {
        let _roles = self.roles.lock();
        self.check_epoch(epoch)?;
        let role = self.mode.read().role;
        let mut unsure = false;
        match role {
            Role::Secondary => {
                self.record(|g| g.epoch = epoch).map_err(disk_failed)?;
                let stands_still = self.follower.lock().is_none();
                if follow && stands_still {
                    *self.follower.lock() = Some(Follower::start(self.clone()));
                }
                return Ok(());
            }
            Role::Primary => unsure = self.hand_over(epoch)?,
            Role::None => {}
        }
        self.record(|g| {
            g.epoch = epoch;
            // Of two copies in doubt the last primary's is the one that has everything.
            if !unsure {
                g.role = Role::Secondary.last();
            }
            g.clean = false;
        })
        .map_err(disk_failed)?;
        {
            let mut mode = self.mode.write();
            mode.role = Role::Secondary;
            mode.gate = Gate::Refused(libc::EROFS);
            mode.session = 0;
            mode.fork_due = false;
        }
        self.fail_parked(libc::EROFS);
        self.drop_caches();
        if follow {
            *self.follower.lock() = Some(Follower::start(self.clone()));
        }
        self.touch();
        tracing::info!(epoch, follow, "this node is secondary");
        Ok(())
    }

    /// As primary: everything written is acknowledged by the secondary, which knows it has all.
    /// Without a secondary that has everything there is nothing to hand over. True when one that
    /// had everything may lack what was under way.
    fn hand_over(self: &Arc<Self>, epoch: Epoch) -> Result<bool, Refusal> {
        self.resumption.end();
        self.flush_kernel();
        self.tell_times();
        let attached = {
            let mut mode = self.mode.write();
            if mode.gate == Gate::Open {
                mode.gate = Gate::Frozen("the role is being handed over");
            }
            mode.session != 0 && mode.full && !self.outbox.is_lost()
        };
        if attached {
            let (told, done) = std::sync::mpsc::sync_channel(1);
            let wake = Reply::Wake(Box::new(move || {
                let _ = told.send(());
            }));
            self.outbox.put(&Operation::HandOver { epoch }, Some(wake));
            let until = Instant::now() + DRAIN_LIMIT;
            let mut acknowledged = false;
            while !acknowledged && !self.outbox.is_lost() && Instant::now() < until {
                acknowledged = done.recv_timeout(Duration::from_millis(50)).is_ok();
            }
            if !acknowledged || self.outbox.is_lost() {
                self.mode.write().gate = Gate::Frozen(crate::primary::LOST);
                self.touch();
                let text = "the secondary was lost before it had everything";
                return Err(Refusal::new("link_lost", text));
            }
        }
        self.stop_resync();
        let unsure = {
            let mode = self.mode.read();
            mode.full && self.outbox.waiting() > 0
        };
        for reply in self.outbox.detach() {
            if unsure {
                // Only this node has it, and this node serves no longer: not promised to anybody.
                reply.fail(libc::EIO);
            } else {
                reply.give();
            }
        }
        if unsure {
            self.standing.lock().trusted = false;
        }
        let mut facts = self.facts.lock();
        facts.link_up = false;
        facts.peer_up_to_date = false;
        // After an error of the disk this copy may lack what the other node has.
        let sound =
            facts.failed.as_ref().is_none_or(|(what, _)| *what == crate::primary::PEER_FAILED);
        drop(facts);
        if attached {
            self.standing.lock().trusted = sound;
            self.record(|g| *g = g.shared()).map_err(disk_failed)?;
        }
        tracing::info!(epoch, attached, unsure, "handed over");
        Ok(unsure)
    }

    pub fn continue_alone(self: &Arc<Self>, epoch: Epoch) -> Result<(), Refusal> {
        let _roles = self.roles.lock();
        self.check_epoch(epoch)?;
        if self.mode.read().role != Role::Primary {
            return Err(Refusal::new("not_primary", "only a primary can go on alone"));
        }
        self.go_on_alone(epoch)
    }

    fn go_on_alone(self: &Arc<Self>, epoch: Epoch) -> Result<(), Refusal> {
        self.outbox.lost();
        let replies = {
            let mut mode = self.mode.write();
            let must_fork = self.generation().must_fork();
            // What waits was written here and perhaps not there: that is a version of its own.
            let waits = self.outbox.waiting() > 0 || !self.parked.lock().is_empty();
            let forks = must_fork && waits;
            let fresh = fresh_number();
            self.record(|g| {
                if forks {
                    *g = g.fork(fresh);
                }
                g.epoch = epoch;
                g.sole = true;
            })
            .map_err(disk_failed)?;
            mode.fork_due = must_fork && !forks;
            mode.session = 0;
            mode.full = false;
            mode.gate = Gate::Open;
            self.stop_resync();
            let mut facts = self.facts.lock();
            facts.link_up = false;
            facts.peer_up_to_date = false;
            self.outbox.detach()
        };
        for reply in replies {
            reply.give();
        }
        self.release_parked();
        self.touch();
        tracing::info!(epoch, "goes on alone");
        Ok(())
    }

    /// The trees are unmounted; leaves the copy as a clean one of its generation.
    pub fn finish(self: &Arc<Self>) -> Result<(), Refusal> {
        let _roles = self.roles.lock();
        let role = self.mode.read().role;
        let epoch = self.generation().epoch;
        let mut outdated = false;
        if role == Role::Primary {
            let mode = self.mode.read();
            let followed = mode.session != 0 && mode.full && !self.outbox.is_lost();
            drop(mode);
            let handed = self.hand_over(epoch);
            outdated = followed && handed.is_ok();
            if let Err(refusal) = handed {
                tracing::warn!("stopped without handing over: {}", refusal.text);
                // Unacknowledged writes may be in it: not a clean copy of the common generation.
                self.standing.lock().trusted = false;
            }
        }
        if role == Role::Secondary {
            outdated = self.facts.lock().link_up;
            if outdated {
                // The last modification times are still on their way.
                std::thread::sleep(crate::times::TELL_EVERY * 2);
            }
            self.stop_following();
        }
        self.sync_trees().map_err(|e| disk_failed(format!("the disk cannot be synced: {e}")))?;
        let trusted = self.standing.lock().trusted;
        self.record(|g| {
            g.clean = trusted && !g.sync_target;
            g.outdated |= outdated && g.has_data();
            if outdated {
                g.sole = false;
            }
        })
        .map_err(disk_failed)
    }

    /// Ends everything that waits with EIO; nothing is promised about this copy any more.
    pub fn abort(self: &Arc<Self>) {
        self.outbox.lost();
        self.mode.write().gate = Gate::Refused(libc::EIO);
        self.fail_parked(libc::EIO);
        for reply in self.outbox.detach() {
            reply.fail(libc::EIO);
        }
        let follower = self.follower.lock().take();
        if let Some(follower) = follower {
            follower.close();
        }
        self.stop_resync();
    }

    fn fail_parked(&self, errno: i32) {
        let parked: Vec<_> = self.parked.lock().drain(..).collect();
        for parked in parked {
            (parked.answer)(Err(errno));
        }
    }

    pub(crate) fn stop_following(&self) {
        let follower = self.follower.lock().take();
        if let Some(follower) = follower {
            follower.stop();
        }
    }

    pub(crate) fn stop_resync(&self) {
        let source = self.source.lock().take();
        if let Some(source) = source {
            source.cancel();
        }
        for tree in &self.trees {
            tree.end_resync();
        }
    }

    /// Under the `fsync` policy the kernel holds written data that we have not seen; ask for it.
    /// Where writes are frozen it cannot come: it would wait at the gate, and we for it. Then it is
    /// refused, once this node serves no longer.
    fn flush_kernel(self: &Arc<Self>) {
        let frozen = |engine: &Engine| engine.mode.read().gate != Gate::Open;
        if frozen(self) {
            return;
        }
        let (told, done) = std::sync::mpsc::sync_channel(1);
        let engine = self.clone();
        crate::primary::spawn("flush", move || {
            for tree in &engine.trees {
                if let Ok(mounted) = std::fs::File::open(&tree.path) {
                    let begun = Instant::now();
                    let _ = rustix::fs::syncfs(&mounted);
                    tracing::debug!(ms = begun.elapsed().as_millis() as u64, "kernel flushed");
                }
            }
            let _ = told.send(());
        });
        // The link may be lost meanwhile, which freezes.
        while done.recv_timeout(Duration::from_millis(20)) == Err(RecvTimeoutError::Timeout) {
            if frozen(self) {
                return;
            }
        }
    }
}
