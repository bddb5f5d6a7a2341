//! One connection to the peer: TCP with mutual TLS 1.3, frames in, frames out.
//!
//! Any thread may send; one thread receives. The TLS lock is never held while the socket is waited
//! for: a receiver is not held up by a full socket, so two engines that both send cannot block each
//! other for ever.
//!
//! With `flow_encryption = "off"` the handshake is the same, and what follows it goes as it is. TLS
//! must not read ahead into that: the dialling side says one encrypted word and waits for one, and
//! it is the one that speaks first afterwards (its hello). So neither sends anything plain before
//! the other has read all that was encrypted.
//!
//! A peer that is silent looks like an idle one; the caller of `Receiver::fill` compares
//! `silent_ms` with its bound and closes.

use std::io::{self, BufRead, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mirror_core::wire;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags};
use rustix::net::SendFlags;
use rustls::Connection;

use crate::effect::{self, Effect};
use crate::tls::{agreed_on_plain, handshake_failed};

/// Larger sends are encrypted and sent in pieces, so that the peer decrypts one while we encrypt
/// the next.
const PIECE_BYTES: usize = 192 * 1024;
/// What is read at a time is decrypted and copied next: it should still be in the processor's cache
/// then (with 256 KiB a byte of the flow cost a quarter more).
const RECEIVE_BYTES: usize = 64 * 1024;
/// How long to stay awake at most.
const AWAKE_WAIT: Duration = Duration::from_micros(80);
/// A wait so short that it would have been shorter, had this thread (and the peer's) stayed awake.
const SHORT_WAIT: Duration = Duration::from_micros(160);
const LITTLE_BYTES: usize = 16 << 10;
const AWAKE_MAX: u8 = 8;
/// How often a waiting receiver looks up to see whether it should go on.
const TICK: Duration = Duration::from_millis(100);
const LAST_WORD: &[u8] = b".";
const CONGESTION_CONTROL: &str = "cubic";

pub struct Conn {
    socket: TcpStream,
    tls: Mutex<Connection>,
    /// The flow goes as it is.
    plain: bool,
    /// Whose turn it is to send: parts of one run stay together.
    sending: Mutex<()>,
    begun: Instant,
    heard_ms: AtomicU64,
    closed: AtomicBool,
}

impl Conn {
    /// Completes the handshake of `tls` within `limit`; the caller checks whose certificate it is.
    pub fn handshake(
        mut socket: TcpStream, mut tls: Connection, limit: Duration,
    ) -> io::Result<Conn> {
        socket.set_nodelay(true)?;
        unpaced(&socket);
        socket.set_read_timeout(Some(limit))?;
        socket.set_write_timeout(Some(limit))?;
        while tls.is_handshaking() {
            effect::at(Effect::Handshake)?;
            tls.complete_io(&mut socket).map_err(handshake_failed)?;
        }
        // TLS 1.3: the client's last flight and the server's tickets may still be in the buffer.
        while tls.wants_write() {
            tls.write_tls(&mut socket)?;
        }
        let plain = agreed_on_plain(&tls);
        if plain {
            leave_encryption(&mut socket, &mut tls)?;
        }
        tls.set_buffer_limit(None);
        socket.set_read_timeout(Some(TICK))?;
        socket.set_write_timeout(None)?;
        Ok(Conn {
            socket,
            tls: Mutex::new(tls),
            plain,
            sending: Mutex::new(()),
            begun: Instant::now(),
            heard_ms: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        })
    }

