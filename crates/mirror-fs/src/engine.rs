//! The engine: what all parts share, and the way of a change through it.
//!
//! A change comes from FUSE (`fuse`), passes the gate (`mode`), is done on the tree below
//! (`perform`, `names`) and put into the stream (`outbox`). Roles are changed by commands only
//! (`roles`); the link reports facts (`primary`, `follower`) and decides nothing but to freeze.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use mirror_core::disk;
use mirror_core::generation::Generation;
use mirror_core::message::Operation;
use parking_lot::{Condvar, Mutex, RwLock};

use crate::answer::Answer;
use crate::calls;
use crate::change::Change;
use crate::config::Config;
use crate::dirty_map::DirtyMap;
use crate::effect::{self, Effect};
use crate::files::OpenFiles;
use crate::follower::Follower;
use crate::identity;
use crate::mode::{Gate, Mode, Parked, Standing};
use crate::outbox::Outbox;
use crate::patterns;
use crate::perform::Remainder;
use crate::primary::PEER_FAILED;
use crate::source::Source;
use crate::tree::{Inode, Tree};
use crate::verify::{Verifications, RESULT};

/// Data of frozen writes that is kept in memory; beyond it the writer's thread waits instead.
const PARKED_MAX: usize = 4096;

/// Facts of the link and the disk, for the status.
#[derive(Clone, Default)]
pub struct Facts {
    pub link_up: bool,
    pub peer_up_to_date: bool,
    pub refused: Option<String>,
    pub failed: Option<(&'static str, String)>,
    /// The rescue that is being filled.
    pub rescuing: Option<String>,
    /// What the last resync that ended took, for the status.
    pub last_resync: serde_json::Value,
    /// When this node's disk could not give what a resync needed.
    pub resync_failed: Option<Instant>,
    pub stopping: bool,
    /// What was said last of a connection that came to nothing.
    pub said: Option<String>,
}

#[derive(Default)]
pub struct Applied {
    pub operations: AtomicU64,
    pub bytes: AtomicU64,
}

pub struct Engine {
    pub config: Config,
    pub trees: Vec<Arc<Tree>>,
    pub files: OpenFiles,
    pub mode: RwLock<Mode>,
    pub outbox: Outbox,
    pub parked: Mutex<VecDeque<Parked>>,
    /// Files whose modification time the secondary is still to be told.
    pub untold: Mutex<Vec<(Arc<Tree>, Arc<Inode>)>>,
    pub standing: Mutex<Standing>,
    pub facts: Mutex<Facts>,
    pub source: Mutex<Option<Arc<Source>>>,
    /// What a resync may send; from the configuration at first, then by command.
    pub resync_limit: Mutex<Option<u64>>,
    pub kept: crate::kept::Told,
    pub resumption: crate::resume::Resumption,
    pub dirty: DirtyMap,
    pub asked: crate::resync_asked::Asked,
    pub follower: Mutex<Option<Arc<Follower>>>,
    pub verifications: Mutex<Verifications>,
    pub notices: OnceLock<Vec<kernel_fuse::Notices>>,
    pub applied: Applied,
    pub resyncs: AtomicU64,
    /// In which epoch a primary last let this node in: it knows all that was written until then.
    pub welcomed: AtomicU64,
    /// Counts the changes of role, for `viewpoint`.
    pub incarnation: AtomicU64,
    /// One change of role at a time.
    pub roles: Mutex<()>,
    version: Mutex<u64>,
    changed: Condvar,
    pub begun: Instant,
}

impl Engine {
    /// Opens the trees and reads the generation. A mistake is a sentence.
    pub fn new(config: Config) -> Result<Engine, String> {
        let exclusion = Arc::new(config.exclusion()?);
        let mut trees = Vec::new();
        for (index, tree) in config.trees.iter().enumerate() {
            trees.push(Arc::new(Tree::open(index as u8, &tree.path, exclusion.clone())?));
        }
        let mut standing = read_generation(&config.state_dir.join("generation"))?;
        let damaged = standing.damaged.is_some();
        identity::check(&config, &standing.generation, damaged, trees.iter().map(|t| &**t))?;
        patterns::note_change(&config, &mut standing)?;
        let dirty = DirtyMap::open(config.state_dir.join("dirty-map"), config.dirty_map)?;
        let resync_limit = Mutex::new(config.resync_limit_bytes_per_s);
        let verifications = Verifications::remembered(&config.state_dir.join(RESULT));
        Ok(Engine {
            config,
            trees,
            files: OpenFiles::default(),
            mode: RwLock::new(Mode::default()),
            outbox: Outbox::default(),
            parked: Mutex::new(VecDeque::new()),
            untold: Mutex::new(Vec::new()),
            standing: Mutex::new(standing),
            facts: Mutex::new(Facts::default()),
            source: Mutex::new(None),
            resync_limit,
            kept: crate::kept::Told::default(),
            resumption: crate::resume::Resumption::default(),
            dirty,
            asked: crate::resync_asked::Asked::default(),
            follower: Mutex::new(None),
            verifications: Mutex::new(verifications),
            notices: OnceLock::new(),
            applied: Applied::default(),
            resyncs: AtomicU64::new(0),
            welcomed: AtomicU64::new(0),
            incarnation: AtomicU64::new(1),
            roles: Mutex::new(()),
            version: Mutex::new(1),
            changed: Condvar::new(),
            begun: Instant::now(),
        })
    }

