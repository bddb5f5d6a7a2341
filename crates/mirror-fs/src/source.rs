//! The resync as the primary does it: walk the tree, tell what is there, send what differs.
//!
//! This is what the other threads see of it: how far it is, how fast it may go. What is to be done
//! is in `queue`; the threads that do it are `resync`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use mirror_core::doubt::{Identity, ZONE_BYTES};
use mirror_core::message::FileKind;
use mirror_core::pace::{Bucket, Meter};
use mirror_core::units::FileId;
use mirror_core::yielding::{Kind, Yielding};
use parking_lot::{Condvar, Mutex};

use crate::answer::Answer;
use crate::change::{Change, Durable};
use crate::dirty_map::{DirtyMap, Since};
use crate::doubt_link::Agreed;
use crate::engine::Engine;
use crate::links::Links;
use crate::queue::{Answered, Queue};
use crate::resync;
use crate::tree::{Inode, Tree};

/// What a resync may have in the stream at a time, alone and beside an application's changes.
const UNDER_WAY_MAX: u64 = 4 << 20;
const UNDER_WAY_BESIDE_MAX: u64 = 256 << 10;
/// Checksums asked for and not yet answered.
const ASKED_MAX: usize = 64;
const ASKED_BESIDE_MAX: usize = 4;
const LOOK_UP_EVERY: Duration = Duration::from_millis(100);

pub type Ranges = Vec<(u64, u64)>;

#[derive(Default)]
pub struct Figures {
    pub files_found: AtomicU64,
    pub files_done: AtomicU64,
    /// Directories that were found and not listed yet; while there are any, totals still grow.
    pub unlisted: AtomicU64,
    pub bytes_found: AtomicU64,
    pub bytes_done: AtomicU64,
    pub bytes_sent: AtomicU64,
    /// Known to be equal from an earlier resync that was cut; part of `bytes_done`.
    pub bytes_skipped: AtomicU64,
    /// Holes here, of which nothing was read; part of `bytes_done`.
    pub bytes_holes: AtomicU64,
}

pub struct Source {
    pub session: u64,
    /// Only what may differ is looked at (`resync_doubt`).
    pub agreed: Option<Agreed>,
    /// What is to be compared of files of which not all is in doubt, by handle.
    pub ranges: Mutex<HashMap<Identity, Ranges>>,
    /// Files with several names, if only a part is looked at.
    pub links: Links,
    /// What is touched from then on is not in `ranges`.
    pub planned_at: OnceLock<Since>,
    cancelled: AtomicBool,
    pub queue: Mutex<Queue>,
    pub changed: Condvar,
    pub figures: Figures,
    pub begun: Instant,
    pub pace: Mutex<Pace>,
    /// A checkpoint is in the stream (`resume`).
    pub checkpoint_out: AtomicBool,
    /// Bytes on the link before it began.
    sent_before: AtomicU64,
    /// Bytes that are in the stream and not yet with the secondary.
    under_way: Mutex<u64>,
    less_under_way: Condvar,
}

/// How fast it goes, and may go.
pub struct Pace {
    pub bucket: Bucket,
    yielding: Yielding,
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
    /// `agreed`: only what is in doubt is to be looked at.
    pub fn new(
        trees: &[Arc<Tree>], session: u64, limit_bytes_per_s: Option<u64>, agreed: Option<Agreed>,
    ) -> Arc<Source> {
        let source = Arc::new(Source {
            session,
            agreed,
            ranges: Mutex::new(HashMap::new()),
            links: Links::default(),
            planned_at: OnceLock::new(),
            cancelled: AtomicBool::new(false),
            queue: Mutex::new(Queue::default()),
            changed: Condvar::new(),
            figures: Figures::default(),
            begun: Instant::now(),
            pace: Mutex::new(Pace {
                bucket: Bucket::new(limit_bytes_per_s),
                yielding: Yielding::default(),
                looked_at: Meter::default(),
                sent: Meter::default(),
            }),
            checkpoint_out: AtomicBool::new(false),
            sent_before: AtomicU64::new(0),
            under_way: Mutex::new(0),
            less_under_way: Condvar::new(),
        });
        for tree in trees.iter().rev().filter(|_| !source.only_doubt()) {
            if let Ok(root) = tree.inode(mirror_core::units::ROOT_INODE) {
                source.add(root.id, root.kind);
            }
        }
        source
    }

    /// What of a file is to be compared, in order and apart from each other. Asked under its order
    /// lock as its copy begins: what was touched before, and so not sent, is in it.
    pub fn planned(&self, dirty: &DirtyMap, inode: &Inode, size: u64) -> Ranges {
        let (id, whole) = (inode.handle.identity_in(inode.id.tree()), [(0, size)]);
        let Some(mut ranges) = self.ranges.lock().get(&id).cloned() else { return whole.into() };
        let since = self.planned_at.get().and_then(|at| dirty.doubtful_zones(*at, &id));
        let Some(touched) = since else { return whole.into() };
        ranges.extend(touched.into_iter().map(bytes_of));
        in_both(&ranges, &whole)
    }

    pub fn only_doubt(&self) -> bool {
        self.agreed.is_some()
    }

    /// What it took, for the status. `sent`: bytes on the link so far.
    pub fn told(&self, sent: u64) -> serde_json::Value {
        let figures = &self.figures;
        let unread = [&figures.bytes_skipped, &figures.bytes_holes];
        let unread: u64 = unread.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum();
        let looked_at = figures.bytes_done.load(Ordering::Relaxed).saturating_sub(unread);
        serde_json::json!({
            "only_doubt": self.only_doubt(),
            "files": figures.files_done.load(Ordering::Relaxed),
            "bytes_looked_at": looked_at,
            "bytes_sent": figures.bytes_sent.load(Ordering::Relaxed),
            "wire_bytes": sent - self.sent_before.load(Ordering::Relaxed),
            "seconds": self.begun.elapsed().as_secs_f64(),
        })
    }

