//! A descriptor of /dev/fuse.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;

/// FUSE_DEV_IOC_CLONE: this descriptor is one more for the mount of that one.
const CLONE: libc::c_ulong = 0x8004_e500;

pub(crate) struct Device(OwnedFd);

impl Device {
    pub fn new(fd: OwnedFd) -> Device {
        Device(fd)
    }

    /// Another descriptor of the same mount, with requests of its own.
    pub fn another(&self) -> io::Result<Device> {
        let file = File::options().read(true).write(true).open("/dev/fuse")?;
        let mut number = self.0.as_raw_fd() as u32;
        // SAFETY: both descriptors are open, and the call reads one number.
        let result = unsafe { libc::ioctl(file.as_raw_fd(), CLONE, &mut number) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Device(file.into()))
    }

    /// The next request; `None` when the file system is mounted no longer.
    pub fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<Option<&'b [u8]>> {
        loop {
            match rustix::io::read(self.0.as_fd(), &mut *buffer) {
                Ok(count) => return Ok(Some(&buffer[..count])),
                // A request that was taken back meanwhile.
                Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => {}
                Err(Errno::NODEV) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub fn send(&self, whole: &[u8]) -> io::Result<()> {
        rustix::io::write(self.0.as_fd(), whole)?;
        Ok(())
    }

    pub fn send_parts(&self, parts: &[IoSlice<'_>]) -> io::Result<()> {
        rustix::io::writev(self.0.as_fd(), parts)?;
        Ok(())
    }
}
