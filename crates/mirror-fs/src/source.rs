//! The resync as the primary does it: walk the tree, tell what is there, send what differs.
//!
//! This is what the other threads see of it: what is to do, what was answered, how far it is. The
//! thread that does it is `resync`.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mirror_core::message::FileKind;
use mirror_core::pace::{Bucket, Meter};
use mirror_core::units::FileId;
use parking_lot::{Condvar, Mutex};

use crate::engine::Engine;
use crate::primary::spawn;
use crate::resync::Run;
use crate::tree::{Inode, Tree};

pub type File = (Arc<Tree>, Arc<Inode>);

/// The secondary's checksum of one zone.
pub struct Answered {
    pub id: FileId,
    pub offset: u64,
    pub length: u32,
    pub checksum: u128,
    pub holes_only: bool,
}

#[derive(Default)]
pub struct Queue {
    pub todo: Vec<File>,
    pub answers: VecDeque<Answered>,
}

#[derive(Default)]
pub struct Figures {
    pub files_found: AtomicU64,
    pub files_done: AtomicU64,
    /// Directories that were found and not listed yet; while there are any, totals still grow.
    pub unlisted: AtomicU64,
    pub bytes_found: AtomicU64,
    pub bytes_done: AtomicU64,
    pub bytes_sent: AtomicU64,
}

pub struct Source {
    pub session: u64,
    pub cancelled: AtomicBool,
    pub queue: Mutex<Queue>,
    pub changed: Condvar,
    pub figures: Figures,
    pub begun: Instant,
    pub pace: Mutex<Pace>,
}

/// How fast it goes, and may go.
pub struct Pace {
    pub bucket: Bucket,
    looked_at: Meter,
    sent: Meter,
}

/// How fast it goes and how long it will take, as far as that can be known.
pub struct Forecast {
    pub bytes_per_s: Option<f64>,
    pub sent_bytes_per_s: Option<f64>,
    pub left: Option<Duration>,
}

impl Source {
    /// A resync of these trees in this session; `start` it when the session has begun.
    pub fn new(trees: &[Arc<Tree>], session: u64, limit_bytes_per_s: Option<u64>) -> Arc<Source> {
        let source = Arc::new(Source {
            session,
            cancelled: AtomicBool::new(false),
            queue: Mutex::new(Queue::default()),
            changed: Condvar::new(),
            figures: Figures::default(),
            begun: Instant::now(),
            pace: Mutex::new(Pace {
                bucket: Bucket::new(limit_bytes_per_s),
                looked_at: Meter::default(),
                sent: Meter::default(),
            }),
        });
        for tree in trees.iter().rev() {
            if let Ok(root) = tree.inode(mirror_core::units::ROOT_INODE) {
                source.add(tree.clone(), root);
            }
        }
        source
    }

    pub fn start(self: &Arc<Self>, engine: Arc<Engine>) {
        let source = self.clone();
        spawn("resync", move || {
            if Run::new(&engine, &source).run().is_err() {
                tracing::info!("the resync was cut short");
            }
        });
    }

    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    pub fn add(&self, tree: Arc<Tree>, inode: Arc<Inode>) {
        self.figures.files_found.fetch_add(1, Ordering::Relaxed);
        if inode.kind == FileKind::Directory {
            self.figures.unlisted.fetch_add(1, Ordering::Relaxed);
        }
        self.queue.lock().todo.push((tree, inode));
        self.changed.notify_all();
    }

    pub fn answered(&self, id: FileId, offset: u64, length: u32, sum: u128, holes_only: bool) {
        let answer = Answered { id, offset, length, checksum: sum, holes_only };
        self.queue.lock().answers.push_back(answer);
        self.changed.notify_all();
    }

    pub fn file_done(&self) {
        self.figures.files_done.fetch_add(1, Ordering::Relaxed);
    }

    /// Before something is sent: waits as long as it takes to keep to the permitted bandwidth.
    /// Holds no lock, and looks up often: the limit may change, the resync may be cancelled.
    pub fn keep_pace(&self) {
        while !self.cancelled.load(Ordering::Acquire) {
            let ready = self.pace.lock().bucket.ready(self.begun.elapsed());
            match ready {
                Ok(()) => return,
                Err(wait) => std::thread::sleep(wait.min(Duration::from_millis(100))),
            }
        }
    }

    /// This much was put into the stream.
    pub fn sent(&self, bytes: u64) {
        self.figures.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
        self.pace.lock().bucket.charge(bytes);
    }

    /// To be called a few times a second: what has been reached, for the forecast.
    pub fn note_pace(&self) {
        let (now, figures) = (self.begun.elapsed(), &self.figures);
        let mut pace = self.pace.lock();
        pace.looked_at.note(now, figures.bytes_done.load(Ordering::Relaxed));
        pace.sent.note(now, figures.bytes_sent.load(Ordering::Relaxed));
    }

    pub fn forecast(&self) -> Forecast {
        let (now, figures) = (self.begun.elapsed(), &self.figures);
        let done = figures.bytes_done.load(Ordering::Relaxed);
        let sent = figures.bytes_sent.load(Ordering::Relaxed);
        let more = figures.bytes_found.load(Ordering::Relaxed).saturating_sub(done);
        let all_known = figures.unlisted.load(Ordering::Relaxed) == 0;
        let pace = self.pace.lock();
        Forecast {
            bytes_per_s: pace.looked_at.rate(now, done),
            sent_bytes_per_s: pace.sent.rate(now, sent),
            left: pace.looked_at.time_for(now, done, more).filter(|_| all_known),
        }
    }
}
