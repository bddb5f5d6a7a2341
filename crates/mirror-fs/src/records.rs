//! TLS 1.3 records of an established connection, sealed and opened where they lie.
//!
//! What is on the wire is TLS 1.3 as RFC 8446 (5.2, 4.6.3) has it; the library led the handshake
//! and still derives the keys. Only the copying is our own: the library copies what it receives
//! three times and allocates for each record on both sides, which cost more than the encryption
//! itself (`docs/internals/bench.md`). Here a record is decrypted to the place where its plaintext
//! belongs, right behind that of the record before.
//!
//! A key seals at most `UPDATE_AFTER` records, then the next one is announced (KeyUpdate). Anything
//! that does not fit ends the connection: there is no way to go on after it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use parking_lot::Mutex;
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey, NONCE_LEN};
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{AlertDescription, ConnectionTrafficSecrets, ExtractedSecrets};

/// Of a record: type, version, length.
pub const HEADER_BYTES: usize = 5;
/// The most plaintext in a record.
pub const PLAINTEXT_MAX: usize = 1 << 14;
/// A sealed record's body is at most so much longer.
const EXPANSION_MAX: usize = 256;
const TAG_BYTES: usize = 16;
/// AES-GCM keeps its promise for 2^24.5 full records under a key (RFC 8446, 5.5).
const UPDATE_AFTER: u64 = 1 << 23;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// Why a record ends the connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordError {
    TooLong(usize),
    NotExpected(u8),
    /// Changed on the way, or sealed by someone else.
    NotAuthentic,
    Alert(AlertDescription),
    /// The peer has said that nothing follows.
    Ended,
    Keys(String),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::TooLong(bytes) => write!(f, "a TLS record of {bytes} bytes came"),
            RecordError::NotExpected(kind) => write!(f, "a TLS record of kind {kind} came"),
            RecordError::NotAuthentic => f.write_str("a TLS record was changed on its way"),
            RecordError::Alert(alert) => write!(f, "received fatal alert: {alert:?}"),
            RecordError::Ended => f.write_str("the peer has ended the connection"),
            RecordError::Keys(text) => write!(f, "the TLS keys cannot be used: {text}"),
        }
    }
}

impl std::error::Error for RecordError {}

/// Derives the keys that follow the first ones.
pub enum Secrets {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
}

impl Secrets {
    fn next_to_send(&mut self) -> Result<Keys, RecordError> {
        let next = match self {
            Secrets::Client(conn) => conn.update_tx_secret(),
            Secrets::Server(conn) => conn.update_tx_secret(),
        };
        Keys::of(next.map_err(|e| RecordError::Keys(e.to_string()))?)
    }

    fn next_to_receive(&mut self) -> Result<Keys, RecordError> {
        let next = match self {
            Secrets::Client(conn) => conn.update_rx_secret(),
            Secrets::Server(conn) => conn.update_rx_secret(),
        };
        Keys::of(next.map_err(|e| RecordError::Keys(e.to_string()))?)
    }
}

/// What both directions share: where later keys come from, and whether the peer wants one.
struct Shared {
    secrets: Mutex<Secrets>,
    update_asked: AtomicBool,
}

/// The two directions of a connection whose handshake gave these secrets.
pub fn begin(first: ExtractedSecrets, later: Secrets) -> Result<(Sealer, Opener), RecordError> {
    let shared =
        Arc::new(Shared { secrets: Mutex::new(later), update_asked: AtomicBool::new(false) });
    let sealer =
        Sealer { keys: Keys::of(first.tx)?, shared: shared.clone(), update_after: UPDATE_AFTER };
    Ok((sealer, Opener { keys: Keys::of(first.rx)?, shared }))
}

/// The key of one direction, and the number of the next record.
struct Keys {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    sequence: u64,
}

