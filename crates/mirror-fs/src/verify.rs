//! A verification as the rest of the engine sees it: begun by command, on the primary, while the
//! secondary is up to date; answered by the secondary; its result is kept.
//!
//! The thread that does it is `verify_run`. It holds no more than a few questions at a time, so its
//! memory does not grow with the tree.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mirror_core::verify::Verified;
use parking_lot::{Condvar, Mutex};
use serde_json::{json, Value};

use crate::control::Refusal;
use crate::effect::{self, Effect};
use crate::engine::{write_durably, Engine};
use crate::mode::Role;
use crate::primary::spawn;
use crate::verify_run::Run;

/// Differences that are kept by name; the others are only counted.
pub const DIFFERENCES_MAX: usize = 1000;
const NAMES_BYTES_MAX: usize = 256 << 10;
/// Differing ranges that are kept of one file.
const ZONES_MAX: usize = 16;
/// The status carries so many differences.
const SHOWN_MAX: usize = 20;

#[derive(Default)]
pub struct Figures {
    pub files: AtomicU64,
    pub bytes: AtomicU64,
    /// Looked at again in the stream, because they differed beside it.
    pub looked_twice: AtomicU64,
    pub differing: AtomicU64,
    pub repaired: AtomicU64,
}

/// One file or name that differs.
pub struct Difference {
    pub tree: u8,
    pub path: Vec<u8>,
    /// `missing`, `extra`, `kind`, `mode`, `owner`, `size`, `mtime`, `xattr`, `contents`.
    pub what: Vec<&'static str>,
    /// Of contents: where the differing zones are, `(offset, length)`.
    pub zones: Vec<(u64, u64)>,
    /// All that was found of it was made equal.
    pub repaired: bool,
}

impl Difference {
    fn more(&mut self, what: &[&'static str], zone: Option<(u64, u64)>) {
        for word in what {
            if !self.what.contains(word) {
                self.what.push(word);
            }
        }
        let Some((offset, length)) = zone else { return };
        let beside =
            |(from, long): &&mut (u64, u64)| *from + *long == offset || offset + length == *from;
        let room = self.zones.len() < ZONES_MAX;
        match self.zones.iter_mut().find(beside) {
            Some(zone) => *zone = (zone.0.min(offset), zone.1 + length),
            None if room => self.zones.push((offset, length)),
            None => {}
        }
    }
}

pub struct Verification {
    pub session: u64,
    pub repair: bool,
    pub cancelled: AtomicBool,
    pub answers: Mutex<VecDeque<Verified>>,
    pub changed: Condvar,
    pub figures: Figures,
    pub differences: Mutex<Vec<Difference>>,
    begun: Instant,
    begun_at_s: u64,
}

/// What there is to tell of verifications: of the one that runs, else of the last.
#[derive(Default)]
pub struct Verifications {
    pub running: Option<Arc<Verification>>,
    last: Option<Value>,
}

impl Verifications {
    /// With what the last one before this process found.
    pub fn remembered(path: &std::path::Path) -> Verifications {
        let bytes = effect::at(Effect::StateRead).ok().and_then(|()| std::fs::read(path).ok());
        let last = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Verifications { running: None, last }
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The secondary is being changed without this node being changed.
    pub fn repairs(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.repair)
    }

    /// For the status: without most of the names.
    pub fn brief(&self) -> Value {
        let mut value = self.full();
        if let Some(Value::Array(differences)) = value.get_mut("differences") {
            differences.truncate(SHOWN_MAX);
        }
        value
    }

