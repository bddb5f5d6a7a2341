//! Is a replicated directory still the one that the data was in?
//!
//! Asked before anything is mounted or served: `require` names paths that must be there, and a node
//! that has data remembers which directories it is in (`mirror_core::tree_identity`). The root's
//! handle tells a volume from the empty mount point below it; where the file system has a number
//! that survives a reboot, it also tells one volume from another.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use mirror_core::generation::Generation;
use mirror_core::tree_identity::{self, TreeIdentity};
use rustix::fs as rfs;

use crate::calls;
use crate::config::Config;
use crate::effect::{self, Effect};
use crate::engine::write_durably;
use crate::sys;
use crate::tree::Tree;

const EXT4: u64 = 0xef53;
const BTRFS: u64 = 0x9123_683e;

/// Refuses, with the mend, to go on with a directory that is not the one with the data.
pub fn check<'a>(
    config: &Config, generation: &Generation, damaged: bool,
    trees: impl Iterator<Item = &'a Tree> + Clone,
) -> Result<(), String> {
    for tree in trees.clone() {
        required(config, tree)?;
    }
    let path = config.state_dir.join("trees");
    let mut now = Vec::new();
    for tree in trees {
        let identity = of(tree).map_err(|e| {
            format!("the replicated directory {} cannot be read: {e}", tree.path.display())
        })?;
        now.push(TreeIdentity { path: tree.path.as_os_str().as_bytes().to_vec(), identity });
    }
    let blank = !generation.has_data() && !generation.sync_target && !damaged;
    let known = match blank {
        true => Vec::new(),
        false => read(&path)?,
    };
    for (tree, before) in now.iter().filter_map(|t| Some((t, find(&known, t)?))) {
        if tree.identity != before.identity {
            return Err(not_the_same(config, tree));
        }
    }
    if known != now {
        write_durably(&path, &tree_identity::encode(&now))
            .map_err(|e| format!("{} cannot be written: {e}", path.display()))?;
    }
    Ok(())
}

fn required(config: &Config, tree: &Tree) -> Result<(), String> {
    for wanted in &config.require {
        match calls::statat(tree.root_fd(), wanted.as_os_str(), rfs::AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => {}
            Err(error) => {
                let (directory, wanted) = (tree.path.display(), wanted.display());
                return Err(format!(
                    "{directory} has no {wanted}, which must be there (require): {error}; if its \
                     volume is not mounted, mount it; if this is the right directory, make \
                     {wanted} in it"
                ));
            }
        }
    }
    Ok(())
}

fn not_the_same(config: &Config, tree: &TreeIdentity) -> String {
    let directory = String::from_utf8_lossy(&tree.path);
    let state = config.state_dir.display();
    format!(
        "{directory} is not the directory that this node's data is in: its volume may not be \
         mounted; mount it. If it was replaced by an empty one, remove {state}/generation and \
         {state}/trees, and all data comes from the other node; if the data was put back into a \
         new one, remove {state}/trees only"
    )
}

fn find<'a>(known: &'a [TreeIdentity], tree: &TreeIdentity) -> Option<&'a TreeIdentity> {
    known.iter().find(|before| before.path == tree.path)
}

fn read(path: &Path) -> Result<Vec<TreeIdentity>, String> {
    let shown = path.display();
    let read = effect::at(Effect::StateRead).map_err(io::Error::from);
    match read.and_then(|()| std::fs::read(path)) {
        Ok(bytes) => tree_identity::decode(&bytes).map_err(|e| {
            format!(
                "{shown} {e}; if the right directories are mounted, remove it and it is made anew"
            )
        }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(format!("{shown} cannot be read: {e}")),
    }
}

/// Kind of file system, its number where that is the same after a reboot, the root's handle.
fn of(tree: &Tree) -> io::Result<String> {
    let root = tree.root_fd();
    let kind = calls::fstatfs(root)?.f_type as u64;
    let number = match kind {
        EXT4 | BTRFS => calls::fstatvfs(root)?.f_fsid,
        _ => 0,
    };
    let handle = sys::handle_of(root.as_fd())?.hexadecimal();
    Ok(format!("{kind:x}:{number:x}:{handle}"))
}
