//! What a resync has still to do, shared by the threads that do it.
//!
//! Work comes in this order: a checksum that was answered, the next checksum to ask for, a
//! directory to list, a file to begin. Directories go first, so that the amount of work is known
//! early, but only while few files wait: the memory for those is bounded. Everything here is
//! bookkeeping under one short lock, which is a leaf: no other lock is taken and no system call
//! made under it.
//!
//! A file is *active* from its beginning to its end. It has ranges that are still to be asked for,
//! zones that were asked for, and zones that a thread compares; when it has none of these it is
//! finished by the thread that took the last.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use mirror_core::units::FileId;
use mirror_core::wire::MAX_HOLE_BYTES;

use crate::tree::{Inode, Tree};

pub const ZONE_BYTES: u64 = 1 << 20;
/// A hole is asked about in one question up to this length.
pub const HOLE_BYTES: u64 = MAX_HOLE_BYTES as u64;
/// Above this many files that wait, no further directory is listed.
const WAITING_FILES_MAX: usize = 50_000;

/// The secondary's checksum of one zone.
pub struct Answered {
    pub id: FileId,
    pub offset: u64,
    pub length: u32,
    pub checksum: u128,
    pub holes_only: bool,
}

/// A file whose contents are being compared.
pub struct Compared {
    pub tree: Arc<Tree>,
    pub inode: Arc<Inode>,
    pub fd: OwnedFd,
    /// As its copy began.
    pub size: u64,
    /// It has one name: what is done of it may be remembered (`resume`).
    pub one_name: bool,
}

/// What a zone's checksum was asked for under.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Zone {
    pub offset: u64,
    pub length: u32,
    /// See `progress`: the answer is believed when these are still the file's.
    pub layout: u32,
    pub moved: u32,
}

impl Zone {
    /// Longer than what is compared by checksum: it is only asked whether it is a hole.
    pub fn is_long(&self) -> bool {
        u64::from(self.length) > ZONE_BYTES
    }
}

/// A range to be asked for, in zones of `step` bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    pub next: u64,
    pub end: u64,
    pub step: u64,
}

struct Active {
    file: Arc<Compared>,
    ranges: VecDeque<Range>,
    asked: Vec<Zone>,
    /// Zones that a thread is asking for or comparing.
    held: usize,
    /// `Progress::Copying::moved` as the file was begun.
    moved: u32,
}

impl Active {
    fn is_through(&self) -> bool {
        self.ranges.is_empty() && self.asked.is_empty() && self.held == 0
    }
}

/// One piece of work. Whoever takes one gives it back with `Queue::done` or what its comment says.
pub enum Work {
    /// Then `asked`.
    Ask(Arc<Compared>, u64, u32),
    /// Then `compared`.
    Compare(Arc<Compared>, Zone, Answered),
    /// A directory, whose number may mean another file by now.
    List(FileId),
    /// As `List`, of anything else.
    Begin(FileId),
    /// Nothing is left: the caller is the only one who has work, and ends the resync, unless
    /// something comes before (`Queue::only_the_end_is_left`).
    End,
}

pub enum Next {
    Work(Work),
    /// Others work; there may be something later.
    Later,
    Ended,
}

#[derive(Default)]
pub struct Queue {
    directories: Vec<FileId>,
    files: Vec<FileId>,
    answers: VecDeque<Answered>,
    active: HashMap<FileId, Active>,
    asking: VecDeque<FileId>,
    asked: usize,
    busy: usize,
    ended: bool,
}

impl Queue {
    pub fn add_directory(&mut self, id: FileId) {
        self.directories.push(id);
    }

    pub fn add_file(&mut self, id: FileId) {
        self.files.push(id);
    }

    pub fn add_answer(&mut self, answer: Answered) {
        self.answers.push_back(answer);
    }

    /// Nothing waits to be begun.
    fn is_drained(&self) -> bool {
        self.directories.is_empty() && self.files.is_empty()
    }

    /// Asked by the thread that has `Work::End`: is that still all? Something may have come since,
    /// and others may have begun it.
    pub fn only_the_end_is_left(&self) -> bool {
        self.busy == 1 && self.is_through()
    }

    pub fn end(&mut self) {
        self.ended = true;
    }

    pub fn is_ended(&self) -> bool {
        self.ended
    }

    pub fn next(&mut self, asked_max: usize) -> Next {
        if self.ended {
            return Next::Ended;
        }
        match self.take(asked_max) {
            Some(work) => {
                self.busy += 1;
                Next::Work(work)
            }
            None if self.busy == 0 && self.is_through() => {
                self.busy = 1;
                Next::Work(Work::End)
            }
            None => Next::Later,
        }
    }

