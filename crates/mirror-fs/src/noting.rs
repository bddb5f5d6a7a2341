//! What the primary is about to touch is noted first (`dirty_map`), while the mode is held: no
//! checkpoint begins between the note and the change.
//!
//! Whoever adds a change of contents, attributes or names on the primary notes it before it is done
//! here; a name covers what is made under it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use mirror_core::doubt::{Doubt, Identity, Name};
use mirror_core::message::FileKind;
use rustix::fs::AtFlags;

use crate::apply_resync::names_of;
use crate::below::reopen_directory;
use crate::calls;
use crate::engine::Engine;
use crate::tree::{kind_of, Inode, Tree};

/// A directory is admitted whole when it and what is in it are no larger.
const LISTING_MAX_BYTES: u64 = 256 << 10;
const CONTENTS_MAX_BYTES: u64 = 256 << 20;
/// Names of one file that are remembered with it.
const PLACES_MAX: usize = 4;

pub(crate) fn identity(tree: &Tree, inode: &Inode) -> Identity {
    inode.handle.identity_in(tree.index)
}

/// Where the file is known to stand, the latest first.
fn places(tree: &Tree, inode: &Inode) -> Vec<(Identity, Name)> {
    let places = inode.places.lock().clone();
    let known = places.into_iter().rev().filter_map(|place| {
        let number = place.parent.inode();
        let handle = match tree.inode(number) {
            Ok(parent) => parent.handle,
            Err(_) => tree.forgotten.lock().get(number)?.handle,
        };
        Some((handle.identity_in(tree.index), place.name))
    });
    known.take(PLACES_MAX).collect()
}

/// Few enough files, with little enough in them, and no directories.
fn is_small(tree: &Tree, directory: &Inode) -> io::Result<bool> {
    let path = tree.path_fd(directory)?;
    if calls::fstat(&path)?.st_size as u64 > LISTING_MAX_BYTES {
        return Ok(false);
    }
    let mut bytes = 0;
    let listed = reopen_directory(path.as_fd())?;
    for name in names_of(&listed)? {
        let stat = calls::statat(&listed, OsStr::from_bytes(&name), AtFlags::SYMLINK_NOFOLLOW)?;
        bytes += stat.st_blocks as u64 * 512;
        if bytes > CONTENTS_MAX_BYTES || kind_of(stat.st_mode) == FileKind::Directory {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Engine {
    fn noted(&self, noted: io::Result<()>) -> io::Result<()> {
        noted.map_err(|error| {
            let text = format!("what is about to change cannot be noted: {error}");
            self.note_failed("io_error", &text);
            io::Error::from_raw_os_error(libc::EIO)
        })
    }

    pub(crate) fn note_bytes(
        &self, tree: &Tree, inode: &Inode, offset: u64, length: u64,
    ) -> io::Result<()> {
        let id = identity(tree, inode);
        let admit = |d: &mut Doubt| d.touch_bytes(id, offset, length, || places(tree, inode));
        self.noted(self.dirty.admit(&self.outbox, admit))
    }

    /// Everything of a file from this byte on.
    pub(crate) fn note_from(&self, tree: &Tree, inode: &Inode, offset: u64) -> io::Result<()> {
        let id = identity(tree, inode);
        let admit = |d: &mut Doubt| d.touch_from(id, offset, || places(tree, inode));
        self.noted(self.dirty.admit(&self.outbox, admit))
    }

    pub(crate) fn note_attributes(&self, tree: &Tree, inode: &Inode) -> io::Result<()> {
        let id = identity(tree, inode);
        self.noted(
            self.dirty.admit(&self.outbox, |d| d.touch_attributes(id, || places(tree, inode))),
        )
    }

    /// `before`: what stands at the name and may live on without it.
    pub(crate) fn note_name(
        &self, tree: &Tree, parent: &Inode, name: &[u8], before: Option<&Inode>,
    ) -> io::Result<()> {
        let directory = identity(tree, parent);
        let before = before.map(|inode| identity(tree, inode));
        let cover = self.dirty.with(|doubt| doubt.wants_cover(&directory)).flatten();
        let cover = cover.and_then(|since| Some((self.coverable(tree, parent)?, since)));
        self.noted(self.dirty.admit(&self.outbox, |doubt| {
            if let Some((place, since)) = cover {
                doubt.cover(directory, place, since);
            }
            doubt.touch_name(directory, name, before)
        }))
    }

    /// Where a directory stands of which all may be looked at after a crash.
    fn coverable(&self, tree: &Tree, directory: &Inode) -> Option<(Identity, Name)> {
        let place = directory.places.lock().first().cloned();
        let found = place.and_then(|place| {
            let parent = tree.inode(place.parent.inode()).ok()?;
            let stands = tree.leads(&parent, &place.name, directory);
            (stands && is_small(tree, directory).unwrap_or(false))
                .then(|| (identity(tree, &parent), place.name))
        });
        if found.is_none() {
            let id = identity(tree, directory);
            self.dirty.with(|doubt| doubt.refuse_cover(&id));
        }
        found
    }

    /// `replaced`: what stands at the new name.
    pub(crate) fn note_rename(
        &self, tree: &Tree, (old, name, moved): (&Inode, &[u8], &Inode),
        (new, new_name, replaced): (&Inode, &[u8], Option<&Inode>),
    ) -> io::Result<()> {
        self.note_moved(tree, moved, new, new_name);
        if let Some(replaced) = replaced {
            // With an exchange it moves, too.
            self.note_moved(tree, replaced, old, name);
        }
        self.note_name(tree, old, name, Some(moved))?;
        self.note_name(tree, new, new_name, replaced)
    }

    /// After it was made, under a name that is noted.
    pub(crate) fn note_made(&self, tree: &Tree, inode: &Inode, parent: &Inode, name: &[u8]) {
        let (id, directory) = (identity(tree, inode), identity(tree, parent));
        self.dirty.with(|doubt| doubt.made(id, directory, name));
    }

    /// After it has lost one of its names; it may have others.
    pub(crate) fn note_stands(&self, tree: &Tree, inode: &Inode) {
        if inode.places.lock().is_empty() {
            return;
        }
        let id = identity(tree, inode);
        self.dirty.with(|doubt| doubt.stands(id, places(tree, inode)));
    }

    /// Before it gets a name, which is noted after this.
    pub(crate) fn note_moved(&self, tree: &Tree, inode: &Inode, parent: &Inode, name: &[u8]) {
        let (id, directory) = (identity(tree, inode), identity(tree, parent));
        self.dirty.with(|doubt| doubt.moved(id, directory, name));
    }
}