    /// The peer's certificates (its own first), once the handshake is done.
    pub fn peer_certificates(&self) -> Vec<rustls_pki_types::CertificateDer<'static>> {
        let tls = self.tls.lock();
        let certificates = tls.peer_certificates().unwrap_or_default();
        certificates.iter().map(|c| c.clone().into_owned()).collect()
    }

    /// Sends the parts as one run of bytes. Blocks while the peer is slow; `close` ends the wait.
    pub fn send(&self, parts: &[&[u8]]) -> io::Result<()> {
        let _turn = self.sending.lock();
        if self.plain {
            return self.send_plain(parts);
        }
        if parts.iter().map(|part| part.len()).sum::<usize>() <= PIECE_BYTES {
            // One record for header and data where they fit, instead of one each.
            let slices: Vec<io::IoSlice<'_>> = parts.iter().map(|p| io::IoSlice::new(p)).collect();
            let _all = self.tls.lock().writer().write_vectored(&slices)?;
            return self.push();
        }
        for part in parts {
            for piece in part.chunks(PIECE_BYTES) {
                self.tls.lock().writer().write_all(piece)?;
                if piece.len() == PIECE_BYTES {
                    self.push()?;
                }
            }
        }
        self.push()
    }

    /// Sends what is encrypted. The lock is held only while the socket takes bytes at once; a full
    /// socket is waited for without it.
    fn push(&self) -> io::Result<()> {
        loop {
            {
                let mut tls = self.tls.lock();
                let mut socket = AtOnce(&self.socket);
                while tls.wants_write() {
                    match tls.write_tls(&mut socket) {
                        Ok(_) => {}
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        Err(e) => return Err(e),
                    }
                }
                if !tls.wants_write() {
                    return Ok(());
                }
            }
            self.wait_for_room()?;
        }
    }

    fn send_plain(&self, parts: &[&[u8]]) -> io::Result<()> {
        let mut slices: Vec<io::IoSlice<'_>> = parts.iter().map(|p| io::IoSlice::new(p)).collect();
        let mut rest = &mut slices[..];
        io::IoSlice::advance_slices(&mut rest, 0); // empty parts are passed over
        while !rest.is_empty() {
            match AtOnce(&self.socket).write_vectored(rest) {
                Ok(count) => io::IoSlice::advance_slices(&mut rest, count),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.wait_for_room()?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn wait_for_room(&self) -> io::Result<()> {
        let mut ready = [PollFd::new(&self.socket, PollFlags::OUT)];
        match rustix::event::poll(&mut ready, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Ends the connection for both directions and wakes whoever waits on it.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    pub fn silent_ms(&self) -> u64 {
        let now = self.begun.elapsed().as_millis() as u64;
        now.saturating_sub(self.heard_ms.load(Ordering::Relaxed))
    }

    fn heard(&self) {
        self.heard_ms.store(self.begun.elapsed().as_millis() as u64, Ordering::Relaxed);
    }
}

/// The last encrypted word of each side, see the first lines of this file.
fn leave_encryption(socket: &mut TcpStream, tls: &mut Connection) -> io::Result<()> {
    let dials = matches!(tls, Connection::Client(_));
    for says in [dials, !dials] {
        if says {
            tls.writer().write_all(LAST_WORD)?;
            while tls.wants_write() {
                tls.write_tls(socket)?;
            }
            continue;
        }
        let mut heard = Vec::new();
        while !decrypt(tls, &mut heard)? {
            if tls.read_tls(socket)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        if heard != LAST_WORD {
            return Err(io::Error::other("the peer went on encrypting"));
        }
    }
    Ok(())
}

/// Two servers side by side, one flow: there is nothing to be fair to. A congestion control that
/// paces (BBR, the default of some hosts) arms a timer for each run of bytes, which costs a tenth
/// of the processor time of a large write. Where the kernel has no other, its own stays.
fn unpaced(socket: &TcpStream) {
    let _ = rustix::net::sockopt::set_tcp_congestion(socket, CONGESTION_CONTROL);
}

/// The socket as a writer that never waits.
struct AtOnce<'a>(&'a TcpStream);

impl Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[io::IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let mut control = rustix::net::SendAncillaryBuffer::default();
        let asked = slices.iter().map(|slice| slice.len()).sum();
        let part = effect::part(Effect::Send, asked)?;
        if part < asked {
            let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let sent = rustix::net::send(self.0, &bytes[..part], flags);
            effect::done(asked, part);
            return Ok(sent?);
        }
        Ok(rustix::net::sendmsg(self.0, slices, &mut control, flags)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a call of `fill` found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filled {
    Bytes,
    /// Nothing came within a tick.
    Quiet,
}

/// The receiving end: bytes in, whole frames out.
pub struct Receiver {
    conn: Arc<Conn>,
    raw: Vec<u8>,
    plain: Vec<u8>,
    taken: usize,
    begun: bool,
    /// How much recent waits speak for staying awake.
    awake: u8,
}

impl Receiver {
    pub fn new(conn: Arc<Conn>) -> Receiver {
        Receiver {
            conn,
            raw: vec![0; RECEIVE_BYTES],
            plain: Vec::new(),
            taken: 0,
            begun: false,
            awake: 0,
        }
    }

    /// Waits for bytes, at most a tick. An error or the end of the stream: the link is lost.
    pub fn fill(&mut self) -> io::Result<Filled> {
        if self.taken > 0 {
            self.plain.drain(..self.taken);
            self.taken = 0;
        }
        if !self.begun && !self.conn.plain {
            // The peer's first words may have come with the end of its handshake.
            self.begun = true;
            let mut tls = self.conn.tls.lock();
            if decrypt(&mut tls, &mut self.plain)? {
                return Ok(Filled::Bytes);
            }
        }
        let count = match self.read() {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                if self.conn.closed.load(Ordering::Relaxed) {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
                return Ok(Filled::Quiet);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(Filled::Quiet),
            Err(e) => return Err(e),
        };
        self.conn.heard();
        if self.conn.plain {
            self.plain.extend_from_slice(&self.raw[..count]);
            return Ok(Filled::Bytes);
        }
        let mut rest = &self.raw[..count];
        let mut tls = self.conn.tls.lock();
        while !rest.is_empty() {
            tls.read_tls(&mut rest)?;
            decrypt(&mut tls, &mut self.plain)?;
        }
        Ok(Filled::Bytes)
    }

    /// Reads from the socket: by sleeping or, while small operations follow each other closely, by
    /// asking again and again for a moment.
    ///
    /// Waking a sleeping thread costs more than the work it wakes for (on a virtual machine whose
    /// processor has gone idle, 20 to 30 us), and an operation waits for two such threads. But a
    /// thread that stays awake for nothing takes the processor from those who work: so only after
    /// short waits for little data, and no more after waiting in vain.
    fn read(&mut self) -> io::Result<usize> {
        let begun = Instant::now();
        let part = effect::part(Effect::Receive, self.raw.len())?;
        while self.awake > 0 {
            let flags = rustix::net::RecvFlags::DONTWAIT;
            match rustix::net::recv(&self.conn.socket, &mut self.raw[..part], flags) {
                Ok((count, _)) => return Ok(self.rate(count, begun)),
                Err(rustix::io::Errno::AGAIN) if begun.elapsed() < AWAKE_WAIT => {
                    std::thread::yield_now();
                }
                Err(rustix::io::Errno::AGAIN) => {
                    self.awake = 0;
                    break;
                }
                Err(e) => return Err(e.into()),
            }
        }
        let count = (&self.conn.socket).read(&mut self.raw[..part])?;
        Ok(self.rate(count, begun))
    }

    /// Learns from what came, and when, whether staying awake pays.
    fn rate(&mut self, count: usize, begun: Instant) -> usize {
        let pays = count < LITTLE_BYTES && begun.elapsed() < SHORT_WAIT;
        self.awake = if pays { (self.awake + 1).min(AWAKE_MAX) } else { self.awake / 2 };
        count
    }

    /// The next whole frame: its header and body. None: more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<(wire::Header, &[u8])>, wire::WireError> {
        let ahead = &self.plain[self.taken..];
        let Some(length) = wire::frame_len(ahead)? else { return Ok(None) };
        let Some(header) = ahead.first_chunk::<{ wire::HEADER_BYTES }>() else { return Ok(None) };
        let header = wire::decode_header(header)?;
        let start = self.taken + wire::HEADER_BYTES;
        let end = self.taken + length;
        self.taken = end;
        Ok(Some((header, &self.plain[start..end])))
    }

    /// The next whole frame, waiting for it until `limit`.
    pub fn wait_frame(&mut self, limit: Duration) -> io::Result<(wire::Header, Vec<u8>)> {
        let until = Instant::now() + limit;
        loop {
            if let Some((header, body)) = self.next_frame().map_err(io::Error::other)? {
                return Ok((header, body.to_vec()));
            }
            if Instant::now() > until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.fill()?;
        }
    }
}

/// Appends what can be decrypted now; false: nothing.
fn decrypt(tls: &mut Connection, plain: &mut Vec<u8>) -> io::Result<bool> {
    let state = tls.process_new_packets().map_err(io::Error::other)?;
    let mut left = state.plaintext_bytes_to_read();
    let found = left > 0;
    while left > 0 {
        let mut reader = tls.reader();
        let chunk = reader.fill_buf()?;
        plain.extend_from_slice(chunk);
        let length = chunk.len();
        reader.consume(length);
        left = left.saturating_sub(length.max(1));
    }
    Ok(found)
}
