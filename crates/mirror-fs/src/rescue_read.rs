//! What a person asks of the rescues: which there are, what is in one, delete one.
//!
//! Works on the directory alone, so also while the engine does not run, and while it saves. The
//! answers are JSON objects of the interface (docs/internals/interfaces.md).

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use mirror_core::rescue::is_directory_name;
use serde_json::{json, Value};

use crate::rescue_manifest::{parse_lines, About, Name, Saved, State, DATA, SAVED};
use crate::rescue_store::{bytes_on_disk, ids, read_about, root_of};
use crate::rescue_walk::each_name;

/// What is there of one object.
#[derive(Default, Clone, Debug)]
pub struct Holding {
    /// The whole contents, and their checksum (empty: none was made).
    pub whole: Option<String>,
    /// Zones that are here: offset, length, checksum.
    pub zones: Vec<(u64, u64, String)>,
    pub by_zones: bool,
    pub left_out: u64,
}

pub struct Opened {
    pub dir: PathBuf,
    pub about: About,
    pub holdings: HashMap<u32, Holding>,
}

/// The sentence for a person is the error's text.
pub fn open(state_dir: &Path, id: &str) -> io::Result<Opened> {
    let dir = root_of(state_dir).join(id);
    if !is_directory_name(id) || !dir.is_dir() {
        let known = ids(&root_of(state_dir))?.join(", ");
        let known = if known.is_empty() { "there is none here".into() } else { known };
        return Err(io::Error::other(format!("there is no rescue {id:?} on this node: {known}")));
    }
    let about = read_about(&dir)?;
    let path = dir.join(SAVED);
    let saved: Vec<Saved> = parse_lines(&path, &fs::read(&path).unwrap_or_default())?;
    let mut holdings: HashMap<u32, Holding> = HashMap::new();
    for saved in saved {
        let holding = holdings.entry(saved.object()).or_default();
        match saved {
            Saved::Whole { checksum, .. } => holding.whole = Some(checksum),
            Saved::Zones { .. } => holding.by_zones = true,
            Saved::Zone { offset, length, checksum, .. } => {
                holding.zones.push((offset, length, checksum));
            }
            Saved::Changed { .. } => {}
            Saved::LeftOut { length, .. } => holding.left_out += length,
        }
    }
    // Contents that were whole when a crash came before their line was written.
    for entry in fs::read_dir(dir.join(DATA))?.flatten() {
        let object = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(object) = object else { continue };
        let holding = holdings.entry(object).or_default();
        if holding.whole.is_none() && !holding.by_zones {
            holding.whole = Some(String::new());
        }
    }
    Ok(Opened { dir, about, holdings })
}

pub fn list(state_dir: &Path) -> io::Result<Value> {
    let mut all = Vec::new();
    for id in ids(&root_of(state_dir))? {
        let summary = open(state_dir, &id).map(|opened| opened.summary());
        all.push(summary.unwrap_or_else(|e| {
            let dir = root_of(state_dir).join(&id);
            json!({"id": id, "state": "damaged", "text": e.to_string(), "path": dir})
        }));
    }
    Ok(Value::Array(all))
}

/// The summary, and up to `limit` of what is in it.
pub fn show(state_dir: &Path, id: &str, limit: usize) -> io::Result<Value> {
    let opened = open(state_dir, id)?;
    let (mut names, mut total) = (Vec::new(), 0);
    each_name(&opened.dir, |name, _| {
        if let Some(holding) = opened.holdings.get(&name.object) {
            total += 1;
            if names.len() < limit {
                names.push(described(&name, holding));
            }
        }
        Ok(())
    })?;
    let mut summary = opened.summary();
    summary["names"] = Value::Array(names);
    summary["names_total"] = json!(total);
    Ok(summary)
}

/// Removes a rescue for good; one that a resync is filling is refused by the caller.
pub fn delete(state_dir: &Path, id: &str) -> io::Result<Value> {
    // Also one that cannot be read: that it exists is enough.
    let root = root_of(state_dir);
    if !is_directory_name(id) || !root.join(id).is_dir() {
        open(state_dir, id)?;
    }
    let bytes = bytes_on_disk(&root.join(id));
    fs::remove_dir_all(root.join(id))?;
    fs::File::open(&root)?.sync_all()?;
    Ok(json!({"id": id, "bytes": bytes}))
}

impl Opened {
    fn summary(&self) -> Value {
        let about = &self.about;
        let with_contents =
            self.holdings.values().filter(|h| h.whole.is_some() || !h.zones.is_empty());
        json!({
            "id": about.id,
            "module": about.module,
            "node": about.node,
            "peer": about.peer,
            "generation": about.generation,
            "reason": about.reason,
            "state": match about.state {
                State::Complete => "complete",
                State::Saving | State::Listing => "incomplete",
            },
            "begun_s": about.begun_s,
            "ended_s": about.ended_s,
            "files": with_contents.count(),
            "names_changed": self.holdings.len(),
            "by_zones": self.holdings.values().filter(|h| h.by_zones).count(),
            "left_out_bytes": self.holdings.values().map(|h| h.left_out).sum::<u64>(),
            "bytes": bytes_on_disk(&self.dir),
            "removed": about.removed,
            "trees": about.trees,
            "path": self.dir,
        })
    }
}

fn described(name: &Name, holding: &Holding) -> Value {
    let saved = match holding {
        Holding { whole: Some(_), .. } => "whole",
        Holding { by_zones: true, .. } => "zones",
        _ => "attributes",
    };
    json!({
        "tree": name.tree, "path": name.path, "kind": name.kind, "size": name.size,
        "mode": format!("{:04o}", name.mode), "uid": name.uid, "gid": name.gid,
        "mtime_s": name.mtime.0, "saved": saved,
        "saved_bytes": holding.zones.iter().map(|(_, length, _)| length).sum::<u64>(),
        "left_out_bytes": holding.left_out,
    })
}
