//! The shells of the replication engine.
//!
//! `engine` is the middle. Changes come in through `fuse`, are done on the tree below (`tree`,
//! `perform`, `names`) and go to the peer through `outbox` and `conn`; the other engine receives
//! them in `follower` and does them in `apply`. A resync is `source` on one side and `apply_resync`
//! on the other; what it would destroy is saved by `rescue`. Commands come from `control` to
//! `status` and `roles`. All that is decided without touching the world is in `mirror_core`.

mod above;
pub mod answer;
pub mod apply;
mod apply_doubt;
mod apply_excluded;
mod apply_names;
pub mod apply_resync;
mod apply_verify;
mod at_rest;
mod attach;
mod attributes;
mod backing;
pub mod below;
mod beside;
mod binding;
mod border;
mod calls;
pub mod change;
mod checkpoint;
mod comparing;
pub mod config;
pub mod conn;
pub mod control;
mod dirty_log;
mod dirty_map;
mod doubt_link;
mod doubt_names;
mod doubt_told;
pub mod effect;
pub mod engine;
mod estimate;
mod excluded;
pub mod files;
pub mod follower;
mod forgotten;
mod freeze;
mod fuse;
mod fuse_reading;
pub mod generation_json;
pub mod handshake;
mod heard;
mod identity;
pub mod kept;
mod kept_applier;
pub mod kept_restore;
mod kernel_caches;
mod known;
mod leaving;
mod links;
mod looking;
mod may_serve;
pub mod mode;
mod mount;
mod mounted;
pub mod names;
mod names_halves;
mod names_told;
mod noting;
mod other_names;
pub mod outbox;
mod patience;
mod patterns;
pub mod perform;
pub mod primary;
pub mod progress;
pub mod queue;
mod reading;
pub mod records;
pub mod rescue;
mod rescue_applier;
mod rescue_begin;
pub mod rescue_config;
pub mod rescue_extract;
pub mod rescue_manifest;
pub mod rescue_read;
mod rescue_store;
mod rescue_walk;
pub mod resume;
mod resync;
mod resync_asked;
mod resync_doubt;
mod resync_names;
mod roles;
pub mod source;
mod status;
pub mod sys;
mod table;
mod times;
pub mod tls;
pub mod tree;
mod unnamed;
pub mod verify;
mod verify_repair;
mod verify_run;
mod verify_strict;
mod verify_zones;
mod viewpoint;
mod welcome;
pub mod xattrs;
pub mod zone;

use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::Arc;

use engine::Engine;
use kernel_fuse::abi::init::HANDLE_KILLPRIV_V2;
use kernel_fuse::Session;
use mounted::Mounted;

/// Threads that take requests from the kernel, for each directory.
const FUSE_THREADS: usize = 4;

/// Exit codes: ordered end, a mistake to mend, a fault.
pub const EXIT_OK: i32 = 0;
pub const EXIT_MISTAKE: i32 = 2;
pub const EXIT_FAULT: i32 = 3;

/// Runs the engine until it is told to stop; returns the exit code of the process.
pub fn run(config_path: &Path) -> i32 {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).init();
    match serve(config_path) {
        Ok(code) => code,
        Err(sentence) => {
            eprintln!("twofold-mirror: {sentence}");
            EXIT_MISTAKE
        }
    }
}

fn serve(config_path: &Path) -> Result<i32, String> {
    sys::bound_heaps();
    let config = config::load(config_path).map_err(|e| e.to_string())?;
    let run_dir = config.run_dir.clone();
    if let Some(plan) = &config.faults {
        effect::arm(Some(effect::read(plan)?));
        tracing::warn!("faults can be injected into this engine: it is for tests only");
    }
    std::fs::create_dir_all(&run_dir)
        .map_err(|e| format!("{} cannot be made: {e}", run_dir.display()))?;
    let _lock = lock(&run_dir)?;
    for (index, tree) in config.trees.iter().enumerate() {
        mount::clean_stale(&tree.path, &run_dir, index);
    }
    let refused = sys::protect_process();
    if !refused.is_empty() {
        // A loop device or a data base on the mount could stand still when memory is short.
        tracing::warn!(
            "the system refused this process {}: it needs CAP_SYS_RESOURCE",
            refused.join(", ")
        );
    }
    let engine = Arc::new(Engine::new(config)?);
    engine.find_kept();
    primary::listen(&engine)?;
    let mounted = mount_all(&engine);
    if let Err(sentence) = mounted {
        for tree in &engine.trees {
            mount::unmount_by_force(&tree.path);
            mount::unmount_raw(&run_dir, tree.index as usize);
        }
        return Err(sentence);
    }
    engine.keep_telling_times();
    if engine.dirty.is_used() {
        engine.keep_checkpointing();
    }
    let (ended, wait) = sync_channel(1);
    let commands = Arc::new(status::Control { engine: engine.clone(), ended });
    let socket = run_dir.join("mirror.sock");
    let server = control::serve(&socket, commands)
        .map_err(|e| format!("{} cannot be opened: {e}", socket.display()))?;
    tracing::info!(module = engine.config.module, "ready");
    let _ = wait.recv();
    server.close();
    let _ = std::fs::remove_file(&socket);
    Ok(EXIT_OK)
}

/// Two engines on the same trees would be a disaster.
fn lock(run_dir: &Path) -> Result<std::fs::File, String> {
    let path = run_dir.join("mirror.lock");
    let file = std::fs::File::create(&path)
        .map_err(|e| format!("{} cannot be opened: {e}", path.display()))?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| format!("another engine of this module runs (it holds {})", path.display()))?;
    Ok(file)
}

fn mount_all(engine: &Arc<Engine>) -> Result<(), String> {
    let mut notices = Vec::new();
    for tree in &engine.trees {
        mount::bind_raw(&tree.path, &engine.config.run_dir, tree.index as usize)?;
        let device = mount::mount_fuse(&engine.config.module, &tree.path)?;
        let session = Session::begin(device, &mounted::wishes(engine.config.sync))
            .map_err(|e| format!("FUSE over {} does not answer: {e}", tree.path.display()))?;
        backing::tune(&tree.path, engine.config.sync);
        notices.push(session.notices());
        let says_kill_suid = session.agreed(HANDLE_KILLPRIV_V2);
        let mounted = Mounted { engine: engine.clone(), tree: tree.clone(), says_kill_suid };
        let mounted = Arc::new(mounted);
        let (engine, path) = (engine.clone(), tree.path.clone());
        primary::spawn("fuse", move || {
            let ended = session.serve(FUSE_THREADS, primary::STACK_BYTES, &mounted);
            if !engine.facts.lock().stopping {
                tracing::info!(?path, "the mount has ended: {ended:?}");
            }
        });
    }
    let _ = engine.notices.set(notices);
    Ok(())
}
