//! One connection to the peer: TCP with mutual TLS 1.3, frames in, frames out.
//!
//! Any thread may send; one thread receives. The two directions share the socket and, for a moment,
//! where new keys come from: a receiver is not held up by a full socket, so two engines that both
//! send cannot block each other for ever.
//!
//! With `flow_encryption = "off"` the handshake is the same, and what follows it goes as it is.
//!
//! A peer that is silent looks like an idle one; the caller of `Receiver::fill` compares
//! `silent_ms` with its bound and closes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mirror_core::wire;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags};
use rustix::net::SendFlags;
use rustls_pki_types::CertificateDer;

use crate::effect::{self, Effect};
use crate::handshake::Handshake;
use crate::records::{Opener, Sealer, Unsealed};

/// Larger sends are sealed and sent in pieces of so many records, so that the peer opens one while
/// we seal the next.
const PIECE_RECORDS: usize = 12;
/// What is read at a time is decrypted and written next: it should still be in the processor's
/// cache then (with 256 KiB a byte of the flow cost a quarter more).
const RECEIVE_BYTES: usize = 64 * 1024;
/// How long to stay awake at most.
const AWAKE_WAIT: Duration = Duration::from_micros(80);
/// A wait so short that it would have been shorter, had this thread (and the peer's) stayed awake.
const SHORT_WAIT: Duration = Duration::from_micros(160);
const LITTLE_BYTES: usize = 16 << 10;
const AWAKE_MAX: u8 = 8;
/// How often a waiting receiver looks up to see whether it should go on.
const TICK: Duration = Duration::from_millis(100);
const CONGESTION_CONTROL: &str = "cubic";

pub struct Conn {
    socket: TcpStream,
    certificates: Vec<CertificateDer<'static>>,
    /// The sending direction. Whoever holds it has its turn: parts of one run stay together.
    sending: Mutex<Sending>,
    /// The receiving direction, until a receiver takes it.
    opener: Mutex<Option<Opener>>,
    begun: Instant,
    heard_ms: AtomicU64,
    closed: AtomicBool,
}

struct Sending {
    /// `None`: the flow goes as it is.
    sealer: Option<Sealer>,
    sealed: Vec<u8>,
}

impl Conn {
    /// Completes the handshake within `limit`; the caller checks whose certificate it is.
    pub fn begin(socket: TcpStream, handshake: Handshake, limit: Duration) -> io::Result<Conn> {
        socket.set_nodelay(true)?;
        unpaced(&socket);
        socket.set_read_timeout(Some(limit))?;
        socket.set_write_timeout(Some(limit))?;
        let established = handshake.run(&socket, limit)?;
        socket.set_read_timeout(Some(TICK))?;
        socket.set_write_timeout(None)?;
        let (sealer, opener) = established.keys.unzip();
        Ok(Conn {
            socket,
            certificates: established.certificates,
            sending: Mutex::new(Sending { sealer, sealed: Vec::new() }),
            opener: Mutex::new(opener),
            begun: Instant::now(),
            heard_ms: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        })
    }

    /// The peer's certificates, its own first.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Sends the parts as one run of bytes. Blocks while the peer is slow; `close` ends the wait.
    /// After an error nothing more can be sent.
    pub fn send(&self, parts: &[&[u8]]) -> io::Result<()> {
        let mut sending = self.sending.lock();
        let Sending { sealer: Some(sealer), sealed } = &mut *sending else {
            return self.push(parts);
        };
        let mut unsealed = Unsealed::new(parts);
        while !unsealed.is_empty() {
            sealed.clear();
            sealer.seal(&mut unsealed, PIECE_RECORDS, sealed).map_err(io::Error::other)?;
            self.push(&[sealed])?;
        }
        Ok(())
    }

    fn push(&self, parts: &[&[u8]]) -> io::Result<()> {
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
///
/// The buffer holds, from its beginning: frames that were taken, data to be taken, records that
/// have not come whole. Each part begins where the one before ends or later.
pub struct Receiver {
    conn: Arc<Conn>,
    /// `None`: the flow comes as it is.
    opener: Option<Opener>,
    buffer: Vec<u8>,
    taken: usize,
    data_end: usize,
    records: usize,
    records_end: usize,
    /// How much recent waits speak for staying awake.
    awake: u8,
}

impl Receiver {
    /// The one receiver of this connection.
    pub fn new(conn: Arc<Conn>) -> Receiver {
        let opener = conn.opener.lock().take();
        Receiver {
            conn,
            opener,
            buffer: vec![0; 4 * RECEIVE_BYTES],
            taken: 0,
            data_end: 0,
            records: 0,
            records_end: 0,
            awake: 0,
        }
    }

    /// Waits for bytes, at most a tick. An error or the end of the stream: the link is lost.
    pub fn fill(&mut self) -> io::Result<Filled> {
        self.make_room();
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
        self.records_end += count;
        let Some(opener) = &mut self.opener else {
            (self.data_end, self.records) = (self.records_end, self.records_end);
            return Ok(Filled::Bytes);
        };
        let received = &mut self.buffer[..self.records_end];
        while let Some(opened) =
            opener.open(received, self.data_end, self.records).map_err(io::Error::other)?
        {
            self.data_end += opened.data_bytes;
            self.records += opened.record_bytes;
        }
        Ok(Filled::Bytes)
    }

    /// Moves what is left to the beginning, so that as little memory as possible is gone through;
    /// a frame longer than the buffer makes it grow (their length has a bound).
    fn make_room(&mut self) {
        if self.taken > 0 {
            self.buffer.copy_within(self.taken..self.data_end, 0);
            (self.taken, self.data_end) = (0, self.data_end - self.taken);
        }
        if self.records > self.data_end {
            self.buffer.copy_within(self.records..self.records_end, self.data_end);
        }
        let rest = self.records_end - self.records;
        (self.records, self.records_end) = (self.data_end, self.data_end + rest);
        let needed = self.records_end + RECEIVE_BYTES;
        if self.buffer.len() < needed {
            self.buffer.resize(needed, 0);
        }
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
        let part = effect::part(Effect::Receive, RECEIVE_BYTES)?;
        let room = self.records_end..self.records_end + part;
        while self.awake > 0 {
            let flags = rustix::net::RecvFlags::DONTWAIT;
            match rustix::net::recv(&self.conn.socket, &mut self.buffer[room.clone()], flags) {
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
        let count = (&self.conn.socket).read(&mut self.buffer[room])?;
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
        let ahead = &self.buffer[self.taken..self.data_end];
        let Some(length) = wire::frame_len(ahead)? else { return Ok(None) };
        let Some(header) = ahead.first_chunk::<{ wire::HEADER_BYTES }>() else { return Ok(None) };
        let header = wire::decode_header(header)?;
        let start = self.taken + wire::HEADER_BYTES;
        let end = self.taken + length;
        self.taken = end;
        Ok(Some((header, &self.buffer[start..end])))
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
