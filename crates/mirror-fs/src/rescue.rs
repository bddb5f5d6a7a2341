//! Saves what only this node has, just before a resync takes it away.
//!
//! Every file that was here is known by its identity (`rescue_walk`), so what the resync itself
//! makes is never taken for it. The applier calls before it changes something: the first change to
//! a file's contents saves the file as it is, whole or, when it is large, the zone that is about to
//! change; then the same for each further zone, also for what the application on the primary
//! changes meanwhile, until the resync ends. So at its end: saved zones + what stands there = the
//! old file. What was moved aside is saved before it is removed.
//!
//! A file that the resync found equal is contained in the primary's data and not saved. After a
//! cut that is no longer known; but if such a file has been changed since, its time or size differ
//! from the list, and if not, saving it is merely needless.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use mirror_core::message::{FileKind, Metadata};
use mirror_core::rescue::{directory_name, zones, Limits, Reason, ZONE_BYTES};

use crate::calls;
use crate::effect::{self, Effect};
use crate::engine::Engine;
use crate::rescue_manifest::{line, parse_lines, About, Name, Saved, State, FORMAT, NAMES, SAVED};
use crate::rescue_store::{ids, read_about, root_of, Store};
use crate::rescue_walk::{each_name, list, read_list, Known, Listed};
use crate::sys;
use crate::tree::{kind_of, mtime_of};
use crate::xattrs;

/// What is known of the contents of a file that was here; nothing is known of most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kept {
    /// Still those of the list, although the attributes may tell otherwise by now.
    AsListed,
    /// Found equal to the primary's, or the primary's already.
    Contained,
    Whole,
    Zones,
}

/// How far back a clock may have gone before the order of rescues is given up.
const CLOCK_BACK_MAX_S: u64 = 7200;

pub struct Rescue {
    store: Store,
    listed: Listed,
    kept: HashMap<u32, Kept>,
    /// Objects of which it is written that a name or attribute changed.
    changed: HashSet<u32>,
    zones: HashMap<u32, HashSet<u64>>,
    sizes: HashMap<u32, u64>,
}

impl Rescue {
    /// Writes down everything that is here now, on disk when it returns.
    pub fn begin(engine: &Engine, reason: Reason, go_on: &dyn Fn() -> bool) -> io::Result<Rescue> {
        let config = &engine.config;
        let generation = engine.generation().current;
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let begun_s = since.map_or(0, |t| t.as_secs());
        let root = root_of(&config.state_dir);
        // The names tell the order, also when the clock does not.
        let newest = ids(&root)?.pop().unwrap_or_default();
        let mut begun = begun_s;
        while directory_name(begun, generation) <= newest && begun < begun_s + CLOCK_BACK_MAX_S {
            begun += 1;
        }
        let about = About {
            format: FORMAT,
            id: directory_name(begun, generation),
            module: config.module.clone(),
            node: config.node.clone(),
            peer: config.peer.clone(),
            generation: format!("{generation:016x}"),
            reason: reason.as_str().into(),
            trees: config.trees.iter().map(|t| t.path.to_string_lossy().into()).collect(),
            begun_s,
            ended_s: None,
            state: State::Listing,
            removed: Vec::new(),
        };
        let mut store = Store::create(&root, about, config.rescue.limits())?;
        match list(&store.dir, &engine.trees, go_on) {
            Ok(listed) => {
                store.set_state(State::Saving)?;
                let files = listed.len();
                tracing::warn!(rescue = store.about.id, files, "what only this node has is saved");
                Ok(Rescue::new(store, listed))
            }
            Err(e) => {
                let _ = effect::at(Effect::RescueRemove);
                let _ = std::fs::remove_dir_all(&store.dir);
                Err(e)
            }
        }
    }

    /// Goes on with the rescue of this generation after a cut.
    pub fn reopen(state_dir: &Path, about: About, limits: Limits) -> io::Result<Rescue> {
        let store = Store::open_in(&root_of(state_dir), about, limits)?;
        let listed = read_list(&store.dir)?;
        effect::at(Effect::RescueRead)?;
        let path = store.dir.join(SAVED);
        let saved: Vec<Saved> = parse_lines(&path, &std::fs::read(&path)?)?;
        let mut rescue = Rescue::new(store, listed);
        for saved in saved {
            match saved {
                Saved::Whole { object, .. } => {
                    rescue.kept.insert(object, Kept::Whole);
                }
                Saved::Zones { object } => {
                    rescue.kept.insert(object, Kept::Zones);
                }
                Saved::Zone { object, offset, .. } => {
                    rescue.zones.entry(object).or_default().insert(offset / ZONE_BYTES);
                }
                Saved::LeftOut { object, offset, length } => {
                    let gone = zones(offset, length, u64::MAX);
                    rescue.zones.entry(object).or_default().extend(gone);
                }
                Saved::Changed { object } => {
                    rescue.changed.insert(object);
                }
            }
        }
        rescue.adopt_unnoted()?;
        tracing::info!(rescue = rescue.store.about.id, "goes on saving what only this node has");
        Ok(rescue)
    }

