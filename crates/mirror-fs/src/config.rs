//! `mirror.json`: what the daemon tells the engine at its start.
//!
//! The daemon writes it from checked configuration, so a mistake here is rare; it is refused
//! all the
//! same, in one sentence that names the file and the field, before anything is mounted.

use std::collections::HashSet;
use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use mirror_core::exclusion::Exclusion;
use serde::Deserialize;

use crate::rescue_config::RescueConfig;

/// The file is far below this; more is not read.
const MAX_BYTES: u64 = 256 << 10;
/// The top byte of a file's number is its tree; a hello counts trees in one byte.
const MAX_TREES: usize = 64;
const PEER_TIMEOUT_MS: std::ops::RangeInclusive<u64> = 100..=600_000;

/// When a write returns (see `replication.md`, R1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncPolicy {
    /// Each write returns after the peer has applied it.
    Write,
    /// A write returns from the page cache; fsync waits for both disks.
    Fsync,
}

/// Whether the kernel keeps contents of files in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CachePolicy {
    #[default]
    Kernel,
    /// Each read and write comes to the engine; several may write to one file at the same time.
    None,
}

/// Whether the flow between the nodes is encrypted. The peer is authenticated either way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowEncryption {
    #[default]
    On,
    /// For a cable of its own between the two: who can touch it can read and change the data.
    Off,
}

/// One replicated directory.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeConfig {
    pub path: PathBuf,
}

/// The PEM files that say who we are and whom we believe.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub module: String,
    /// The cluster's identity (a UUID).
    pub cluster: String,
    pub node: String,
    pub peer: String,
    pub trees: Vec<TreeConfig>,
    pub state_dir: PathBuf,
    pub run_dir: PathBuf,
    pub listen: Vec<SocketAddr>,
    pub peer_addresses: Vec<SocketAddr>,
    pub tls: TlsFiles,
    pub sync: SyncPolicy,
    #[serde(default)]
    pub flow_encryption: FlowEncryption,
    #[serde(default)]
    pub cache: CachePolicy,
    pub peer_timeout_ms: u64,
    pub resync_limit_bytes_per_s: Option<u64>,
    /// Contents that a verification may read in a second.
    #[serde(default)]
    pub verify_limit_bytes_per_s: Option<u64>,
    /// Paths that must exist in each tree before the engine starts (`identity`).
    #[serde(default)]
    pub require: Vec<PathBuf>,
    /// What stays on each node for itself (`mirror_core::exclusion`).
    #[serde(default)]
    pub exclude: Vec<String>,
    /// A resync looks only at what may differ (`dirty_map`).
    #[serde(default)]
    pub dirty_map: bool,
    /// How often both disks are brought to the same, at most (`checkpoint`).
    #[serde(default = "checkpoint_every_ms")]
    pub checkpoint_every_ms: u64,
    /// For tests only: faults may be injected (`effect`); these are armed from the start.
    #[serde(default)]
    pub faults: Option<serde_json::Value>,
    #[serde(default)]
    pub rescue: RescueConfig,
}

/// Why the engine cannot start from this file: one sentence for a person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// Read and check the file.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let shown = path.display();
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text))
        .map_err(|e| ConfigError(format!("{shown} cannot be read: {e}.")))?;
    if read as u64 == MAX_BYTES {
        return Err(ConfigError(format!("{shown} is too long for an engine's configuration.")));
    }
    parse(&text).map_err(|ConfigError(why)| ConfigError(format!("{shown}: {why}")))
}

/// Check a configuration given as text; the error does not know the file's name.
pub fn parse(text: &str) -> Result<Config, ConfigError> {
    let config: Config = serde_json::from_str(text).map_err(|e| ConfigError(format!("{e}.")))?;
    config.check().map_err(ConfigError)?;
    Ok(config)
}

impl Config {
    pub fn exclusion(&self) -> Result<Exclusion, String> {
        Exclusion::new(&self.exclude).map_err(|bad| {
            let pattern = self.exclude.get(bad.index).map_or("", String::as_str);
            format!("`exclude` has {pattern:?}: {}.", bad.text)
        })
    }

    /// The name a node's certificate must carry (SAN, DNS).
    pub fn certificate_name(&self, node: &str) -> String {
        certificate_name(node, &self.cluster)
    }

