//! How a session begins on the primary, and when writes are let through in it.
//!
//! A second that may take its copy for current must have marked it as not whole before anything is
//! acknowledged that it has not got. So a primary that waits opens with a resync's session only
//! when the second has said its first word in it, which it does when its mark is on disk.
//!
//! What is told of a session (`Facts`) is set while the mode is held: the thread of an older
//! connection may still be about to say that the link is lost.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use mirror_core::generation::{compare, Generation, Relation};
use mirror_core::message::{Hello, Operation};

use crate::answer::Reply;
use crate::conn::Conn;
use crate::doubt_link::Agreed;
use crate::engine::{fresh_number, Engine};
use crate::mode::{Gate, Role};
use crate::primary::{spawn, LOST, PEER_FAILED};
use crate::source::Source;

/// Goes on with the session where the link was cut.
pub fn resume(engine: &Arc<Engine>, conn: &Arc<Conn>, hello: &Hello) {
    let applied = hello.resume.map_or(0, |(_, applied)| applied);
    {
        let mut mode = engine.mode.write();
        if engine.outbox.resume(conn.clone(), mode.session, applied).is_err() {
            conn.close();
        } else if mode.gate == Gate::Frozen(LOST) {
            mode.gate = Gate::Open;
        }
        let mut facts = engine.facts.lock();
        facts.link_up = true;
        facts.peer_up_to_date = !engine.generation().sole;
        facts.refused = None;
    }
    engine.release_parked();
    engine.touch();
    tracing::info!("the link is back; {} operations said again", engine.outbox.waiting());
}

impl Engine {
    /// Who knocks follows this node and has what it wrote alone, while this one was told to serve
    /// alone and has written nothing yet. Both brains have decided who stays, and the next write
    /// here would make the copies diverge: they do so now, or an idle application would keep the
    /// pair apart for ever. What the other wrote alone is saved like that of any that gives way.
    pub fn stand_apart(&self, theirs: &Generation) -> Result<(), String> {
        let alone = {
            let mode = self.mode.read();
            mode.role == Role::Primary && mode.gate == Gate::Open && mode.session == 0
        };
        let newer = compare(&self.generation(), theirs) == Relation::TheirsNewer;
        match alone && newer && theirs.epoch <= self.generation().epoch {
            true => self.fork_if_due(),
            false => Ok(()),
        }
    }
}

/// The other copy is not whole from here on: only this node can serve.
fn only_here(engine: &Engine) -> Result<(), String> {
    let fresh = fresh_number();
    engine.record(|g| {
        // Also who serves alone and wrote nothing yet: unfinished writes of before may stand here
        // that the other has not got, and this session may end before the other has any of them.
        if g.must_fork() {
            *g = g.fork(fresh);
            g.sole = true;
        }
    })?;
    engine.standing.lock().trusted = true;
    Ok(())
}

/// The second has marked its copy as one that is not whole: now this node may serve what only it
/// has. When the resync has ended by then, both have everything.
fn open_marked(engine: &Arc<Engine>, session: u64) {
    {
        let mut mode = engine.mode.write();
        let frozen = mode.gate.waits_for_peer();
        if mode.session != session || !frozen {
            return;
        }
        if !mode.full {
            if let Err(text) = only_here(engine) {
                engine.note_failed("io_error", &text);
                engine.outbox.lost();
                return;
            }
        }
        mode.gate = Gate::Open;
    }
    engine.release_parked();
    engine.touch();
}

/// Begins a session: from here on every change is acknowledged by the secondary, or (while a
/// resync runs) left to the resync.
pub fn attach(
    engine: &Arc<Engine>, conn: &Arc<Conn>, session: u64, in_sync: bool, agreed: Option<Agreed>,
) -> Result<u64, String> {
    let certain = agreed.as_ref().is_some_and(Agreed::is_certain);
    let source = Source::new(&engine.trees, session, *engine.resync_limit.lock(), agreed);
    {
        let mut mode = engine.mode.write();
        if mode.role != Role::Primary {
            return Err("the role changed while the peer connected".into());
        }
        // A second that may take its copy for current must have marked it before anything is served
        // that it has not got: then it has heard of this session, and says its first word.
        let frozen = mode.gate.waits_for_peer();
        let opens_later = frozen && !in_sync;
        if in_sync {
            engine.record(|g| *g = g.shared())?;
            engine.begin_in_sync(certain)?;
        } else if !opens_later {
            only_here(engine)?;
        }
        engine.stop_resync();
        mode.fork_due = false;
        mode.session = session;
        (mode.full, mode.partial) = (in_sync, false);
        engine.dirty.begin_noting();
        for tree in &engine.trees {
            tree.begin_session(session, !in_sync);
        }
        if !in_sync {
            engine.asked.begins(session);
            // Before the first change of the session, which may have something to add to it.
            *engine.source.lock() = Some(source.clone());
        }
        engine.outbox.attach(conn.clone(), session);
        if let Err(text) = engine.mark_session() {
            engine.note_failed("io_error", &text);
            engine.outbox.lost();
        }
        if opens_later {
            let waiting = engine.clone();
            let marked = move || spawn("opening", move || open_marked(&waiting, session));
            engine.outbox.put(&Operation::Ping, Some(Reply::Wake(Box::new(marked))));
        } else if frozen {
            mode.gate = Gate::Open;
        }
        let mut facts = engine.facts.lock();
        facts.link_up = true;
        facts.peer_up_to_date = in_sync;
        facts.refused = None;
        // What failed on this node has not come right because the other is back.
        facts.failed.take_if(|(what, _)| *what == PEER_FAILED);
    }
    if !in_sync {
        source.start(engine.clone());
        engine.resyncs.fetch_add(1, Ordering::Relaxed);
    }
    engine.release_parked();
    engine.touch();
    Ok(session)
}
