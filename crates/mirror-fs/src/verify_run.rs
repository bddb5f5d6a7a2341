//! The thread of a verification: walks the tree, asks, and looks twice at what differs.
//!
//! A directory is asked about in parts, names and digests together; contents of larger files in
//! zones. That is done without locks, so a difference is only a *suspect*: it is looked at again
//! with its order lock held, at one point of the stream (`verify_strict`). Suspects come first, and
//! a directory is entered when nothing is open any more: then the secondary is known to have it.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mirror_core::message::{FileKind, Operation};
use mirror_core::pace::Bucket;
use mirror_core::verify::{Seen, Verified, Verify, NAMES_MAX};
use parking_lot::Mutex;

use crate::engine::Engine;
use crate::looking::{digest, names_between};
use crate::mode::Mode;
use crate::tree::{Inode, Tree};
use crate::verify::Verification;
use crate::verify_strict::gone;
use crate::verify_zones::Large;

/// Questions without an answer yet.
const ASKED_MAX: usize = 8;
/// Contents that are read for one part of a directory.
const PART_BYTES: u64 = 4 << 20;
const LOOK_UP_EVERY: Duration = Duration::from_millis(200);

/// Why a verification ends before its end.
pub type Over = &'static str;
const LINK_LOST: Over = "the link to the secondary was lost";

/// A directory of the walk. When nobody needs it any more, its number is released.
pub(crate) struct Place {
    pub tree: Arc<Tree>,
    pub inode: Arc<Inode>,
    pub path: Vec<u8>,
    released: Arc<Mutex<Vec<(u8, u64)>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.inode.opens.fetch_sub(1, AcqRel);
        self.released.lock().push((self.tree.index, self.inode.number()));
    }
}

impl Place {
    /// The path of a name in it.
    pub fn path_of(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }
}

struct Frame {
    place: Arc<Place>,
    names: Vec<Box<[u8]>>,
    at: usize,
    asked: bool,
    directories: Vec<Box<[u8]>>,
}

/// What is to be looked at again, in the stream.
pub(crate) enum Suspect {
    Entry { place: Arc<Place>, name: Box<[u8]> },
    Itself { place: Arc<Place> },
    Zone { place: Arc<Place>, name: Box<[u8]>, offset: u64, length: u64 },
}

/// What was asked, and what it is here.
pub(crate) enum Asked {
    Names { place: Arc<Place> },
    Entry { place: Arc<Place>, name: Box<[u8]>, mine: Option<Seen> },
    Itself { place: Arc<Place>, mine: Seen },
    Zone { place: Arc<Place>, name: Box<[u8]>, range: (u64, u64), sum: u128, ordered: bool },
}

pub struct Run<'a> {
    pub(crate) engine: &'a Arc<Engine>,
    pub(crate) verification: &'a Arc<Verification>,
    frames: Vec<Frame>,
    pub(crate) large: VecDeque<Large>,
    pub(crate) suspects: Vec<Suspect>,
    pub(crate) asked: HashMap<u64, Asked>,
    next_check: u64,
    released: Arc<Mutex<Vec<(u8, u64)>>>,
    trees_left: Vec<Arc<Tree>>,
    bucket: Bucket,
    begun: Instant,
    noticed: Instant,
}

impl<'a> Run<'a> {
    pub fn new(engine: &'a Arc<Engine>, verification: &'a Arc<Verification>) -> Self {
        Run {
            engine,
            verification,
            frames: Vec::new(),
            large: VecDeque::new(),
            suspects: Vec::new(),
            asked: HashMap::new(),
            next_check: 1,
            released: Arc::default(),
            trees_left: engine.trees.iter().rev().cloned().collect(),
            bucket: Bucket::new(engine.config.verify_limit_bytes_per_s),
            begun: Instant::now(),
            noticed: Instant::now(),
        }
    }

    pub fn run(&mut self) -> Result<(), Over> {
        let walked = self.walk();
        self.frames.clear();
        self.large.clear();
        self.suspects.clear();
        self.asked.clear();
        self.release();
        if self.verification.repair {
            let mode = self.engine.mode.read();
            if self.current(&mode).is_ok() {
                self.put(Verify::Repaired);
            }
        }
        walked
    }

    fn walk(&mut self) -> Result<(), Over> {
        loop {
            if self.verification.cancelled.load(Acquire) {
                return Err("it was stopped");
            }
            if self.noticed.elapsed() > LOOK_UP_EVERY {
                self.noticed = Instant::now();
                self.current(&self.engine.mode.read())?;
                self.engine.touch();
            }
            self.release();
            let answer = self.verification.answers.lock().pop_front();
            if let Some(answer) = answer {
                self.answered(answer)?;
            } else if !self.pace() || !self.step()? {
                if self.frames.is_empty() && self.asked.is_empty() && self.trees_left.is_empty() {
                    return Ok(());
                }
                let mut answers = self.verification.answers.lock();
                if answers.is_empty() {
                    self.verification.changed.wait_for(&mut answers, LOOK_UP_EVERY);
                }
            }
        }
    }

