//! What a resync tells of names and attributes: listings of directories, everything but contents,
//! and in the end which files are needed no longer.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use mirror_core::message::{Entry, FileKind, Metadata, Operation};
use mirror_core::units::FileId;

use crate::below::{read_target, reopen_directory};
use crate::calls;
use crate::mode::Mode;
use crate::progress::Progress;
use crate::resync::{Over, Run};
use crate::table::Listed;
use crate::tree::{Inode, Tree};
use crate::zone::metadata_of;

/// Numbers in one message.
const UNBOUND_MAX: usize = 4096;
/// Extended attributes sent with the other attributes of a file.
const METADATA_BYTES: usize = 1 << 20;
/// A part of a listing is sent when it has grown to about this.
const LISTING_BYTES: usize = 64 << 10;

impl Run<'_> {
    /// Everything but the contents. Attributes beyond what one message holds follow one by one.
    pub(crate) fn put_metadata(&self, id: FileId, mut metadata: Metadata) {
        let mut bytes = 0;
        let mut fits = |(name, value): &(Vec<u8>, Vec<u8>)| {
            bytes += name.len() + value.len() + 16;
            bytes <= METADATA_BYTES
        };
        let count = metadata.xattrs.iter().take_while(|x| fits(x)).count();
        let rest = metadata.xattrs.split_off(count);
        self.put(&Operation::FileEnd { id, metadata });
        for (name, value) in &rest {
            self.put(&Operation::SetXattr { id, name, value, flags: 0 });
        }
    }

    pub(crate) fn directory(
        &self, tree: &Arc<Tree>, inode: &Arc<Inode>,
    ) -> io::Result<Result<(), Over>> {
        let mode = self.engine.mode.read();
        if self.current(&mode).is_err() {
            return Ok(Err(Over));
        }
        let mut mark = inode.order.lock();
        // Not bound: the number was told of another file, which is gone.
        if mark.progress(mode.session) == Progress::Done || !inode.bound(mode.session) {
            return Ok(Ok(()));
        }
        let path = tree.path_fd(inode)?;
        let directory = reopen_directory(path.as_fd())?;
        let mut entries = Vec::new();
        let mut listing_bytes = 0;
        let mut children = Vec::new();
        let local = tree.local_names(directory.as_fd())?;
        for found in calls::read_directory(reopen_directory(directory.as_fd())?)? {
            let name = found?.file_name().to_bytes().to_vec();
            let hidden = name == b"." || name == b".." || tree.hidden(inode.id, &name);
            if hidden || local.stands(directory.as_fd(), &name)? {
                continue;
            }
            let (child, stat) = match tree.find_at(directory.as_fd(), inode.id, &name) {
                Ok(found) => found,
                Err(e) if e.raw_os_error() == Some(libc::EXDEV) => continue,
                Err(e) => return Err(e),
            };
            let target = match child.kind {
                FileKind::Symlink => {
                    let link = tree.path_fd(&child)?;
                    read_target(link.as_fd(), child.kind)?
                }
                _ => Vec::new(),
            };
            if self.source.only_doubt() && child.kind != FileKind::Directory && stat.st_nlink > 1 {
                let known = child.bound(mode.session);
                self.source.links.told(child.id, 1, stat.st_nlink, known);
            }
            if child.kind == FileKind::Regular {
                let found = &self.source.figures.bytes_found;
                found.fetch_add(stat.st_size as u64, Ordering::Relaxed);
            }
            let (id, kind, rdev) = (child.id, child.kind, stat.st_rdev);
            listing_bytes += name.len() + target.len() + std::mem::size_of::<Entry>();
            entries.push(Entry { name, id, kind, rdev, target });
            children.push(Listed { id, kind, identity: child.handle.short() });
            tree.rest(child);
            if listing_bytes >= LISTING_BYTES {
                listing_bytes = 0;
                let entries = std::mem::take(&mut entries);
                self.put(&Operation::Entries { id: inode.id, entries });
            }
        }
        self.put(&Operation::Entries { id: inode.id, entries });
        self.put(&Operation::EntriesEnd { id: inode.id });
        tree.bind_listed(&children, mode.session);
        let metadata = metadata_of(path.as_fd())?;
        self.put_metadata(inode.id, metadata);
        mark.set(mode.session, Progress::Done);
        drop(mark);
        drop(mode);
        // Last in, first out: a directory is finished before its neighbour is begun.
        for child in children {
            self.source.add(child.id, child.kind);
        }
        self.source.file_done();
        Ok(Ok(()))
    }

    pub(crate) fn attributes_only(
        &self, tree: &Arc<Tree>, inode: &Arc<Inode>,
    ) -> io::Result<Result<(), Over>> {
        let mode = self.engine.mode.read();
        if self.current(&mode).is_err() {
            return Ok(Err(Over));
        }
        let mut mark = inode.order.lock();
        if mark.progress(mode.session) != Progress::Done && inode.bound(mode.session) {
            let metadata = metadata_of(tree.path_fd(inode)?.as_fd())?;
            self.put_metadata(inode.id, metadata);
            mark.set(mode.session, Progress::Done);
        }
        self.source.file_done();
        Ok(Ok(()))
    }

    /// The resync knew every file; from here on only those in use are known.
    pub(crate) fn unbind_unused(&self, mode: &Mode) {
        for tree in &self.engine.trees {
            let ids = tree.unbind_unused(mode.session);
            for part in ids.chunks(UNBOUND_MAX) {
                self.put(&Operation::Unbind { ids: part.to_vec() });
            }
        }
    }
}
