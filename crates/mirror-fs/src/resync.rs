//! The threads that run a resync on the primary.
//!
//! The application goes on writing. Everything rides in the one ordered stream, and a directory or
//! a piece of a file is read and put into the stream under its file's order lock; what the
//! application changes before a file's copy begins is carried by the copy, what it changes after
//! that is sent as a change (`progress`). Contents are compared by checksum (`comparing`). Several
//! threads do that side by side; whoever finds that nothing is left ends the resync.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{sync_channel, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mirror_core::message::{FileKind, Operation};
use mirror_core::units::FileId;

use crate::answer::Reply;
use crate::engine::Engine;
use crate::mode::Mode;
use crate::primary::spawn;
use crate::progress::Progress;
use crate::queue::{Compared, Next, Range, Work, ZONE_BYTES};
use crate::source::{in_both, Source};
use crate::tree::{Inode, Tree};
use crate::zone::metadata_of;

/// More would only wait for each other at the stream.
const THREADS: std::ops::RangeInclusive<usize> = 2..=4;
const LOOK_UP_EVERY: Duration = Duration::from_millis(200);
/// So many operations may be in the stream and not yet answered.
const UNANSWERED_MAX: usize = 4096;
const ANSWERS_COME_WITHIN: Duration = Duration::from_millis(2);
/// So much work is done again after a cut.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(1500);

/// The session this resync belongs to is over.
pub struct Over;

/// One of the threads that run a resync.
pub struct Run<'a> {
    pub(crate) engine: &'a Arc<Engine>,
    pub(crate) source: &'a Arc<Source>,
}

/// Begins the resync on threads of its own.
pub fn start(engine: &Arc<Engine>, source: &Arc<Source>) {
    let (begun_engine, begun_source) = (engine.clone(), source.clone());
    spawn("resync", move || {
        let (engine, source) = (&begun_engine, &begun_source);
        match source.only_doubt() && (Run { engine, source }).begin_doubt().is_err() {
            true => cut_short(source),
            false => work(engine, source),
        }
    });
    let (engine, source) = (Arc::downgrade(engine), source.clone());
    spawn("progress", move || {
        let mut checkpointed = Instant::now();
        while !source.is_over() {
            std::thread::sleep(LOOK_UP_EVERY);
            source.note_pace();
            let Some(engine) = engine.upgrade() else { return };
            engine.touch();
            if checkpointed.elapsed() > CHECKPOINT_EVERY {
                checkpointed = Instant::now();
                engine.checkpoint(&source);
            }
        }
    });
}

fn cut_short(source: &Source) {
    if !source.cancel() {
        tracing::info!("the resync was cut short");
    }
}

fn work(engine: &Arc<Engine>, source: &Arc<Source>) {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    for _ in 0..processors.clamp(*THREADS.start(), *THREADS.end()) {
        let (engine, source) = (engine.clone(), source.clone());
        spawn("resync", move || {
            if (Run { engine: &engine, source: &source }).run().is_err() {
                cut_short(&source);
            }
        });
    }
}

