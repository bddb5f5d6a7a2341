//! The link as the secondary sees it: dial the primary, follow its stream, report.
//!
//! One thread applies, in the order of the stream, so that the copy is always a prefix of what the
//! primary's applications did. Syncs and checksums, which may take long, are done beside it; a
//! sync covers what was applied before it was asked for.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mirror_core::message::{Hello, Operation, Report, Welcome};
use mirror_core::wire;
use parking_lot::Mutex;

use crate::apply::Applier;
use crate::beside::Beside;
use crate::calls;
use crate::conn::{Conn, Filled, Receiver};
use crate::doubt_link::{doubt_list, tell_doubt};
use crate::engine::Engine;
use crate::handshake::Handshake;
use crate::rescue::Rescue;
use crate::rescue_begin::{prepare, pulse, Ready};
use crate::tls;

const DIAL_LIMIT: Duration = Duration::from_secs(1);
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(3);
const DIAL_EVERY: Duration = Duration::from_millis(150);
const FAILED_WAIT: Duration = Duration::from_secs(3);
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_millis(400);
/// This copy could not follow for want of room.
pub(crate) const DISK_FULL: &str = "disk_full";
/// Operations that one report may serve for while a large write goes on.
const RUN_MAX: u64 = 16;

pub struct Follower {
    stopping: AtomicBool,
    conn: Mutex<Option<Arc<Conn>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// How a link ended, for those who decide what the copy is worth.
#[derive(Default)]
struct Session {
    number: u64,
    applied: u64,
    /// What the primary has been told of `applied`.
    reported: Arc<AtomicU64>,
    /// A resync of this session has not ended.
    resyncing: bool,
    /// It began with equal copies, and this node's own set is still that of before.
    in_step: bool,
}

/// How a link that was up has ended.
enum Ended {
    Silent,
    Closed,
}

impl Follower {
    pub fn start(engine: Arc<Engine>) -> Arc<Follower> {
        let follower = Arc::new(Follower {
            stopping: AtomicBool::new(false),
            conn: Mutex::new(None),
            thread: Mutex::new(None),
        });
        let inside = follower.clone();
        let thread = std::thread::Builder::new()
            .name("follower".into())
            .spawn(move || inside.run(&engine))
            .map_err(|e| tracing::error!("no thread to follow: {e}"));
        *follower.thread.lock() = thread.ok();
        follower
    }

    pub fn silent_ms(&self) -> Option<u64> {
        self.conn.lock().as_ref().map(|conn| conn.silent_ms())
    }

    /// Wakes the follower and makes it end; does not wait for it.
    pub fn close(&self) {
        self.stopping.store(true, Ordering::Release);
        if let Some(conn) = &*self.conn.lock() {
            conn.close();
        }
    }

    /// Ends following: what has arrived is applied, then the copy stands still.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let conn = self.conn.lock().clone();
        if let Some(conn) = conn {
            let mut goodbye = Vec::new();
            wire::encode_report(&Report::Goodbye, &mut goodbye);
            let _ = conn.send(&[&goodbye]);
            conn.close();
        }
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    fn run(&self, engine: &Arc<Engine>) {
        let mut applier: Option<Applier> = None;
        let mut session = Session::default();
        let mut rescue = None;
        // Before the dialling, since the other node does not wait long; as long as nothing is done.
        let mut told = None;
        let mut last_reason = String::new();
        let addresses = &engine.config.peer_addresses;
        let mut first = 0;
        while !self.stopping.load(Ordering::Acquire) {
            for step in 0..addresses.len() {
                let at = (first + step) % addresses.len();
                let address = addresses[at];
                if self.stopping.load(Ordering::Acquire) {
                    break;
                }
                let state = (&mut applier, &mut session, &mut rescue, &mut told);
                match self.dial(engine, address, state.0, state.1, state.2, state.3) {
                    // Where nothing was heard any more the cable may be cut: another one first.
                    Ok(Ended::Silent) => {
                        first = at + 1;
                        break;
                    }
                    Ok(Ended::Closed) => {
                        first = 0;
                        break;
                    }
                    Err(error) => {
                        let reason = error.to_string();
                        if reason != last_reason {
                            tracing::info!("{address}: {reason}");
                            last_reason = reason;
                        }
                    }
                }
            }
            // A disk that could not take the copy is not tried again at once.
            let failed = engine.facts.lock().failed.is_some();
            let until = Instant::now() + if failed { FAILED_WAIT } else { DIAL_EVERY };
            while Instant::now() < until && !self.stopping.load(Ordering::Acquire) {
                std::thread::sleep(DIAL_EVERY);
            }
        }
        if let Some(mut applier) = applier {
            applier.settle_times();
            applier.drop_half_told();
        }
        engine.facts.lock().rescuing = None;
    }

