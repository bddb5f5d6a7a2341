//! The directory of one rescue: made, opened again, filled within its bounds.
//!
//! What is saved is on disk before the caller overwrites it: contents are synced, then their line
//! is. Space is asked for before each piece; to make room the oldest finished rescue goes, loudly.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use mirror_core::rescue::{is_directory_name, Bound, Disk, Limits, Room};
use rustix::fs as rfs;

use crate::calls;
use crate::effect::{self, Effect};
use crate::outbox::read_fully;
use crate::rescue_manifest::{
    line, About, Checksum, Saved, State, ABOUT, BLOCK_BYTES, DATA, SAVED,
};

/// Read and written at once; a multiple of the checksum's block.
const PIECE_BYTES: usize = 1 << 20;

pub struct Store {
    root: PathBuf,
    pub dir: PathBuf,
    pub about: About,
    saved: File,
    limits: Limits,
    /// Bytes of all rescues, this one included.
    used: u64,
    /// Called between pieces: the peer must not take long work for death.
    pub alive: Box<dyn Fn() + Send>,
}

/// The directory in which the rescues of a module lie.
pub fn root_of(state_dir: &Path) -> PathBuf {
    state_dir.join("rescue")
}

/// The names of all rescues, the oldest first.
pub fn ids(root: &Path) -> io::Result<Vec<String>> {
    effect::at(Effect::RescueRead)?;
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut ids = Vec::new();
    for entry in entries {
        match entry?.file_name().into_string() {
            Ok(name) if is_directory_name(&name) => ids.push(name),
            _ => {}
        }
    }
    ids.sort();
    Ok(ids)
}

pub fn read_about(dir: &Path) -> io::Result<About> {
    let path = dir.join(ABOUT);
    let wrong = |e: &dyn std::fmt::Display| io::Error::other(format!("{}: {e}", path.display()));
    effect::at(Effect::RescueRead)?;
    let bytes = fs::read(&path).map_err(|e| wrong(&e))?;
    serde_json::from_slice(&bytes).map_err(|e| wrong(&e))
}

pub fn write_about(dir: &Path, about: &About) -> io::Result<()> {
    let (path, aside) = (dir.join(ABOUT), dir.join("about.new"));
    effect::at(Effect::RescueMake)?;
    let mut file = File::create(&aside)?;
    calls::write_all(Effect::RescueWrite, &mut file, &line(about))?;
    effect::at(Effect::RescueSync)?;
    file.sync_all()?;
    effect::at(Effect::RescueRename)?;
    fs::rename(&aside, &path)?;
    File::open(dir)?.sync_all()
}

/// What the files of a rescue take on disk.
pub fn bytes_on_disk(dir: &Path) -> u64 {
    let blocks = |folder: &Path| -> u64 {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|e| e.metadata().ok()).filter(|m| m.is_file()).map(|m| m.blocks()).sum()
    };
    (blocks(dir) + blocks(&dir.join(DATA))) * 512
}

impl Store {
    pub fn create(root: &Path, about: About, limits: Limits) -> io::Result<Store> {
        effect::at(Effect::RescueMake)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        remove_unbegun(root)?;
        let dir = root.join(&about.id);
        fs::DirBuilder::new().mode(0o700).create(&dir)?;
        fs::DirBuilder::new().mode(0o700).create(dir.join(DATA))?;
        write_about(&dir, &about)?;
        File::open(root)?.sync_all()?;
        let mut store = Store::open_in(root, about, limits)?;
        while ids(root)?.len() > limits.keep as usize && store.remove_oldest()? {}
        Ok(store)
    }

    /// The unfinished rescue of this generation, if there is one.
    pub fn find(root: &Path, generation: &str) -> io::Result<Option<About>> {
        for id in ids(root)?.iter().rev() {
            match read_about(&root.join(id)) {
                Ok(about) if about.generation == generation && about.state == State::Saving => {
                    return Ok(Some(about));
                }
                Ok(_) => {}
                // Not one to go on with; a person sees it in the list.
                Err(error) => tracing::warn!("{error}"),
            }
        }
        Ok(None)
    }

    pub fn open_in(root: &Path, about: About, limits: Limits) -> io::Result<Store> {
        let dir = root.join(&about.id);
        let path = dir.join(SAVED);
        effect::at(Effect::RescueMake)?;
        let saved =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        cut_torn_line(&saved)?;
        let used = ids(root)?.iter().map(|id| bytes_on_disk(&root.join(id))).sum();
        Ok(Store { root: root.into(), dir, about, saved, limits, used, alive: Box::new(|| {}) })
    }

    pub fn set_state(&mut self, state: State) -> io::Result<()> {
        self.about.state = state;
        write_about(&self.dir, &self.about)
    }

    pub fn note(&mut self, saved: &Saved) -> io::Result<()> {
        calls::write_all(Effect::RescueWrite, &mut self.saved, &line(saved))
    }

    pub fn sync(&self) -> io::Result<()> {
        effect::at(Effect::RescueSync)?;
        self.saved.sync_data()
    }

