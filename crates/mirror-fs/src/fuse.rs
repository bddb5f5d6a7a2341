//! FUSE to the engine: take a request apart, call, reply. Nothing is decided here.
//!
//! What only reads is answered at once from the tree below (`fuse_reading`). Changes go to
//! `Engine::submit`, whose answer may come later and from another thread.

use std::borrow::Cow;

use kernel_fuse::{Caller, Handler, Operation as Asked, Reply, Request, SetAttributes};
use mirror_core::message::{AttributeChange, Creator, FileKind};
use mirror_core::units::ROOT_INODE;

use crate::answer::{Done, Outcome};
use crate::attributes::attributes;
use crate::change::{Change, Durable, NewNode};
use crate::mounted::{entry_of, nothing, time_of, Mounted, REMEMBER};
use crate::tree::kind_of;

const ROOT_UID: u32 = 0;
const ACCESS_LIST: &[u8] = b"system.posix_acl_access";

fn durable(flags: i32) -> Durable {
    match flags & libc::O_SYNC {
        0 => Durable::No,
        libc::O_DSYNC => Durable::Data,
        _ => Durable::All,
    }
}

impl Handler for Mounted {
    fn handle(&self, request: Request<'_>, reply: Reply) {
        let (node, caller) = (request.node, request.caller);
        let name = Cow::Borrowed;
        match request.operation {
            Asked::Write { file, offset, flags, kill_suid, data } => {
                let (number, sync, data) = (node, durable(flags), Cow::Borrowed(data));
                let change = Change::Write { number, file, offset, data, kill_suid, sync };
                self.submit(change, written(reply));
            }
            Asked::Sync { file, data_only } => self.sync(node, Some(file), data_only, reply),
            Asked::SyncDirectory { data_only } => self.sync(node, None, data_only, reply),
            Asked::SetAttributes(set) => self.set_attributes(node, caller, &set, reply),
            Asked::Allocate { file, offset, length, mode } => {
                let change = Change::Allocate { number: node, file, mode, offset, length };
                self.submit(change, nothing(reply));
            }
            Asked::SetXattr { name: of, value, flags, kill_sgid } => {
                // The kernel says so of the default list as well, by which it does not go.
                let kill_sgid = kill_sgid && of == ACCESS_LIST;
                let (number, name, value) = (node, name(of), Cow::Borrowed(value));
                let change = Change::SetXattr { number, name, value, flags, kill_sgid };
                self.submit(change, nothing(reply));
            }
            Asked::RemoveXattr { name: of } => {
                let change = Change::RemoveXattr { number: node, name: name(of) };
                self.submit(change, nothing(reply));
            }
            Asked::Unlink { name: of } => {
                self.submit(Change::Unlink { parent: node, name: name(of) }, nothing(reply));
            }
            Asked::RemoveDirectory { name: of } => {
                let change = Change::RemoveDirectory { parent: node, name: name(of) };
                self.submit(change, nothing(reply));
            }
            Asked::Rename { name: of, new_parent, new_name, flags } => {
                let (parent, new_name) = (node, name(new_name));
                let change = Change::Rename { parent, name: name(of), new_parent, new_name, flags };
                self.submit(change, nothing(reply));
            }
            Asked::Link { file, name: of } => {
                let change = Change::Link { number: file, parent: node, name: name(of) };
                self.submit(change, self.entry(reply));
            }
            making => self.handle_making(node, caller, making, reply),
        }
    }
}

impl Mounted {
    fn handle_making(&self, node: u64, caller: Caller, asked: Asked<'_>, reply: Reply) {
        let creator = |umask| Creator { uid: caller.uid, gid: caller.gid, umask };
        let target = |target| Cow::Borrowed(target);
        match asked {
            Asked::Create { name, flags, mode, umask } => {
                let (name, creator) = (Cow::Borrowed(name), creator(umask));
                let change = Change::Create { parent: node, name, mode, flags, creator };
                self.submit(change, self.created(reply));
            }
            Asked::CreateUnnamed { mode, umask } => {
                let creator = creator(umask);
                let change = Change::CreateUnnamed { parent: node, mode, creator };
                self.submit(change, self.created(reply));
            }
            Asked::MakeNode { name, mode, rdev, umask } => {
                let (kind, rdev) = (kind_of(mode), u64::from(rdev));
                let made = NewNode { kind, mode, rdev, target: target(&b""[..]) };
                self.make(node, name, made, creator(umask), reply);
            }
            Asked::MakeDirectory { name, mode, umask } => {
                let kind = FileKind::Directory;
                let made = NewNode { kind, mode, rdev: 0, target: target(&b""[..]) };
                self.make(node, name, made, creator(umask), reply);
            }
            Asked::MakeSymlink { name, target: to } => {
                let (kind, mode) = (FileKind::Symlink, 0o777);
                let made = NewNode { kind, mode, rdev: 0, target: target(to) };
                self.make(node, name, made, creator(0), reply);
            }
            reading => self.handle_reading(node, caller, reading, reply),
        }
    }

    fn make(&self, parent: u64, name: &[u8], node: NewNode<'_>, creator: Creator, reply: Reply) {
        let name = Cow::Borrowed(name);
        self.submit(Change::Make { parent, name, node, creator }, self.entry(reply));
    }

    fn created(&self, reply: Reply) -> impl FnOnce(Outcome) + Send {
        let (engine, cached) = (self.engine.clone(), self.cache_mode());
        move |outcome| match outcome {
            Ok(Done::Created { stat, generation, file }) => {
                let generation = engine.viewpoint_of_primary().generation(generation, &stat);
                reply.created(&entry_of(&stat, generation, false, REMEMBER), file, cached);
            }
            Ok(_) => reply.error(libc::EIO),
            Err(errno) => reply.error(errno),
        }
    }

    fn set_attributes(&self, number: u64, caller: Caller, set: &SetAttributes, reply: Reply) {
        let &SetAttributes { file, size, mode, uid, gid, .. } = set;
        let (atime, mtime) = (set.atime.map(time_of), set.mtime.map(time_of));
        let change = AttributeChange { mode, uid, gid, atime, mtime };
        // An older kernel says nothing of it.
        let kill_suid = match self.says_kill_suid {
            true => set.kill_suid,
            false => caller.uid != ROOT_UID,
        };
        let change = Change::SetAttributes { number, file, size, kill_suid, change };
        self.submit(change, move |outcome| match outcome {
            Ok(Done::Attributes(stat)) => {
                reply.attributes(REMEMBER, &attributes(&stat, number == ROOT_INODE));
            }
            Ok(_) => reply.error(libc::EIO),
            Err(errno) => reply.error(errno),
        });
    }

    fn sync(&self, number: u64, file: Option<u64>, data_only: bool, reply: Reply) {
        if !self.primary() {
            return reply.ok();
        }
        self.submit(Change::Sync { number, file, data_only }, nothing(reply));
    }
}

fn written(reply: Reply) -> impl FnOnce(Outcome) + Send {
    move |outcome| match outcome {
        Ok(Done::Written(bytes)) => reply.written(bytes),
        Ok(_) => reply.error(libc::EIO),
        Err(errno) => reply.error(errno),
    }
}
