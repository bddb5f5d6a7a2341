//! The control socket as a daemon meets it: a real socket, an engine that only keeps a status.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mirror_fs::control::{serve, Commands, Refusal, Request, Server, MAX_CLIENTS, MAX_LINE_BYTES};
use parking_lot::{Condvar, Mutex};
use serde_json::{json, Map, Value};

const SOON: Duration = Duration::from_secs(5);

/// An engine that remembers what it was asked, and lets `stop` wait until it is released.
struct Engine {
    asked: Mutex<Sender<Request>>,
    release: Mutex<Receiver<()>>,
    status: Mutex<(u64, Value)>,
    changed: Condvar,
}

impl Engine {
    fn set(&self, field: &str, value: Value) {
        let mut status = self.status.lock();
        status.0 += 1;
        status.1[field] = value;
        self.changed.notify_all();
    }
}

impl Commands for Engine {
    fn handle(&self, request: Request) -> Result<Map<String, Value>, Refusal> {
        self.asked.lock().send(request.clone()).unwrap();
        match request {
            Request::BecomePrimary { epoch: 0, .. } => {
                Err(Refusal::new("stale_epoch", "Epoch 0 is older than 4."))
            }
            Request::Stop { abort: false } => {
                self.release.lock().recv_timeout(SOON).unwrap();
                Ok(Map::new())
            }
            Request::Reconcile { .. } => {
                Ok(Map::from_iter([("relation".to_owned(), json!("equal"))]))
            }
            _ => Ok(Map::new()),
        }
    }

    fn status(&self) -> Value {
        self.status.lock().1.clone()
    }

    fn wait_change(&self, since: u64, timeout: Duration) -> u64 {
        let mut status = self.status.lock();
        let same = |status: &mut (u64, Value)| status.0 == since;
        self.changed.wait_while_for(&mut status, same, timeout);
        status.0
    }
}

struct World {
    engine: Arc<Engine>,
    server: Option<Server>,
    path: PathBuf,
    asked: Receiver<Request>,
    release: Sender<()>,
}

impl World {
    fn new() -> World {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("twofold-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("mirror.sock");
        let ((asked, were_asked), (release, released)) = (channel(), channel());
        let engine = Arc::new(Engine {
            asked: Mutex::new(asked),
            release: Mutex::new(released),
            status: Mutex::new((1, json!({"role": "none", "resync": null, "counters": 0}))),
            changed: Condvar::new(),
        });
        let server = Some(serve(&path, engine.clone()).unwrap());
        World { engine, server, path, asked: were_asked, release }
    }

    fn client(&self) -> Client {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Client { lines: BufReader::new(stream) }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.take();
        let _ = std::fs::remove_dir_all(self.path.parent().unwrap());
    }
}

struct Client {
    lines: BufReader<UnixStream>,
}

impl Client {
    fn send(&mut self, text: &str) {
        writeln!(self.lines.get_mut(), "{text}").unwrap();
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "the engine has hung up");
        serde_json::from_str(&line).unwrap()
    }

    fn ask(&mut self, request: Value) -> Value {
        self.send(&request.to_string());
        self.read()
    }

