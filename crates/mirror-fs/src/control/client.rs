//! One client of the control socket: its lines, its answers, its events.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::request::{self, Asked, Refusal};
use super::{spawn, Shared, MAX_CLIENTS, MAX_LINE_BYTES, MAX_WAITING};

/// A client that does not read for so long is dropped.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// Progress alone is told no more often than this.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// The status is told at least this often: its times go on although nothing happens.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// Fields that change all the time and can wait a little; every other change is told at once.
const PROGRESS_FIELDS: [&str; 6] =
    ["link_silent_ms", "resync", "verify", "pending_operations", "parked_operations", "counters"];

/// The writing half, shared by whoever has something to say to this client.
struct Client {
    stream: Mutex<UnixStream>,
    gone: AtomicBool,
    subscribed: AtomicBool,
    waiting: AtomicUsize,
}

impl Client {
    /// Send one line; a client that cannot take it is gone.
    fn send(&self, line: &[u8]) {
        let sent = self.stream.lock().write_all(line);
        if sent.is_err() {
            self.hang_up();
        }
    }

    /// End the connection; the reading thread notices.
    fn hang_up(&self) {
        self.gone.store(true, Ordering::Release);
        let _ = self.stream.lock().shutdown(std::net::Shutdown::Both);
    }
}

/// Give the client a thread, or tell it why not.
pub fn welcome(number: u64, stream: UnixStream, shared: &Arc<Shared>) -> io::Result<()> {
    stream.set_write_timeout(Some(WRITE_LIMIT))?;
    let client = Arc::new(Client {
        stream: Mutex::new(stream.try_clone()?),
        gone: AtomicBool::new(false),
        subscribed: AtomicBool::new(false),
        waiting: AtomicUsize::new(0),
    });
    {
        let mut clients = shared.clients.lock();
        if clients.len() >= MAX_CLIENTS {
            let text = format!("The engine already has {MAX_CLIENTS} clients; close one of them.");
            client.send(&request::reply(&Value::Null, Err(Refusal::new("busy", text))));
            return Ok(());
        }
        clients.push((number, stream.try_clone()?));
    }
    let reading = {
        let shared = shared.clone();
        move || {
            read_lines(stream, &client, &shared);
            client.gone.store(true, Ordering::Release);
            forget(number, &shared);
        }
    };
    spawn("control-client", reading).map(drop).inspect_err(|_| forget(number, shared))
}

fn forget(number: u64, shared: &Shared) {
    shared.clients.lock().retain(|(other, _)| *other != number);
}

fn read_lines(stream: UnixStream, client: &Arc<Client>, shared: &Arc<Shared>) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while !client.gone.load(Ordering::Acquire) {
        match read_line(&mut reader, &mut line) {
            Ok(Line::Whole) if line.iter().all(u8::is_ascii_whitespace) => {}
            Ok(Line::Whole) => answer(&line, client, shared),
            Ok(Line::TooLong) => {
                let text = format!("A request is at most {MAX_LINE_BYTES} bytes long.");
                client.send(&request::reply(&Value::Null, Err(Refusal::new("bad_request", text))));
                return client.hang_up();
            }
            Ok(Line::End) | Err(_) => return,
        }
    }
}

enum Line {
    Whole,
    TooLong,
    End,
}

fn read_line(reader: &mut BufReader<UnixStream>, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    loop {
        let ahead = match reader.fill_buf() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if ahead.is_empty() {
            return Ok(Line::End);
        }
        let end = ahead.iter().position(|byte| *byte == b'\n');
        let piece = end.unwrap_or(ahead.len());
        if line.len() + piece > MAX_LINE_BYTES {
            return Ok(Line::TooLong);
        }
        line.extend_from_slice(&ahead[..piece]);
        reader.consume(piece + usize::from(end.is_some()));
        if end.is_some() {
            return Ok(Line::Whole);
        }
    }
}