    /// Keeps to the permitted rate: false while it is ahead of it.
    fn pace(&mut self) -> bool {
        let ready = self.bucket.ready(self.begun.elapsed());
        if let Err(wait) = ready {
            std::thread::sleep(wait.min(LOOK_UP_EVERY));
        }
        ready.is_ok()
    }

    pub(crate) fn read(&mut self, bytes: u64) {
        self.verification.figures.bytes.fetch_add(bytes, Relaxed);
        self.bucket.charge(bytes);
    }

    /// Does the next thing that is to be done. False: there is nothing until an answer comes.
    fn step(&mut self) -> Result<bool, Over> {
        if self.asked.len() >= ASKED_MAX {
            return Ok(false);
        }
        if let Some(suspect) = self.suspects.pop() {
            self.look_again(suspect)?;
            return Ok(true);
        }
        if let Some(large) = self.large.pop_front() {
            self.next_zone(large)?;
            return Ok(true);
        }
        let Some(frame) = self.frames.last() else { return self.next_tree() };
        if !frame.asked || frame.at < frame.names.len() {
            self.next_part()?;
            return Ok(true);
        }
        if !self.asked.is_empty() {
            return Ok(false);
        }
        match self.frames.last_mut().and_then(|frame| frame.directories.pop()) {
            Some(name) => self.enter(&name)?,
            None => drop(self.frames.pop()),
        }
        Ok(true)
    }

    fn next_tree(&mut self) -> Result<bool, Over> {
        let Some(tree) = self.trees_left.pop() else { return Ok(false) };
        let Ok(inode) = tree.inode(mirror_core::units::ROOT_INODE) else { return Ok(true) };
        let place = self.place(tree, inode, Vec::new());
        self.suspects.push(Suspect::Itself { place: place.clone() });
        self.push_frame(place);
        Ok(true)
    }

    pub(crate) fn place(&self, tree: Arc<Tree>, inode: Arc<Inode>, path: Vec<u8>) -> Arc<Place> {
        // As if it were open: so it stays in the table, where names below it find it.
        inode.opens.fetch_add(1, AcqRel);
        Arc::new(Place { tree, inode, path, released: self.released.clone() })
    }

    fn push_frame(&mut self, place: Arc<Place>) {
        let is_root = place.inode.id.is_root();
        let (tree, path) = (&place.tree, &place.path);
        let listed = tree.path_fd(&place.inode).and_then(|fd| {
            let keep = |name: &[u8]| !tree.not_replicated(fd.as_fd(), is_root, path, name);
            names_between(fd.as_fd(), b"", b"", keep)
        });
        match listed {
            Ok(names) => {
                let (at, asked, directories) = (0, false, Vec::new());
                self.frames.push(Frame { place, names, at, asked, directories });
            }
            Err(error) if gone(&error) => {}
            Err(error) => self.unreadable(place.tree.index, place.path.clone(), &error),
        }
    }

    /// A directory that stands on both sides.
    fn enter(&mut self, name: &[u8]) -> Result<(), Over> {
        let Some(parent) = self.frames.last().map(|frame| frame.place.clone()) else {
            return Ok(());
        };
        let Some(place) = self.directory_at(&parent, name)? else { return Ok(()) };
        let known = {
            let mode = self.engine.mode.read();
            self.current(&mode)?;
            self.engine.ordered(&mode, &place.tree, &place.inode).1
        };
        if known {
            self.push_frame(place);
        }
        Ok(())
    }

    /// The directory that stands at a name. Looked up under the lock of its parent, since the name
    /// is remembered as one that leads to it.
    pub(crate) fn directory_at(
        &mut self, parent: &Arc<Place>, name: &[u8],
    ) -> Result<Option<Arc<Place>>, Over> {
        let mut found = None;
        self.hold(parent, name, |run, held| {
            let child = held.child.filter(|child| child.kind == FileKind::Directory);
            let path = parent.path_of(name);
            found = child.map(|child| run.place(parent.tree.clone(), child.clone(), path));
            Ok(())
        })?;
        Ok(found)
    }

