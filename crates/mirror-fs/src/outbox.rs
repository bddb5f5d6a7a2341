//! The primary's end of the stream: numbers operations, sends them, and answers the application
//! when the secondary has acknowledged.
//!
//! Three phases. *Detached*: there is no secondary, an operation is complete when it is done here.
//! *Attached*: it is complete when acknowledged. *Lost*: the connection is gone and nobody has said
//! yet how to go on; operations that were already done here wait, unanswered, in the window, and
//! new ones do not get this far (the gate parks them).
//!
//! Bulk data is not kept for a second sending: should the connection come back, the range is read
//! again. What stands there then is what a concurrent, equally unanswered write left, so the
//! secondary ends up with exactly what is here.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mirror_core::message::{Operation, ZoneData};
use mirror_core::units::{FileId, FileTime, Sequence};
use mirror_core::window::{Kind, Window};
use mirror_core::wire;
use parking_lot::Mutex;

use crate::answer::Reply;
use crate::calls;
use crate::conn::Conn;
use crate::tree::{Inode, Tree};

/// How an operation that was not acknowledged is said again.
enum Resend {
    Frame(Vec<u8>),
    Write { tree: Arc<Tree>, inode: Arc<Inode>, offset: u64, length: usize, kill_suid: bool },
}

struct Waiting {
    resend: Resend,
    reply: Option<Reply>,
}

enum Phase {
    Detached,
    Lost,
    Attached(Arc<Conn>),
}

struct Sending {
    phase: Phase,
    next: Sequence,
    frame: Vec<u8>,
}

/// What waits, and in which session: a late report of an older connection means nothing.
#[derive(Default)]
struct Book {
    session: u64,
    window: Window<Waiting>,
}

pub struct Outbox {
    sending: Mutex<Sending>,
    book: Mutex<Book>,
    pub counters: Counters,
}

#[derive(Default)]
pub struct Counters {
    pub operations_sent: std::sync::atomic::AtomicU64,
    pub bytes_sent: std::sync::atomic::AtomicU64,
}

impl Default for Outbox {
    fn default() -> Self {
        Outbox {
            sending: Mutex::new(Sending { phase: Phase::Detached, next: 1, frame: Vec::new() }),
            book: Mutex::new(Book::default()),
            counters: Counters::default(),
        }
    }
}

impl Outbox {
    /// Puts an operation that has been done here into the stream; `reply` is given when the
    /// secondary has it, or at once when there is none.
    pub fn put(&self, operation: &Operation<'_>, reply: Option<Reply>) {
        self.put_with(operation, reply, None);
    }

    /// As `put`, for a write: its data is read again from `inode` if it must be sent again.
    pub fn put_write(
        &self, operation: &Operation<'_>, reply: Option<Reply>, tree: &Arc<Tree>,
        inode: &Arc<Inode>,
    ) {
        self.put_with(operation, reply, Some((tree, inode)));
    }

    fn put_with(
        &self, operation: &Operation<'_>, reply: Option<Reply>,
        from: Option<(&Arc<Tree>, &Arc<Inode>)>,
    ) {
        let mut sending = self.sending.lock();
        if matches!(sending.phase, Phase::Detached) {
            drop(sending);
            if let Some(reply) = reply {
                reply.give();
            }
            return;
        }
        let sequence = sending.next;
        sending.next += 1;
        let mut frame = std::mem::take(&mut sending.frame);
        frame.clear();
        let data = wire::encode_operation_split(sequence, operation, &mut frame);
        let resend = match (operation, from) {
            (Operation::Write { offset, data, kill_suid, .. }, Some((tree, inode))) => {
                Resend::Write {
                    tree: tree.clone(),
                    inode: inode.clone(),
                    offset: *offset,
                    length: data.len(),
                    kill_suid: *kill_suid,
                }
            }
            // A resync is not said again: a lost link means a new one.
            (resync, _) if resync.is_resync() => Resend::Frame(Vec::new()),
            _ => Resend::Frame(frame.clone()),
        };
        let kind = match operation {
            Operation::Sync { .. } | Operation::SyncTree { .. } => Kind::Sync,
            _ => Kind::Ordered,
        };
        let bytes = frame.len() + data.map_or(0, <[u8]>::len);
        self.book.lock().window.push(sequence, kind, bytes, Waiting { resend, reply });
        self.transmit(&mut sending, &frame, data);
        sending.frame = frame;
    }

