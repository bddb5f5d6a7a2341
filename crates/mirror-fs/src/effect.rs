//! Labelled effects: where the engine touches the world, and how a test makes that go wrong.
//!
//! Every system call on the replicated tree, on the engine's own files and on the link passes `at`
//! (or `part`, where it has a length that can be cut) with its label. With nothing armed that is
//! one relaxed load. A plan names a label, which passes of it are meant, and what happens there.
//! Plans come only with the option `faults` in the engine's configuration, which the daemon never
//! writes, or over the control socket of an engine that has it.
//!
//! `fail`, `hang` and `slow` strike before the call, `half` makes it do the first half only (a
//! short write, which is no error: whoever calls has to go on), `kill` ends the process as a power
//! cut does, `torn` after the first half is done.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rustix::io::{Errno, Result};
use serde::Deserialize;
use serde_json::{json, Value};

/// Counters of passes have this many places.
const EFFECTS: usize = ALL.len();
/// Rules of one plan.
const RULES_MAX: usize = 256;

/// Declares the labels and the list of all of them, so that neither can lack one.
macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// One kind of system call of the engine, by what it is done to.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Effect { $($(#[$doc])* $name,)* }

        pub const ALL: &[Effect] = &[$(Effect::$name,)*];
    };
}

labels! {
    // The replicated tree: finding and reading.
    OpenRoot,
    /// A file by its handle: contents, or a path descriptor.
    OpenHandle,
    /// A file by its name in a directory.
    OpenName,
    /// `name_to_handle_at`.
    Identify,
    Stat,
    StatFileSystem,
    Seek,
    ReadDirectory,
    ReadTarget,
    GetXattr,
    ListXattr,
    Read,
    // The replicated tree: changing.
    Write,
    Truncate,
    Allocate,
    /// `FICLONE`.
    Clone,
    Make,
    Link,
    Unlink,
    Rename,
    SetOwner,
    SetMode,
    SetTimes,
    SetXattr,
    RemoveXattr,
    /// `fsync` and `fdatasync` of a file or directory.
    Sync,
    /// `syncfs`.
    SyncTree,
    // Small files of the engine's own that are replaced as a whole: the generation, the trees.
    StateRead,
    StateCreate,
    StateWrite,
    StateSync,
    StateRename,
    StateSyncDirectory,
    // The dirty map, which is also replaced as a whole now and then.
    MapWrite,
    MapSync,
    MapRemove,
    // What is saved before a resync overwrites it (`rescue_store`).
    RescueMake,
    RescueRead,
    RescueWrite,
    RescueSync,
    RescueRename,
    RescueRemove,
    // The link.
    Accept,
    Dial,
    /// One step of the handshake of TLS.
    Handshake,
    Send,
    Receive,
}

/// What happens at an effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum What {
    Fail {
        errno: i32,
    },
    /// Waits until another plan comes.
    Hang,
    Slow {
        ms: u64,
    },
    Half,
    Torn,
    Kill,
}

/// One line of a plan. `from` counts the passes of the label since the plan came, from 1; `count`
/// of them are struck (none given: all that follow), or each only by `chance`.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    effect: Effect,
    #[serde(default = "one")]
    from: u64,
    count: Option<u64>,
    /// So many of 1000 passes, chosen by `seed`.
    chance: Option<u64>,
    #[serde(default)]
    seed: u64,
    what: What,
    #[serde(skip)]
    struck: u64,
}

fn one() -> u64 {
    1
}

struct Plan {
    rules: Vec<Rule>,
    passes: [u64; EFFECTS],
    /// Which plan this is: a hang ends when another one comes.
    number: u64,
    hanging: u64,
}

static ARMED: AtomicBool = AtomicBool::new(false);
static PLAN: Mutex<Plan> =
    Mutex::new(Plan { rules: Vec::new(), passes: [0; EFFECTS], number: 0, hanging: 0 });
static CHANGED: Condvar = Condvar::new();

/// The engine is about to do this.
#[inline]
pub fn at(effect: Effect) -> Result<()> {
    if ARMED.load(Ordering::Relaxed) {
        return meet(effect, 0).map(drop);
    }
    Ok(())
}

