//! The control socket: JSON lines over a Unix stream, several clients at once.
//!
//! Each client has a thread that reads its lines. A command that waits runs on a thread of its own,
//! so that neither the other clients nor this client's next command (an abort, say) is held up. A
//! client that has subscribed has one more thread that writes events.
//!
//! Everything is bounded: clients, length of a line, commands in flight, and how long a client may
//! take to read what is written to it. A client that breaks a bound loses its connection; the
//! engine
//! does not notice.

mod client;
mod request;

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use serde_json::{Map, Value};

pub use request::{parse, Asked, Refusal, Request};

/// Clients beyond this are refused with a reason.
pub const MAX_CLIENTS: usize = 32;
/// A longer line ends the connection.
pub const MAX_LINE_BYTES: usize = 64 << 10;
/// Commands of one client that wait at the same time.
pub const MAX_WAITING: usize = 8;
/// How long `close` lets running commands send their answers.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// The engine, as its control socket sees it.
pub trait Commands: Send + Sync + 'static {
    /// Carry out a command; the fields returned become part of the reply.
    fn handle(&self, request: Request) -> Result<Map<String, Value>, Refusal>;

    fn status(&self) -> Value;

    /// Wait until the status has another version than `since`, at most `timeout`; returns
    /// the version.
    fn wait_change(&self, since: u64, timeout: Duration) -> u64;
}

/// What all threads of the server share.
struct Shared {
    commands: Arc<dyn Commands>,
    closing: AtomicBool,
    /// Streams of the connected clients by number, to be shut down at the end.
    clients: Mutex<Vec<(u64, UnixStream)>>,
    in_flight: Mutex<usize>,
    none_in_flight: Condvar,
}

impl Shared {
    fn begin(&self) {
        *self.in_flight.lock() += 1;
    }

    fn end(&self) {
        let mut count = self.in_flight.lock();
        *count -= 1;
        if *count == 0 {
            self.none_in_flight.notify_all();
        }
    }
}

/// The running server; `close` it before the process ends, so that the last answers get out.
pub struct Server {
    path: PathBuf,
    shared: Arc<Shared>,
    accepting: Option<thread::JoinHandle<()>>,
}

/// Open the socket and serve it. An old socket file that nobody serves is replaced.
pub fn serve(path: &Path, commands: Arc<dyn Commands>) -> io::Result<Server> {
    if UnixStream::connect(path).is_ok() {
        let text = format!("another engine already serves {}", path.display());
        return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
    }
    // Made under another name first: the real name never stands for a socket that others may open.
    let made = path.with_extension("sock.new");
    for old in [path, &made] {
        match std::fs::remove_file(old) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    let listener = UnixListener::bind(&made)?;
    std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&made, path)?;
    let shared = Arc::new(Shared {
        commands,
        closing: AtomicBool::new(false),
        clients: Mutex::new(Vec::new()),
        in_flight: Mutex::new(0),
        none_in_flight: Condvar::new(),
    });
    let accepting = spawn("control", {
        let shared = shared.clone();
        move || accept(&listener, &shared)
    })?;
    Ok(Server { path: path.to_path_buf(), shared, accepting: Some(accepting) })
}

impl Server {
    /// Accept nobody more, let running commands answer (within a bound), end the connections and
    /// remove the socket.
    pub fn close(mut self) {
        self.shut();
    }

    fn shut(&mut self) {
        let Some(accepting) = self.accepting.take() else { return };
        self.shared.closing.store(true, Ordering::Release);
        // Wakes the thread that accepts. Should the file be gone, nobody can connect any more, and
        // that thread is left to the end of the process.
        if UnixStream::connect(&self.path).is_ok() {
            let _ = accepting.join();
        }
        let mut count = self.shared.in_flight.lock();
        let some_left = |count: &mut usize| *count > 0;
        self.shared.none_in_flight.wait_while_for(&mut count, some_left, CLOSE_LIMIT);
        drop(count);
        for (_, stream) in self.shared.clients.lock().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shut();
    }
}

fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    let mut number = 0;
    while !shared.closing.load(Ordering::Acquire) {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(e) => {
                // Out of descriptors, say: it passes, and must not become a busy loop.
                tracing::warn!("the control socket cannot accept a client: {e}");
                thread::sleep(Duration::from_millis(200));
                continue;
            }
        };
        if shared.closing.load(Ordering::Acquire) {
            return;
        }
        number += 1;
        if let Err(e) = client::welcome(number, stream, shared) {
            tracing::warn!("a client of the control socket was lost: {e}");
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(name.into()).stack_size(crate::primary::STACK_BYTES).spawn(work)
}
