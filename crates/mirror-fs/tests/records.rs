//! Our records are TLS 1.3: the library itself is the other side of most of these connections.

mod certificates;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use certificates::{authority, name, Folder, CLUSTER};
use mirror_fs::config::{FlowEncryption, TlsFiles};
use mirror_fs::handshake::{Established, Handshake};
use mirror_fs::records::{Opener, RecordError, Sealer, Unsealed, PLAINTEXT_MAX};
use mirror_fs::tls::{client_config, peer_is, server_config, server_name};
use rustls::{ClientConnection, ServerConnection, StreamOwned};

const LIMIT: Duration = Duration::from_secs(5);

struct Nodes {
    _folder: Folder,
    a: TlsFiles,
    b: TlsFiles,
}

fn nodes(test: &str) -> Nodes {
    let (folder, ca) = (Folder::new(test), authority());
    let a = folder.node("a", &[name("a")], &ca, &ca);
    let b = folder.node("b", &[name("b")], &ca, &ca);
    Nodes { _folder: folder, a, b }
}

fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let accepted = listener.accept().unwrap().0;
    for socket in [&dialled, &accepted] {
        socket.set_read_timeout(Some(LIMIT)).unwrap();
    }
    (dialled, accepted)
}

fn dials(nodes: &Nodes) -> Handshake {
    let config = client_config(&nodes.a, FlowEncryption::On).unwrap();
    Handshake::client(config, server_name("b", CLUSTER).unwrap()).unwrap()
}

fn listens(nodes: &Nodes) -> Handshake {
    Handshake::server(server_config(&nodes.b, FlowEncryption::On).unwrap()).unwrap()
}

fn established(socket: TcpStream, handshake: Handshake) -> Ours {
    let Established { certificates, keys } = handshake.run(&socket, LIMIT).unwrap();
    assert!(!certificates.is_empty());
    let (sealer, opener) = keys.unwrap();
    Ours { socket, sealer, opener, buffer: Vec::new() }
}

/// Our end of a connection.
struct Ours {
    socket: TcpStream,
    sealer: Sealer,
    opener: Opener,
    buffer: Vec<u8>,
}

impl Ours {
    fn sealed(&mut self, parts: &[&[u8]]) -> Vec<u8> {
        let (mut unsealed, mut out) = (Unsealed::new(parts), Vec::new());
        while !unsealed.is_empty() {
            self.sealer.seal(&mut unsealed, 3, &mut out).unwrap();
        }
        out
    }

    fn send(&mut self, parts: &[&[u8]]) {
        let sealed = self.sealed(parts);
        self.socket.write_all(&sealed).unwrap();
    }

    /// Reads from the socket until that much data has come.
    fn receive(&mut self, count: usize) -> Result<Vec<u8>, RecordError> {
        let (mut data_end, mut records) = (0, 0);
        while data_end < count {
            match self.opener.open(&mut self.buffer, data_end, records)? {
                Some(opened) => {
                    data_end += opened.data_bytes;
                    records += opened.record_bytes;
                }
                None => {
                    let mut more = [0; 5000];
                    let count = self.socket.read(&mut more).unwrap();
                    assert!(count > 0, "the connection ended");
                    self.buffer.extend_from_slice(&more[..count]);
                }
            }
        }
        let data = self.buffer[..data_end].to_vec();
        self.buffer.drain(..records);
        Ok(data)
    }
}

fn both_ours(nodes: &Nodes) -> (Ours, Ours) {
    let (dialled, accepted) = sockets();
    std::thread::scope(|scope| {
        let listening = scope.spawn(|| established(accepted, listens(nodes)));
        (established(dialled, dials(nodes)), listening.join().unwrap())
    })
}

