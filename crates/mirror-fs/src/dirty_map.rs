//! The set of what may differ (`mirror_core::doubt`) and its log on disk.
//!
//! The one rule: what is admitted stands in the log, synced, before `admit` returns. Threads that
//! need it at the same time share a sync: one writes what is queued, the others wait for it. While
//! the set covers nothing (its base is 0) nothing is written: there is nothing to be trusted.
//!
//! A log that cannot be written is removed, which says "compare everything" and needs no room on
//! the disk. If even that fails, no change is let through: a log on disk that lacks a change would
//! be believed after a crash.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use mirror_core::doubt::{decode_log, Batch, Doubt, Identity, Mark, ACTIVE_MAX, CHUNK_BYTES};
use mirror_core::message::Operation;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::dirty_log::Log;
use crate::effect::{self, Effect};
use crate::engine::fresh_number;
use crate::heard::HeardMark;
use crate::outbox::Outbox;

/// A log shorter than this is not written anew.
const SMALL_BYTES: u64 = 4 * CHUNK_BYTES as u64;

pub struct DirtyMap {
    path: PathBuf,
    used: bool,
    /// Changes are noted: the set covers something, or is about to.
    noting: AtomicBool,
    /// The copies are known to differ: no checkpoint is to cover that.
    held: AtomicBool,
    state: Mutex<State>,
    written: Condvar,
    pub heard: HeardMark,
}

struct State {
    doubt: Doubt,
    /// The log is there and is that of `doubt.base`.
    on_disk: bool,
    log: Option<Log>,
    writing: bool,
    /// The log must go and could not be removed.
    stuck: bool,
    /// Counts how often everything in memory was dropped: what was begun before counts no more.
    incarnation: u64,
}

/// A moment from which on everything touched is in the set, unless it was dropped since.
#[derive(Clone, Copy)]
pub struct Since {
    incarnation: u64,
    epoch: u32,
}