    /// The next names of the innermost directory, with what they are.
    fn next_part(&mut self) -> Result<(), Over> {
        let Some(frame) = self.frames.last_mut() else { return Ok(()) };
        frame.asked = true;
        let place = frame.place.clone();
        let Ok(directory) = place.tree.path_fd(&place.inode) else {
            frame.at = frame.names.len();
            return Ok(());
        };
        let after = frame.at.checked_sub(1).map_or(Vec::new(), |last| frame.names[last].to_vec());
        let (mut names, mut read_bytes) = (Vec::new(), 0);
        let mut files = 0;
        while frame.at < frame.names.len() && names.len() < NAMES_MAX && read_bytes < PART_BYTES {
            let name = frame.names[frame.at].clone();
            frame.at += 1;
            files += 1;
            // What cannot be read gets a digest that nothing has, and is looked at again.
            let found = digest(directory.as_fd(), &name, place.tree.device());
            let Some(found) = found.unwrap_or(Some(crate::looking::UNREADABLE)) else { continue };
            read_bytes += found.read_bytes;
            if found.is_directory {
                frame.directories.push(name.clone());
            }
            if found.large_bytes > 0 {
                let (place, name) = (place.clone(), name.clone());
                self.large.push_back(Large::new(place, name));
            }
            names.push((name.to_vec(), found.value));
        }
        let up_to = match frame.at < frame.names.len() {
            true => frame.names[frame.at - 1].to_vec(),
            false => Vec::new(),
        };
        let figures = &self.verification.figures;
        figures.files.fetch_add(files, Relaxed);
        self.read(read_bytes);
        let (id, path) = (place.inode.id, place.path.clone());
        let asked = Asked::Names { place };
        self.ask(asked, |check| {
            let (path, after, up_to) = (path.as_slice(), after.as_slice(), up_to.as_slice());
            Verify::Names { check, directory: id, path, after, up_to, names }
        })
    }

    /// It is not on the other side, so it cannot be entered.
    pub(crate) fn do_not_enter(&mut self, place: &Arc<Place>, name: &[u8]) {
        let frame = self.frames.iter_mut().find(|frame| Arc::ptr_eq(&frame.place, place));
        if let Some(frame) = frame {
            frame.directories.retain(|directory| **directory != *name);
        }
    }

    fn answered(&mut self, answer: Verified) -> Result<(), Over> {
        let Some(asked) = self.asked.remove(&answer.check()) else { return Ok(()) };
        match (asked, answer) {
            (Asked::Names { place }, Verified::Names { differing, more, .. }) => {
                if more {
                    let figures = &self.verification.figures;
                    figures.differing.fetch_add(1, Relaxed);
                    tracing::warn!(path = ?place.path, "more names differ than are looked at");
                }
                let suspect =
                    |name: Vec<u8>| Suspect::Entry { place: place.clone(), name: name.into() };
                self.suspects.extend(differing.into_iter().map(suspect));
                Ok(())
            }
            (
                Asked::Zone { place, name, range, sum, ordered: false },
                Verified::Zone { checksum, .. },
            ) => {
                if sum != checksum {
                    self.suspect_range(&place, &name, range);
                }
                Ok(())
            }
            // Not there, or no regular file there: its directory tells, or told.
            (Asked::Zone { ordered: false, place, name, .. }, Verified::Unreadable { .. }) => {
                self.suspects.push(Suspect::Entry { place, name });
                Ok(())
            }
            (asked, answer) => self.settled(asked, answer),
        }
    }

    /// Asks a question beside the stream.
    pub(crate) fn ask<'n>(
        &mut self, asked: Asked, question: impl FnOnce(u64) -> Verify<'n>,
    ) -> Result<(), Over> {
        let mode = self.engine.mode.read();
        self.current(&mode)?;
        let check = self.remember(asked);
        self.put(question(check));
        Ok(())
    }

    pub(crate) fn remember(&mut self, asked: Asked) -> u64 {
        let check = self.next_check;
        self.next_check += 1;
        self.asked.insert(check, asked);
        check
    }

    pub(crate) fn put(&self, verify: Verify<'_>) {
        self.engine.outbox.put(&Operation::Verify(verify), None);
    }

    pub(crate) fn current(&self, mode: &Mode) -> Result<(), Over> {
        let same = mode.session == self.verification.session && mode.full;
        match same && !self.engine.outbox.is_lost() {
            true => Ok(()),
            false => Err(LINK_LOST),
        }
    }

    pub(crate) fn unreadable(&self, tree: u8, path: Vec<u8>, error: &io::Error) {
        tracing::warn!("a file cannot be compared: {error}");
        self.verification.note(tree, path, &["unreadable"], None);
    }

    /// Numbers that only this walk needed are used no longer.
    pub(crate) fn release(&self) {
        let released = std::mem::take(&mut *self.released.lock());
        for (tree, number) in released {
            self.engine.forget(tree, number, 0);
        }
    }

    pub(crate) fn release_later(&self, tree: &Tree, inode: &Inode) {
        self.released.lock().push((tree.index, inode.number()));
    }
}