fn bytes(count: usize, seed: u8) -> Vec<u8> {
    (0..count).map(|n| (n as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

#[test]
fn what_one_end_seals_the_other_opens() {
    let nodes = nodes("both");
    let (mut a, mut b) = both_ours(&nodes);
    for count in [1, 100, PLAINTEXT_MAX - 1, PLAINTEXT_MAX, PLAINTEXT_MAX + 1, 70_000] {
        let data = bytes(count, 7);
        let (front, back) = data.split_at(count / 3);
        a.send(&[front, b"", back]);
        assert_eq!(b.receive(count).unwrap(), data);
        b.send(&[&data]);
        assert_eq!(a.receive(count).unwrap(), data);
    }
}

#[test]
fn nothing_that_was_changed_repeated_or_left_out_is_opened() {
    let nodes = nodes("changed");
    let (mut a, mut b) = both_ours(&nodes);
    let first = a.sealed(&[b"first"]);
    let second = a.sealed(&[b"second"]);
    // Left out: the second does not open where the first is due. The number is used up by that.
    assert_eq!(b.opener.open(&mut second.clone(), 0, 0), Err(RecordError::NotAuthentic));
    for at in 0..first.len() {
        let (mut a, mut b) = both_ours(&nodes);
        let mut record = a.sealed(&[b"first"]);
        record[at] ^= 1;
        let opened = b.opener.open(&mut record, 0, 0);
        // A longer length waits for bytes that never come; everything else is refused.
        assert!(matches!(opened, Err(_) | Ok(None)), "byte {at}: {opened:?}");
    }
    let (mut a, mut b) = both_ours(&nodes);
    let record = a.sealed(&[b"once"]);
    assert_eq!(b.opener.open(&mut record.clone(), 0, 0).unwrap().unwrap().data_bytes, 4);
    assert_eq!(b.opener.open(&mut record.clone(), 0, 0), Err(RecordError::NotAuthentic));
}

#[test]
fn what_is_no_record_of_ours_is_refused() {
    let nodes = nodes("foreign");
    let (_, mut b) = both_ours(&nodes);
    assert_eq!(b.opener.open(&mut [23, 3, 3, 1], 0, 0), Ok(None));
    let mut long = [23, 3, 3, 0x41, 0x01];
    assert_eq!(b.opener.open(&mut long, 0, 0), Err(RecordError::TooLong(0x4101)));
    let mut plain = [22, 3, 3, 0, 1, 0];
    assert_eq!(b.opener.open(&mut plain, 0, 0), Err(RecordError::NotExpected(22)));
    let mut short = [23, 3, 3, 0, 1, 0];
    assert_eq!(b.opener.open(&mut short, 0, 0), Err(RecordError::NotAuthentic));
}

#[test]
fn the_library_understands_us_and_we_the_library_through_changes_of_keys() {
    let nodes = nodes("library");
    let (dialled, accepted) = sockets();
    let data = bytes(40_000, 3);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let config = server_config(&nodes.b, FlowEncryption::On).unwrap();
            let conn = ServerConnection::new(config).unwrap();
            let mut stream = StreamOwned::new(conn, accepted);
            for _ in 0..5 {
                let mut heard = vec![0; data.len()];
                stream.read_exact(&mut heard).unwrap();
                assert_eq!(heard, data);
                stream.conn.refresh_traffic_keys().unwrap();
                stream.write_all(&data).unwrap();
            }
            peer_is(stream.conn.peer_certificates().unwrap(), &name("a")).unwrap();
            stream.conn.send_close_notify();
            stream.flush().unwrap();
        });
        let mut ours = established(dialled, dials(&nodes));
        ours.sealer = ours.sealer.updating_after(2);
        for _ in 0..5 {
            ours.send(&[&data]);
            assert_eq!(ours.receive(data.len()).unwrap(), data);
        }
        assert_eq!(ours.receive(1), Err(RecordError::Ended));
    });
}