    /// Takes a change from the application to its end, or to where it has to wait.
    pub fn submit(&self, tree: u8, change: Change<'_>, answer: Answer) {
        let Some(tree) = self.trees.get(tree as usize) else {
            return answer(Err(libc::ESTALE));
        };
        let begun = Instant::now();
        loop {
            let mode = self.mode.read();
            match mode.gate {
                Gate::Refused(errno) => {
                    drop(mode);
                    return answer(Err(errno));
                }
                Gate::Frozen(_) => {
                    let mut parked = self.parked.lock();
                    if parked.len() < PARKED_MAX {
                        let change = change.into_owned();
                        return parked.push_back(Parked { tree: tree.index, change, answer });
                    }
                    drop(parked);
                    drop(mode);
                    std::thread::sleep(Duration::from_millis(20));
                }
                Gate::Open if mode.fork_due => {
                    drop(mode);
                    if let Err(text) = self.fork_if_due() {
                        self.note_failed("io_error", &text);
                        return answer(Err(libc::EIO));
                    }
                }
                Gate::Open => {
                    let answer = match mode.session != 0 && !mode.full {
                        true => self.timed(begun, &change, answer),
                        false => answer,
                    };
                    let remainder = self.perform(&mode, tree, change, answer);
                    drop(mode);
                    if !matches!(remainder, Remainder::Nothing) {
                        remainder.run(self);
                    }
                    return;
                }
            }
        }
    }

    /// The first change that only this node will have needs a generation of its own, on disk.
    pub(crate) fn fork_if_due(&self) -> Result<(), String> {
        let mut mode = self.mode.write();
        if mode.fork_due {
            let fresh = fresh_number();
            self.record(|generation| *generation = generation.fork(fresh))?;
            self.standing.lock().trusted = true;
            mode.fork_due = false;
            self.touch();
        }
        Ok(())
    }

    /// Lets through what waited at the gate.
    pub fn release_parked(&self) {
        // Each once: where the gate has closed again they wait again.
        let parked = std::mem::take(&mut *self.parked.lock());
        for Parked { tree, change, answer } in parked {
            self.submit(tree, change, answer);
        }
    }

    /// The kernel needs these files no longer; then neither does the secondary.
    pub fn forget(&self, tree: u8, number: u64, count: u64) {
        let Some(tree) = self.trees.get(tree as usize) else { return };
        let Some(inode) = tree.forget(number, count) else { return };
        let mode = self.mode.read();
        if inode.bound(mode.session) && mode.full {
            let _order = inode.order.lock();
            // Unless its number means another file by now, which the secondary knows already.
            if inode.unused() && inode.bound(mode.session) {
                self.outbox.put(&Operation::Unbind { ids: vec![inode.id] }, None);
                inode.bound_session.store(0, Ordering::Release);
            }
        }
        tree.drop_unused(&inode);
    }

    /// While a resync runs: this file got a name the secondary knows, its contents are to follow.
    pub(crate) fn resync_later(&self, inode: &Inode) {
        if let Some(source) = &*self.source.lock() {
            source.add(inode.id, inode.kind);
        }
    }

