//! What a secondary does beside the stream, because it may take long: syncs, and the checksums of a
//! resync.
//!
//! Each has threads and a queue of its own: an application's fsync must not wait behind the reading
//! of a disk. The queues are bounded; a full one slows the stream. The threads for checksums leave
//! the processor to whoever else wants it.

use std::io;
use std::sync::mpsc::{sync_channel, Receiver, SyncSender};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::conn::Conn;
use crate::primary::spawn;
use crate::sys;

const SYNC_THREADS: usize = 3;
const CHECKSUM_THREADS: usize = 3;
const QUEUE: usize = 256;
/// Of threads that should not be in anybody's way.
const CHECKSUM_NICENESS: i32 = 10;

pub type Job = Box<dyn FnOnce(&Conn) -> io::Result<()> + Send>;

pub struct Beside {
    syncs: SyncSender<Job>,
    checksums: SyncSender<Job>,
}

impl Beside {
    /// The threads end with what this returns.
    pub fn begin(conn: &Arc<Conn>) -> Beside {
        Beside {
            syncs: begin(conn, "sync", SYNC_THREADS, 0),
            checksums: begin(conn, "checksum", CHECKSUM_THREADS, CHECKSUM_NICENESS),
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

fn begin(conn: &Arc<Conn>, name: &str, threads: usize, niceness: i32) -> SyncSender<Job> {
    let (sender, receiver) = sync_channel::<Job>(QUEUE);
    let receiver: Arc<Mutex<Receiver<Job>>> = Arc::new(Mutex::new(receiver));
    for _ in 0..threads {
        let (receiver, conn) = (receiver.clone(), conn.clone());
        spawn(name, move || {
            sys::be_nice(niceness);
            loop {
                let job = receiver.lock().recv();
                match job {
                    Ok(job) => {
                        if job(&conn).is_err() {
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