#[test]
fn a_library_that_dials_us_is_understood() {
    let nodes = nodes("dials");
    let (dialled, accepted) = sockets();
    let data = bytes(100_000, 9);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let config = client_config(&nodes.a, FlowEncryption::On).unwrap();
            let conn = ClientConnection::new(config, server_name("b", CLUSTER).unwrap()).unwrap();
            let mut stream = StreamOwned::new(conn, dialled);
            // Its first words come right behind its handshake.
            stream.write_all(&data).unwrap();
            let mut heard = vec![0; data.len()];
            stream.read_exact(&mut heard).unwrap();
            assert_eq!(heard, data);
        });
        let mut ours = established(accepted, listens(&nodes));
        assert_eq!(ours.receive(data.len()).unwrap(), data);
        ours.send(&[&data]);
    });
}

#[test]
fn a_refused_peer_hears_why() {
    let nodes = nodes("refused");
    let (folder, foreign) = (Folder::new("refused-other"), authority());
    let stranger = folder.node("a", &[name("a")], &foreign, &foreign);
    let (dialled, accepted) = sockets();
    std::thread::scope(|scope| {
        let listening = scope.spawn(|| listens(&nodes).run(&accepted, LIMIT).err().unwrap());
        let config = client_config(&stranger, FlowEncryption::On).unwrap();
        let dialling = Handshake::client(config, server_name("b", CLUSTER).unwrap()).unwrap();
        let refused = dialling.run(&dialled, LIMIT).err().unwrap().to_string();
        assert!(refused.starts_with("invalid peer certificate"), "{refused}");
        let told = listening.join().unwrap().to_string();
        assert!(told.starts_with("received fatal alert"), "{told}");
    });
}

#[test]
fn a_peer_that_says_a_byte_now_and_then_is_not_waited_for() {
    let nodes = nodes("drips");
    let (mut dialled, accepted) = sockets();
    let limit = Duration::from_millis(300);
    std::thread::scope(|scope| {
        let dripping = scope.spawn(move || {
            for byte in [22, 3, 1, 1, 0].iter().chain(&[1; 200]) {
                std::thread::sleep(Duration::from_millis(20));
                if dialled.write_all(&[*byte]).is_err() {
                    return;
                }
            }
        });
        let begun = Instant::now();
        let error = listens(&nodes).run(&accepted, limit).err().unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        assert!(begun.elapsed() < 4 * limit);
        drop(accepted);
        dripping.join().unwrap();
    });
}

/// Passes bytes on until one side ends, with one byte changed.
fn carry(mut from: TcpStream, mut to: TcpStream, mut change_at: usize, change: u8) {
    let mut bytes = [0; 600];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if let Some(byte) = bytes[..count].get_mut(change_at) {
            *byte ^= change;
        }
        change_at = change_at.wrapping_sub(count);
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
    let _ = from.shutdown(std::net::Shutdown::Both);
}

#[test]
fn a_handshake_with_any_byte_changed_fails_in_order() {
    let nodes = nodes("any");
    let limit = Duration::from_millis(200);
    // Each direction has about 1,400 bytes; a panic here would end a whole engine.
    for step in 0..160 {
        let (at, change) = (step * 17 % 1300, 1 << (step % 8));
        let ((dialled, near), (far, accepted)) = (sockets(), sockets());
        std::thread::scope(|scope| {
            let (near2, far2) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            let to_server = if step % 2 == 0 { at } else { usize::MAX };
            let to_client = if step % 2 == 1 { at } else { usize::MAX };
            scope.spawn(move || carry(near, far, to_server, change));
            scope.spawn(move || carry(far2, near2, to_client, change));
            let listening = scope.spawn(|| {
                let met = listens(&nodes).run(&accepted, limit).is_ok();
                drop(accepted);
                met
            });
            let dialling = dials(&nodes).run(&dialled, limit).is_ok();
            drop(dialled);
            let listening = listening.join().unwrap();
            // Some bytes mean nothing (the version of a record): then both meet.
            assert!(dialling || !listening, "the server met a client that had refused: {at}");
        });
    }
}