    pub fn whole(&self, data_bytes: u64) -> bool {
        self.limits.whole(data_bytes)
    }

    /// Asks for room. `Ok(false)`: there is none, and the configuration says to go on without.
    pub fn make_room(&mut self, need: u64) -> io::Result<bool> {
        loop {
            let space = calls::fstatvfs(&self.saved)?;
            let disk = Disk {
                bytes: space.f_blocks.saturating_mul(space.f_frsize),
                free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
            };
            let finished = self.finished()?.len();
            let bound = match self.limits.room(need, self.used, disk, finished) {
                Room::Yes => return Ok(true),
                Room::RemoveOldest => {
                    self.remove_oldest()?;
                    continue;
                }
                Room::LeaveOut(bound) => {
                    tracing::warn!(?bound, need, "no room: overwritten without being saved");
                    return Ok(false);
                }
                Room::Stop(bound) => bound,
            };
            let what = match bound {
                Bound::Limit => format!(
                    "rescue_limit ({} bytes, {} of them used) has no room for it: raise it",
                    self.limits.limit_bytes, self.used
                ),
                Bound::Reserve => format!(
                    "the disk of {} has only {} bytes left, of which rescue_reserve keeps {}: \
                     free some",
                    self.root.display(),
                    disk.free_bytes,
                    self.limits.reserve(disk.bytes)
                ),
            };
            return Err(io::Error::other(format!(
                "what only this node has would be lost, so nothing more is overwritten; {what}, \
                 delete rescues (twofold mirror rescue), or set rescue_when_full = \"go_on\""
            )));
        }
    }

    /// Other rescues that are complete, the oldest first.
    fn finished(&self) -> io::Result<Vec<String>> {
        let mut ids = ids(&self.root)?;
        ids.retain(|id| {
            let about = read_about(&self.root.join(id));
            *id != self.about.id && about.is_ok_and(|a| a.state == State::Complete)
        });
        Ok(ids)
    }

    fn remove_oldest(&mut self) -> io::Result<bool> {
        let Some(oldest) = self.finished()?.into_iter().next() else { return Ok(false) };
        tracing::warn!(rescue = oldest, "the oldest rescue is removed to make room for a new one");
        let dir = self.root.join(&oldest);
        let bytes = bytes_on_disk(&dir);
        effect::at(Effect::RescueRemove)?;
        fs::remove_dir_all(&dir)?;
        self.used = self.used.saturating_sub(bytes);
        self.about.removed.push(oldest);
        write_about(&self.dir, &self.about)?;
        Ok(true)
    }

    fn data_path(&self, object: u32) -> PathBuf {
        self.dir.join(DATA).join(object.to_string())
    }

    /// The objects whose contents are here. What is still being written has another name.
    pub fn objects(&self) -> io::Result<Vec<u32>> {
        effect::at(Effect::RescueRead)?;
        let names = fs::read_dir(self.dir.join(DATA))?;
        Ok(names.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect())
    }