    fn new(store: Store, listed: Listed) -> Rescue {
        let (kept, changed, zones, sizes) = Default::default();
        Rescue { store, listed, kept, changed, zones, sizes }
    }

    /// Contents that were whole when a crash came before their line was written.
    fn adopt_unnoted(&mut self) -> io::Result<()> {
        for object in self.store.objects()? {
            if !matches!(self.kept.get(&object), Some(Kept::Whole | Kept::Zones)) {
                self.store.note_whole(object)?;
                self.kept.insert(object, Kept::Whole);
            }
        }
        Ok(())
    }

    /// How the peer is told that long work is not death.
    pub fn set_alive(&mut self, alive: Box<dyn Fn() + Send>) {
        self.store.alive = alive;
    }

    pub fn id(&self) -> &str {
        &self.store.about.id
    }

    fn known(&self, fd: BorrowedFd<'_>) -> io::Result<Option<Known>> {
        Ok(self.listed.get(&sys::handle_of(fd)?.identity()).copied())
    }

    fn name_of(&self, known: Known) -> io::Result<Name> {
        effect::at(Effect::RescueRead)?;
        let mut file = File::open(self.store.dir.join(NAMES))?;
        file.seek(SeekFrom::Start(known.line))?;
        let mut reader = BufReader::new(file);
        let mut bytes = Vec::new();
        std::io::BufRead::read_until(&mut reader, b'\n', &mut bytes)?;
        serde_json::from_slice(&bytes).map_err(io::Error::other)
    }

    /// Before this range of a regular file changes; an empty one when the file grows.
    pub fn contents(&mut self, fd: BorrowedFd<'_>, offset: u64, length: u64) -> io::Result<()> {
        let Some(known) = self.known(fd)? else { return Ok(()) };
        let object = known.object;
        match self.kept.get(&object) {
            Some(Kept::Whole | Kept::Contained) => return Ok(()),
            Some(Kept::Zones) => {}
            Some(Kept::AsListed) | None => {
                if !self.as_listed(known, fd)? {
                    self.kept.insert(object, Kept::Contained);
                    return Ok(());
                }
                let stat = calls::fstat(fd)?;
                let (size, data) = (stat.st_size as u64, stat.st_blocks as u64 * 512);
                if self.store.whole(data) && self.store.make_room(data)? {
                    self.store.save_whole(object, fd, size)?;
                    self.kept.insert(object, Kept::Whole);
                    return Ok(());
                }
                let large = !self.store.whole(data);
                if large && self.store.make_room(0)? && self.store.share(object, fd, size)? {
                    self.kept.insert(object, Kept::Whole);
                    return Ok(());
                }
                self.store.note(&Saved::Zones { object })?;
                self.store.sync()?;
                self.sizes.insert(object, size);
                self.kept.insert(object, Kept::Zones);
            }
        }
        self.save_zones(known, fd, offset, length)
    }

    /// Are these still the contents that were listed? The stream changes neither size nor time
    /// before `contents` or `stamp` was called.
    fn as_listed(&self, known: Known, fd: BorrowedFd<'_>) -> io::Result<bool> {
        if self.kept.get(&known.object) == Some(&Kept::AsListed) {
            return Ok(true);
        }
        let (name, stat) = (self.name_of(known)?, calls::fstat(fd)?);
        let mtime = mtime_of(&stat);
        let same_time = name.mtime == (mtime.seconds, mtime.nanoseconds);
        Ok(same_time && name.size == stat.st_size as u64)
    }

    /// Before the times of a file change while it may still be compared.
    pub fn stamp(&mut self, path: BorrowedFd<'_>) -> io::Result<()> {
        let Some(known) = self.known(path)? else { return Ok(()) };
        if !self.kept.contains_key(&known.object) {
            let as_listed = self.as_listed(known, path)?;
            let kept = if as_listed { Kept::AsListed } else { Kept::Contained };
            self.kept.insert(known.object, kept);
        }
        Ok(())
    }

    fn save_zones(
        &mut self, known: Known, fd: BorrowedFd<'_>, offset: u64, length: u64,
    ) -> io::Result<()> {
        let object = known.object;
        let size = match self.sizes.get(&object) {
            Some(size) => *size,
            None => {
                let size = self.name_of(known)?.size;
                self.sizes.insert(object, size);
                size
            }
        };
        for zone in zones(offset, length, size) {
            let done = self.zones.entry(object).or_default();
            if done.contains(&zone) {
                continue;
            }
            let start = zone * ZONE_BYTES;
            let part = ZONE_BYTES.min(size - start);
            if self.store.make_room(part)? {
                self.store.save_zone(object, fd, start, part)?;
            } else {
                self.store.note(&Saved::LeftOut { object, offset: start, length: part })?;
                self.store.sync()?;
            }
            self.zones.entry(object).or_default().insert(zone);
        }
        Ok(())
    }