fn answer(line: &[u8], client: &Arc<Client>, shared: &Arc<Shared>) {
    let (id, asked) = request::parse(line);
    let outcome = match asked {
        Err(refusal) => Err(refusal),
        Ok(Asked::Status) => Ok(with_status(shared)),
        Ok(Asked::Subscribe) => {
            // The reply first, so that a client never sees an event that it has not asked for yet.
            client.send(&request::reply(&id, Ok(Map::new())));
            return subscribe(client, shared);
        }
        Ok(Asked::Do(request)) if request.waits() => {
            match carry_out_aside(&id, request, client, shared) {
                Ok(()) => return,
                Err(refusal) => Err(refusal),
            }
        }
        Ok(Asked::Do(request)) => shared.commands.handle(request),
    };
    client.send(&request::reply(&id, outcome));
}

fn with_status(shared: &Shared) -> Map<String, Value> {
    Map::from_iter([("status".to_owned(), shared.commands.status())])
}

/// Run a command that waits on a thread of its own, which also sends the answer.
fn carry_out_aside(
    id: &Value, request: request::Request, client: &Arc<Client>, shared: &Arc<Shared>,
) -> Result<(), Refusal> {
    if client.waiting.fetch_add(1, Ordering::AcqRel) >= MAX_WAITING {
        client.waiting.fetch_sub(1, Ordering::AcqRel);
        let text = format!("{MAX_WAITING} commands of this client are still running.");
        return Err(Refusal::new("busy", text));
    }
    shared.begin();
    let running = {
        let (id, client, shared) = (id.clone(), client.clone(), shared.clone());
        move || {
            let outcome = shared.commands.handle(request);
            client.send(&request::reply(&id, outcome));
            client.waiting.fetch_sub(1, Ordering::AcqRel);
            shared.end();
        }
    };
    spawn("control-command", running).map(drop).map_err(|e| {
        client.waiting.fetch_sub(1, Ordering::AcqRel);
        shared.end();
        Refusal::new("busy", format!("The engine cannot start a thread for the command: {e}."))
    })
}

fn subscribe(client: &Arc<Client>, shared: &Arc<Shared>) {
    if client.subscribed.swap(true, Ordering::AcqRel) {
        return;
    }
    let telling = {
        let (client, shared) = (client.clone(), shared.clone());
        move || tell(&client, &shared)
    };
    if let Err(e) = spawn("control-events", telling) {
        tracing::warn!("a subscriber is dropped, there is no thread for its events: {e}");
        client.hang_up();
    }
}

/// Send the status now, at once after each change that matters, and progress now and then.
fn tell(client: &Client, shared: &Shared) {
    let mut version = shared.commands.wait_change(0, Duration::ZERO);
    let mut told = shared.commands.status();
    let mut told_at = Instant::now();
    client.send(&request::status_event(told.clone()));
    let mut untold = false;
    while !client.gone.load(Ordering::Acquire) && !shared.closing.load(Ordering::Acquire) {
        let every = if untold { PROGRESS_EVERY } else { STATUS_EVERY };
        let left = every.saturating_sub(told_at.elapsed());
        let now = shared.commands.wait_change(version, left);
        let changed = now != version;
        version = now;
        let due = told_at.elapsed() >= every;
        if !changed && !due {
            continue;
        }
        let status = shared.commands.status();
        if due || matters(&told, &status) {
            client.send(&request::status_event(status.clone()));
            (told, told_at, untold) = (status, Instant::now(), false);
        } else {
            untold = true;
        }
    }
}

/// Whether anything but progress is different (that a resync begins or ends is not progress).
fn matters(before: &Value, after: &Value) -> bool {
    let (Value::Object(before), Value::Object(after)) = (before, after) else {
        return before != after;
    };
    before.len() != after.len()
        || before.get("resync").is_some_and(Value::is_null)
            != after.get("resync").is_some_and(Value::is_null)
        || after.iter().any(|(name, value)| {
            !PROGRESS_FIELDS.contains(&name.as_str()) && before.get(name) != Some(value)
        })
}