    /// Changes the generation's record, on disk first.
    pub fn record(&self, change: impl FnOnce(&mut Generation)) -> Result<(), String> {
        let mut standing = self.standing.lock();
        let mut next = (*standing.generation).clone();
        change(&mut next);
        if next != *standing.generation || standing.damaged.is_some() {
            let path = self.config.state_dir.join("generation");
            write_durably(&path, &disk::encode_generation(&next))
                .map_err(|e| format!("{} cannot be written: {e}", path.display()))?;
            standing.generation = Arc::new(next);
            standing.damaged = None;
        }
        Ok(())
    }

    pub fn generation(&self) -> Arc<Generation> {
        self.standing.lock().generation.clone()
    }

    /// A fact for the control plane: this node, or the peer's copy, failed.
    pub fn note_failed(&self, what: &'static str, text: &str) {
        let mut facts = self.facts.lock();
        let only_peer = facts.failed.as_ref().is_none_or(|(before, _)| *before == PEER_FAILED);
        if only_peer && (what != PEER_FAILED || facts.failed.is_none()) {
            tracing::error!(what, "{text}");
            facts.failed = Some((what, text.to_owned()));
            drop(facts);
            self.touch();
        }
    }

    /// A change was done here and cannot be told to the secondary: the copies differ from now on.
    /// The application gets the error; the session ends and nothing but a resync begins another.
    pub(crate) fn told<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            tracing::error!("a change could not be told to the secondary: {error}");
            self.standing.lock().trusted = false;
            self.outbox.lost();
        }
        result
    }

    /// The status has changed.
    pub fn touch(&self) {
        *self.version.lock() += 1;
        self.changed.notify_all();
    }

    pub fn wait_version(&self, since: u64, timeout: Duration) -> u64 {
        let mut version = self.version.lock();
        if *version == since {
            self.changed.wait_for(&mut version, timeout);
        }
        *version
    }

    /// Puts everything written so far on this node's disk.
    pub fn sync_trees(&self) -> io::Result<()> {
        for tree in &self.trees {
            calls::syncfs(tree.root_fd().as_fd())?;
        }
        Ok(())
    }
}

/// A number that no generation or session had before.
pub fn fresh_number() -> u64 {
    let mut bytes = [0; 8];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes));
    match (read, u64::from_le_bytes(bytes)) {
        (Ok(()), number) if number != 0 => number,
        // Without random numbers, time is unique enough between two nodes that must differ.
        _ => std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |t| t.as_nanos() as u64 | 1),
    }
}

/// Writes aside, syncs, renames, syncs the directory: either the old record or the new survives.
pub(crate) fn write_durably(path: &std::path::Path, bytes: &[u8]) -> io::Result<()> {
    let aside: PathBuf = path.with_extension("new");
    effect::at(Effect::StateCreate)?;
    let mut file = std::fs::File::create(&aside)?;
    calls::write_all(Effect::StateWrite, &mut file, bytes)?;
    effect::at(Effect::StateSync)?;
    file.sync_all()?;
    effect::at(Effect::StateRename)?;
    std::fs::rename(&aside, path)?;
    let directory = path.parent().unwrap_or(std::path::Path::new("/"));
    effect::at(Effect::StateSyncDirectory)?;
    std::fs::File::open(directory)?.sync_all()
}

fn read_generation(path: &std::path::Path) -> Result<Standing, String> {
    let read = effect::at(Effect::StateRead).map_err(io::Error::from);
    match read.and_then(|()| std::fs::read(path)) {
        Ok(bytes) => match disk::decode_generation(&bytes) {
            Ok(generation) => Ok(Standing {
                trusted: generation.clean,
                generation: Arc::new(generation),
                damaged: None,
            }),
            Err(error) => {
                let text = format!("{}: {error}", path.display());
                tracing::error!("{text}");
                Ok(Standing { damaged: Some(text), ..Standing::default() })
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(directory) = path.parent() {
                std::fs::create_dir_all(directory)
                    .map_err(|e| format!("{} cannot be made: {e}", directory.display()))?;
            }
            Ok(Standing::default())
        }
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}
