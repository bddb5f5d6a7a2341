//! A mounted tree, and how the engine's answers become replies to the kernel.
//!
//! On a primary the kernel may remember names, attributes and pages for long, since every change
//! comes through here; on a secondary, whose tree changes below the kernel's back, it remembers
//! nothing.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    Errno, FopenFlags, Generation, INodeNo, InitFlags, ReplyEmpty, ReplyEntry, ReplyXattr, Request,
    TimeOrNow,
};
use mirror_core::message::Creator;
use mirror_core::units::FileTime;

use crate::answer::{Done, Outcome};
use crate::attributes::attributes;
use crate::change::{Change, NewNode};
use crate::config::CachePolicy;
use crate::engine::Engine;
use crate::mode::Role;
use crate::tree::Tree;

/// As primary nothing changes but through us.
pub const REMEMBER: Duration = Duration::from_secs(3600);

/// What we ask of the kernel. What an older one lacks costs speed or a corner case, never the
/// promise.
pub const WANTED: [InitFlags; 11] = [
    InitFlags::FUSE_ASYNC_READ,
    InitFlags::FUSE_BIG_WRITES,
    InitFlags::FUSE_DONT_MASK,
    InitFlags::FUSE_POSIX_ACL,
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_EXPORT_SUPPORT,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
];

pub struct Mounted {
    pub engine: Arc<Engine>,
    pub tree: Arc<Tree>,
}

pub fn empty(reply: ReplyEmpty) -> impl FnOnce(Outcome) + Send {
    move |outcome| match outcome {
        Ok(_) => reply.ok(),
        Err(number) => reply.error(Errno::from_i32(number)),
    }
}

impl Mounted {
    pub fn primary(&self) -> bool {
        self.engine.mode.read().role == Role::Primary
    }

    pub fn remember(&self) -> Duration {
        if self.primary() {
            REMEMBER
        } else {
            Duration::ZERO
        }
    }

    pub fn submit(&self, change: Change<'_>, answer: impl FnOnce(Outcome) + Send + 'static) {
        self.engine.submit(self.tree.index, change, Box::new(answer));
    }

    pub fn entry(&self, reply: ReplyEntry) -> impl FnOnce(Outcome) + Send {
        let engine = self.engine.clone();
        move |outcome| match outcome {
            Ok(Done::Entry { stat, generation }) => {
                let generation = Generation(engine.shown_generation(generation, &stat));
                reply.entry(&REMEMBER, &attributes(&stat, false), generation);
            }
            Ok(_) => reply.error(Errno::EIO),
            Err(number) => reply.error(Errno::from_i32(number)),
        }
    }

    /// An error for the kernel; one of the disk is also a fact for the control plane.
    pub fn errno(&self, error: &io::Error) -> Errno {
        Errno::from_i32(self.engine.failure(error))
    }

    pub fn answer_xattr(&self, reply: ReplyXattr, size: u32, value: io::Result<Vec<u8>>) {
        match value {
            Ok(value) if size == 0 => reply.size(value.len() as u32),
            Ok(value) if value.len() <= size as usize => reply.data(&value),
            Ok(_) => reply.error(Errno::ERANGE),
            Err(error) => reply.error(self.errno(&error)),
        }
    }

    /// The same for all files of a primary: a cached reader beside a direct writer could keep an
    /// old page. A secondary has readers only, and keeps nothing.
    pub fn cache_mode(&self) -> FopenFlags {
        match (self.primary(), self.engine.config.cache) {
            (true, CachePolicy::Kernel) => FopenFlags::FOPEN_KEEP_CACHE,
            // Or the kernel lets one writer of a file wait for another's answer.
            (true, CachePolicy::None) => {
                FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES
            }
            (false, _) => FopenFlags::FOPEN_DIRECT_IO,
        }
    }

    pub fn make(
        &self, req: &Request, parent: INodeNo, name: &OsStr, node: NewNode<'_>, umask: u32,
        reply: ReplyEntry,
    ) {
        let creator = Creator { uid: req.uid(), gid: req.gid(), umask };
        let change =
            Change::Make { parent: parent.0, name: Cow::Borrowed(name.as_bytes()), node, creator };
        self.submit(change, self.entry(reply));
    }
}

pub fn time_of(time: TimeOrNow) -> FileTime {
    let time = match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    };
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => {
            FileTime { seconds: after.as_secs() as i64, nanoseconds: after.subsec_nanos() }
        }
        Err(before) => {
            // fuser takes the nanoseconds off where the kernel means them to be added.
            let before = before.duration();
            let nanoseconds = before.subsec_nanos();
            FileTime { seconds: -(before.as_secs() as i64), nanoseconds }
        }
    }
}
