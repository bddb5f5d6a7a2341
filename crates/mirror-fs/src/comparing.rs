//! Contents, compared by checksum and sent where they differ: what each thread of a resync does
//! with a zone.
//!
//! The secondary is asked ahead, so that its disk is busy while this one is read. Comparing holds
//! no lock; see `progress` for why that is right. A zone that differs is asked for again in small
//! parts, so that a small change costs little on the wire. A long hole is one question: whether
//! the secondary has one too; so a sparse file costs what it holds, not its size. What differs is
//! sent piece by piece, each read and put into the stream under the file's order lock, so that a
//! writer waits for one piece at most.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use mirror_core::message::{Operation, ZoneData};

use crate::answer::Reply;
use crate::looking::hole_at;
use crate::outbox::read_fully;
use crate::progress::Progress;
use crate::queue::{Answered, Compared, Range, Zone, HOLE_BYTES, ZONE_BYTES};
use crate::resync::{Over, Run};
use crate::zone::{checksum_in, metadata_of, only_hole};

/// What is sent at once.
const PIECE_BYTES: u64 = 128 << 10;
/// The parts in which a zone that differs is looked at again.
const PART_BYTES: u64 = 64 << 10;

enum Verdict {
    Equal,
    Differs,
    /// Both have data, and it is not the same: where?
    LookCloser,
}