impl Run<'_> {
    fn run(&self) -> Result<(), Over> {
        loop {
            self.source.give_way();
            self.wait_for_answers();
            let asked_max = self.source.asked_max();
            let next = {
                let mut queue = self.source.queue.lock();
                if self.source.is_cancelled() {
                    return Err(Over);
                }
                let next = queue.next(asked_max);
                if matches!(next, Next::Later) {
                    self.source.changed.wait_for(&mut queue, LOOK_UP_EVERY);
                }
                next
            };
            match next {
                Next::Later => {}
                Next::Ended => return Ok(()),
                Next::Work(work) => {
                    let done = self.perform(work);
                    self.source.queue.lock().done();
                    self.source.changed.notify_all();
                    done?;
                }
            }
        }
    }

    /// Names and attributes are small and many, and each is remembered until it is answered.
    fn wait_for_answers(&self) {
        let outbox = &self.engine.outbox;
        while outbox.waiting() > UNANSWERED_MAX && !outbox.is_lost() && !self.source.is_cancelled()
        {
            std::thread::sleep(ANSWERS_COME_WITHIN);
        }
    }

    fn perform(&self, work: Work) -> Result<(), Over> {
        match work {
            Work::Ask(file, offset, length) => self.ask(&file, offset, length),
            Work::Compare(file, zone, answer) => {
                let done = self.compare(&file, zone, &answer);
                let (tree, inode) = (file.tree.clone(), file.inode.clone());
                drop(file);
                tree.rest(inode);
                done
            }
            Work::List(id) => {
                let listed = self.begin(id);
                self.source.figures.unlisted.fetch_sub(1, Ordering::Relaxed);
                listed
            }
            Work::Begin(id) => self.begin(id),
            Work::End => {
                if self.end()? {
                    self.source.queue.lock().end();
                }
                Ok(())
            }
        }
    }

    fn begin(&self, id: FileId) -> Result<(), Over> {
        let Some(tree) = self.engine.trees.get(id.tree() as usize) else { return Ok(()) };
        let Ok(inode) = tree.inode(id.inode()) else { return Ok(()) };
        let done = self.begin_inode(tree, &inode);
        tree.rest(inode);
        done
    }

    fn begin_inode(&self, tree: &Arc<Tree>, inode: &Arc<Inode>) -> Result<(), Over> {
        let begun = match inode.kind {
            FileKind::Directory => self.directory(tree, inode),
            FileKind::Regular => self.begin_file(tree, inode),
            _ => self.attributes_only(tree, inode),
        };
        match begun {
            Ok(done) => done?,
            // It was removed meanwhile: the stream has told so, or will.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ESTALE | libc::ENOENT)) => {
                tracing::info!(id = ?inode.id, places = ?inode.places.lock(), "gone: {e}");
            }
            Err(e) => return Err(self.cannot_read(inode, &e)),
        }
        Ok(())
    }

    /// This node's disk cannot give what the copy needs: rather none than one that lacks it. The
    /// session ends, and the next resync begins after a moment.
    pub(crate) fn failed(&self, text: &str) -> Over {
        self.engine.note_failed("io_error", text);
        self.engine.facts.lock().resync_failed = Some(Instant::now());
        self.engine.outbox.lost();
        Over
    }

    pub(crate) fn cannot_read(&self, inode: &Inode, error: &io::Error) -> Over {
        self.failed(&format!("a file could not be read for the resync: {:?}: {error}", inode.id))
    }

    pub(crate) fn current(&self, mode: &Mode) -> Result<(), Over> {
        if mode.session == self.source.session {
            Ok(())
        } else {
            Err(Over)
        }
    }

    pub(crate) fn put(&self, operation: &Operation<'_>) {
        self.engine.outbox.put(operation, None);
    }

    fn begin_file(&self, tree: &Arc<Tree>, inode: &Arc<Inode>) -> io::Result<Result<(), Over>> {
        let mode = self.engine.mode.read();
        if self.current(&mode).is_err() {
            return Ok(Err(Over));
        }
        let mut mark = inode.order.lock();
        // Not bound: the number was told of another file, which is gone.
        if mark.progress(mode.session) != Progress::Untouched || !inode.bound(mode.session) {
            return Ok(Ok(()));
        }
        let fd = tree.open_file(inode, libc::O_RDONLY | libc::O_NOATIME)?;
        let size = crate::tree::size_of(fd.as_fd())?;
        self.put(&Operation::FileBegin { id: inode.id, size });
        let one_name = crate::calls::fstat(&fd)?.st_nlink == 1;
        let planned = self.source.planned(&self.engine.dirty, inode, size);
        let doubtful = match one_name {
            true => in_both(&planned, &self.doubtful(inode, size)),
            false => planned,
        };
        let left: u64 = doubtful.iter().map(|(start, end)| end - start).sum();
        self.source.figures.bytes_done.fetch_add(size - left, Ordering::Relaxed);
        self.source.figures.bytes_skipped.fetch_add(size - left, Ordering::Relaxed);
        if left == 0 {
            let metadata = metadata_of(fd.as_fd())?;
            self.put_metadata(inode.id, metadata);
            mark.set(mode.session, Progress::Done);
            self.source.file_done();
            return Ok(Ok(()));
        }
        mark.set(mode.session, Progress::Copying { layout: 0, moved: 0 });
        let (tree, inode) = (tree.clone(), inode.clone());
        let id = inode.id;
        let file = Arc::new(Compared { tree, inode, fd, size, one_name });
        let ranges = doubtful.into_iter().map(|(next, end)| Range { next, end, step: ZONE_BYTES });
        // Its number is free for another file only when the last descriptor of this one is closed.
        let fresh = self.source.queue.lock().activate(file, ranges.collect(), 0);
        debug_assert!(fresh, "file {id:?} is being compared already");
        Ok(Ok(()))
    }

    /// What of a file is still to be compared.
    fn doubtful(&self, inode: &Inode, size: u64) -> Vec<(u64, u64)> {
        let memory = self.engine.resumption.memory.lock();
        memory.doubtful(inode.id, inode.handle.generation(), size)
    }

    fn all_links_told(&self) -> Result<(), Over> {
        let names = |id: FileId| {
            let tree = &self.engine.trees[usize::from(id.tree())];
            let inode = tree.inode(id.inode());
            inode.and_then(|inode| tree.stat(&inode)).map_or(0, |stat| stat.st_nlink)
        };
        let Some(id) = self.source.links.split(names) else { return Ok(()) };
        Err(self.begin_again(&format!("not all names of file {id:?} are known")))
    }

    /// With a comparison of everything.
    pub(crate) fn begin_again(&self, why: &str) -> Over {
        if let Err(error) = self.engine.dirty.distrust(why) {
            return self.failed(&format!("the dirty map cannot be removed: {error}"));
        }
        self.engine.outbox.lost();
        Over
    }

    /// Everything has been compared: the secondary's copy is whole once it has heard that.
    fn end(&self) -> Result<bool, Over> {
        let since = self.engine.dirty.now();
        if !self.source.queue.lock().only_the_end_is_left() {
            return Ok(false);
        }
        // What was written before the session is to be on this disk, too: only what was touched
        // since is in doubt when the copies are equal.
        if self.engine.dirty.is_used() {
            self.engine.sync_trees().map_err(|e| self.failed(&format!("the disk failed: {e}")))?;
        }
        let (told, done) = sync_channel(1);
        {
            let mut mode = self.engine.mode.write();
            self.current(&mode)?;
            // No change is under way now. What one added to the queue, also during that sync, is to
            // be compared first: it waits there, or another thread has it.
            if !self.source.queue.lock().only_the_end_is_left() {
                return Ok(false);
            }
            self.all_links_told()?;
            // From the moment it adopts this generation the secondary may take over: so this node
            // must not believe, after a crash, that only it can have the newest data.
            self.engine.record(|g| g.sole = false).map_err(|text| self.failed(&text))?;
            self.unbind_unused(&mode);
            let generation = self.engine.generation();
            let (current, history) = (generation.current, generation.history.clone());
            let wake = Reply::Wake(Box::new(move || {
                let _ = told.send(());
            }));
            let end = Operation::ResyncEnd { generation: current, history };
            self.engine.outbox.put(&end, Some(wake));
            (mode.full, mode.partial) = (true, false);
        }
        loop {
            match done.recv_timeout(LOOK_UP_EVERY) {
                Ok(()) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.current(&self.engine.mode.read())?;
                }
                Err(RecvTimeoutError::Disconnected) => return Err(Over),
            }
        }
        let mode = self.engine.mode.read();
        self.current(&mode)?;
        self.engine.record(|g| *g = g.shared()).map_err(|text| self.failed(&text))?;
        let base = self.engine.generation().base;
        let rebased = self.engine.dirty.rebase(since, base, &self.engine.outbox);
        rebased.map_err(|e| self.failed(&e.to_string()))?;
        for tree in &self.engine.trees {
            tree.end_resync();
        }
        // All while the mode is held: a session that follows begins with its own.
        let mut facts = self.engine.facts.lock();
        facts.peer_up_to_date = facts.link_up;
        facts.last_resync = self.source.told(self.engine.outbox.sent());
        drop(facts);
        *self.engine.source.lock() = None;
        self.engine.asked.ended(self.source.session);
        self.engine.resumption.end();
        drop(mode);
        self.engine.touch();
        let seconds = self.source.begun.elapsed().as_secs_f64();
        let sent = self.source.figures.bytes_sent.load(Ordering::Relaxed);
        tracing::info!(
            seconds,
            bytes_sent = sent,
            "the resync has ended: the secondary is up to date"
        );
        Ok(true)
    }
}