    fn dial(
        &self, engine: &Arc<Engine>, address: SocketAddr, applier: &mut Option<Applier>,
        session: &mut Session, rescue: &mut Option<Box<Rescue>>, told: &mut Option<Vec<u8>>,
    ) -> io::Result<Ended> {
        let config = &engine.config;
        let tls_config =
            tls::client_config(&config.tls, config.flow_encryption).map_err(io::Error::other)?;
        let name = tls::server_name(&config.peer, &config.cluster).map_err(io::Error::other)?;
        let list = told.get_or_insert_with(|| doubt_list(engine));
        let stream = calls::connect_timeout(&address, DIAL_LIMIT)?;
        let handshake = Handshake::client(tls_config, name)?;
        let conn = Arc::new(Conn::begin(stream, handshake, HANDSHAKE_LIMIT)?);
        *self.conn.lock() = Some(conn.clone());
        if self.stopping.load(Ordering::Acquire) {
            // Told while there was no connection to close; nobody would end this one.
            conn.close();
            return Ok(Ended::Closed);
        }
        let mut receiver = Receiver::new(conn.clone());
        let mut frame = Vec::new();
        tell_doubt(list, &conn)?;
        wire::encode_hello(&self.hello(engine, session), &mut frame);
        conn.send(&[&frame])?;
        let (header, body) = receiver.wait_frame(HANDSHAKE_LIMIT)?;
        let welcome = wire::decode_welcome(&header, &body).map_err(io::Error::other)?;
        if let Welcome::Resync { relation, .. } = welcome {
            let left = applier.as_mut().and_then(|applier| applier.rescue.take());
            *rescue = rescue.take().or(left);
            let hang_up = || conn.close();
            match prepare(engine, relation.mirrored(), rescue, &self.stopping, hang_up) {
                Ok(Ready::Yes(ready)) => *rescue = ready,
                Ok(Ready::DialAgain) => {
                    *self.conn.lock() = None;
                    return Ok(Ended::Closed);
                }
                Err(text) => {
                    conn.close();
                    return Err(io::Error::other(text));
                }
            }
        }
        *told = None;
        let begun = accept(engine, welcome, applier, session).map_err(io::Error::other)?;
        let mut ended = Ended::Closed;
        if let Some(applier) = applier {
            if session.resyncing {
                applier.rescue = rescue.take();
                if let Some(rescue) = &mut applier.rescue {
                    rescue.set_alive(pulse(&conn, &session.reported));
                    engine.facts.lock().rescuing = Some(rescue.id().to_owned());
                }
            }
            let beside = Beside::begin(engine, &conn);
            let why = follow(engine, &conn, &mut receiver, applier, session, &beside);
            if conn.silent_ms() > config.peer_timeout_ms {
                ended = Ended::Silent;
            }
            tracing::warn!(begun, "the link to the primary ended: {why}");
            applier.settle_times();
        }
        conn.close();
        if let Some(applier) = applier {
            engine.make_room(applier);
        }
        *self.conn.lock() = None;
        engine.facts.lock().link_up = false;
        engine.touch();
        Ok(ended)
    }

    fn hello(&self, engine: &Engine, session: &Session) -> Hello {
        let standing = engine.standing.lock().clone();
        let generation = (*standing.generation).clone();
        let whole = !generation.sync_target;
        // A disk that failed may have refused the mark as well: such a copy must not go on.
        let sound = whole && standing.trusted && !generation.outdated;
        let may_resume = session.number != 0 && sound;
        Hello {
            cluster: engine.config.cluster.clone(),
            module: engine.config.module.clone(),
            node: engine.config.node.clone(),
            trees: engine.trees.len() as u8,
            epoch: generation.epoch,
            trusted: standing.trusted && whole,
            resume: may_resume.then_some((session.number, session.applied)),
            generation,
        }
    }
}

/// Takes the primary's word for how to begin. What it makes of this copy is on disk first.
fn accept(
    engine: &Arc<Engine>, welcome: Welcome, applier: &mut Option<Applier>, session: &mut Session,
) -> Result<&'static str, String> {
    let begun = match welcome {
        Welcome::Refused { reason } => {
            let reason = format!("the primary refused: {reason}");
            engine.facts.lock().refused = Some(reason.clone());
            engine.touch();
            return Err(reason);
        }
        Welcome::Resume { .. } => "resumed",
        Welcome::InSync { session: number, epoch, .. } => {
            engine.let_in(epoch, true)?;
            *applier = Some(Applier::new(engine)?);
            *session = Session { number, in_step: true, ..Session::default() };
            "in sync"
        }
        Welcome::Resync { session: number, epoch, reason, doubt, .. } => {
            if !doubt {
                engine.doubt_everything("a whole resync begins")?;
            }
            tracing::info!("a resync into this node begins: {reason}");
            engine.standing.lock().trusted = false;
            let kept = engine.begin_keeping();
            engine.let_in(epoch, false)?;
            let mut fresh = Applier::new(engine)?;
            fresh.kept = kept;
            fresh.kept_told = Some(engine.kept.clone());
            (fresh.resync.running, fresh.resync.partial) = (true, doubt);
            *applier = Some(fresh);
            *session = Session { number, resyncing: true, ..Session::default() };
            engine.resyncs.fetch_add(1, Ordering::Relaxed);
            "with a resync"
        }
    };
    let mut facts = engine.facts.lock();
    facts.link_up = true;
    facts.refused = None;
    facts.failed = None;
    drop(facts);
    engine.touch();
    Ok(begun)
}

