//! What is in doubt, between the nodes: the secondary tells its list before its hello, the primary
//! finds out whether both sets belong to the same base, and both keep their own right as sessions
//! begin and end.
//!
//! The set of a secondary is empty as long as it is one: the primary's covers what both do. So it
//! is made empty only when the primary has said that the copies are in step; by then the primary
//! has either none that is believed, or one that begins where an empty one ends.

use std::io;
use std::time::Duration;

use mirror_core::doubt::{are_linked, decode_list, encode_list, Item, List, LIST_MAX_BYTES};
use mirror_core::generation::Relation;
use mirror_core::message::{Hello, Operation, Welcome};
use mirror_core::wire::{self, WireError};

use crate::conn::{Conn, Receiver};
use crate::doubt_told::{told, with_others};
use crate::engine::Engine;
use crate::primary::{compared, refused};
use crate::resync_doubt::try_plan;

/// As the secondary: what is in doubt here. Empty means everything.
pub(crate) fn doubt_list(engine: &Engine) -> Vec<u8> {
    let base = engine.dirty.base();
    if base == 0 || base != engine.generation().base {
        return Vec::new();
    }
    let items = told(engine).and_then(|told| with_others(engine, told).map_err(|e| e.to_string()));
    let list = items.map(|items| {
        let told = engine.dirty.see(|doubt| doubt.marks().collect());
        encode_list(&List { base, heard: engine.dirty.heard.mark(), told, items })
    });
    match list {
        Ok(Some(list)) => return list,
        Ok(None) => tracing::info!("what is in doubt here is too long to be told"),
        Err(why) => tracing::info!("what is in doubt here cannot be told: {why}"),
    }
    Vec::new()
}

/// As the secondary: says what is in doubt here.
pub(crate) fn tell_doubt(list: &[u8], conn: &Conn) -> io::Result<()> {
    for part in list.chunks(wire::DOUBT_PART_BYTES) {
        let mut frame = Vec::new();
        wire::encode_doubt(part, &mut frame);
        conn.send(&[&frame])?;
    }
    Ok(())
}

