//! Before a resync into this node begins: is there something here that nobody else has?
//!
//! `mirror_core::rescue::plan` decides. Writing down the names of a large tree takes longer than
//! the primary would wait in silence, so it is done without a connection, which is dialled anew.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mirror_core::generation::Relation;
use mirror_core::message::Report;
use mirror_core::rescue::{plan, Before, Plan};
use parking_lot::Mutex;

use crate::conn::Conn;
use crate::engine::Engine;
use crate::follower::report;
use crate::rescue::{unfinished, Rescue};
use crate::rescue_walk::empty;

const ALIVE_EVERY: Duration = Duration::from_millis(200);

pub enum Ready {
    /// The resync may begin; the rescue is for its applier.
    Yes(Option<Box<Rescue>>),
    /// The names have been written down, which took its time: dial again.
    DialAgain,
}

/// `rescue`: what an earlier session of this follower has left, or what was prepared for this one.
/// `relation` is that of this node's copy to the primary's.
pub fn prepare(
    engine: &Engine, relation: Relation, rescue: &mut Option<Box<Rescue>>, stopping: &AtomicBool,
    hang_up: impl FnOnce(),
) -> Result<Ready, String> {
    let generation = engine.generation();
    let state_dir: &Path = &engine.config.state_dir;
    let failed = |e: io::Error| {
        let text = format!("what only this node has cannot be saved, so nothing is copied: {e}");
        engine.note_failed("io_error", &text);
        text
    };
    if let Some(rescue) = rescue.take() {
        if matches!(relation, Relation::Diverged | Relation::MineBlank) {
            return Ok(Ready::Yes(Some(rescue)));
        }
        rescue.finish().map_err(failed)?;
    }
    let begun = unfinished(state_dir, generation.current).map_err(failed)?;
    let before = Before {
        relation,
        sync_target: generation.sync_target,
        begun: begun.is_some(),
        empty: empty(&engine.trees).map_err(failed)?,
    };
    match (plan(before), begun) {
        (Plan::Begin(reason), _) => {
            hang_up();
            let go_on = || !stopping.load(Ordering::Acquire);
            *rescue = Some(Box::new(Rescue::begin(engine, reason, &go_on).map_err(failed)?));
            Ok(Ready::DialAgain)
        }
        (Plan::GoOn, Some(about)) => {
            let limits = engine.config.rescue.limits();
            let reopened = Rescue::reopen(state_dir, about, limits).map_err(failed)?;
            Ok(Ready::Yes(Some(Box::new(reopened))))
        }
        (Plan::TooLate, _) => {
            tracing::warn!("what only this node had is not saved: a resync has begun before");
            Ok(Ready::Yes(None))
        }
        (Plan::Nothing | Plan::GoOn, _) => Ok(Ready::Yes(None)),
    }
}

/// Tells the primary now and then that this node works: long work must not look like death.
/// `reported`: up to where it was told that operations are applied.
pub fn pulse(conn: &Arc<Conn>, reported: &Arc<AtomicU64>) -> Box<dyn Fn() + Send> {
    let (conn, reported) = (conn.clone(), reported.clone());
    let last = Mutex::new(Instant::now());
    Box::new(move || {
        let mut last = last.lock();
        if last.elapsed() > ALIVE_EVERY {
            *last = Instant::now();
            // A connection that has ended is noticed by who reads from it.
            let _ = report(&conn, &Report::Applied { sequence: reported.load(Ordering::Acquire) });
        }
    })
}