impl Run<'_> {
    /// Asks for the checksum of a zone.
    pub(crate) fn ask(&self, file: &Arc<Compared>, offset: u64, length: u32) -> Result<(), Over> {
        let id = file.inode.id;
        let length = length + self.hole_beyond(file, offset, u64::from(length)) as u32;
        let mode = self.engine.mode.read();
        self.current(&mode)?;
        let mark = file.inode.order.lock();
        let (layout, moved) = match mark.progress(mode.session) {
            Progress::Copying { layout, moved } => (layout, moved),
            _ => (0, 0),
        };
        // Before the question is out: the answer may be here at once.
        self.source.queue.lock().asked(id, Zone { offset, length, layout, moved });
        self.put(&Operation::AskChecksum { id, offset, length });
        Ok(())
    }

    /// How much more than this zone can be asked about at once, because it begins a long hole. That
    /// it still is one is seen when the answer is there.
    fn hole_beyond(&self, file: &Arc<Compared>, offset: u64, length: u64) -> u64 {
        if length < ZONE_BYTES {
            return 0;
        }
        let hole = hole_at(file.fd.as_fd(), offset, file.size).min(HOLE_BYTES);
        let more = hole.saturating_sub(length);
        let from = offset + length;
        self.source.queue.lock().stretch(file.inode.id, from, more - more % ZONE_BYTES)
    }

    /// The secondary's checksum of a zone has come: send what differs.
    pub(crate) fn compare(
        &self, file: &Arc<Compared>, zone: Zone, answer: &Answered,
    ) -> Result<(), Over> {
        let compared = self.judge(file, zone, answer).and_then(|verdict| match verdict {
            Verdict::Equal => Ok(Ok((None, true))),
            Verdict::Differs => self.send(file, zone).map(|sent| sent.map(|all| (None, all))),
            Verdict::LookCloser => {
                let end = zone.offset + u64::from(zone.length);
                let step = if zone.is_long() { ZONE_BYTES } else { PART_BYTES };
                Ok(Ok((Some(Range { next: zone.offset, end, step }), false)))
            }
        });
        let (finer, equal) = match compared {
            Ok(compared) => compared?,
            Err(e) => return Err(self.cannot_read(&file.inode, &e)),
        };
        if finer.is_none() {
            let length = u64::from(zone.length);
            self.source.figures.bytes_done.fetch_add(length, Ordering::Relaxed);
        }
        if equal && file.one_name {
            let (id, handle) = (file.inode.id, file.inode.handle.generation());
            let end = zone.offset + u64::from(zone.length);
            let mut memory = self.engine.resumption.memory.lock();
            for offset in (zone.offset..end).step_by(ZONE_BYTES as usize) {
                memory.equal(id, handle, offset, ZONE_BYTES.min(end - offset), file.size);
            }
        }
        if self.source.queue.lock().compared(file.inode.id, finer) {
            self.finish(file)?;
        }
        Ok(())
    }

    fn judge(&self, file: &Arc<Compared>, zone: Zone, answer: &Answered) -> io::Result<Verdict> {
        let fd = file.fd.as_fd();
        let current = file.inode.order.lock().progress(self.source.session);
        if current != (Progress::Copying { layout: zone.layout, moved: zone.moved }) {
            return Ok(Verdict::Differs);
        }
        let hole = only_hole(fd, zone.offset, u64::from(zone.length));
        if zone.is_long() && !hole {
            return Ok(Verdict::LookCloser); // it was one when it was asked about
        }
        if hole && answer.holes_only {
            self.unread(u64::from(zone.length));
            return Ok(Verdict::Equal);
        }
        if hole || answer.holes_only {
            return Ok(Verdict::Differs);
        }
        let own = checksum_in(fd, zone.offset, u64::from(zone.length))?;
        Ok(match own == answer.checksum {
            true => Verdict::Equal,
            false if u64::from(zone.length) > PART_BYTES => Verdict::LookCloser,
            false => Verdict::Differs,
        })
    }

    /// False: not all of it was sent, and need not be.
    fn send(&self, file: &Arc<Compared>, zone: Zone) -> io::Result<Result<bool, Over>> {
        let (id, end) = (file.inode.id, zone.offset + u64::from(zone.length));
        let mut buffer = Vec::new();
        let mut offset = zone.offset;
        while offset < end {
            self.source.keep_pace();
            let mode = self.engine.mode.read();
            if self.current(&mode).is_err() {
                return Ok(Err(Over));
            }
            let mark = file.inode.order.lock();
            let same = matches!(mark.progress(mode.session),
                Progress::Copying { moved, .. } if moved == zone.moved);
            if !same || !file.inode.bound(mode.session) {
                // It begins anew, or its number is about to mean another file.
                return Ok(Ok(false));
            }
            let hole = hole_at(file.fd.as_fd(), offset, end);
            if hole > 0 {
                self.put(&Operation::Zone { id, offset, data: ZoneData::Hole(hole) });
                self.unread(hole);
                offset += hole;
                continue;
            }
            buffer.resize(PIECE_BYTES.min(end - offset) as usize, 0);
            let length = buffer.len() as u64;
            let got = read_fully(file.fd.as_fd(), offset, &mut buffer)?;
            if got > 0 {
                let data = ZoneData::Bytes(&buffer[..got]);
                self.put_counted(&Operation::Zone { id, offset, data }, got as u64);
            }
            offset += length;
        }
        Ok(Ok(true))
    }

    /// A hole here costs no reading, whether it was compared or sent.
    fn unread(&self, hole: u64) {
        self.source.figures.bytes_holes.fetch_add(hole, Ordering::Relaxed);
    }

    /// Puts data into the stream, and counts it as under way until the secondary has it.
    fn put_counted(&self, operation: &Operation<'_>, bytes: u64) {
        self.source.sent(bytes);
        let source = self.source.clone();
        let arrived = Reply::Wake(Box::new(move || source.arrived(bytes)));
        self.engine.outbox.put(operation, Some(arrived));
    }

    /// All zones are through: the attributes end the file, unless its data were moved meanwhile.
    fn finish(&self, file: &Arc<Compared>) -> Result<(), Over> {
        let (inode, fd) = (&file.inode, file.fd.as_fd());
        let mode = self.engine.mode.read();
        self.current(&mode)?;
        let mut mark = inode.order.lock();
        let Progress::Copying { moved, .. } = mark.progress(mode.session) else { return Ok(()) };
        let ended = crate::tree::size_of(fd).and_then(|size| Ok((size, metadata_of(fd)?)));
        match ended {
            Ok((size, metadata)) => {
                if self.source.queue.lock().finish(inode.id, moved, size) {
                    self.put_metadata(inode.id, metadata);
                    mark.set(mode.session, Progress::Done);
                    self.source.file_done();
                }
            }
            Err(e) => return Err(self.cannot_read(inode, &e)),
        }
        Ok(())
    }
}