    pub fn full(&self) -> Value {
        match &self.running {
            Some(running) => running.to_json("running", None),
            None => self.last.clone().unwrap_or(Value::Null),
        }
    }
}

impl Verification {
    pub fn note(&self, tree: u8, path: Vec<u8>, what: &[&'static str], zone: Option<(u64, u64)>) {
        let repaired = false;
        let mut differences = self.differences.lock();
        if let Some(known) = differences.iter_mut().find(|d| d.tree == tree && d.path == path) {
            return known.more(what, zone);
        }
        self.figures.differing.fetch_add(1, Relaxed);
        tracing::warn!(tree, path = %shown(&path), ?what, "the copies differ");
        let names_bytes: usize = differences.iter().map(|d| d.path.len()).sum();
        if differences.len() < DIFFERENCES_MAX && names_bytes < NAMES_BYTES_MAX {
            let mut difference =
                Difference { tree, path, what: Vec::new(), zones: Vec::new(), repaired };
            difference.more(what, zone);
            differences.push(difference);
        }
    }

    /// What was found of this path is equal now.
    pub fn note_repaired(&self, tree: u8, path: &[u8]) {
        self.figures.repaired.fetch_add(1, Relaxed);
        let mut differences = self.differences.lock();
        if let Some(known) = differences.iter_mut().find(|d| d.tree == tree && d.path == path) {
            known.repaired = true;
        }
    }

    fn to_json(&self, state: &str, why: Option<&str>) -> Value {
        let figures = &self.figures;
        let differences: Vec<Value> = self
            .differences
            .lock()
            .iter()
            .map(|d| {
                json!({"tree": d.tree, "path": shown(&d.path), "what": d.what, "zones": d.zones,
                "repaired": d.repaired})
            })
            .collect();
        json!({
            "state": state,
            "why": why,
            "repair": self.repair,
            "begun_at_s": self.begun_at_s,
            "seconds": self.begun.elapsed().as_secs_f64(),
            "files": figures.files.load(Relaxed),
            "bytes": figures.bytes.load(Relaxed),
            "looked_twice": figures.looked_twice.load(Relaxed),
            "differing": figures.differing.load(Relaxed),
            "repaired": figures.repaired.load(Relaxed),
            "differences": differences,
        })
    }
}

/// A path for people; bytes that are no text are replaced.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

impl Engine {
    pub fn begin_verify(self: &Arc<Self>, repair: bool) -> Result<(), Refusal> {
        let mode = self.mode.read();
        if mode.role != Role::Primary {
            return Err(Refusal::new("not_primary", "a verification is begun on the primary"));
        }
        if mode.session == 0 || !mode.full || self.outbox.is_lost() {
            let text = "there is no secondary that is up to date to compare with";
            return Err(Refusal::new("no_secondary", text));
        }
        let mut all = self.verifications.lock();
        if all.running.is_some() {
            return Err(Refusal::new("busy", "a verification is running already"));
        }
        if repair {
            let why = "a verification repairs the other copy";
            let distrusted = self.dirty.distrust(why);
            distrusted.map_err(|e| Refusal::new("io_error", e.to_string()))?;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let verification = Arc::new(Verification {
            session: mode.session,
            repair,
            cancelled: AtomicBool::new(false),
            answers: Mutex::new(VecDeque::new()),
            changed: Condvar::new(),
            figures: Figures::default(),
            differences: Mutex::new(Vec::new()),
            begun: Instant::now(),
            begun_at_s: now.map_or(0, |t| t.as_secs()),
        });
        all.running = Some(verification.clone());
        drop(all);
        drop(mode);
        tracing::info!(repair, "a verification begins");
        let engine = self.clone();
        spawn("verify", move || {
            let ended = Run::new(&engine, &verification).run();
            engine.end_verify(&verification, ended.err());
        });
        self.touch();
        Ok(())
    }

    pub fn stop_verify(&self) {
        if let Some(running) = &self.verifications.lock().running {
            running.cancelled.store(true, std::sync::atomic::Ordering::Release);
            running.changed.notify_all();
        }
    }

    fn end_verify(&self, verification: &Verification, cut: Option<&'static str>) {
        let state = if cut.is_some() { "cut_short" } else { "done" };
        let result = verification.to_json(state, cut);
        tracing::info!(
            differing = verification.figures.differing.load(Relaxed),
            files = verification.figures.files.load(Relaxed),
            "a verification has ended: {}",
            cut.unwrap_or("everything was compared")
        );
        let path = self.config.state_dir.join(RESULT);
        if let Err(error) = write_durably(&path, result.to_string().as_bytes()) {
            tracing::warn!("{} cannot be written: {error}", path.display());
        }
        let differ = verification.figures.differing.load(Relaxed)
            > verification.figures.repaired.load(Relaxed);
        if differ {
            // What no change has told of: the next resync is to find it.
            let _ = self.dirty.distrust("the copies differ");
        }
        if differ || cut.is_none() {
            self.dirty.hold(differ);
        }
        let mut all = self.verifications.lock();
        all.running = None;
        all.last = Some(result);
        drop(all);
        self.touch();
    }

    /// The secondary has answered a question.
    pub(crate) fn verified(&self, session: u64, answer: Verified) {
        if let Some(running) = &self.verifications.lock().running {
            if running.session == session {
                running.answers.lock().push_back(answer);
                running.changed.notify_all();
            }
        }
    }
}

/// The last result, in the state directory.
pub const RESULT: &str = "verify.json";
