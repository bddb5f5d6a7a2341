//! A mounted tree, and how the engine's answers become replies to the kernel.
//!
//! On a primary the kernel may remember names, attributes and pages for long, since every change
//! comes through here; on a secondary, whose tree changes below the kernel's back, it remembers
//! nothing.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kernel_fuse::abi::{init, open};
use kernel_fuse::{Entry, Reply, TimeOrNow, Wishes};
use mirror_core::units::FileTime;
use rustix::fs::Stat;

use crate::answer::{Done, Outcome};
use crate::attributes::attributes;
use crate::backing::READ_AHEAD_BYTES;
use crate::change::Change;
use crate::config::{CachePolicy, SyncPolicy};
use crate::engine::Engine;
use crate::mode::Role;
use crate::tree::Tree;

/// As primary nothing changes but through us.
pub const REMEMBER: Duration = Duration::from_secs(3600);

const MAX_WRITE_BYTES: u32 = 1 << 20;

/// What we ask of the kernel. What an older one lacks costs speed or a corner case, never the
/// promise.
const WANTED: u64 = init::ASYNC_READ
    | init::BIG_WRITES
    | init::DONT_MASK
    | init::POSIX_ACL
    | init::HANDLE_KILLPRIV_V2
    | init::SETXATTR_EXT
    | init::PARALLEL_DIROPS
    | init::DO_READDIRPLUS
    | init::READDIRPLUS_AUTO
    | init::EXPORT_SUPPORT
    | init::ASYNC_DIO
    | init::DIRECT_IO_ALLOW_MMAP;

pub struct Mounted {
    pub engine: Arc<Engine>,
    pub tree: Arc<Tree>,
    /// The kernel says where a change of size takes set-user-id bits away.
    pub says_kill_suid: bool,
}

pub fn wishes(policy: SyncPolicy) -> Wishes {
    let held_back = match policy {
        SyncPolicy::Fsync => init::WRITEBACK_CACHE,
        SyncPolicy::Write => 0,
    };
    Wishes {
        flags: WANTED | held_back,
        max_write_bytes: MAX_WRITE_BYTES,
        max_read_ahead_bytes: READ_AHEAD_BYTES,
        max_background: 64,
        congestion_threshold: 48,
    }
}

pub fn entry_of(stat: &Stat, generation: u64, is_root: bool, remember: Duration) -> Entry {
    Entry { generation, remember, attributes: attributes(stat, is_root) }
}

pub fn nothing(reply: Reply) -> impl FnOnce(Outcome) + Send {
    move |outcome| match outcome {
        Ok(_) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

impl Mounted {
    pub fn primary(&self) -> bool {
        self.engine.mode.read().role == Role::Primary
    }

    pub fn submit(&self, change: Change<'_>, answer: impl FnOnce(Outcome) + Send + 'static) {
        self.engine.submit(self.tree.index, change, Box::new(answer));
    }

    pub fn entry(&self, reply: Reply) -> impl FnOnce(Outcome) + Send {
        let engine = self.engine.clone();
        move |outcome| match outcome {
            Ok(Done::Entry { stat, generation }) => {
                let generation = engine.viewpoint_of_primary().generation(generation, &stat);
                reply.entry(&entry_of(&stat, generation, false, REMEMBER));
            }
            Ok(_) => reply.error(libc::EIO),
            Err(errno) => reply.error(errno),
        }
    }

    /// An error for the kernel; one of the disk is also a fact for the control plane.
    pub fn errno(&self, error: &io::Error) -> i32 {
        self.engine.failure(error)
    }

    /// The same for all files of a primary: a cached reader beside a direct writer could keep an
    /// old page. A secondary has readers only, and keeps nothing.
    pub fn cache_mode(&self) -> u32 {
        match (self.primary(), self.engine.config.cache) {
            (true, CachePolicy::Kernel) => open::KEEP_CACHE,
            // Or the kernel lets one writer of a file wait for another's answer.
            (true, CachePolicy::None) => open::DIRECT_IO | open::PARALLEL_DIRECT_WRITES,
            (false, _) => open::DIRECT_IO,
        }
    }
}

pub fn time_of(time: TimeOrNow) -> FileTime {
    match time {
        TimeOrNow::Time(time) => FileTime { seconds: time.seconds, nanoseconds: time.nanoseconds },
        TimeOrNow::Now => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            FileTime { seconds: now.as_secs() as i64, nanoseconds: now.subsec_nanos() }
        }
    }
}
