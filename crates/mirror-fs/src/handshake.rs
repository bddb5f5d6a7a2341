//! The TLS 1.3 handshake of a flow: who the peer is, and the keys for what follows.
//!
//! The library leads the handshake and is then put aside: it hands out the traffic keys, and what
//! follows is sealed and opened where it lies (`records`), or goes as it is where both sides agreed
//! on that. So nothing may be read beyond the handshake's own bytes: the socket is read record by
//! record, and no session tickets are given out that could come behind the last one.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};

use crate::effect::{self, Effect};
use crate::records::{self, Opener, Sealer, Secrets};
use crate::tls::{agreed_on_plain, handshake_failed};

/// One end of a handshake that has not begun.
pub enum Handshake {
    Client(UnbufferedClientConnection),
    Server(UnbufferedServerConnection),
}

/// What a completed handshake leaves.
pub struct Established {
    /// Of the peer, its own first; which name must be on it is the caller's to say.
    pub certificates: Vec<CertificateDer<'static>>,
    /// `None`: both sides agreed that the flow is not encrypted.
    pub keys: Option<(Sealer, Opener)>,
}

/// What the library wants next.
enum Step {
    Again,
    Transmit,
    NeedsMore,
    Done,
}

impl Handshake {
    pub fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<Handshake> {
        let conn = UnbufferedClientConnection::new(config, name).map_err(io::Error::other)?;
        Ok(Handshake::Client(conn))
    }

    pub fn server(config: Arc<ServerConfig>) -> io::Result<Handshake> {
        let conn = UnbufferedServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Handshake::Server(conn))
    }

    /// Completes it within `limit`; the socket's read timeout is at most that.
    pub fn run(mut self, mut socket: &TcpStream, limit: Duration) -> io::Result<Established> {
        let until = Instant::now() + limit;
        let (mut incoming, mut outgoing) = (Vec::new(), Vec::new());
        loop {
            let (discard, step) = self.advance(&mut incoming, &mut outgoing);
            incoming.drain(..discard);
            match step {
                Ok(Step::Again) => {}
                Ok(Step::Transmit) => {
                    effect::at(Effect::Handshake)?;
                    socket.write_all(&outgoing)?;
                    outgoing.clear();
                }
                Ok(Step::NeedsMore) => {
                    effect::at(Effect::Handshake)?;
                    read_record(socket, &mut incoming, until)?;
                }
                Ok(Step::Done) => break,
                Err(error) => {
                    self.say_why(socket, &mut incoming, outgoing);
                    let error = io::Error::new(io::ErrorKind::InvalidData, error);
                    return Err(handshake_failed(error));
                }
            }
        }
        self.established()
    }

    fn advance(
        &mut self, incoming: &mut [u8], outgoing: &mut Vec<u8>,
    ) -> (usize, Result<Step, rustls::Error>) {
        match self {
            Handshake::Client(conn) => step(conn.process_tls_records(incoming), outgoing),
            Handshake::Server(conn) => step(conn.process_tls_records(incoming), outgoing),
        }
    }

    /// The peer is told by an alert why the handshake failed, if it can be. What it said may be
    /// half read: the library goes by its place in that.
    fn say_why(&mut self, mut socket: &TcpStream, incoming: &mut Vec<u8>, mut outgoing: Vec<u8>) {
        while let (discard, Ok(Step::Again)) = self.advance(incoming, &mut outgoing) {
            incoming.drain(..discard);
        }
        let _ = socket.write_all(&outgoing);
    }

    fn established(self) -> io::Result<Established> {
        let state: &CommonState = match &self {
            Handshake::Client(conn) => conn,
            Handshake::Server(conn) => conn,
        };
        let shown = state.peer_certificates().unwrap_or_default();
        let certificates = shown.iter().map(|c| c.clone().into_owned()).collect();
        if agreed_on_plain(state) {
            return Ok(Established { certificates, keys: None });
        }
        let (first, later) = match self {
            Handshake::Client(conn) => {
                let (first, later) =
                    conn.dangerous_into_kernel_connection().map_err(io::Error::other)?;
                (first, Secrets::Client(later))
            }
            Handshake::Server(conn) => {
                let (first, later) =
                    conn.dangerous_into_kernel_connection().map_err(io::Error::other)?;
                (first, Secrets::Server(later))
            }
        };
        let keys = records::begin(first, later).map_err(io::Error::other)?;
        Ok(Established { certificates, keys: Some(keys) })
    }
}

fn step<D>(
    status: UnbufferedStatus<'_, '_, D>, outgoing: &mut Vec<u8>,
) -> (usize, Result<Step, rustls::Error>) {
    let UnbufferedStatus { discard, state } = status;
    let step = match state {
        Err(error) => Err(error),
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            let begun = outgoing.len();
            // The first try, without room, tells how much is needed.
            while let Err(EncodeError::InsufficientSize(more)) = data.encode(&mut outgoing[begun..])
            {
                outgoing.resize(begun + more.required_size, 0);
            }
            Ok(Step::Again)
        }
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Step::Transmit)
        }
        Ok(ConnectionState::BlockedHandshake) => Ok(Step::NeedsMore),
        Ok(ConnectionState::WriteTraffic(_)) => Ok(Step::Done),
        // Data before the handshake's end, or the end of it all.
        Ok(_) => Err(rustls::Error::HandshakeNotComplete),
    };
    (discard, step)
}

/// Appends exactly one record.
fn read_record(socket: &TcpStream, incoming: &mut Vec<u8>, until: Instant) -> io::Result<()> {
    let begun = incoming.len();
    incoming.resize(begun + records::HEADER_BYTES, 0);
    read_exactly(socket, &mut incoming[begun..], until)?;
    let length = records::body_bytes(&incoming[begun..]).map_err(io::Error::other)?;
    let body = incoming.len();
    incoming.resize(body + length, 0);
    read_exactly(socket, &mut incoming[body..], until)
}

/// A peer that sends a byte now and then is not waited for longer than one that is silent.
fn read_exactly(mut socket: &TcpStream, mut into: &mut [u8], until: Instant) -> io::Result<()> {
    while !into.is_empty() {
        if Instant::now() > until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match socket.read(into) {
            Ok(0) => {
                let text = "the connection ended in the handshake";
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            Ok(count) => into = &mut into[count..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
