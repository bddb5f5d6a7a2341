//! The system calls that no safe library offers, each with its reason.
//!
//! File handles (`name_to_handle_at`) are how a file is known without its path: they survive
//! renames, tell a reused inode number from the old file, and cost no open descriptor, so that a
//! tree of a million files fits in memory.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use mirror_core::doubt::Identity;

use crate::effect::{at, Effect};
use crate::patience::patiently;

/// ext4 needs 8, xfs 12, btrfs 20. There is one of these for each file in use.
const HANDLE_BYTES: usize = 24;

/// Identity of a file within its file system, for as long as the file exists.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle {
    kind: i32,
    length: u8,
    bytes: [u8; HANDLE_BYTES],
}

impl Handle {
    /// As the dirty map knows it.
    pub fn identity_in(&self, tree: u8) -> Identity {
        Identity { tree, kind: self.kind, length: self.length, bytes: self.bytes }
    }

    pub fn from_identity(identity: &Identity) -> Handle {
        let Identity { kind, length, bytes, .. } = *identity;
        Handle { kind, length, bytes }
    }

    /// None: longer than any file system's.
    pub fn new(kind: i32, bytes: &[u8]) -> Option<Handle> {
        let mut all = [0; HANDLE_BYTES];
        all.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Handle { kind, length: bytes.len() as u8, bytes: all })
    }

    pub fn kind(&self) -> i32 {
        self.kind
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length as usize]
    }

    /// In as few bytes as it needs, for tables.
    pub fn pack(&self) -> Vec<u8> {
        [&self.kind.to_le_bytes(), self.bytes()].concat()
    }

    pub fn unpack(bytes: &[u8]) -> Option<Handle> {
        let (kind, bytes) = bytes.split_first_chunk()?;
        Handle::new(i32::from_le_bytes(*kind), bytes)
    }

    /// As text, for a record on disk.
    pub fn hexadecimal(&self) -> String {
        let mut text = format!("{:x}-", self.kind);
        for byte in &self.bytes[..self.length as usize] {
            text.push_str(&format!("{byte:02x}"));
        }
        text
    }

    #[cfg(test)]
    pub fn none() -> Handle {
        Handle { kind: 0, length: 0, bytes: [0; HANDLE_BYTES] }
    }

    /// A number for tables; two handles may have the same.
    pub fn short(&self) -> u64 {
        self.identity() as u64
    }

    /// The whole handle in a number, which does not change while the file exists.
    pub fn identity(&self) -> u128 {
        let mut bytes = [0; HANDLE_BYTES + 5];
        bytes[..4].copy_from_slice(&self.kind.to_le_bytes());
        bytes[4] = self.length;
        let end = 5 + self.length as usize;
        bytes[5..end].copy_from_slice(&self.bytes[..self.length as usize]);
        xxhash_rust::xxh3::xxh3_128(&bytes[..end])
    }

    /// What `hexadecimal` wrote.
    pub fn from_hexadecimal(text: &str) -> Option<Handle> {
        let (kind, digits) = text.split_once('-')?;
        let length = digits.len() / 2;
        if digits.len() % 2 != 0 || length > HANDLE_BYTES || !digits.is_ascii() {
            return None;
        }
        let mut bytes = [0; HANDLE_BYTES];
        for (byte, at) in bytes.iter_mut().zip((0..digits.len()).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
        }
        let kind = u32::from_str_radix(kind, 16).ok()? as i32;
        Some(Handle { kind, length: length as u8, bytes })
    }

    /// A number that differs when an inode number is used again for another file.
    pub fn generation(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in &self.bytes[..self.length as usize] {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        (hash ^ (hash >> 32)) & 0xffff_ffff
    }
}

#[repr(C)]
struct RawHandle {
    handle_bytes: u32,
    handle_type: i32,
    f_handle: [u8; HANDLE_BYTES],
}

/// The handle of the file that `fd` stands for (also an O_PATH descriptor).
pub fn handle_of(fd: BorrowedFd<'_>) -> io::Result<Handle> {
    at(Effect::Identify)?;
    let mut raw = RawHandle {
        handle_bytes: HANDLE_BYTES as u32,
        handle_type: 0,
        f_handle: [0; HANDLE_BYTES],
    };
    let mut mount_id: libc::c_int = 0;
    // SAFETY: the buffers outlive the call; the kernel writes at most handle_bytes bytes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            fd.as_raw_fd(),
            c"".as_ptr(),
            std::ptr::from_mut(&mut raw),
            std::ptr::from_mut(&mut mount_id),
            libc::AT_EMPTY_PATH,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Handle { kind: raw.handle_type, length: raw.handle_bytes as u8, bytes: raw.f_handle })
}

/// Opens the file of a handle; ESTALE when it no longer exists.
pub fn open_handle(mount: BorrowedFd<'_>, handle: &Handle, flags: i32) -> io::Result<OwnedFd> {
    Ok(patiently(|| open_handle_once(mount, handle, flags))?)
}

