//! How much the kernel reads ahead on a mount, and how much it holds back (its *backing device
//! information*). Its defaults for FUSE are made for programs it cannot trust.
//!
//! - It reads ahead by 128 KiB, a request each. Files are read a tenth faster with two requests of
//!   1 MiB under way (`docs/internals/bench.md`).
//! - Of what is written and not brought out (the policy `fsync`) it holds 1 % of what a disk may
//!   have, and makes writers wait beyond that. Here it may hold so much as can be brought out
//!   within moments, for a swap waits for it.

use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, StatxFlags};

use crate::config::SyncPolicy;

pub const READ_AHEAD_BYTES: u32 = 2 << 20;
/// What may be held back.
const HELD_BACK_BYTES: u64 = 256 << 20;
/// A disk may have a fifth of the memory (`vm.dirty_ratio`).
const DISKS_SHARE: u64 = 5;

/// The share of what a disk may have, in percent.
fn held_back_percent(memory_bytes: u64) -> u64 {
    (HELD_BACK_BYTES * 100 * DISKS_SHARE / memory_bytes.max(1)).clamp(1, 100)
}

fn set(path: &Path, policy: SyncPolicy) -> io::Result<()> {
    // The kernel is asked for what it knows by itself: nobody answers yet.
    let (flags, mask) = (AtFlags::STATX_DONT_SYNC, StatxFlags::empty());
    let told = rustix::fs::statx(rustix::fs::CWD, path, flags, mask)?;
    let place = format!("/sys/class/bdi/{}:{}", told.stx_dev_major, told.stx_dev_minor);
    let put = |name: &str, value: u64| std::fs::write(format!("{place}/{name}"), value.to_string());
    put("read_ahead_kb", u64::from(READ_AHEAD_BYTES >> 10))?;
    if policy == SyncPolicy::Fsync {
        let info = rustix::system::sysinfo();
        let memory_bytes = info.totalram as u64 * u64::from(info.mem_unit);
        put("max_ratio", held_back_percent(memory_bytes))?;
    }
    Ok(())
}

/// Once the kernel has been answered. Where it cannot be set, all is as correct and slower.
pub fn tune(path: &Path, policy: SyncPolicy) {
    if let Err(error) = set(path, policy) {
        let shown = path.display();
        tracing::info!("the kernel reads and writes {shown} in small pieces: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_is_held_back_on_any_machine() {
        assert_eq!(held_back_percent(1 << 30), 100);
        assert_eq!(held_back_percent(8 << 30), 15);
        assert_eq!(held_back_percent(24 << 30), 5);
        assert_eq!(held_back_percent(512 << 30), 1);
    }
}