    fn is_through(&self) -> bool {
        self.is_drained() && self.answers.is_empty() && self.active.is_empty() && self.asked == 0
    }

    fn take(&mut self, asked_max: usize) -> Option<Work> {
        while let Some(answer) = self.answers.pop_front() {
            self.asked = self.asked.saturating_sub(1);
            if let Some(work) = self.answered(answer) {
                return Some(work);
            }
        }
        if self.asked >= asked_max {
            return None;
        }
        while let Some(id) = self.asking.front().copied() {
            if let Some(work) = self.ask_next(id) {
                return Some(work);
            }
            self.asking.pop_front();
        }
        let directories_first = self.files.len() < WAITING_FILES_MAX;
        match directories_first {
            true => self.list_next().or_else(|| self.begin_next()),
            false => self.begin_next().or_else(|| self.list_next()),
        }
    }

    fn list_next(&mut self) -> Option<Work> {
        self.directories.pop().map(Work::List)
    }

    fn begin_next(&mut self) -> Option<Work> {
        self.files.pop().map(Work::Begin)
    }

    /// None: it is about a file that was begun anew, or that is no longer active.
    fn answered(&mut self, answer: Answered) -> Option<Work> {
        let active = self.active.get_mut(&answer.id)?;
        let same = |zone: &Zone| zone.offset == answer.offset && zone.length == answer.length;
        let zone = active.asked.remove(active.asked.iter().position(same)?);
        active.held += 1;
        Some(Work::Compare(active.file.clone(), zone, answer))
    }

    /// None: all of the file has been asked for.
    fn ask_next(&mut self, id: FileId) -> Option<Work> {
        let active = self.active.get_mut(&id)?;
        let range = active.ranges.front_mut()?;
        let offset = range.next;
        let length = range.step.min(range.end - offset);
        range.next += length;
        if range.next >= range.end {
            active.ranges.pop_front();
        }
        active.held += 1;
        self.asked += 1;
        Some(Work::Ask(active.file.clone(), offset, length as u32))
    }

    /// A zone that ends at `from` is to be asked about together with up to `more` behind it;
    /// returns how much of that nobody has taken yet.
    pub fn stretch(&mut self, id: FileId, from: u64, more: u64) -> u64 {
        let Some(active) = self.active.get_mut(&id) else { return 0 };
        let Some(range) = active.ranges.front_mut() else { return 0 };
        if range.next != from || range.step != ZONE_BYTES {
            return 0;
        }
        let taken = more.min(range.end - from);
        range.next += taken;
        if range.next >= range.end {
            active.ranges.pop_front();
        }
        taken
    }

    /// The contents of this file are to be compared in these ranges. False: it is active already.
    pub fn activate(&mut self, file: Arc<Compared>, ranges: Vec<Range>, moved: u32) -> bool {
        let id = file.inode.id;
        if self.active.contains_key(&id) {
            return false;
        }
        let ranges = ranges.into_iter().filter(|r| r.next < r.end).collect();
        self.active.insert(id, Active { file, ranges, asked: Vec::new(), held: 0, moved });
        self.asking.push_back(id);
        true
    }

    /// Before the question is put into the stream: what it was asked under.
    pub fn asked(&mut self, id: FileId, zone: Zone) {
        if let Some(active) = self.active.get_mut(&id) {
            active.held -= 1;
            active.asked.push(zone);
        }
    }

    /// A zone is equal now, or, with `finer`, is to be looked at in smaller parts. True: it was the
    /// last of its file, which the caller must finish.
    pub fn compared(&mut self, id: FileId, finer: Option<Range>) -> bool {
        let Some(active) = self.active.get_mut(&id) else { return false };
        if let Some(range) = finer {
            active.ranges.push_front(range);
            self.asking.push_front(id);
        }
        active.held -= 1;
        active.is_through()
    }

    /// The file's last zone is through: is it equal (and forgotten here), or were its data moved
    /// meanwhile, so that all of it is to be compared anew?
    pub fn finish(&mut self, id: FileId, moved: u32, size: u64) -> bool {
        let Some(active) = self.active.get_mut(&id) else { return true };
        if active.moved == moved {
            self.active.remove(&id);
            return true;
        }
        active.moved = moved;
        active.ranges.push_back(Range { next: 0, end: size, step: ZONE_BYTES });
        self.asking.push_back(id);
        false
    }

    /// The work that was taken is done, or failed.
    pub fn done(&mut self) {
        self.busy -= 1;
    }
}