fn open_handle_once(
    mount: BorrowedFd<'_>, handle: &Handle, flags: i32,
) -> rustix::io::Result<OwnedFd> {
    at(Effect::OpenHandle)?;
    let mut raw = RawHandle {
        handle_bytes: u32::from(handle.length),
        handle_type: handle.kind,
        f_handle: handle.bytes,
    };
    // SAFETY: raw is a valid file_handle for the duration of the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            mount.as_raw_fd(),
            std::ptr::from_mut(&mut raw),
            flags | libc::O_CLOEXEC,
        )
    };
    if fd < 0 {
        let error = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
        return Err(rustix::io::Errno::from_raw_os_error(error));
    }
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Gives this thread its own umask and lets it change its file system user without losing the
/// capabilities that a server of files needs. Called once by each thread that makes files.
pub fn prepare_thread() {
    const PR_SET_SECUREBITS: libc::c_int = 28;
    const SECBIT_NO_SETUID_FIXUP: libc::c_ulong = 1 << 2;
    // SAFETY: both calls change only attributes of the calling thread.
    unsafe {
        libc::unshare(libc::CLONE_FS);
        libc::prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0);
        libc::umask(0);
    }
}

thread_local! {
    static PREPARED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs `make` with the owner, group and umask of the caller, as this thread.
pub fn as_creator<T>(uid: u32, gid: u32, umask: u32, make: impl FnOnce() -> T) -> T {
    PREPARED.with(|done| {
        if !done.replace(true) {
            prepare_thread();
        }
    });
    // SAFETY: setfsuid, setfsgid and umask cannot fail for a privileged thread and concern this
    // thread only (its fs_struct is unshared).
    unsafe {
        libc::umask(umask as libc::mode_t);
        libc::setfsgid(gid);
        libc::setfsuid(uid);
    }
    let made = make();
    // SAFETY: as above.
    unsafe {
        libc::setfsuid(0);
        libc::setfsgid(0);
        libc::umask(0);
    }
    made
}

/// The path by which a descriptor can be opened again or given to calls that want a path.
pub fn proc_path(fd: BorrowedFd<'_>) -> CString {
    CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap_or_default()
}

fn checked(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

pub fn set_xattr(path: &CStr, name: &CStr, value: &[u8], flags: i32) -> io::Result<()> {
    at(Effect::SetXattr)?;
    // SAFETY: all pointers are valid for the call.
    let result = unsafe {
        libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), flags)
    };
    checked(result as libc::ssize_t).map(|_| ())
}

pub fn remove_xattr(path: &CStr, name: &CStr) -> io::Result<()> {
    at(Effect::RemoveXattr)?;
    // SAFETY: all pointers are valid for the call.
    let result = unsafe { libc::removexattr(path.as_ptr(), name.as_ptr()) };
    checked(result as libc::ssize_t).map(|_| ())
}

/// With an empty buffer: how long the value is.
pub fn get_xattr(path: &CStr, name: &CStr, value: &mut [u8]) -> io::Result<usize> {
    at(Effect::GetXattr)?;
    // SAFETY: the buffer is valid and its length is passed.
    let result = unsafe {
        libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len())
    };
    checked(result)
}

/// With an empty buffer: how long the list is.
pub fn list_xattr(path: &CStr, names: &mut [u8]) -> io::Result<usize> {
    at(Effect::ListXattr)?;
    // SAFETY: the buffer is valid and its length is passed.
    let result = unsafe { libc::listxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    checked(result)
}

/// What grows with the number of files is a few large pieces (`mirror_core::packed`). Each is
/// mapped by itself, so that what it has outgrown goes back to the system (heaps of a process that
/// is locked in memory do not shrink), and the heaps of small pieces are few. Without this the C
/// library keeps about as much again as is in use.
pub fn bound_heaps() {
    /// Above what is taken and given back with every large write.
    const LARGE_BYTES: i32 = 4 << 20;
    const HEAPS_MAX: i32 = 2;
    #[cfg(target_env = "gnu")]
    // SAFETY: sets numbers of the C library's allocator, which refuses what it does not know.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * LARGE_BYTES);
        libc::mallopt(libc::M_ARENA_MAX, HEAPS_MAX);
    }
}

/// Locks the process in memory, marks it as part of the reclaim path (so that no thread waits
/// for memory that is freed only by writing through them, as with a loop device on the mount),
/// spares it from the out-of-memory killer, and lets it open as many files as it may. Threads made
/// later inherit the mark. Each is best effort, for a lab or container may not permit it: returns
/// what was refused.
pub fn protect_process() -> Vec<String> {
    const PR_SET_IO_FLUSHER: libc::c_int = 57;
    const MCL_CURRENT_FUTURE_ONFAULT: libc::c_int = 1 | 2 | 4;
    const NONE: libc::c_ulong = 0;
    let mut refused = Vec::new();
    let mut note = |what: &str, ok: bool| {
        if !ok {
            refused.push(format!("{what} ({})", io::Error::last_os_error()));
        }
    };
    // SAFETY: plain attribute changes of this process.
    unsafe {
        let yes: libc::c_ulong = 1;
        let marked = libc::prctl(PR_SET_IO_FLUSHER, yes, NONE, NONE, NONE);
        note("to be part of the reclaim path", marked == 0);
        note("to lock its memory", libc::mlockall(MCL_CURRENT_FUTURE_ONFAULT) == 0);
        let mut files = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut files) == 0 {
            files.rlim_cur = files.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &files);
        }
    }
    let spared = std::fs::write("/proc/self/oom_score_adj", "-1000");
    note("to be spared when memory is short", spared.is_ok());
    refused
}

/// The calling thread leaves the processor to others by so much.
pub fn be_nice(niceness: i32) {
    if niceness != 0 {
        // SAFETY: no pointers; 0 means the calling thread. A refusal changes nothing that matters.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) };
    }
}