impl Keys {
    fn of((sequence, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Keys, RecordError> {
        let (algorithm, key, iv) = match &secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&aead::AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&aead::AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (&aead::CHACHA20_POLY1305, key, iv)
            }
            _ => return Err(RecordError::Keys("they are of an unknown kind".into())),
        };
        let unfit = || RecordError::Keys("they have an unfit length".into());
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| unfit())?;
        let iv = iv.as_ref().try_into().map_err(|_| unfit())?;
        Ok(Keys { key: LessSafeKey::new(key), iv, sequence })
    }

    /// Each number is used once: a key is done with long before they could end.
    fn nonce(&mut self) -> Nonce {
        let mut bytes = self.iv;
        for (byte, part) in bytes[NONCE_LEN - 8..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= part;
        }
        self.sequence += 1;
        Nonce::assume_unique_for_key(bytes)
    }
}

/// The length of a record's body, from its header.
pub fn body_bytes(header: &[u8]) -> Result<usize, RecordError> {
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if length > PLAINTEXT_MAX + EXPANSION_MAX {
        return Err(RecordError::TooLong(length));
    }
    Ok(length)
}

/// What is still to be sealed of several parts that follow each other.
pub struct Unsealed<'a> {
    parts: &'a [&'a [u8]],
    offset: usize,
}

impl<'a> Unsealed<'a> {
    pub fn new(parts: &'a [&'a [u8]]) -> Self {
        let mut unsealed = Unsealed { parts, offset: 0 };
        unsealed.skip_empty();
        unsealed
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    fn skip_empty(&mut self) {
        while self.parts.first().is_some_and(|part| part.len() == self.offset) {
            (self.parts, self.offset) = (&self.parts[1..], 0);
        }
    }

    /// Moves up to `max` bytes to the end of `out`.
    fn take(&mut self, mut max: usize, out: &mut Vec<u8>) {
        while max > 0 && !self.parts.is_empty() {
            let rest = &self.parts[0][self.offset..];
            let count = rest.len().min(max);
            out.extend_from_slice(&rest[..count]);
            self.offset += count;
            max -= count;
            self.skip_empty();
        }
    }
}

/// The sending direction.
pub struct Sealer {
    keys: Keys,
    shared: Arc<Shared>,
    update_after: u64,
}

impl Sealer {
    /// With a key for each `records` records; fewer than `UPDATE_AFTER` are for tests.
    pub fn updating_after(self, records: u64) -> Sealer {
        Sealer { update_after: records.min(UPDATE_AFTER), ..self }
    }

    /// Appends at most `records` records of what is unsealed to `out`.
    pub fn seal(
        &mut self, unsealed: &mut Unsealed<'_>, records: usize, out: &mut Vec<u8>,
    ) -> Result<(), RecordError> {
        for _ in 0..records {
            if unsealed.is_empty() {
                break;
            }
            self.update_when_due(out)?;
            let begun = begin_record(out);
            unsealed.take(PLAINTEXT_MAX, out);
            self.end_record(begun, APPLICATION_DATA, out)?;
        }
        Ok(())
    }

    fn update_when_due(&mut self, out: &mut Vec<u8>) -> Result<(), RecordError> {
        let asked = self.shared.update_asked.swap(false, Ordering::Relaxed);
        if !asked && self.keys.sequence < self.update_after {
            return Ok(());
        }
        let begun = begin_record(out);
        out.extend_from_slice(&[KEY_UPDATE, 0, 0, 1, 0]);
        self.end_record(begun, HANDSHAKE, out)?;
        self.keys = self.shared.secrets.lock().next_to_send()?;
        Ok(())
    }

    fn end_record(&mut self, begun: usize, kind: u8, out: &mut Vec<u8>) -> Result<(), RecordError> {
        out.push(kind);
        let body = begun + HEADER_BYTES;
        let length = (out.len() - body + TAG_BYTES) as u16;
        out[begun + 3..body].copy_from_slice(&length.to_be_bytes());
        let (header, plaintext) = out[begun..].split_at_mut(HEADER_BYTES);
        let nonce = self.keys.nonce();
        let sealed = self.keys.key.seal_in_place_separate_tag(nonce, Aad::from(header), plaintext);
        let tag = sealed.map_err(|_| RecordError::Keys("a record cannot be sealed".into()))?;
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }
}

