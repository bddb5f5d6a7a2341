//! The thread that runs a resync on the primary.
//!
//! The application goes on writing. Everything rides in the one ordered stream, and a directory or
//! zone is read and put into the stream under its file's order lock; what the application changes
//! before that moment is carried by the copy, what it changes after it is sent as a change
//! (`progress`). Contents are compared by checksum, zone by zone: the secondary is asked ahead, so
//! that its disk is busy while this one is read.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{sync_channel, RecvTimeoutError};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mirror_core::message::{FileKind, Operation, ZoneData};
use mirror_core::units::FileId;

use crate::answer::Reply;
use crate::engine::Engine;
use crate::mode::Mode;
use crate::outbox::read_fully;
use crate::progress::Progress;
use crate::source::{Answered, Source};
use crate::tree::{Inode, Tree};
use crate::zone::{checksum, metadata_of, only_hole};

const ZONE_BYTES: u64 = 1 << 20;
/// Checksums asked for and not yet answered.
const ASKED_MAX: usize = 64;
const LOOK_UP_EVERY: Duration = Duration::from_millis(200);

struct Active {
    tree: Arc<Tree>,
    inode: Arc<Inode>,
    fd: OwnedFd,
    asked_up_to: u64,
    ask_up_to: u64,
}

/// The session this resync belongs to is over.
pub struct Over;

/// The state of the one thread that runs a resync.
pub struct Run<'a> {
    pub(crate) engine: &'a Arc<Engine>,
    pub(crate) source: &'a Arc<Source>,
    active: HashMap<FileId, Active>,
    asking: VecDeque<FileId>,
    asked: usize,
    noticed: Instant,
}

impl<'a> Run<'a> {
    pub fn new(engine: &'a Arc<Engine>, source: &'a Arc<Source>) -> Self {
        Run {
            engine,
            source,
            active: HashMap::new(),
            asking: VecDeque::new(),
            asked: 0,
            noticed: Instant::now(),
        }
    }

    pub fn run(&mut self) -> Result<(), Over> {
        loop {
            if self.source.cancelled.load(Ordering::Acquire) {
                return Err(Over);
            }
            if self.noticed.elapsed() > LOOK_UP_EVERY {
                self.noticed = Instant::now();
                self.source.note_pace();
                self.engine.touch();
            }
            let answer = self.source.queue.lock().answers.pop_front();
            if let Some(answer) = answer {
                self.source.keep_pace();
                self.asked = self.asked.saturating_sub(1);
                self.compare(answer)?;
                continue;
            }
            if self.asked < ASKED_MAX && self.take_next()? {
                continue;
            }
            let mut queue = self.source.queue.lock();
            let idle = self.asked == 0 && self.active.is_empty() && self.asking.is_empty();
            if idle && queue.todo.is_empty() && queue.answers.is_empty() {
                drop(queue);
                if self.end()? {
                    return Ok(());
                }
            } else if queue.answers.is_empty() && (queue.todo.is_empty() || self.asked > 0) {
                self.source.changed.wait_for(&mut queue, LOOK_UP_EVERY);
            }
        }
    }

    /// Asks for one more checksum, or begins with one more file. False: nothing to begin.
    fn take_next(&mut self) -> Result<bool, Over> {
        if let Some(id) = self.asking.front().copied() {
            if self.ask(id)? {
                return Ok(true);
            }
            self.asking.pop_front();
            return Ok(true);
        }
        let next = self.source.queue.lock().todo.pop();
        let Some((tree, inode)) = next else { return Ok(false) };
        let begun = match inode.kind {
            FileKind::Directory => {
                let listed = self.directory(&tree, &inode);
                self.source.figures.unlisted.fetch_sub(1, Ordering::Relaxed);
                listed
            }
            FileKind::Regular => self.begin_file(&tree, &inode),
            _ => self.attributes_only(&tree, &inode),
        };
        match begun {
            Ok(done) => done?,
            // It was removed meanwhile: the stream has told so, or will.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ESTALE | libc::ENOENT)) => {
                tracing::info!(id = ?inode.id, places = ?inode.places.lock(), "gone: {e}");
            }
            Err(e) => self.engine.note_failed("io_error", &format!("resync: {:?}: {e}", inode.id)),
        }
        Ok(true)
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

    fn begin_file(&mut self, tree: &Arc<Tree>, inode: &Arc<Inode>) -> io::Result<Result<(), Over>> {
        let mode = self.engine.mode.read();
        if self.current(&mode).is_err() {
            return Ok(Err(Over));
        }
        let mut mark = inode.order.lock();
        if mark.progress(mode.session) != Progress::Untouched {
            return Ok(Ok(()));
        }
        let fd = tree.open_file(inode, libc::O_RDONLY | libc::O_NOATIME)?;
        let size = crate::tree::size_of(fd.as_fd())?;
        self.put(&Operation::FileBegin { id: inode.id, size });
        if size == 0 {
            let metadata = metadata_of(fd.as_fd())?;
            self.put_metadata(inode.id, metadata);
            mark.set(mode.session, Progress::Done);
            self.source.file_done();
            return Ok(Ok(()));
        }
        // Answers that are under way for an older file of this number are not about this one.
        let trust = !self.active.contains_key(&inode.id);
        mark.set(mode.session, Progress::Copying { cursor: 0, trust });
        drop(mark);
        drop(mode);
        let (tree, inode) = (tree.clone(), inode.clone());
        let id = inode.id;
        let active = Active { tree, inode, fd, asked_up_to: 0, ask_up_to: size };
        self.active.insert(id, active);
        self.asking.push_back(id);
        Ok(Ok(()))
    }