    fn transmit(&self, sending: &mut Sending, frame: &[u8], data: Option<&[u8]>) {
        use std::sync::atomic::Ordering::Relaxed;
        let Phase::Attached(conn) = &sending.phase else { return };
        let sent = match data {
            Some(data) => conn.send(&[frame, data]),
            None => conn.send(&[frame]),
        };
        let bytes = frame.len() + data.map_or(0, <[u8]>::len);
        self.counters.operations_sent.fetch_add(1, Relaxed);
        self.counters.bytes_sent.fetch_add(bytes as u64, Relaxed);
        if sent.is_err() {
            // The receiving thread will notice and tell; what is in the window stays there.
            conn.close();
            sending.phase = Phase::Lost;
        }
    }

    /// A sign of life when nothing else is to be said.
    pub fn ping(&self) {
        // Whoever holds the lock is sending, which is a sign of life too.
        let Some(mut sending) = self.sending.try_lock() else { return };
        let mut frame = std::mem::take(&mut sending.frame);
        frame.clear();
        wire::encode_operation(0, &Operation::Ping, &mut frame);
        self.transmit(&mut sending, &frame, None);
        sending.frame = frame;
    }

    /// The secondary has everything up to `sequence`. False: it cannot have.
    pub fn acknowledged(&self, session: u64, sequence: Sequence) -> bool {
        loop {
            // Replies are given outside of the lock, so that senders are not held up.
            let mut batch: [Option<Reply>; 16] = std::array::from_fn(|_| None);
            let mut count = 0;
            {
                let mut book = self.book.lock();
                if book.session != session {
                    return true;
                }
                if !book.window.is_plausible(sequence) {
                    return false;
                }
                let answered = book.window.acknowledged(sequence);
                for (slot, (_, waiting)) in batch.iter_mut().zip(answered) {
                    *slot = waiting.reply;
                    count += 1;
                }
            }
            for reply in batch.into_iter().flatten() {
                reply.give();
            }
            if count < 16 {
                return true;
            }
        }
    }

    /// The sync with this number is on the secondary's disk.
    pub fn synced(&self, session: u64, sequence: Sequence) {
        let done = {
            let mut book = self.book.lock();
            if book.session != session {
                return;
            }
            book.window.synced(sequence)
        };
        if let Some(reply) = done.and_then(|waiting| waiting.reply) {
            reply.give();
        }
    }

    /// Does a sync wait for the secondary's disk longer than can be? It may hang while the stream
    /// goes on beside it.
    pub fn sync_is_overdue(&self, asked_again: Instant, limit: Duration) -> bool {
        self.book.lock().window.syncs().any(|waiting| match &waiting.reply {
            Some(Reply::Joined(join)) => join.is_overdue(asked_again, limit),
            _ => false,
        })
    }