    /// The resync has compared or copied a file's contents, and sets its attributes now.
    pub fn attributes(&mut self, path: BorrowedFd<'_>, metadata: &Metadata) -> io::Result<()> {
        let Some(known) = self.known(path)? else { return Ok(()) };
        let stat = calls::fstat(path)?;
        let is_directory = kind_of(stat.st_mode) == FileKind::Directory;
        let same = stat.st_mode & 0o7777 == metadata.mode
            && (stat.st_uid, stat.st_gid) == (metadata.uid, metadata.gid)
            && (is_directory || mtime_of(&stat) == metadata.mtime)
            && xattrs::read_all(path)? == metadata.xattrs;
        if !same {
            self.changed(known)?;
        }
        if !matches!(self.kept.get(&known.object), Some(Kept::Whole | Kept::Zones)) {
            self.kept.insert(known.object, Kept::Contained);
        }
        Ok(())
    }

    /// Before the name that leads to this file goes.
    pub fn name(&mut self, path: BorrowedFd<'_>) -> io::Result<()> {
        match self.known(path)? {
            Some(known) => self.changed(known),
            None => Ok(()),
        }
    }

    fn changed(&mut self, known: Known) -> io::Result<()> {
        // Not synced: the list itself is on disk, and contents are synced when they are saved.
        if self.changed.insert(known.object) {
            self.store.note(&Saved::Changed { object: known.object })?;
        }
        Ok(())
    }

    /// Before a file that stands aside is removed for good. `in_use`: the stream may still write
    /// to it. Returns whether it has been taken away.
    pub fn gone(
        &mut self, directory: BorrowedFd<'_>, name: &[u8], path: BorrowedFd<'_>, in_use: bool,
    ) -> io::Result<bool> {
        let Some(known) = self.known(path)? else { return Ok(false) };
        self.changed(known)?;
        let stat = calls::fstat(path)?;
        if kind_of(stat.st_mode) != FileKind::Regular {
            return Ok(false);
        }
        let fd = reopen(path)?;
        match self.kept.get(&known.object) {
            Some(Kept::Whole | Kept::Contained) => return Ok(false),
            Some(Kept::Zones) => self.save_zones(known, fd.as_fd(), 0, u64::MAX)?,
            Some(Kept::AsListed) | None if stat.st_nlink == 1 && !in_use => {
                let data = stat.st_blocks as u64 * 512;
                if !self.as_listed(known, path)? {
                    return Ok(false);
                }
                if self.store.make_room(data)? && self.store.take(known.object, directory, name)? {
                    self.kept.insert(known.object, Kept::Whole);
                    return Ok(true);
                }
                self.contents(fd.as_fd(), 0, u64::MAX)?;
            }
            Some(Kept::AsListed) | None => self.contents(fd.as_fd(), 0, u64::MAX)?,
        }
        Ok(false)
    }

    /// The resync has ended. Only names that were touched, and the directories above them, remain
    /// in the list; if nothing was touched there is nothing to keep.
    pub fn finish(mut self) -> io::Result<()> {
        effect::at(Effect::RescueRead)?;
        let path = self.store.dir.join(SAVED);
        let saved: Vec<Saved> = parse_lines(&path, &std::fs::read(&path)?)?;
        if saved.is_empty() {
            return std::fs::remove_dir_all(&self.store.dir);
        }
        self.store.sync()?;
        let touched: HashSet<u32> = saved.iter().map(Saved::object).collect();
        let mut above: HashSet<(u8, String)> = HashSet::new();
        each_name(&self.store.dir, |name, _| {
            if touched.contains(&name.object) {
                let parents = name.path.match_indices('/').map(|(at, _)| &name.path[..at]);
                above.extend(parents.chain([""]).map(|path| (name.tree, path.to_owned())));
            }
            Ok(())
        })?;
        let aside = self.store.dir.join("names.new");
        effect::at(Effect::RescueMake)?;
        let mut out = std::io::BufWriter::new(File::create(&aside)?);
        each_name(&self.store.dir, |name, _| {
            if touched.contains(&name.object) || above.contains(&(name.tree, name.path.clone())) {
                io::Write::write_all(&mut out, &line(&name))?;
            }
            Ok(())
        })?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        std::fs::rename(&aside, self.store.dir.join(NAMES))?;
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        self.store.about.ended_s = since.ok().map(|t| t.as_secs());
        self.store.set_state(State::Complete)?;
        tracing::warn!(rescue = self.id(), files = touched.len(), "saved what only this node had");
        Ok(())
    }
}

fn reopen(path: BorrowedFd<'_>) -> io::Result<File> {
    Ok(File::from(calls::open_to_read(path)?))
}

/// The unfinished rescue of a generation, if there is one that can be gone on with.
pub fn unfinished(state_dir: &Path, generation: u64) -> io::Result<Option<About>> {
    let about = Store::find(&root_of(state_dir), &format!("{generation:016x}"))?;
    match about {
        Some(about) => read_about(&root_of(state_dir).join(&about.id)).map(Some),
        None => Ok(None),
    }
}
