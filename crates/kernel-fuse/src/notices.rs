//! What the kernel is told unasked: to forget.

use std::io::{self, IoSlice};
use std::sync::Arc;

use crate::abi::{notice, ANSWER_HEADER_BYTES};
use crate::device::Device;
use crate::out::{header, Out};

#[derive(Clone)]
pub struct Notices(pub(crate) Arc<Device>);

impl Notices {
    /// Its attributes, and pages from `offset` on (all of them: 0; none: a negative one).
    pub fn forget_inode(&self, number: u64, offset: i64) -> io::Result<()> {
        let mut out = Out::new();
        out.u64(number).u64(offset as u64).u64(0);
        self.send(notice::INVALIDATE_INODE, &[out.part()])
    }

    pub fn forget_name(&self, parent: u64, name: &[u8]) -> io::Result<()> {
        let mut out = Out::new();
        out.u64(parent).u32(name.len() as u32).u32(0);
        self.send(notice::INVALIDATE_ENTRY, &[out.part(), name, b"\0"])
    }

    fn send(&self, code: i32, parts: &[&[u8]]) -> io::Result<()> {
        let bytes = parts.iter().map(|part| part.len()).sum();
        let header: [u8; ANSWER_HEADER_BYTES] = header(bytes, -code, 0);
        let mut whole = vec![IoSlice::new(&header)];
        whole.extend(parts.iter().map(|part| IoSlice::new(part)));
        match self.0.send_parts(&whole) {
            // It does not remember that.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            sent => sent,
        }
    }
}
