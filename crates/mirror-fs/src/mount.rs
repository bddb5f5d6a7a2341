//! Mounts of a module: FUSE over each replicated directory, and a private view of what lies below.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{self as rmount, MountFlags, MountPropagationFlags, UnmountFlags};

/// A descriptor of /dev/fuse whose file system is mounted over `path`.
pub fn mount_fuse(module: &str, path: &Path) -> Result<OwnedFd, String> {
    let device = File::options().read(true).write(true).open("/dev/fuse").map_err(|e| {
        format!("/dev/fuse cannot be opened ({e}): load the module with `modprobe fuse`")
    })?;
    let options = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other",
        device.as_raw_fd()
    );
    let options = CString::new(options).map_err(|e| e.to_string())?;
    let source = format!("twofold:{module}");
    let flags = MountFlags::NOATIME;
    rmount::mount(source, path, "fuse.twofold", flags, options.as_c_str())
        .map_err(|e| format!("FUSE cannot be mounted over {}: {e}", path.display()))?;
    Ok(device.into())
}

/// Binds the directory to a private place, for a person who wants the raw tree.
pub fn bind_raw(path: &Path, run_dir: &Path, index: usize) -> Result<(), String> {
    let raw = raw_path(run_dir, index);
    std::fs::create_dir_all(&raw).map_err(|e| format!("{} cannot be made: {e}", raw.display()))?;
    rmount::mount_bind(path, &raw)
        .and_then(|()| rmount::mount_change(&raw, MountPropagationFlags::PRIVATE))
        .map_err(|e| format!("{} cannot be bound to {}: {e}", path.display(), raw.display()))
}

pub fn raw_path(run_dir: &Path, index: usize) -> PathBuf {
    run_dir.join("raw").join(index.to_string())
}

/// Takes away what an engine that died has left: a mount that answers nobody, the raw view.
pub fn clean_stale(path: &Path, run_dir: &Path, index: usize) {
    for _ in 0..8 {
        match rustix::fs::statfs(path) {
            Err(Errno::NOTCONN | Errno::CONNABORTED) => {
                tracing::warn!("removing the dead mount at {}", path.display());
                if rmount::unmount(path, UnmountFlags::DETACH).is_err() {
                    break;
                }
            }
            _ => break,
        }
    }
    let raw = raw_path(run_dir, index);
    while rmount::unmount(&raw, UnmountFlags::DETACH).is_ok() {}
}

/// Unmounts in order. Busy: the error tells whose files are open.
pub fn unmount(path: &Path) -> Result<(), String> {
    match rmount::unmount(path, UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(Errno::BUSY) => {
            let users = users_of(path);
            let who = if users.is_empty() {
                "a mount or loop device below it".to_owned()
            } else {
                format!("process {}", users.join(", "))
            };
            Err(format!("{} is still in use by {who}", path.display()))
        }
        Err(e) => Err(format!("{} cannot be unmounted: {e}", path.display())),
    }
}

pub fn unmount_raw(run_dir: &Path, index: usize) {
    let _ = rmount::unmount(raw_path(run_dir, index), UnmountFlags::DETACH);
}

/// Unmounts whatever still uses it; operations under way end with an error.
pub fn unmount_by_force(path: &Path) {
    let _ = rmount::unmount(path, UnmountFlags::FORCE | UnmountFlags::DETACH);
}

/// Processes (number and name) with a file, directory or mapping below `path`.
fn users_of(path: &Path) -> Vec<String> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let below = |link: &Path| std::fs::read_link(link).is_ok_and(|to| to.starts_with(path));
    let mut users = Vec::new();
    for process in processes.flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().filter(|n| n.bytes().all(|b| b.is_ascii_digit())) else {
            continue;
        };
        let home = process.path();
        let open = std::fs::read_dir(home.join("fd"))
            .is_ok_and(|mut fds| fds.any(|fd| fd.is_ok_and(|fd| below(&fd.path()))));
        if open || below(&home.join("cwd")) || below(&home.join("root")) {
            let command = std::fs::read_to_string(home.join("comm")).unwrap_or_default();
            users.push(format!("{pid} ({})", command.trim()));
        }
    }
    users
}
