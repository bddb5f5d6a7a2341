//! What a secondary does beside the stream, because it may take long: syncs, and the checksums of a
//! resync or a verification.
//!
//! Each has threads and a queue of its own: an application's fsync must not wait behind the reading
//! of a disk. The queues are bounded; a full one slows the stream. The threads for checksums leave
//! the processor to whoever else wants it.

use std::io;
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::Arc;

use mirror_core::message::Report;
use parking_lot::Mutex;

use crate::conn::Conn;
use crate::engine::Engine;
use crate::follower::{fail, report};
use crate::primary::spawn;
use crate::sys;

const SYNC_THREADS: usize = 3;
const CHECKSUM_THREADS: usize = 3;
const QUEUE: usize = 256;
/// Of threads that should not be in anybody's way.
const CHECKSUM_NICENESS: i32 = 10;

/// Its error is one of this node's disk: what a sync could not bring there may be lost at any time,
/// so this is a copy no more.
pub type Job = Box<dyn FnOnce() -> io::Result<Report> + Send>;

pub struct Beside {
    syncs: SyncSender<Job>,
    checksums: SyncSender<Job>,
}

impl Beside {
    /// The threads end with what this returns.
    pub fn begin(engine: &Arc<Engine>, conn: &Arc<Conn>) -> Beside {
        Beside {
            syncs: begin((engine, conn), "sync", SYNC_THREADS, 0),
            checksums: begin((engine, conn), "checksum", CHECKSUM_THREADS, CHECKSUM_NICENESS),
        }
    }

    /// A sync, or anything else that the application may wait for.
    pub fn send(&self, job: Job) -> io::Result<()> {
        self.syncs.send(job).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    pub fn send_checksum(&self, job: Job) -> io::Result<()> {
        self.checksums.send(job).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

fn begin(
    (engine, conn): (&Arc<Engine>, &Arc<Conn>), name: &str, threads: usize, niceness: i32,
) -> SyncSender<Job> {
    let (sender, receiver) = sync_channel::<Job>(QUEUE);
    let receiver: Arc<Mutex<Receiver<Job>>> = Arc::new(Mutex::new(receiver));
    for _ in 0..threads {
        let (receiver, engine, conn) = (receiver.clone(), engine.clone(), conn.clone());
        spawn(name, move || {
            sys::be_nice(niceness);
            loop {
                let job = receiver.lock().recv();
                match job {
                    Ok(job) => {
                        let told = job().map_err(|e| io::Error::other(fail(&engine, &conn, 0, &e)));
                        if told.and_then(|told| report(&conn, &told)).is_err() {
                            conn.close();
                        }
                    }
                    Err(_) => return,
                }
            }
        });
    }
    sender
}