/// Durably.
fn remove(path: &Path) -> io::Result<()> {
    effect::at(Effect::MapRemove)?;
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    effect::at(Effect::StateSyncDirectory)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

impl DirtyMap {
    /// Reads the log; one that cannot be believed counts as none.
    /// `used`: false: there is none, and one from an earlier run is not to be believed later.
    pub fn open(path: PathBuf, used: bool) -> Result<DirtyMap, String> {
        if !used {
            remove(&path).map_err(|e| format!("{} cannot be removed: {e}", path.display()))?;
        }
        let heard = HeardMark::open(path.with_extension("heard"), used)?;
        let read = effect::at(Effect::StateRead).map_err(io::Error::from);
        let doubt = match read.and_then(|()| std::fs::read(&path)) {
            Ok(bytes) => match decode_log(&bytes) {
                Ok(log) => Doubt::from_log(log.base, log.records),
                Err(error) => {
                    tracing::error!("{} {error}: everything will be compared", path.display());
                    Doubt::empty(0)
                }
            },
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::error!("{} cannot be read: {error}", path.display());
                }
                Doubt::empty(0)
            }
        };
        let on_disk = doubt.base != 0;
        let state =
            State { doubt, on_disk, log: None, writing: false, stuck: false, incarnation: 0 };
        Ok(DirtyMap {
            path,
            used,
            noting: AtomicBool::new(on_disk),
            held: AtomicBool::new(false),
            state: Mutex::new(state),
            written: Condvar::new(),
            heard,
        })
    }

    /// From now on changes are noted, also while nothing is covered: a checkpoint may come.
    pub fn begin_noting(&self) {
        self.noting.store(self.used, Ordering::Release);
    }

    pub fn is_used(&self) -> bool {
        self.used
    }

    /// The copies differ in what is not in the set (or no more): a resync is to compare everything.
    pub fn hold(&self, differ: bool) {
        self.held.store(differ, Ordering::Release);
    }

    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    pub fn base(&self) -> u64 {
        self.state.lock().doubt.base
    }

    /// Looks at the set.
    pub fn see<T>(&self, look: impl FnOnce(&Doubt) -> T) -> T {
        look(&self.state.lock().doubt)
    }

    /// Changes the set in memory only.
    pub fn with<T>(&self, change: impl FnOnce(&mut Doubt) -> T) -> Option<T> {
        if !self.noting.load(Ordering::Acquire) {
            return None;
        }
        Some(change(&mut self.state.lock().doubt))
    }

    /// Touches something; when this returns, that stands on disk, and the other node is told a mark
    /// of it.
    pub fn admit(
        &self, outbox: &Outbox, touch: impl FnOnce(&mut Doubt) -> Option<Batch>,
    ) -> io::Result<()> {
        if !self.noting.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut state = self.state.lock();
        let Some(batch) = touch(&mut state.doubt) else { return Ok(()) };
        if state.doubt.is_too_large() {
            tracing::warn!("too much has changed to be told apart: everything will be compared");
            self.wait_while_writing(&mut state);
            return self.drop_log(&mut state);
        }
        self.settle(&mut state, batch, outbox)
    }

    /// A new epoch begins; no change may be half done. None: nothing is noted.
    pub fn begin_checkpoint(&self) -> Option<Since> {
        if !self.noting.load(Ordering::Acquire) {
            return None;
        }
        let mut state = self.state.lock();
        let epoch = state.doubt.begin_checkpoint();
        Some(Since { incarnation: state.incarnation, epoch })
    }

    /// The present moment, for `rebase`.
    pub fn now(&self) -> Since {
        Since { incarnation: self.state.lock().incarnation, epoch: 0 }
    }

    /// What of a file was touched and is not on both disks, if all that was since then is known.
    pub fn doubtful_zones(&self, since: Since, file: &Identity) -> Option<Vec<(u32, u32)>> {
        let state = self.state.lock();
        let known = since.incarnation == state.incarnation;
        known.then(|| state.doubt.doubtful_zones(file))
    }

    fn wait_while_writing(&self, state: &mut MutexGuard<'_, State>) {
        while state.writing {
            self.written.wait(state);
        }
    }

    fn settle(
        &self, state: &mut MutexGuard<'_, State>, batch: Batch, outbox: &Outbox,
    ) -> io::Result<()> {
        let incarnation = state.incarnation;
        loop {
            if state.stuck {
                self.drop_log(state)?;
            }
            // When everything was dropped, nothing is believed: there is nothing to wait for.
            if state.incarnation != incarnation || state.doubt.is_durable(batch) {
                return Ok(());
            }
            if state.writing {
                self.written.wait(state);
                continue;
            }
            let heard = state.on_disk && !outbox.is_detached();
            let mark = heard.then(|| Self::new_mark(state));
            self.write_batch(state, || {
                if let Some(mark) = mark {
                    outbox.put(&Operation::Mark { mark }, None);
                }
            })?;
        }
    }

    fn new_mark(state: &mut State) -> Mark {
        let mark = fresh_number();
        state.doubt.mark(mark);
        mark
    }

    /// Writes what is queued; `tell` is called when it stands on disk and before anyone who waited
    /// for it goes on.
    fn write_batch(
        &self, state: &mut MutexGuard<'_, State>, tell: impl FnOnce(),
    ) -> io::Result<()> {
        let (number, records) = state.doubt.take_batch();
        let (base, on_disk) = (state.doubt.base, state.on_disk);
        state.writing = true;
        let mut log = state.log.take();
        let written = MutexGuard::unlocked(state, || {
            if on_disk {
                let log = log.as_mut().ok_or_else(|| io::Error::other("the log is not open"))?;
                log.append(base, &records)?;
            }
            tell();
            Ok::<(), io::Error>(())
        });
        state.log = log;
        state.writing = false;
        self.written.notify_all();
        match written {
            Ok(()) => state.doubt.batch_written(number),
            Err(error) => {
                tracing::error!("{} cannot be written: {error}", self.path.display());
                self.drop_log(state)?;
            }
        }
        Ok(())
    }

    /// Tells the other node a mark that stands for all that was noted so far.
    pub fn tell_mark(&self, tell: impl FnOnce(Mark)) -> io::Result<Mark> {
        let mut state = self.state.lock();
        self.wait_while_writing(&mut state);
        let mark = Self::new_mark(&mut state);
        self.write_batch(&mut state, || tell(mark))?;
        Ok(mark)
    }

    /// Nothing is covered any more, durably.
    fn drop_log(&self, state: &mut MutexGuard<'_, State>) -> io::Result<()> {
        let removed = remove(&self.path);
        state.stuck = removed.is_err();
        state.doubt = Doubt::empty(0);
        state.incarnation += 1;
        (state.on_disk, state.log) = (false, None);
        self.written.notify_all();
        removed
    }

    /// What the set says is not to be believed any more: everything will be compared.
    pub fn distrust(&self, why: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        self.wait_while_writing(&mut state);
        if state.on_disk {
            tracing::info!("everything will be compared at the next resync: {why}");
        }
        self.drop_log(&mut state)
    }

    /// The copy here is that of this generation, and what differs from it is noted from now on.
    pub fn reset(&self, base: u64) -> io::Result<()> {
        if !self.used {
            return Ok(());
        }
        let mut state = self.state.lock();
        self.wait_while_writing(&mut state);
        self.noting.store(true, Ordering::Release);
        state.doubt = Doubt::empty(base);
        state.incarnation += 1;
        self.rewrite(&mut state, None)
    }

    /// What is in the set now, all that was touched since a moment and more, is all that may differ
    /// from this generation.
    pub fn rebase(&self, since: Since, base: u64, outbox: &Outbox) -> io::Result<()> {
        if !self.used {
            return Ok(());
        }
        self.heard.forget()?;
        let mut state = self.state.lock();
        self.wait_while_writing(&mut state);
        self.hold(false);
        if since.incarnation != state.incarnation {
            return Ok(());
        }
        state.doubt.base = base;
        self.rewrite(&mut state, Some(outbox))
    }

    /// Makes the log fit to be appended to, after a start.
    pub fn begin(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        self.wait_while_writing(&mut state);
        match state.on_disk && state.log.is_none() {
            true => self.rewrite(&mut state, None),
            false => Ok(()),
        }
    }

    /// Everything before this checkpoint is on both disks, and the other node has heard its mark.
    pub fn confirm(
        &self, checkpoint: Since, mark: Mark, base: u64, outbox: &Outbox,
    ) -> io::Result<()> {
        self.heard.forget()?;
        let mut state = self.state.lock();
        self.wait_while_writing(&mut state);
        if checkpoint.incarnation != state.incarnation {
            return Ok(());
        }
        state.doubt.confirm(checkpoint.epoch);
        state.doubt.drop_marks_before(mark);
        let long = state.log.as_ref().is_none_or(|log| {
            let after = (state.doubt.records_after_rewrite() * 64 * 2) as u64;
            log.end > SMALL_BYTES && log.end > 2 * after
        });
        let long = long || state.doubt.stale_zones() > 2 * ACTIVE_MAX;
        let long = long || state.doubt.has_idle_cover() || state.doubt.has_large_name();
        if state.doubt.base == base && state.on_disk && !long {
            return Ok(());
        }
        state.doubt.base = base;
        self.rewrite(&mut state, Some(outbox))
    }

    /// Writes the log anew from what is in memory. Whoever admits meanwhile waits.
    fn rewrite(
        &self, state: &mut MutexGuard<'_, State>, outbox: Option<&Outbox>,
    ) -> io::Result<()> {
        // Others may wait for what was queued, which goes to disk by this.
        let outbox = outbox.filter(|outbox| !outbox.is_detached());
        let mark = outbox.map(|outbox| (outbox, Self::new_mark(state)));
        let (batch, records) = state.doubt.rewrite();
        let base = state.doubt.base;
        if base == 0 {
            state.doubt.batch_written(batch);
            return self.drop_log(state);
        }
        state.writing = true;
        state.log = None;
        let written: io::Result<Log> = MutexGuard::unlocked(state, || {
            let log = Log::begin(&self.path, base, &records)?;
            if let Some((outbox, mark)) = mark {
                outbox.put(&Operation::Mark { mark }, None);
            }
            Ok(log)
        });
        state.writing = false;
        match written {
            Ok(log) => {
                (state.log, state.on_disk) = (Some(log), true);
                state.doubt.batch_written(batch);
                self.written.notify_all();
                Ok(())
            }
            Err(error) => {
                tracing::error!("{} cannot be written: {error}", self.path.display());
                self.drop_log(state)
            }
        }
    }
}
