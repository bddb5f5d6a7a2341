//! The link as the primary sees it: secondaries knock, one is let in, its reports are heard.
//!
//! The primary listens, the secondary dials. How the two copies stand to each other is a pure
//! comparison of generations (`mirror_core::generation`); what follows from it is `Verdict`. When a
//! secondary that had everything is lost, writes freeze; one that was being resynchronised is let
//! go, since it could not have served.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mirror_core::generation::{compare, Relation};
use mirror_core::message::{Hello, Report, Welcome};
use mirror_core::wire;

use crate::attach::{attach, resume};
use crate::conn::{Conn, Filled, Receiver};
use crate::doubt_link::{hear_hello, judge, nonsense};
use crate::effect::{self, Effect};
use crate::engine::{fresh_number, Engine};
use crate::handshake::Handshake;
use crate::mode::{Gate, Role};
use crate::tls;

const HANDSHAKE_LIMIT: Duration = Duration::from_secs(3);
/// After a resync that this node's disk has ended.
const RESYNC_AGAIN: Duration = Duration::from_secs(3);
const PING_EVERY: Duration = Duration::from_millis(400);

/// Listens on every address until the process ends.
pub fn listen(engine: &Arc<Engine>) -> Result<(), String> {
    // Said now rather than at the first connection.
    server_config(engine)?;
    for address in &engine.config.listen {
        let listener = TcpListener::bind(address)
            .map_err(|e| format!("cannot listen for the peer on {address}: {e}"))?;
        let engine = engine.clone();
        spawn("listen", move || {
            for stream in listener.incoming() {
                let accepted = effect::at(Effect::Accept).map_err(std::io::Error::from);
                let Ok(stream) = accepted.and(stream) else {
                    // Out of descriptors, say: it passes, and must not become a busy loop.
                    std::thread::sleep(PING_EVERY);
                    continue;
                };
                let engine = engine.clone();
                spawn("primary", move || {
                    if let Err(reason) = serve(&engine, stream) {
                        say_once(&engine, reason);
                    }
                });
            }
        });
    }
    Ok(())
}

/// For files that stand deep: each directory on the way up has its part of it (`binding`). The
/// memory of the engine is locked, but of a stack only what has been used.
pub const STACK_BYTES: usize = 16 << 20;

pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
    if let Err(error) = thread.spawn(work) {
        tracing::error!("no thread for {name}: {error}");
    }
}

/// A peer that knocks many times a second is not worth a line each time.
fn say_once(engine: &Engine, reason: String) {
    let mut facts = engine.facts.lock();
    if facts.said.as_deref() != Some(reason.as_str()) {
        tracing::info!("{reason}");
        facts.said = Some(reason);
    }
}

/// Read for each connection: a primary serves for months, and its certificate is renewed meanwhile.
fn server_config(engine: &Engine) -> Result<Arc<rustls::ServerConfig>, String> {
    tls::server_config(&engine.config.tls, engine.config.flow_encryption).map_err(|e| e.to_string())
}