fn begin_record(out: &mut Vec<u8>) -> usize {
    let begun = out.len();
    out.extend_from_slice(&[APPLICATION_DATA, 3, 3, 0, 0]);
    begun
}

/// A record that was opened: how long it was, and how much of its plaintext is the peer's data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opened {
    pub record_bytes: usize,
    pub data_bytes: usize,
}

/// The receiving direction.
pub struct Opener {
    keys: Keys,
    shared: Arc<Shared>,
}

impl Opener {
    /// Opens the record at `from` of the buffer, which ends with what has been received, so that
    /// its data lies at `to` (not behind `from`). `None`: the record has not come whole.
    pub fn open(
        &mut self, buffer: &mut [u8], to: usize, from: usize,
    ) -> Result<Option<Opened>, RecordError> {
        let Some(header) = buffer[from..].first_chunk::<HEADER_BYTES>().copied() else {
            return Ok(None);
        };
        let record_bytes = HEADER_BYTES + body_bytes(&header)?;
        if buffer.len() - from < record_bytes {
            return Ok(None);
        }
        if header[0] != APPLICATION_DATA {
            return Err(RecordError::NotExpected(header[0]));
        }
        let within = &mut buffer[to..from + record_bytes];
        let (nonce, sealed) = (self.keys.nonce(), from + HEADER_BYTES - to);
        let opened = self.keys.key.open_within(nonce, Aad::from(header), within, sealed..);
        let plaintext = opened.map_err(|_| RecordError::NotAuthentic)?;
        // The kind stands behind the data, and padding behind that.
        let Some(end) = plaintext.iter().rposition(|byte| *byte != 0) else {
            return Err(RecordError::NotExpected(0));
        };
        let (data, kind) = (&plaintext[..end], plaintext[end]);
        let data_bytes = match kind {
            APPLICATION_DATA => data.len(),
            HANDSHAKE => {
                let update = after_handshake(data)?;
                self.follow(update)?;
                0
            }
            ALERT => return Err(alert(data)),
            other => return Err(RecordError::NotExpected(other)),
        };
        Ok(Some(Opened { record_bytes, data_bytes }))
    }

    fn follow(&mut self, update: Option<Update>) -> Result<(), RecordError> {
        if let Some(update) = update {
            self.keys = self.shared.secrets.lock().next_to_receive()?;
            if update == Update::Both {
                self.shared.update_asked.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

/// Whose key changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Update {
    Theirs,
    Both,
}

/// What may come after the handshake: a new key, as the last of its record, and tickets, for which
/// we have no use.
fn after_handshake(mut messages: &[u8]) -> Result<Option<Update>, RecordError> {
    while let [kind, high, middle, low, rest @ ..] = messages {
        let length = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
        if rest.len() < length {
            break;
        }
        let (body, behind) = rest.split_at(length);
        match (*kind, body, behind) {
            (NEW_SESSION_TICKET, ..) => messages = behind,
            (KEY_UPDATE, [0], []) => return Ok(Some(Update::Theirs)),
            (KEY_UPDATE, [1], []) => return Ok(Some(Update::Both)),
            _ => break,
        }
    }
    match messages {
        [] => Ok(None),
        _ => Err(RecordError::NotExpected(HANDSHAKE)),
    }
}

fn alert(data: &[u8]) -> RecordError {
    match data {
        [_, description] => match AlertDescription::from(*description) {
            AlertDescription::CloseNotify => RecordError::Ended,
            other => RecordError::Alert(other),
        },
        _ => RecordError::NotExpected(ALERT),
    }
}