    /// Takes the whole file in by renaming it: it is needed nowhere else, and nobody has it open.
    /// False: it lies on another file system.
    pub fn take(&mut self, object: u32, from: BorrowedFd<'_>, name: &[u8]) -> io::Result<bool> {
        let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name);
        let (none, path) = (rfs::RenameFlags::empty(), self.data_path(object));
        match calls::renameat_with(from, name, rfs::CWD, path.as_os_str(), none) {
            Err(rustix::io::Errno::XDEV) => return Ok(false),
            other => other?,
        }
        self.used += self.note_whole(object)?;
        Ok(true)
    }

    /// The contents of this object are here whole: says so. Returns what they take on disk.
    pub fn note_whole(&mut self, object: u32) -> io::Result<u64> {
        effect::at(Effect::RescueRead)?;
        let file = File::open(self.data_path(object))?;
        let (checksum, bytes) = self.copy(file.as_fd(), None, 0, file.metadata()?.len())?;
        effect::at(Effect::RescueSync)?;
        file.sync_all()?;
        self.note(&Saved::Whole { object, bytes, checksum })?;
        self.sync()?;
        Ok(file.metadata()?.blocks() * 512)
    }

    /// Saves a file of any size by sharing its blocks, where the file system can. Its checksum is
    /// left out: that would take long. False: it cannot.
    pub fn share(&mut self, object: u32, from: BorrowedFd<'_>, size: u64) -> io::Result<bool> {
        let unfinished = self.data_path(object).with_extension("new");
        effect::at(Effect::RescueMake)?;
        let to = File::create(&unfinished)?;
        if calls::ficlone(&to, from).is_err() {
            fs::remove_file(&unfinished)?;
            return Ok(false);
        }
        self.finish_file(object, &to, size)?;
        let bytes = to.metadata()?.blocks() * 512;
        self.used += bytes;
        self.note(&Saved::Whole { object, bytes, checksum: String::new() })?;
        self.sync()?;
        Ok(true)
    }

    /// Saves the whole file: shared with it where the file system can, else copied.
    pub fn save_whole(&mut self, object: u32, from: BorrowedFd<'_>, size: u64) -> io::Result<()> {
        effect::at(Effect::RescueMake)?;
        let to = File::create(self.data_path(object).with_extension("new"))?;
        let cloned = calls::ficlone(&to, from).is_ok();
        let target = (!cloned).then_some(&to);
        let (checksum, bytes) = self.copy(from, target, 0, size)?;
        self.finish_file(object, &to, size)?;
        self.used += to.metadata()?.blocks() * 512;
        self.note(&Saved::Whole { object, bytes, checksum })?;
        self.sync()
    }

    /// A whole file has its name only when it is on disk.
    fn finish_file(&self, object: u32, file: &File, size: u64) -> io::Result<()> {
        calls::ftruncate(file, size)?;
        effect::at(Effect::RescueSync)?;
        file.sync_all()?;
        effect::at(Effect::RescueRename)?;
        let path = self.data_path(object);
        fs::rename(path.with_extension("new"), path)
    }

    /// Saves a part of a file at its place.
    pub fn save_zone(
        &mut self, object: u32, from: BorrowedFd<'_>, offset: u64, length: u64,
    ) -> io::Result<()> {
        let path = self.data_path(object);
        effect::at(Effect::RescueMake)?;
        let to = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        let before = to.metadata()?.blocks();
        let (checksum, _) = self.copy(from, Some(&to), offset, length)?;
        effect::at(Effect::RescueSync)?;
        to.sync_data()?;
        self.used += to.metadata()?.blocks().saturating_sub(before) * 512;
        self.note(&Saved::Zone { object, offset, length, checksum })?;
        self.sync()
    }

    /// Reads the data of a range, writes it to the same place of `to`; holes are left out. Returns
    /// the checksum and how much data there was.
    fn copy(
        &self, from: BorrowedFd<'_>, to: Option<&File>, offset: u64, length: u64,
    ) -> io::Result<(String, u64)> {
        let (mut checksum, mut bytes) = (Checksum::default(), 0);
        let end = offset + length;
        let mut buffer = vec![0; PIECE_BYTES];
        let mut here = offset;
        while here < end {
            here = match calls::seek(from, rfs::SeekFrom::Data(here)) {
                Ok(data) => here.max(data / BLOCK_BYTES as u64 * BLOCK_BYTES as u64),
                Err(rustix::io::Errno::NXIO) => break,
                Err(e) => return Err(e.into()),
            };
            if here >= end {
                break;
            }
            let hole = calls::seek(from, rfs::SeekFrom::Hole(here)).unwrap_or(end);
            let part = hole.next_multiple_of(BLOCK_BYTES as u64).min(end) - here;
            let part = part.clamp(1, PIECE_BYTES as u64) as usize;
            let got = read_fully(from, here, &mut buffer[..part])?;
            if got == 0 {
                break;
            }
            checksum.add(here, &buffer[..got]);
            if let Some(to) = to {
                effect::at(Effect::RescueWrite)?;
                to.write_all_at(&buffer[..got], here)?;
            }
            bytes += got as u64;
            here += got as u64;
            (self.alive)();
        }
        Ok((checksum.text(), bytes))
    }
}

/// The checksum of a range of a file as `Store` writes it.
pub fn checksum_of(from: &File, offset: u64, length: u64) -> io::Result<String> {
    let mut checksum = Checksum::default();
    let mut buffer = vec![0; PIECE_BYTES];
    let mut here = offset;
    while here < offset + length {
        let data = match calls::seek(from, rfs::SeekFrom::Data(here)) {
            Ok(data) => data / BLOCK_BYTES as u64 * BLOCK_BYTES as u64,
            Err(_) => break,
        };
        here = here.max(data);
        let part = (offset + length).saturating_sub(here).min(PIECE_BYTES as u64) as usize;
        let got = read_fully(from.as_fd(), here, &mut buffer[..part])?;
        if got == 0 {
            break;
        }
        checksum.add(here, &buffer[..got]);
        here += got as u64;
    }
    Ok(checksum.text())
}

/// What a crash left of rescues that were still being listed: nothing had been overwritten then.
fn remove_unbegun(root: &Path) -> io::Result<()> {
    for id in ids(root)? {
        let dir = root.join(&id);
        let listing = read_about(&dir).is_ok_and(|about| about.state == State::Listing);
        if listing || !dir.join(ABOUT).exists() {
            effect::at(Effect::RescueRemove)?;
            fs::remove_dir_all(&dir)?;
        }
    }
    Ok(())
}

/// A crash may have cut the last line; it is taken away so that the next one stands by itself.
fn cut_torn_line(file: &File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut end = length;
    let mut byte = [0];
    while end > 0 {
        file.read_exact_at(&mut byte, end - 1)?;
        if byte[0] == b'\n' {
            break;
        }
        end -= 1;
    }
    if end == length {
        Ok(())
    } else {
        file.set_len(end)
    }
}