    fn check(&self) -> Result<(), String> {
        let names = [
            ("module", &self.module),
            ("cluster", &self.cluster),
            ("node", &self.node),
            ("peer", &self.peer),
        ];
        for (field, name) in names {
            check_name(field, name)?;
        }
        if self.node == self.peer {
            return Err(format!(
                "`node` and `peer` are both {:?}; they are two servers.",
                self.node
            ));
        }
        if self.sync == SyncPolicy::Fsync && self.cache == CachePolicy::None {
            return Err(
                "`sync` is \"fsync\", which keeps writes in the kernel's cache, but `cache` \
                        is \"none\"."
                    .into(),
            );
        }
        self.check_trees()?;
        self.exclusion()?;
        if self.dirty_map && !self.exclude.is_empty() {
            return Err("`dirty_map` is true, which does not go with `exclude`; leave one of the \
                        two out."
                .into());
        }
        for path in &self.require {
            check_relative("require", path)?;
        }
        check_absolute("state_dir", &self.state_dir)?;
        check_absolute("run_dir", &self.run_dir)?;
        check_absolute("tls.ca", &self.tls.ca)?;
        check_absolute("tls.cert", &self.tls.cert)?;
        check_absolute("tls.key", &self.tls.key)?;
        for (field, addresses) in
            [("listen", &self.listen), ("peer_addresses", &self.peer_addresses)]
        {
            if addresses.is_empty() {
                return Err(format!("`{field}` names no address; at least one is needed."));
            }
        }
        if !PEER_TIMEOUT_MS.contains(&self.peer_timeout_ms) {
            let (least, most) = (PEER_TIMEOUT_MS.start(), PEER_TIMEOUT_MS.end());
            return Err(format!(
                "`peer_timeout_ms` is {}; it must be between {least} and {most}.",
                self.peer_timeout_ms
            ));
        }
        if self.rescue.keep == 0 {
            return Err("`rescue.keep` is 0; at least one rescue must have a place.".into());
        }
        match self.resync_limit_bytes_per_s {
            Some(0) => {
                Err("`resync_limit_bytes_per_s` is 0, with which no resync would ever end; \
                            leave it null for no limit."
                    .into())
            }
            _ => Ok(()),
        }
    }

    fn check_trees(&self) -> Result<(), String> {
        if !(1..=MAX_TREES).contains(&self.trees.len()) {
            let count = self.trees.len();
            return Err(format!(
                "`trees` names {count} directories; 1 to {MAX_TREES} are possible."
            ));
        }
        let mut seen = HashSet::new();
        for TreeConfig { path } in &self.trees {
            check_absolute("trees", path)?;
            if !seen.insert(path) {
                return Err(format!("`trees` names {} twice.", path.display()));
            }
        }
        for TreeConfig { path } in &self.trees {
            if let Some(outer) =
                path.ancestors().skip(1).find(|outer| seen.contains(&outer.to_path_buf()))
            {
                return Err(format!(
                    "`trees` names {}, which lies in {} that is also named.",
                    path.display(),
                    outer.display()
                ));
            }
        }
        Ok(())
    }
}

/// The name a node's certificate must carry (SAN, DNS).
pub fn certificate_name(node: &str, cluster: &str) -> String {
    format!("{node}.{cluster}.twofold")
}

/// Names become part of a DNS name in the certificates, and of paths.
fn checkpoint_every_ms() -> u64 {
    5000
}

fn check_name(field: &str, name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let good = edge(name.chars().next())
        && edge(name.chars().last())
        && name.len() <= 63
        && name.chars().all(allowed);
    match good {
        true => Ok(()),
        false => Err(format!(
            "`{field}` is {name:?}; a name has 1 to 63 letters, digits, `-` or `_`, and begins and \
             ends with a letter or digit."
        )),
    }
}

fn check_relative(field: &str, path: &Path) -> Result<(), String> {
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    match plain && !path.as_os_str().is_empty() {
        true => Ok(()),
        false => Err(format!("`{field}` is {path:?}; a path below the directory is needed.")),
    }
}

fn check_absolute(field: &str, path: &Path) -> Result<(), String> {
    let up = path.components().any(|part| matches!(part, Component::ParentDir));
    match path.is_absolute() && !up {
        true => Ok(()),
        false => Err(format!("`{field}` is {:?}; an absolute path without `..` is needed.", path)),
    }
}