    fn is_hung_up(&mut self) -> bool {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(count) => count == 0,
            Err(e) => e.kind() == ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn commands_reach_the_engine_as_they_were_meant() {
    let world = World::new();
    let mut client = world.client();
    let theirs = json!({"current": "00000000000000ff", "base": "0", "history": [],
        "role": "secondary", "clean": true, "sole": false, "sync_target": false,
        "outdated": true, "epoch": 3});
    for request in [
        json!({"id": 1, "command": "become_primary", "epoch": 4, "alone": true}),
        json!({"id": 2, "command": "become_secondary", "epoch": 5}),
        json!({"id": 3, "command": "continue_alone", "epoch": 6}),
        json!({"id": 4, "command": "outdate", "epoch": 7, "alone": 5}),
        json!({"id": 5, "command": "freeze", "epoch": 8}),
        json!({"id": 6, "command": "thaw", "epoch": 9}),
        json!({"id": 7, "command": "stop", "abort": true}),
        json!({"id": 8, "command": "set_resync_limit", "bytes_per_s": 1000}),
        json!({"id": 9, "command": "set_resync_limit", "bytes_per_s": null}),
        json!({"id": 10, "command": "verify", "repair": true}),
        json!({"id": 11, "command": "stop_verify"}),
        json!({"id": 12, "command": "verify_result"}),
        json!({"id": "text", "command": "reconcile", "theirs": theirs}),
    ] {
        let reply = client.ask(request.clone());
        assert_eq!((&reply["id"], &reply["ok"]), (&request["id"], &json!(true)), "{reply}");
    }
    let asked: Vec<Request> = world.asked.try_iter().collect();
    assert_eq!(
        asked[..12],
        [
            Request::BecomePrimary { epoch: 4, alone: true, first: false, force: false },
            Request::BecomeSecondary { epoch: 5, follow: true },
            Request::ContinueAlone { epoch: 6 },
            Request::Outdate { epoch: 7, alone: 5 },
            Request::Freeze { epoch: 8 },
            Request::Thaw { epoch: 9 },
            Request::Stop { abort: true },
            Request::SetResyncLimit { bytes_per_s: NonZeroU64::new(1000) },
            Request::SetResyncLimit { bytes_per_s: None },
            Request::Verify { repair: true },
            Request::StopVerify,
            Request::VerifyResult,
        ]
    );
    let Request::Reconcile { theirs } = &asked[12] else { panic!("{:?}", asked[12]) };
    assert_eq!((theirs.current, theirs.epoch, theirs.outdated), (255, 3, true));
}

#[test]
fn a_refusal_has_a_code_and_a_sentence() {
    let world = World::new();
    let reply = world.client().ask(json!({"id": 9, "command": "become_primary", "epoch": 0}));
    let error = json!({"code": "stale_epoch", "text": "Epoch 0 is older than 4."});
    assert_eq!(reply, json!({"id": 9, "ok": false, "error": error}));
}

#[test]
fn bad_requests_are_refused_and_the_connection_goes_on() {
    let world = World::new();
    let mut client = world.client();
    for (text, why) in [
        ("hello", "not JSON"),
        ("[1]", "not a JSON object"),
        (r#"{"id": 1}"#, "command"),
        (r#"{"id": 1, "command": "explode"}"#, "unknown variant `explode`"),
        (r#"{"id": 1, "command": "freeze"}"#, "missing field `epoch`"),
        (r#"{"id": 1, "command": "freeze", "epoch": -1}"#, "integer `-1`"),
        (r#"{"id": 1, "command": "freeze", "epoch": 1, "x": 2}"#, "unknown field `x`"),
        (r#"{"id": 1, "command": "status", "x": 2}"#, "unknown field `x`"),
        (r#"{"id": [], "command": "status"}"#, "`id`"),
        (r#"{"id": 1, "command": "reconcile", "theirs": {}}"#, "theirs: missing field"),
        (r#"{"id": 1, "command": "set_resync_limit", "bytes_per_s": 0}"#, "above 0 nor null"),
    ] {
        client.send(text);
        let reply = client.read();
        assert_eq!((&reply["ok"], &reply["error"]["code"]), (&json!(false), &json!("bad_request")));
        assert!(reply["error"]["text"].as_str().unwrap().contains(why), "{text}: {reply}");
    }
    assert!(client.ask(json!({"id": 2, "command": "status"}))["ok"].as_bool().unwrap());
    assert_eq!(world.asked.try_iter().count(), 0, "nothing of that reached the engine");
}

#[test]
fn a_waiting_command_holds_nobody_up_not_even_its_own_client() {
    let world = World::new();
    let (mut first, mut second) = (world.client(), world.client());
    first.send(r#"{"id": 1, "command": "stop"}"#);
    world.asked.recv_timeout(SOON).unwrap();
    assert!(second.ask(json!({"id": 1, "command": "status"}))["ok"].as_bool().unwrap());
    assert_eq!(first.ask(json!({"id": 2, "command": "status"}))["id"], 2);
    assert_eq!(first.ask(json!({"id": 3, "command": "stop", "abort": true}))["id"], 3);
    world.release.send(()).unwrap();
    assert_eq!(first.read(), json!({"id": 1, "ok": true}));
}

#[test]
fn a_subscriber_hears_what_matters_at_once_and_progress_now_and_then() {
    let world = World::new();
    let mut client = world.client();
    assert_eq!(client.ask(json!({"id": 1, "command": "subscribe"})), json!({"id": 1, "ok": true}));
    let first = client.read();
    assert_eq!((&first["event"], &first["status"]["role"]), (&json!("status"), &json!("none")));
    let begun = Instant::now();
    world.engine.set("role", json!("primary"));
    assert_eq!(client.read()["status"]["role"], "primary");
    world.engine.set("resync", json!({"files_done": 0}));
    assert_eq!(client.read()["status"]["resync"], json!({"files_done": 0}));
    assert!(begun.elapsed() < Duration::from_millis(900), "told before it is due");
    let begun = Instant::now();
    let mut events = 0;
    for count in 1..=40 {
        world.engine.set("counters", json!(count));
        std::thread::sleep(Duration::from_millis(10));
    }
    loop {
        events += 1;
        if client.read()["status"]["counters"] == 40 {
            break;
        }
    }
    let bound = begun.elapsed().as_millis() / 200 + 1;
    assert!((1..=bound).contains(&events), "{events} events of progress, at most {bound}");
}

#[test]
fn a_quiet_engine_still_gives_a_sign_of_life() {
    let world = World::new();
    let mut client = world.client();
    client.ask(json!({"command": "subscribe"}));
    client.read();
    let begun = Instant::now();
    client.read();
    assert!(begun.elapsed() >= Duration::from_millis(800), "not more often than needed");
}

#[test]
fn bounds_are_kept() {
    let world = World::new();
    let mut client = world.client();
    client.send(&" ".repeat(MAX_LINE_BYTES + 1));
    assert_eq!(client.read()["error"]["code"], "bad_request");
    assert!(client.is_hung_up());
    let deadline = Instant::now() + SOON;
    let clients: Vec<Client> = (0..MAX_CLIENTS)
        .map(|_| loop {
            // The place of the one that was hung up is free a moment later.
            let mut client = world.client();
            if client.ask(json!({"command": "status"}))["ok"] == true {
                break client;
            }
            assert!(Instant::now() < deadline);
        })
        .collect();
    let mut one_more = world.client();
    assert_eq!(one_more.read()["error"]["code"], "busy");
    assert!(one_more.is_hung_up());
    drop(clients);
}

#[test]
fn closing_lets_the_last_answer_out_and_removes_the_socket() {
    let mut world = World::new();
    let mut client = world.client();
    client.send(r#"{"id": 1, "command": "stop"}"#);
    world.asked.recv_timeout(SOON).unwrap();
    let server = world.server.take().unwrap();
    let closing = std::thread::spawn(move || server.close());
    std::thread::sleep(Duration::from_millis(50));
    world.release.send(()).unwrap();
    assert_eq!(client.read(), json!({"id": 1, "ok": true}));
    assert!(client.is_hung_up());
    closing.join().unwrap();
    assert!(!world.path.exists());
}

#[test]
fn only_the_owner_may_connect_and_only_one_engine_serves() {
    let mut world = World::new();
    let mode = std::fs::metadata(&world.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let second = serve(&world.path, world.engine.clone());
    assert_eq!(second.err().unwrap().kind(), ErrorKind::AddrInUse);
    // What a killed engine leaves behind is replaced.
    drop(world.server.take());
    drop(std::os::unix::net::UnixListener::bind(&world.path).unwrap());
    world.server = Some(serve(&world.path, world.engine.clone()).unwrap());
    assert!(world.client().ask(json!({"command": "status"}))["ok"].as_bool().unwrap());
}
