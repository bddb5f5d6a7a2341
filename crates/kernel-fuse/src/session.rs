//! A mount from its first request to its last.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::abi::{self, init};
use crate::device::Device;
use crate::notices::Notices;
use crate::out::Out;
use crate::reply::Reply;
use crate::request::{Init, Operation, Request};

/// What we would have the kernel do.
pub struct Wishes {
    /// Of `abi::init`; what it cannot do is not done.
    pub flags: u64,
    pub max_write_bytes: u32,
    /// The kernel takes the smaller one of this and what stands with the mount.
    pub max_read_ahead_bytes: u32,
    /// Requests that nobody waits for, at a time, and from how many on it holds back.
    pub max_background: u16,
    pub congestion_threshold: u16,
}

/// Who answers. It is called by several threads at a time.
pub trait Handler: Send + Sync + 'static {
    fn handle(&self, request: Request<'_>, reply: Reply);
}

pub struct Session {
    device: Arc<Device>,
    max_write_bytes: u32,
    agreed: u64,
}

impl Session {
    /// Hears the first request of a mount just made, and agrees on what both can do.
    pub fn begin(fd: OwnedFd, wishes: &Wishes) -> io::Result<Session> {
        let device = Arc::new(Device::new(fd));
        let mut buffer = Buffer::new(wishes.max_write_bytes);
        let ended = || io::Error::new(io::ErrorKind::NotConnected, "it was unmounted at once");
        let bytes = device.receive(buffer.room())?.ok_or_else(ended)?;
        let request =
            Request::read(bytes, 0).map_err(|malformed| io::Error::other(malformed.what))?;
        let reply = Reply::new(device.clone(), request.unique);
        let kernel = match request.operation {
            Operation::Init(kernel) => kernel,
            other => return Err(io::Error::other(format!("it begins with {other:?}"))),
        };
        if let Err(sentence) = can_talk(&kernel) {
            reply.error(libc::EPROTO);
            return Err(io::Error::other(sentence));
        }
        let agreed = kernel.flags & (wishes.flags | init::INIT_EXT | init::MAX_PAGES);
        let mut out = Out::new();
        out.init(wishes, agreed, rustix::param::page_size() as u32);
        device.send(out.finish(request.unique))?;
        reply.none();
        Ok(Session { device, max_write_bytes: wishes.max_write_bytes, agreed })
    }

    /// Has the kernel agreed to this wish?
    pub fn agreed(&self, flag: u64) -> bool {
        self.agreed & flag != 0
    }

    pub fn notices(&self) -> Notices {
        Notices(self.device.clone())
    }

    /// Serves until the file system is unmounted.
    pub fn serve(
        self, threads: usize, stack_bytes: usize, handler: &Arc<impl Handler>,
    ) -> io::Result<()> {
        let mut devices = vec![self.device.clone()];
        for _ in 1..threads {
            devices.push(Arc::new(self.device.another()?));
        }
        let mut running = Vec::new();
        for (number, device) in devices.into_iter().enumerate() {
            let (handler, max_write_bytes) = (handler.clone(), self.max_write_bytes);
            let agreed = self.agreed;
            let serve = move || serve_device(&device, max_write_bytes, agreed, &*handler);
            let thread = std::thread::Builder::new().name(format!("fuse-{number}"));
            running.push(thread.stack_size(stack_bytes).spawn(serve)?);
        }
        let panicked = || io::Error::other("a thread of it panicked");
        let ends = running.into_iter().map(|thread| thread.join().map_err(|_| panicked())?);
        ends.collect::<Vec<io::Result<()>>>().into_iter().collect()
    }
}

fn can_talk(kernel: &Init) -> Result<(), String> {
    let (major, minor) = (kernel.major, kernel.minor);
    if major != abi::MAJOR || minor < abi::OLDEST_MINOR {
        return Err(format!(
            "the kernel speaks FUSE {major}.{minor}; {}.{} or a later {0}.x is needed",
            abi::MAJOR,
            abi::OLDEST_MINOR
        ));
    }
    Ok(())
}

fn serve_device(
    device: &Arc<Device>, max_write: u32, agreed: u64, handler: &dyn Handler,
) -> io::Result<()> {
    let mut buffer = Buffer::new(max_write);
    while let Some(bytes) = device.receive(buffer.room())? {
        let request = match Request::read(bytes, agreed) {
            Ok(request) => request,
            Err(malformed) => {
                tracing::error!("a request of the kernel cannot be read: {}", malformed.what);
                if let Some(unique) = malformed.unique {
                    Reply::new(device.clone(), unique).error(libc::EIO);
                }
                continue;
            }
        };
        let reply = Reply::new(device.clone(), request.unique);
        match request.operation {
            Operation::Destroy => {
                reply.ok();
                return Ok(());
            }
            Operation::Init(_) => reply.error(libc::EIO),
            _ => handler.handle(request, reply),
        }
    }
    Ok(())
}

/// For one request. The data of a write begins at the beginning of a page, where copying is cheap.
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    fn new(max_write_bytes: u32) -> Buffer {
        let page = rustix::param::page_size();
        let bytes = vec![0; max_write_bytes as usize + 3 * page];
        let misplaced = (bytes.as_ptr() as usize + abi::WRITE_HEADER_BYTES) % page;
        Buffer { bytes, start: (page - misplaced) % page }
    }

    fn room(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }
}