    /// Asks for the checksum of the file's next zone. False: all of it has been asked for.
    fn ask(&mut self, id: FileId) -> Result<bool, Over> {
        let Some(active) = self.active.get_mut(&id) else { return Ok(false) };
        let offset = active.asked_up_to;
        let length = ZONE_BYTES.min(active.ask_up_to.saturating_sub(offset)) as u32;
        if length == 0 {
            return Ok(false);
        }
        active.asked_up_to = offset + u64::from(length);
        let mode = self.engine.mode.read();
        self.current(&mode)?;
        self.put(&Operation::AskChecksum { id, offset, length });
        self.asked += 1;
        Ok(true)
    }

    /// The secondary's checksum of a zone has come: send the zone if it differs, and go on.
    fn compare(&mut self, answer: Answered) -> Result<(), Over> {
        let Some(active) = self.active.get(&answer.id) else { return Ok(()) };
        let (tree, inode) = (active.tree.clone(), active.inode.clone());
        let mode = self.engine.mode.read();
        self.current(&mode)?;
        let mut mark = inode.order.lock();
        let Progress::Copying { cursor, trust } = mark.progress(mode.session) else {
            return Ok(());
        };
        let end = answer.offset + u64::from(answer.length);
        if answer.offset <= cursor && end > cursor {
            if let Err(e) = self.send_zone(active, &answer, trust) {
                self.engine.note_failed("io_error", &format!("resync: {:?}: {e}", inode.id));
                return Ok(());
            }
            mark.set(mode.session, Progress::Copying { cursor: end, trust });
        }
        let Some(active) = self.active.get_mut(&answer.id) else { return Ok(()) };
        let size = crate::tree::size_of(active.fd.as_fd()).unwrap_or(0);
        let Progress::Copying { cursor, .. } = mark.progress(mode.session) else { return Ok(()) };
        if cursor >= size {
            if let Ok(metadata) = metadata_of(active.fd.as_fd()) {
                self.put_metadata(inode.id, metadata);
            }
            mark.set(mode.session, Progress::Done);
            self.active.remove(&answer.id);
            self.source.file_done();
        } else if end >= active.asked_up_to.min(active.ask_up_to) {
            // It grew, or was moved within itself: ask on from the cursor.
            active.ask_up_to = size;
            active.asked_up_to = cursor;
            self.asking.push_back(answer.id);
        }
        drop(mark);
        drop(mode);
        drop(tree);
        Ok(())
    }

    fn send_zone(&self, active: &Active, answer: &Answered, trust: bool) -> io::Result<()> {
        let (id, offset) = (answer.id, answer.offset);
        let figures = &self.source.figures;
        figures.bytes_done.fetch_add(u64::from(answer.length), Ordering::Relaxed);
        let hole = only_hole(active.fd.as_fd(), offset, u64::from(answer.length));
        if hole {
            if !(trust && answer.holes_only) {
                let data = ZoneData::Hole(u64::from(answer.length));
                self.put(&Operation::Zone { id, offset, data });
            }
            return Ok(());
        }
        let mut zone = vec![0; answer.length as usize];
        let got = read_fully(active.fd.as_fd(), offset, &mut zone)?;
        let same = trust && !answer.holes_only && checksum(&zone[..got]) == answer.checksum;
        if !same && got > 0 {
            self.put(&Operation::Zone { id, offset, data: ZoneData::Bytes(&zone[..got]) });
            self.source.sent(got as u64);
        }
        Ok(())
    }

    /// Everything has been compared: the secondary's copy is whole once it has heard that.
    fn end(&mut self) -> Result<bool, Over> {
        let (told, done) = sync_channel(1);
        {
            let mut mode = self.engine.mode.write();
            self.current(&mode)?;
            // No change is under way now; what it added to the queue is there to be seen.
            if !self.source.queue.lock().todo.is_empty() {
                return Ok(false);
            }
            // From the moment it adopts this generation the secondary may take over: so this node
            // must not believe, after a crash, that only it can have the newest data.
            if let Err(text) = self.engine.record(|g| g.sole = false) {
                self.engine.note_failed("io_error", &text);
                return Err(Over);
            }
            self.unbind_unused(&mode);
            let generation = self.engine.generation();
            let (current, history) = (generation.current, generation.history.clone());
            let wake = Reply::Wake(Box::new(move || {
                let _ = told.send(());
            }));
            let end = Operation::ResyncEnd { generation: current, history };
            self.engine.outbox.put(&end, Some(wake));
            mode.full = true;
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
        if let Err(text) = self.engine.record(|g| *g = g.shared()) {
            self.engine.note_failed("io_error", &text);
            return Err(Over);
        }
        for tree in &self.engine.trees {
            tree.set_keep_all(false);
        }
        drop(mode);
        self.engine.facts.lock().peer_up_to_date = true;
        *self.engine.source.lock() = None;
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
