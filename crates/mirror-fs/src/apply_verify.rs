//! The secondary's part in a verification: it looks and answers, and never fails for what it finds.
//!
//! Questions beside the stream are answered by threads of their own, so that no fsync waits for
//! them. Those in the stream are answered at their point of it, times that are still to be set
//! included.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use mirror_core::message::Report;
use mirror_core::units::FileId;
use mirror_core::verify::{Seen, Verified, Verify, DIFFERING_MAX};

use crate::apply::Applier;
use crate::beside::Beside;
use crate::looking::{digest, names_between, open_contents, open_name, seen, sum_of};
use crate::tree::Tree;

type Answer = io::Result<Verified>;

impl Applier {
    pub(crate) fn verify(&mut self, verify: Verify<'_>, beside: &Beside) -> io::Result<()> {
        match verify {
            Verify::Names { check, directory, path, after, up_to, names } => {
                let found = self.place(directory);
                let (path, after, up_to) = (path.to_vec(), after.to_vec(), up_to.to_vec());
                beside.send_checksum(Box::new(move || {
                    let look = |(fd, tree): (OwnedFd, Place)| {
                        let asked = Asked { path, after, up_to, names };
                        compare_names(check, &fd, &tree, &asked)
                    };
                    Ok(told(check, found.and_then(look)))
                }))
            }
            Verify::Entry { check, parent, name } => {
                let answer = self.entry(check, parent, name);
                answer_later(beside, check, answer)
            }
            Verify::Itself { check, directory } => {
                let answer = self.itself(check, directory);
                answer_later(beside, check, answer)
            }
            Verify::Zone { check, parent, name, offset, length, hole, ordered } => {
                let file = self.place(parent).and_then(|(fd, _)| open_contents(fd.as_fd(), name));
                let sum = move |file: OwnedFd| {
                    let checksum = sum_of(file.as_fd(), offset, length, hole)?;
                    Ok(Verified::Zone { check, checksum })
                };
                if ordered {
                    return answer_later(beside, check, file.and_then(sum));
                }
                beside.send_checksum(Box::new(move || Ok(told(check, file.and_then(sum)))))
            }
            Verify::TakeAway { parent, name, parent_mtime } => {
                let directory = self.directory(parent)?;
                match self.set_aside(&directory, parent, name, None) {
                    Err(e) if e.raw_os_error() != Some(libc::ENOENT) => return Err(e),
                    _ => {}
                }
                self.set_directory_time(&directory, parent_mtime);
                Ok(())
            }
            Verify::Repaired if self.resync.running => Ok(()),
            Verify::Repaired => self.end_resync(),
        }
    }

    /// A directory that is asked about, and what is to be known of its tree.
    fn place(&self, directory: FileId) -> io::Result<(OwnedFd, Place)> {
        let tree = self.tree(directory)?;
        let is_root = directory.is_root();
        Ok((self.directory(directory)?, Place { device: tree.device(), is_root, tree }))
    }

    fn entry(&mut self, check: u64, parent: FileId, name: &[u8]) -> Answer {
        let (directory, place) = self.place(parent)?;
        let Some(path) = open_name(directory.as_fd(), name, place.device)? else {
            return Ok(Verified::Entry { check, seen: None });
        };
        if let Some(id) = self.number_at(&directory, name)? {
            self.set_time(id);
        }
        Ok(Verified::Entry { check, seen: Some(seen(path.as_fd())?) })
    }

    fn itself(&mut self, check: u64, directory: FileId) -> Answer {
        self.set_time(directory);
        let seen: Seen = seen(self.directory(directory)?.as_fd())?;
        Ok(Verified::Entry { check, seen: Some(seen) })
    }
}

struct Place {
    tree: std::sync::Arc<Tree>,
    device: u64,
    is_root: bool,
}

struct Asked {
    path: Vec<u8>,
    after: Vec<u8>,
    up_to: Vec<u8>,
    names: Vec<(Vec<u8>, u128)>,
}

fn told(check: u64, answer: Answer) -> Report {
    Report::Verified(answer.unwrap_or_else(|error| {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        Verified::Unreadable { check, errno }
    }))
}

fn answer_later(beside: &Beside, check: u64, answer: Answer) -> io::Result<()> {
    let told = told(check, answer);
    beside.send_checksum(Box::new(move || Ok(told)))
}

/// Two ascending lists, walked together.
fn compare_names(check: u64, directory: &OwnedFd, place: &Place, asked: &Asked) -> Answer {
    let (tree, path, is_root) = (&place.tree, &asked.path, place.is_root);
    let keep = |name: &[u8]| !tree.not_replicated(directory.as_fd(), is_root, path, name);
    let here = names_between(directory.as_fd(), &asked.after, &asked.up_to, keep)?;
    let mut here = here.iter().peekable();
    let mut differing = Vec::new();
    let mut note = |name: &[u8]| {
        let room = differing.len() < DIFFERING_MAX;
        if room {
            differing.push(name.to_vec());
        }
        room
    };
    let extra = |name: &[u8]| -> io::Result<bool> {
        Ok(open_name(directory.as_fd(), name, place.device)?.is_some())
    };
    let mut room = true;
    for (name, wanted) in &asked.names {
        while let Some(extra_name) = here.next_if(|other| ***other < **name) {
            if extra(extra_name)? {
                room = room && note(extra_name);
            }
        }
        let there = here.next_if(|other| ***other == **name).is_some();
        // What cannot be read differs: asked in the stream, it will say why.
        let found = digest(directory.as_fd(), name, place.device);
        let same = there && matches!(found, Ok(Some(d)) if d.value == *wanted);
        if !same {
            room = room && note(name);
        }
        if !room {
            break;
        }
    }
    for name in here {
        if !room {
            break;
        }
        if extra(name)? {
            room = note(name);
        }
    }
    Ok(Verified::Names { check, differing, more: !room })
}