/// Follows the stream until the link ends; returns why.
fn follow(
    engine: &Arc<Engine>, conn: &Arc<Conn>, receiver: &mut Receiver, applier: &mut Applier,
    session: &mut Session, beside: &Beside,
) -> String {
    let limit_ms = engine.config.peer_timeout_ms;
    let (mut reported, mut reported_up_to) = (Instant::now(), session.applied);
    let mut more = false;
    loop {
        loop {
            let (header, body) = match receiver.next_frame() {
                Ok(None) => break,
                Ok(Some(frame)) => frame,
                Err(error) => return format!("the primary said nonsense: {error}"),
            };
            let operation = match wire::decode_operation(&header, body) {
                Ok(operation) => operation,
                Err(error) => return format!("the primary said nonsense: {error}"),
            };
            let sequence = header.sequence;
            let sync = matches!(operation, Operation::Sync { .. } | Operation::SyncTree { .. });
            more = matches!(operation, Operation::Write { more: true, .. });
            if sequence != 0 && sequence <= session.applied && !sync {
                continue;
            }
            engine.applied.operations.fetch_add(1, Ordering::Relaxed);
            engine.applied.bytes.fetch_add(u64::from(header.body_bytes), Ordering::Relaxed);
            if let Err(error) = perform(engine, applier, session, sequence, operation, beside) {
                return fail(engine, conn, sequence, &error);
            }
            session.applied = session.applied.max(sequence);
        }
        // In the middle of a large write nobody waits for a report.
        let unreported = session.applied - reported_up_to;
        let due = unreported > 0 && (!more || unreported >= RUN_MAX);
        if due || reported.elapsed() > SIGN_OF_LIFE_EVERY {
            (reported, reported_up_to) = (Instant::now(), session.applied);
            session.reported.store(session.applied, Ordering::Release);
            if let Err(error) = report(conn, &Report::Applied { sequence: session.applied }) {
                return format!("the connection ended: {error}");
            }
        }
        match receiver.fill() {
            Ok(Filled::Bytes) => {}
            Ok(Filled::Quiet) if conn.silent_ms() > limit_ms => {
                return format!("the primary was silent for {limit_ms} ms");
            }
            Ok(Filled::Quiet) => applier.settle_times(),
            Err(error) => return format!("the connection ended: {error}"),
        }
    }
}

fn perform(
    engine: &Arc<Engine>, applier: &mut Applier, session: &mut Session, sequence: u64,
    operation: Operation<'_>, beside: &Beside,
) -> io::Result<()> {
    match operation {
        Operation::ResyncEnd { generation, history } => {
            applier.end_resync()?;
            engine.sync_trees()?;
            let mut theirs = (*engine.generation()).clone();
            theirs.current = generation;
            theirs.history = history;
            engine.record(|g| *g = g.adopt(&theirs)).map_err(io::Error::other)?;
            engine.begin_as_copy().map_err(io::Error::other)?;
            applier.end_rescue();
            engine.facts.lock().rescuing = None;
            engine.standing.lock().trusted = true;
            *engine.kept.lock() = None;
            session.resyncing = false;
            engine.touch();
            tracing::info!("the resync has ended: this copy is up to date");
            Ok(())
        }
        Operation::Mark { mark } => engine.hear_mark(mark, &mut session.in_step),
        Operation::HandOver { epoch } => {
            applier.settle_times();
            engine.record(|g| g.epoch = g.epoch.max(epoch)).map_err(io::Error::other)
        }
        // What belongs to a resync also repairs what a verification has found.
        operation => applier.apply(sequence, operation, beside),
    }
}

pub fn report(conn: &Conn, report: &Report) -> io::Result<()> {
    let mut frame = Vec::new();
    wire::encode_report(report, &mut frame);
    conn.send(&[&frame])
}

/// This copy could not follow: it is not a copy any more until a resync has ended.
pub(crate) fn fail(engine: &Engine, conn: &Conn, sequence: u64, error: &io::Error) -> String {
    let (errno, text) = (error.raw_os_error().unwrap_or(libc::EIO), error.to_string());
    tracing::error!(sequence, errno, "cannot apply: {text}");
    engine.standing.lock().trusted = false;
    let _ = engine.doubt_everything("this copy could not follow");
    let recorded = engine.record(|g| g.sync_target = true);
    let what = if errno == libc::ENOSPC { DISK_FULL } else { "io_error" };
    engine.note_failed(what, &format!("this copy could not follow: {text}"));
    let _ = report(conn, &Report::Failed { sequence, errno, text: text.clone() });
    match recorded {
        Ok(()) => format!("this copy could not follow: {text}"),
        Err(error) => format!("this copy could not follow: {text}; and {error}"),
    }
}