/// The engine is about to do this with so many bytes; returns how many to do now.
#[inline]
pub fn part(effect: Effect, length: usize) -> Result<usize> {
    if ARMED.load(Ordering::Relaxed) {
        return meet(effect, length);
    }
    Ok(length)
}

/// The effect is done. (Here a `torn` one ends the process.)
#[inline]
pub fn done(asked: usize, part: usize) {
    if part < asked && ARMED.load(Ordering::Relaxed) && PLAN.lock().tears() {
        die();
    }
}

#[cold]
fn meet(effect: Effect, length: usize) -> Result<usize> {
    let mut plan = PLAN.lock();
    plan.passes[effect as usize] += 1;
    let pass = plan.passes[effect as usize];
    let Some(rule) = plan.rules.iter_mut().find(|rule| rule.strikes(effect, pass)) else {
        return Ok(length);
    };
    rule.struck += 1;
    let (what, first) = (rule.what, rule.struck == 1);
    if first {
        tracing::warn!(?effect, pass, ?what, "a fault is injected here");
    }
    match what {
        What::Fail { errno } => Err(Errno::from_raw_os_error(errno)),
        What::Hang => {
            let number = plan.number;
            plan.hanging += 1;
            while plan.number == number {
                CHANGED.wait(&mut plan);
            }
            plan.hanging -= 1;
            Ok(length)
        }
        What::Slow { ms } => {
            drop(plan);
            std::thread::sleep(Duration::from_millis(ms));
            Ok(length)
        }
        What::Half | What::Torn if length > 1 => Ok(length / 2),
        What::Half => Ok(length),
        What::Torn | What::Kill => die(),
    }
}

/// As a power cut: nothing is said, nothing is put in order.
fn die() -> ! {
    // SAFETY: a signal to this process itself.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    std::process::abort()
}

impl Plan {
    fn tears(&self) -> bool {
        self.rules.iter().any(|rule| rule.what == What::Torn && rule.struck > 0)
    }
}

impl Rule {
    fn strikes(&self, effect: Effect, pass: u64) -> bool {
        effect == self.effect
            && pass >= self.from
            && self.count.is_none_or(|count| pass < self.from.saturating_add(count))
            && self.chance.is_none_or(|chance| mixed(self.seed ^ pass) % 1000 < chance)
    }
}

/// A well mixed number (the finisher of splitmix64).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Reads a plan from its JSON: a list of rules. The error is a sentence part.
pub fn read(plan: &Value) -> std::result::Result<Vec<Rule>, String> {
    let rules = Vec::<Rule>::deserialize(plan).map_err(|e| format!("`faults`: {e}"))?;
    if rules.len() > RULES_MAX {
        return Err(format!("`faults` has {} rules; {RULES_MAX} are possible", rules.len()));
    }
    Ok(rules)
}

/// Takes the place of the plan there was, counts passes anew, lets go of what hangs. Passes are
/// counted while there is a plan, also an empty one; `None` disarms.
pub fn arm(rules: Option<Vec<Rule>>) {
    let mut plan = PLAN.lock();
    ARMED.store(rules.is_some(), Ordering::Relaxed);
    plan.rules = rules.unwrap_or_default();
    plan.passes = [0; EFFECTS];
    plan.number += 1;
    CHANGED.notify_all();
}

/// How often each label was passed and each rule has struck since the plan came.
pub fn counts() -> Value {
    let plan = PLAN.lock();
    let passes: serde_json::Map<String, Value> = ALL
        .iter()
        .filter(|effect| plan.passes[**effect as usize] > 0)
        .map(|effect| (name(*effect), json!(plan.passes[*effect as usize])))
        .collect();
    let struck: Vec<u64> = plan.rules.iter().map(|rule| rule.struck).collect();
    json!({"passes": passes, "struck": struck, "hanging": plan.hanging})
}

/// The label as plans write it.
pub fn name(effect: Effect) -> String {
    let mut name = String::new();
    for letter in format!("{effect:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}