    /// Bytes put on the link since the start, before encryption.
    pub fn sent(&self) -> u64 {
        self.counters.bytes_sent.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Operations that wait for the secondary.
    pub fn waiting(&self) -> usize {
        self.book.lock().window.len()
    }

    /// Does anybody wait for one of them? Of what only keeps the secondary's books nobody hears.
    pub fn is_awaited(&self) -> bool {
        self.book.lock().window.iter().any(|(_, _, waiting)| waiting.reply.is_some())
    }

    /// Begins a new session over `conn`, from sequence 1. Nobody waits: the gate was closed, or
    /// there was no secondary.
    pub fn attach(&self, conn: Arc<Conn>, session: u64) {
        let mut sending = self.sending.lock();
        debug_assert!(!self.is_awaited());
        *self.book.lock() = Book { session, window: Window::default() };
        sending.next = 1;
        sending.phase = Phase::Attached(conn);
    }

    /// Goes on with the same session over a new connection.
    pub fn resume(&self, conn: Arc<Conn>, session: u64, applied: Sequence) -> io::Result<()> {
        self.acknowledged(session, applied);
        self.sending.lock().phase = Phase::Attached(conn);
        self.resend(applied)
    }

    /// Can the session go on with a secondary that has applied this much?
    pub fn can_resume(&self, applied: Sequence) -> bool {
        self.book.lock().window.is_plausible(applied)
    }

    fn resend(&self, applied: Sequence) -> io::Result<()> {
        let sending = self.sending.lock();
        let Phase::Attached(conn) = &sending.phase else { return Ok(()) };
        let book = self.book.lock();
        for (sequence, _, waiting) in book.window.unanswered(applied) {
            let (frame, data) = waiting.resend.again(sequence)?;
            conn.send(&[&frame, &data])?;
        }
        Ok(())
    }

    /// The connection is gone; what waits goes on waiting.
    pub fn lost(&self) {
        let mut sending = self.sending.lock();
        if let Phase::Attached(conn) = &sending.phase {
            conn.close();
            sending.phase = Phase::Lost;
        }
    }

    /// A newer connection has taken the place of `conn`.
    pub fn is_attached_to_other(&self, conn: &Arc<Conn>) -> bool {
        matches!(&self.sending.lock().phase, Phase::Attached(now) if !Arc::ptr_eq(now, conn))
    }

    /// Nobody hears what is put.
    pub fn is_detached(&self) -> bool {
        matches!(self.sending.lock().phase, Phase::Detached)
    }

    pub fn is_lost(&self) -> bool {
        matches!(self.sending.lock().phase, Phase::Lost)
    }

    /// As a new primary: operations are kept for the secondary that is expected.
    pub fn expect(&self) {
        let mut sending = self.sending.lock();
        sending.phase = Phase::Lost;
        sending.next = 1;
        *self.book.lock() = Book::default();
    }

    /// Goes on without a secondary; returns what waited, to be answered by the caller.
    pub fn detach(&self) -> Vec<Reply> {
        let mut sending = self.sending.lock();
        if let Phase::Attached(conn) = &sending.phase {
            conn.close();
        }
        sending.phase = Phase::Detached;
        sending.next = 1;
        let all = self.book.lock().window.take_all();
        all.into_iter().filter_map(|(_, waiting)| waiting.reply).collect()
    }

    pub fn silent_ms(&self) -> Option<u64> {
        match &self.sending.lock().phase {
            Phase::Attached(conn) => Some(conn.silent_ms()),
            _ => None,
        }
    }
}

impl Resend {
    fn again(&self, sequence: Sequence) -> io::Result<(Vec<u8>, Vec<u8>)> {
        match self {
            Resend::Frame(frame) => Ok((frame.clone(), Vec::new())),
            Resend::Write { tree, inode, offset, length, kill_suid } => {
                let file = tree.open_file(inode, libc::O_RDONLY)?;
                let mut data = vec![0; *length];
                let got = read_fully(&file, *offset, &mut data)?;
                let (id, mtime): (FileId, FileTime) = (inode.id, FileTime::default());
                let mut frame = Vec::new();
                // A range that a later truncation took away is said as it is now: shorter.
                let data_now = &data[..got];
                let operation = if got == 0 {
                    Operation::Zone { id, offset: *offset, data: ZoneData::Hole(0) }
                } else {
                    let (offset, kill_suid) = (*offset, *kill_suid);
                    Operation::Write { id, offset, mtime, kill_suid, more: false, data: data_now }
                };
                wire::encode_operation_split(sequence, &operation, &mut frame);
                data.truncate(got);
                Ok((frame, data))
            }
        }
    }
}

/// Reads until the buffer is full or the file ends.
pub fn read_fully(file: impl AsFd, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match calls::pread(&file, &mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(filled)
}