    pub fn start(self: &Arc<Self>, engine: Arc<Engine>) {
        self.sent_before.store(engine.outbox.sent(), Ordering::Relaxed);
        resync::start(&engine, self);
    }

    /// True: it was cancelled before.
    pub fn cancel(&self) -> bool {
        let before = self.cancelled.swap(true, Ordering::AcqRel);
        self.changed.notify_all();
        self.less_under_way.notify_all();
        before
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    pub fn is_over(&self) -> bool {
        self.is_cancelled() || self.queue.lock().is_ended()
    }

    /// A file to be begun, which the table has until the resync is over.
    pub fn add(&self, id: FileId, kind: FileKind) {
        self.figures.files_found.fetch_add(1, Ordering::Relaxed);
        if kind == FileKind::Directory {
            self.figures.unlisted.fetch_add(1, Ordering::Relaxed);
            self.queue.lock().add_directory(id);
        } else {
            self.queue.lock().add_file(id);
        }
        self.changed.notify_all();
    }

    pub fn answered(&self, id: FileId, offset: u64, length: u32, sum: u128, holes_only: bool) {
        let answer = Answered { id, offset, length, checksum: sum, holes_only };
        self.queue.lock().add_answer(answer);
        self.changed.notify_all();
    }

    pub fn file_done(&self) {
        self.figures.files_done.fetch_add(1, Ordering::Relaxed);
    }

    /// Before anything is done: waits while the application has its time.
    pub fn give_way(&self) {
        while !self.is_cancelled() {
            let may = self.pace.lock().yielding.may_work(self.begun.elapsed());
            match may {
                Ok(()) => return,
                Err(wait) => std::thread::sleep(wait.min(LOOK_UP_EVERY)),
            }
        }
    }

    /// Before something is sent: gives way, waits as long as it takes to keep to the permitted
    /// bandwidth, and until enough of what was sent has arrived, so that the application's changes
    /// do not queue behind much. Holds no lock, and looks up often: limits may change, the resync
    /// may be cancelled.
    pub fn keep_pace(&self) {
        while !self.is_cancelled() {
            self.give_way();
            let (ready, under_way_max) = {
                let mut pace = self.pace.lock();
                let beside = pace.yielding.gives_way();
                let ready = pace.bucket.ready(self.begun.elapsed());
                (ready, if beside { UNDER_WAY_BESIDE_MAX } else { UNDER_WAY_MAX })
            };
            if let Err(wait) = ready {
                std::thread::sleep(wait.min(LOOK_UP_EVERY));
                continue;
            }
            let mut under_way = self.under_way.lock();
            if *under_way < under_way_max {
                return;
            }
            self.less_under_way.wait_for(&mut under_way, LOOK_UP_EVERY);
        }
    }

    /// How many checksums may be asked for at a time.
    pub fn asked_max(&self) -> usize {
        let gives_way = self.pace.lock().yielding.gives_way();
        match gives_way {
            true => ASKED_BESIDE_MAX,
            false => ASKED_MAX,
        }
    }

    /// A change of the application was answered, and took so long.
    pub fn answered_change(&self, kind: Kind, took: Duration) {
        self.pace.lock().yielding.answered(self.begun.elapsed(), kind, took);
    }

    /// The part of the time in which it works, for the application's sake.
    pub fn share(&self) -> f64 {
        self.pace.lock().yielding.share()
    }

    /// This much is being put into the stream.
    pub fn sent(&self, bytes: u64) {
        self.figures.bytes_sent.fetch_add(bytes, Ordering::Relaxed);
        self.pace.lock().bucket.charge(bytes);
        *self.under_way.lock() += bytes;
    }

    /// The secondary has it.
    pub fn arrived(&self, bytes: u64) {
        *self.under_way.lock() -= bytes;
        self.less_under_way.notify_one();
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

/// The bytes of a run of zones, both included.
pub fn bytes_of((first, last): (u32, u32)) -> (u64, u64) {
    let end = match last {
        u32::MAX => u64::MAX,
        last => (u64::from(last) + 1) * ZONE_BYTES,
    };
    (u64::from(first) * ZONE_BYTES, end)
}

/// What is in both. The first may overlap itself; the second is in order.
pub fn in_both(one: &[(u64, u64)], other: &[(u64, u64)]) -> Ranges {
    let mut pieces: Ranges = Vec::new();
    for (start, end) in one {
        let cut = |(from, to): &(u64, u64)| (*from.max(start), *to.min(end));
        pieces.extend(other.iter().map(cut).filter(|(from, to)| from < to));
    }
    pieces.sort_unstable();
    let mut both: Ranges = Vec::new();
    for (start, end) in pieces {
        match both.last_mut() {
            Some((_, before)) if start <= *before => *before = end.max(*before),
            _ => both.push((start, end)),
        }
    }
    both
}

impl Engine {
    /// While a resync runs: it is to know what the application feels of it.
    pub(crate) fn timed(&self, begun: Instant, change: &Change<'_>, answer: Answer) -> Answer {
        let Some(source) = self.source.lock().clone() else { return answer };
        let kind = match change {
            Change::Sync { .. } => Kind::Sync,
            Change::Write { sync, .. } if *sync != Durable::No => Kind::Sync,
            _ => Kind::Other,
        };
        Box::new(move |outcome| {
            answer(outcome);
            source.answered_change(kind, begun.elapsed());
        })
    }
}
