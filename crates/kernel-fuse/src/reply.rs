//! The answer to a request, which may wait and is given once.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use crate::device::Device;
use crate::listing::Listing;
use crate::out::{header, Attributes, Entry, FileSystem, Out, Time};

/// Dropped without an answer it answers EIO: nobody waits for ever.
pub struct Reply {
    device: Arc<Device>,
    unique: u64,
    given: bool,
}

impl Reply {
    pub(crate) fn new(device: Arc<Device>, unique: u64) -> Reply {
        Reply { device, unique, given: false }
    }

    /// Who asked may be gone, killed or unmounted: then nobody hears it, and that is all right.
    fn give(&mut self, sent: io::Result<()>) {
        self.given = true;
        match sent.map_err(|error| (error.raw_os_error(), error)) {
            Ok(()) | Err((Some(libc::ENOENT | libc::ENODEV | libc::ECONNABORTED), _)) => {}
            Err((_, error)) => tracing::error!("the kernel does not take an answer: {error}"),
        }
    }

    fn send(mut self, out: &mut Out) {
        let sent = self.device.send(out.finish(self.unique));
        self.give(sent);
    }

    /// No answer is expected.
    pub fn none(mut self) {
        self.given = true;
    }

    pub fn ok(self) {
        self.send(&mut Out::new());
    }

    /// `errno`: positive.
    pub fn error(mut self, errno: i32) {
        let sent = self.device.send(&header(0, errno, self.unique));
        self.give(sent);
    }

    pub fn entry(self, entry: &Entry) {
        self.send(Out::new().entry(entry));
    }

    /// `remember`: for how long the kernel need not ask again.
    pub fn attributes(self, remember: Duration, attributes: &Attributes) {
        self.send(Out::new().attributes_for(remember, attributes));
    }

    pub fn birth(self, remember: Duration, attributes: &Attributes, birth: Option<Time>) {
        self.send(Out::new().birth(remember, attributes, birth));
    }

    /// `flags` as in `abi::open`.
    pub fn opened(self, file: u64, flags: u32) {
        self.send(Out::new().opened(file, flags));
    }

    pub fn created(self, entry: &Entry, file: u64, flags: u32) {
        self.send(Out::new().entry(entry).opened(file, flags));
    }

    pub fn data(mut self, data: &[u8]) {
        let header = header(data.len(), 0, self.unique);
        let sent = self.device.send_parts(&[IoSlice::new(&header), IoSlice::new(data)]);
        self.give(sent);
    }

    pub fn listing(self, listing: &Listing) {
        self.data(listing.bytes());
    }

    pub fn written(self, bytes: u32) {
        self.send(Out::new().u32(bytes).u32(0));
    }

    /// How long an extended attribute, or the list of them, is.
    pub fn xattr_bytes(self, bytes: u32) {
        self.written(bytes);
    }

    pub fn position(self, position: u64) {
        self.send(Out::new().u64(position));
    }

    pub fn file_system(self, file_system: &FileSystem) {
        self.send(Out::new().file_system(file_system));
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.given {
            let sent = self.device.send(&header(0, libc::EIO, self.unique));
            self.give(sent);
        }
    }
}