fn serve(engine: &Arc<Engine>, stream: TcpStream) -> Result<(), String> {
    let handshake = Handshake::server(server_config(engine)?).map_err(|e| e.to_string())?;
    let conn = Conn::begin(stream, handshake, HANDSHAKE_LIMIT)
        .map_err(|e| format!("a connection was refused: {e}"))?;
    let expected = engine.config.certificate_name(&engine.config.peer);
    if let Err(error) = tls::peer_is(conn.peer_certificates(), &expected) {
        return Err(refused(engine, error.to_string()));
    }
    let conn = Arc::new(conn);
    let mut receiver = Receiver::new(conn.clone());
    let (hello, list) = match hear_hello(&mut receiver, HANDSHAKE_LIMIT) {
        Ok(Ok(heard)) => heard,
        Ok(Err(error)) => return Err(nonsense(engine, &conn, &error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::Other => {
            return Err(nonsense(engine, &conn, &error.to_string()));
        }
        Err(error) => return Err(format!("no hello came: {error}")),
    };
    if hello.cluster == engine.config.cluster && hello.module == engine.config.module {
        displace(engine);
    }
    let (verdict, agreed) = judge(engine, &hello, &list)?;
    let mut welcome = Vec::new();
    wire::encode_welcome(&verdict, &mut welcome);
    conn.send(&[&welcome]).map_err(|e| e.to_string())?;
    let session = match verdict {
        Welcome::Refused { reason } => return Err(reason),
        Welcome::Resume { session } => {
            resume(engine, &conn, &hello);
            session
        }
        Welcome::InSync { session, .. } => attach(engine, &conn, session, true, agreed)?,
        Welcome::Resync { session, reason, .. } => {
            let theirs = &hello.generation;
            engine.resumption.begin(theirs.current, theirs.sync_target);
            tracing::info!("a resync of {} begins: {reason}", hello.node);
            attach(engine, &conn, session, false, agreed)?
        }
    };
    let why = hear(engine, session, &conn, &mut receiver);
    lost(engine, session, &conn, &why);
    Ok(())
}

pub(crate) fn refused(engine: &Engine, reason: String) -> String {
    engine.facts.lock().refused = Some(reason.clone());
    engine.touch();
    reason
}

/// How the copies stand to each other, and what follows from that.
pub(crate) fn compared(engine: &Engine, hello: &Hello) -> Welcome {
    let config = &engine.config;
    let refuse = |reason: String| Welcome::Refused { reason: refused(engine, reason) };
    if hello.cluster != config.cluster || hello.module != config.module {
        let (module, cluster) = (&hello.module, &hello.cluster);
        return refuse(format!("the peer belongs to module {module} of cluster {cluster}"));
    }
    if usize::from(hello.trees) != engine.trees.len() {
        let (theirs, ours) = (hello.trees, engine.trees.len());
        return refuse(format!("the peer replicates {theirs} directories, this node {ours}"));
    }
    if let Err(text) = engine.stand_apart(&hello.generation) {
        engine.note_failed("io_error", &text);
        return refuse(text);
    }
    let mode = engine.mode.read();
    if mode.role != Role::Primary {
        return Welcome::Refused { reason: "this node is not primary".into() };
    }
    let failed = engine.facts.lock().resync_failed;
    if failed.is_some_and(|when| when.elapsed() < RESYNC_AGAIN) {
        let reason = "this node's disk failed in the last resync; another begins in a moment";
        return Welcome::Refused { reason: reason.into() };
    }
    let standing = engine.standing.lock().clone();
    let mine = &standing.generation;
    if hello.epoch > mine.epoch {
        let (theirs, mine) = (hello.epoch, mine.epoch);
        return refuse(format!("the peer has seen epoch {theirs}, this node only {mine}"));
    }
    let asked = engine.asked.is_wanted();
    let frozen = engine.outbox.is_lost() && mode.session != 0;
    if frozen {
        if let Some((session, applied)) = hello.resume.filter(|_| !asked) {
            let whole = session == mode.session && standing.trusted;
            if whole && engine.outbox.can_resume(applied) {
                return Welcome::Resume { session };
            }
        }
        if lacks_something(engine, asked) {
            let reason = "writes are frozen until it is decided how to go on";
            return Welcome::Refused { reason: reason.into() };
        }
    }
    let (session, epoch) = (fresh_number(), mine.epoch);
    let generation = mine.current;
    let relation = compare(mine, &hello.generation);
    let resync = |reason: &str| {
        let reason = reason.into();
        Welcome::Resync { session, reason, epoch, relation, doubt: false }
    };
    match relation {
        Relation::Equal if asked => resync("a comparison of everything was asked for"),
        Relation::Equal if hello.trusted && standing.trusted => {
            Welcome::InSync { session, generation, epoch }
        }
        Relation::Equal => resync("one of the copies was not closed in order"),
        Relation::MineNewer => resync("its copy is older"),
        Relation::TheirsBlank => resync("it has no data yet"),
        Relation::Diverged => resync("both went on alone; its changes give way"),
        Relation::TheirsNewer => refuse("the peer's data is newer than this node's".into()),
        Relation::Unrelated => refuse(format!(
            "the peer holds data of another origin; to have it overwritten, stop the module there \
             and remove {}/generation",
            config.state_dir.display()
        )),
        Relation::MineBlank | Relation::BothBlank => refuse("this node has no data".into()),
    }
}

/// Is something done here that a secondary in a new session would not be told of? Where everything
/// will be compared that is only what somebody waits for, and not that the kernel has forgotten a
/// file since the drain.
fn lacks_something(engine: &Engine, asked: bool) -> bool {
    match asked {
        true => engine.outbox.is_awaited(),
        false => engine.outbox.waiting() > 0,
    }
}

/// The one failure that is not this node's.
pub const PEER_FAILED: &str = "peer_apply";

/// Why writes are frozen when the secondary is lost.
pub const LOST: &str = "the secondary is lost";

/// Hears the secondary until the link is lost; returns why.
fn hear(engine: &Arc<Engine>, session: u64, conn: &Arc<Conn>, receiver: &mut Receiver) -> String {
    let limit_ms = engine.config.peer_timeout_ms;
    let begun = Instant::now();
    let mut pinged = begun;
    loop {
        loop {
            match receiver.next_frame() {
                Ok(None) => break,
                Ok(Some((header, body))) => match wire::decode_report(&header, body) {
                    Ok(report) => {
                        if let Some(why) = heard(engine, session, report) {
                            return why;
                        }
                    }
                    Err(error) => return format!("the secondary said nonsense: {error}"),
                },
                Err(error) => return format!("the secondary said nonsense: {error}"),
            }
        }
        match receiver.fill() {
            Ok(Filled::Bytes) => {}
            Ok(Filled::Quiet) if conn.silent_ms() > limit_ms => {
                return format!("the secondary was silent for {limit_ms} ms");
            }
            Ok(Filled::Quiet) => {}
            Err(error) => return format!("the connection to the secondary ended: {error}"),
        }
        if pinged.elapsed() > PING_EVERY {
            pinged = Instant::now();
            engine.outbox.ping();
            if engine.outbox.sync_is_overdue(begun, Duration::from_millis(limit_ms)) {
                return format!("a sync of the secondary's disk takes {limit_ms} ms too long");
            }
        }
    }
}

fn heard(engine: &Arc<Engine>, session: u64, report: Report) -> Option<String> {
    match report {
        Report::Applied { sequence } => {
            if !engine.outbox.acknowledged(session, sequence) {
                return Some(format!("the secondary claims to have operation {sequence}"));
            }
        }
        Report::Synced { sequence, errno: 0 } => engine.outbox.synced(session, sequence),
        Report::Synced { errno, .. } => {
            let text = format!("the secondary's disk failed to sync (errno {errno})");
            engine.note_failed(PEER_FAILED, &text);
            return Some(text);
        }
        Report::Failed { errno, text, .. } => {
            let text = format!("the secondary could not follow: {text} (errno {errno})");
            engine.note_failed(PEER_FAILED, &text);
            return Some(text);
        }
        Report::Checksum { id, offset, length, checksum, holes_only } => {
            if let Some(source) = &*engine.source.lock() {
                source.answered(id, offset, length, checksum, holes_only);
            }
        }
        Report::Verified(answer) => engine.verified(session, answer),
        Report::Goodbye => return Some("the secondary said goodbye".into()),
    }
    None
}

fn lost(engine: &Arc<Engine>, session: u64, conn: &Arc<Conn>, why: &str) {
    conn.close();
    if engine.mode.read().session == session && !engine.outbox.is_attached_to_other(conn) {
        give_up(engine, session, why);
    }
}

/// The peer dials anew, so its old connection is dead, whether or not that was noticed here.
fn displace(engine: &Arc<Engine>) {
    let session = engine.mode.read().session;
    if session != 0 && !engine.outbox.is_lost() {
        give_up(engine, session, "the secondary has dialled anew");
    }
}

/// Without the connection: freeze what the secondary had in full, go on where it had not.
fn give_up(engine: &Arc<Engine>, session: u64, why: &str) {
    // Whoever is sending fails now, so no change can hold the mode for long.
    engine.outbox.lost();
    let mut replies = Vec::new();
    {
        let mut mode = engine.mode.write();
        if mode.session != session {
            return;
        }
        tracing::warn!("the link is lost: {why}");
        if mode.full {
            if mode.gate == Gate::Open {
                mode.gate = Gate::Frozen(LOST);
            }
        } else {
            mode.session = 0;
            replies = engine.outbox.detach();
            engine.stop_resync();
        }
        let mut facts = engine.facts.lock();
        facts.link_up = false;
        facts.peer_up_to_date = false;
    }
    for reply in replies {
        reply.give();
    }
    engine.touch();
}
