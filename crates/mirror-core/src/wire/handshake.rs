//! Hello and welcome as frames.

use super::bytes::{Reader, Writer};
use super::{begin_frame, end_frame, kinds, Header, WireError};
use crate::generation::{Generation, LastRole, Relation};
use crate::message::{Hello, Welcome};

const CLEAN: u8 = 1;
const SOLE: u8 = 2;
const SYNC_TARGET: u8 = 4;
const OUTDATED: u8 = 8;
const ALL: u8 = CLEAN | SOLE | SYNC_TARGET | OUTDATED;

/// Append the whole frame of a hello.
pub fn encode_hello(hello: &Hello, out: &mut Vec<u8>) {
    let start = begin_frame(kinds::HELLO, 0, out);
    let mut w = Writer(out);
    w.text(&hello.cluster).text(&hello.module).text(&hello.node);
    w.u8(hello.trees).u64(hello.epoch);
    encode_generation(&hello.generation, &mut w);
    w.flag(hello.trusted).flag(hello.resume.is_some());
    if let Some((session, applied)) = hello.resume {
        w.u64(session).u64(applied);
    }
    end_frame(start, 0, out);
}

pub fn decode_hello(header: &Header, body: &[u8]) -> Result<Hello, WireError> {
    let mut r = Reader::new(header, body)?;
    if header.kind != kinds::HELLO {
        return Err(r.error("kind", "a hello was expected"));
    }
    r.unnumbered(header)?;
    let (cluster, module, node) = (r.text("cluster")?, r.text("module")?, r.text("node")?);
    let (trees, epoch) = (r.u8("trees")?, r.u64("epoch")?);
    let generation = decode_generation(&mut r)?;
    let trusted = r.flag("trusted")?;
    let resume = match r.flag("resume")? {
        true => Some((r.u64("session")?, r.u64("applied")?)),
        false => None,
    };
    r.end(Hello { cluster, module, node, trees, epoch, generation, trusted, resume })
}

/// The most of a secondary's list (`crate::doubt`) that goes into one frame.
pub const DOUBT_PART_BYTES: usize = 1 << 20;

/// Append the frame of a part of what a secondary has in doubt; the parts come before its hello.
pub fn encode_doubt(part: &[u8], out: &mut Vec<u8>) {
    assert!(part.len() <= DOUBT_PART_BYTES, "a part of {} bytes", part.len());
    let start = begin_frame(kinds::DOUBT, 0, out);
    out.extend_from_slice(part);
    end_frame(start, 0, out);
}

/// Is it one of these?
pub fn is_doubt(header: &Header) -> bool {
    header.kind == kinds::DOUBT
}

pub fn decode_doubt<'a>(header: &Header, body: &'a [u8]) -> Result<&'a [u8], WireError> {
    let mut r = Reader::new(header, body)?;
    r.unnumbered(header)?;
    if !is_doubt(header) || body.len() > DOUBT_PART_BYTES {
        return Err(r.error("part", "is not one of what is in doubt"));
    }
    let part = r.take("part", body.len())?;
    r.end(part)
}

/// Append the whole frame of a welcome. A long reason is cut.
pub fn encode_welcome(welcome: &Welcome, out: &mut Vec<u8>) {
    let kind = match welcome {
        Welcome::Resume { .. } => kinds::WELCOME_RESUME,
        Welcome::InSync { .. } => kinds::WELCOME_IN_SYNC,
        Welcome::Resync { doubt: false, .. } => kinds::WELCOME_RESYNC,
        Welcome::Resync { doubt: true, .. } => kinds::WELCOME_RESYNC_DOUBT,
        Welcome::Refused { .. } => kinds::WELCOME_REFUSED,
    };
    let start = begin_frame(kind, 0, out);
    let mut w = Writer(out);
    match welcome {
        Welcome::Resume { session } => w.u64(*session),
        Welcome::InSync { session, generation, epoch } => {
            w.u64(*session).u64(*generation).u64(*epoch)
        }
        Welcome::Resync { session, reason, epoch, relation, doubt: _ } => {
            w.u64(*session).text(reason).u64(*epoch).u8(*relation as u8)
        }
        Welcome::Refused { reason } => w.text(reason),
    };
    end_frame(start, 0, out);
}

pub fn decode_welcome(header: &Header, body: &[u8]) -> Result<Welcome, WireError> {
    let mut r = Reader::new(header, body)?;
    r.unnumbered(header)?;
    let welcome = match header.kind {
        kinds::WELCOME_RESUME => Welcome::Resume { session: r.u64("session")? },
        kinds::WELCOME_IN_SYNC => Welcome::InSync {
            session: r.u64("session")?,
            generation: r.u64("generation")?,
            epoch: r.u64("epoch")?,
        },
        kinds::WELCOME_RESYNC | kinds::WELCOME_RESYNC_DOUBT => Welcome::Resync {
            session: r.u64("session")?,
            reason: r.text("reason")?,
            epoch: r.u64("epoch")?,
            relation: decode_relation(&mut r)?,
            doubt: header.kind == kinds::WELCOME_RESYNC_DOUBT,
        },
        kinds::WELCOME_REFUSED => Welcome::Refused { reason: r.text("reason")? },
        _ => return Err(r.error("kind", "a welcome was expected")),
    };
    r.end(welcome)
}

fn decode_relation(r: &mut Reader<'_>) -> Result<Relation, WireError> {
    let number = r.u8("relation")?;
    Relation::from_number(number)
        .ok_or_else(|| r.error("relation", &format!("{number} is no relation")))
}

fn encode_generation(generation: &Generation, w: &mut Writer<'_>) {
    w.u64(generation.current).u64(generation.base).history(&generation.history);
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    let flags = bit(generation.clean, CLEAN)
        | bit(generation.sole, SOLE)
        | bit(generation.sync_target, SYNC_TARGET)
        | bit(generation.outdated, OUTDATED);
    w.u8(generation.role as u8).u8(flags).u64(generation.epoch);
}

fn decode_generation(r: &mut Reader<'_>) -> Result<Generation, WireError> {
    let (current, base) = (r.u64("generation current")?, r.u64("generation base")?);
    let history = r.history("generation history")?;
    let role = r.u8("generation role")?;
    let Some(role) = LastRole::from_number(role) else {
        return Err(r.error("generation role", &format!("{role} is no role")));
    };
    let flags = r.u8("generation flags")?;
    if flags & !ALL != 0 {
        return Err(r.error("generation flags", &format!("{flags:#04x} is unknown")));
    }
    Ok(Generation {
        current,
        base,
        history,
        role,
        clean: flags & CLEAN != 0,
        sole: flags & SOLE != 0,
        sync_target: flags & SYNC_TARGET != 0,
        outdated: flags & OUTDATED != 0,
        epoch: r.u64("generation epoch")?,
    })
}