/// As the primary: the hello, and the list that came before it.
pub(crate) fn hear_hello(
    receiver: &mut Receiver, limit: Duration,
) -> io::Result<Result<(Hello, Vec<u8>), WireError>> {
    let mut list = Vec::new();
    loop {
        let (header, body) = receiver.wait_frame(limit)?;
        if !wire::is_doubt(&header) {
            return Ok(wire::decode_hello(&header, &body).map(|hello| (hello, list)));
        }
        match wire::decode_doubt(&header, &body) {
            Ok(part) if list.len() + part.len() <= LIST_MAX_BYTES => list.extend_from_slice(part),
            Ok(_) => return Err(io::Error::other("the peer's list is longer than can be")),
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// What came instead of a hello is refused in words that the peer hears too: it may be an honest
/// one of another version.
pub(crate) fn nonsense(engine: &Engine, conn: &Conn, error: &str) -> String {
    let reason = refused(engine, format!("the peer's hello is refused: {error}"));
    let mut welcome = Vec::new();
    wire::encode_welcome(&Welcome::Refused { reason: reason.clone() }, &mut welcome);
    let _ = conn.send(&[&welcome]);
    reason
}

/// Both sets belong to this base, and this is what the other node's has.
pub struct Agreed {
    pub base: u64,
    pub theirs: Vec<Item>,
}

impl Agreed {
    /// The other node has nothing in doubt.
    pub fn is_certain(&self) -> bool {
        self.theirs.is_empty()
    }
}

/// How the two sets stand to each other.
enum Sets {
    Agreed(Agreed),
    /// One of them is older than the other node's copy.
    Apart,
    /// Everything is in doubt.
    Unknown,
}

/// What to answer, and what is agreed on; it may be so no more when the session begins.
pub(crate) fn judge(
    engine: &Engine, hello: &Hello, list: &[u8],
) -> Result<(Welcome, Option<Agreed>), String> {
    let verdict = compared(engine, hello);
    match verdict {
        Welcome::Resync { session, reason, epoch, relation, .. } => {
            let agreed = match sets(engine, hello, list) {
                Sets::Agreed(agreed) => fitting(engine, agreed),
                Sets::Apart | Sets::Unknown => None,
            };
            let doubt = agreed.is_some();
            Ok((Welcome::Resync { session, reason, epoch, relation, doubt }, agreed))
        }
        Welcome::InSync { session, generation, epoch } => match sets(engine, hello, list) {
            Sets::Apart => {
                let reason = "one of the copies was brought back to an earlier moment".into();
                let relation = Relation::Equal;
                Ok((Welcome::Resync { session, reason, epoch, relation, doubt: false }, None))
            }
            Sets::Agreed(agreed) if agreed.is_certain() => Ok((verdict, Some(agreed))),
            // Its own set ends in this session; what was in that must not be missing from mine.
            Sets::Agreed(_) | Sets::Unknown => {
                engine.doubt_everything("the first checkpoint of the session is not made yet")?;
                Ok((Welcome::InSync { session, generation, epoch }, None))
            }
        },
        verdict => Ok((verdict, None)),
    }
}

fn fitting(engine: &Engine, agreed: Agreed) -> Option<Agreed> {
    match try_plan(engine, &agreed) {
        Ok(()) => Some(agreed),
        Err(error) => {
            tracing::info!("what is in doubt does not fit together: {error}");
            None
        }
    }
}

/// What the peer has in doubt, if its set and this node's belong to the same base and each is as
/// young as the other node's copy.
fn sets(engine: &Engine, hello: &Hello, list: &[u8]) -> Sets {
    let base = engine.dirty.base();
    let Ok(list) = decode_list(list) else { return Sets::Unknown };
    let same = base != 0
        && !engine.asked.is_wanted()
        && base == engine.generation().base
        && base == list.base
        && base == hello.generation.base;
    if !same {
        return Sets::Unknown;
    }
    let told = engine.dirty.see(|doubt| doubt.marks().collect::<Vec<_>>());
    if !are_linked((engine.dirty.heard.mark(), &told), (list.heard, &list.told)) {
        tracing::info!("the map of one of the nodes is older than the other's copy");
        return Sets::Apart;
    }
    Sets::Agreed(Agreed { base, theirs: list.items })
}

impl Engine {
    pub(crate) fn doubt_everything(&self, why: &str) -> Result<(), String> {
        let failed = |e: io::Error| format!("the dirty map cannot be removed: {e}");
        self.dirty.distrust(why).map_err(failed)
    }

    /// As primary, from now on: what is in the set goes on, if it belongs to this generation's
    /// base.
    pub(crate) fn begin_as_source(&self, of_its_own: bool) -> Result<(), String> {
        let base = self.dirty.base();
        if of_its_own || base != self.generation().base {
            return self.doubt_everything("this node's data has no known base");
        }
        self.dirty.begin().map_err(|e| format!("the dirty map cannot be written: {e}"))
    }

    /// As primary, a session of equals begins. `certain`: the secondary has nothing in doubt.
    pub(crate) fn begin_in_sync(&self, certain: bool) -> Result<(), String> {
        if certain && self.dirty.base() == self.generation().base {
            return Ok(());
        }
        self.doubt_everything("the first checkpoint of the session is not made yet")
    }

    /// As primary, a session has begun: what this node notes from now on has a mark.
    pub(crate) fn mark_session(&self) -> Result<(), String> {
        if !self.dirty.is_used() {
            return Ok(());
        }
        let tell = |mark| self.outbox.put(&Operation::Mark { mark }, None);
        let told = self.dirty.tell_mark(tell);
        told.map(drop).map_err(|e| format!("the dirty map cannot be written: {e}"))
    }

    /// As secondary: what comes after this is in the primary's set. `in_step`: it is the first in a
    /// session of equals.
    pub(crate) fn hear_mark(&self, mark: u64, in_step: &mut bool) -> io::Result<()> {
        if !self.dirty.is_used() {
            return Ok(());
        }
        self.dirty.heard.hear(mark)?;
        match std::mem::take(in_step) {
            true => self.begin_as_copy().map_err(io::Error::other),
            false => Ok(()),
        }
    }

    /// As secondary: this copy is that of its generation, and of nothing else.
    pub(crate) fn begin_as_copy(&self) -> Result<(), String> {
        let current = self.generation().current;
        self.dirty.reset(current).map_err(|e| format!("the dirty map cannot be written: {e}"))
    }
}
