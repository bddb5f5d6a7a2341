//! The primitive fields: a writer that appends them and a reader that checks them.
//!
//! What both sides hold: a length stands before what it counts; a name is what one directory entry
//! can be called; an offset and a length together stay below 2^63, as in every system call.

use super::{kinds, Header, WireError};
use crate::generation::HISTORY_MAX;
use crate::message::FileKind;
use crate::units::{FileId, FileTime};

/// Longest name of a directory entry or an extended attribute.
pub const NAME_MAX: usize = 255;
/// Longest target of a symbolic link (PATH_MAX without its end).
pub const TARGET_MAX: usize = 4095;
/// Longest value of an extended attribute (XATTR_SIZE_MAX).
pub const VALUE_MAX: usize = 65536;
/// Longest text meant for a person; a longer one is cut when it is written.
pub const TEXT_MAX: usize = 4096;

const NANOSECONDS_END: u32 = 1_000_000_000;

/// Appends fields to a frame. The caller passes valid values; debug builds check.
pub struct Writer<'o>(pub &'o mut Vec<u8>);

impl Writer<'_> {
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub fn i32(&mut self, value: i32) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub fn u128(&mut self, value: u128) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub fn flag(&mut self, value: bool) -> &mut Self {
        self.u8(u8::from(value))
    }

    pub fn zeros(&mut self, count: usize) -> &mut Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    pub fn id(&mut self, id: FileId) -> &mut Self {
        self.u64(id.0)
    }

    pub fn kind(&mut self, kind: FileKind) -> &mut Self {
        self.u8(kind as u8)
    }

    pub fn time(&mut self, time: FileTime) -> &mut Self {
        debug_assert!(time.nanoseconds < NANOSECONDS_END);
        self.0.extend_from_slice(&time.seconds.to_le_bytes());
        self.u32(time.nanoseconds)
    }

    pub fn name(&mut self, name: &[u8]) -> &mut Self {
        assert!((1..=NAME_MAX).contains(&name.len()), "a name of {} bytes", name.len());
        self.u8(name.len() as u8);
        self.0.extend_from_slice(name);
        self
    }

    pub fn target(&mut self, target: &[u8]) -> &mut Self {
        assert!(target.len() <= TARGET_MAX, "a link target of {} bytes", target.len());
        self.0.extend_from_slice(&(target.len() as u16).to_le_bytes());
        self.0.extend_from_slice(target);
        self
    }

    pub fn value(&mut self, value: &[u8]) -> &mut Self {
        assert!(value.len() <= VALUE_MAX, "an attribute of {} bytes", value.len());
        self.u32(value.len() as u32);
        self.0.extend_from_slice(value);
        self
    }

    /// Text for people, cut at [`TEXT_MAX`].
    pub fn text(&mut self, text: &str) -> &mut Self {
        let mut end = text.len().min(TEXT_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.0.extend_from_slice(&(end as u16).to_le_bytes());
        self.0.extend_from_slice(&text.as_bytes()[..end]);
        self
    }

    /// Older generations, the youngest first; those beyond the bound are left out.
    pub fn history(&mut self, history: &[u64]) -> &mut Self {
        let history = &history[..history.len().min(HISTORY_MAX)];
        self.u8(history.len() as u8);
        for older in history {
            self.u64(*older);
        }
        self
    }

    pub fn count(&mut self, count: usize) -> &mut Self {
        self.u32(u32::try_from(count).expect("a list fits a frame"))
    }
}

/// Takes fields off a body, in order. Every error names the message, the field and the place.
pub struct Reader<'a> {
    message: &'static str,
    body: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(header: &Header, body: &'a [u8]) -> Result<Self, WireError> {
        let message = kinds::name(header.kind).unwrap_or("message of an unknown kind");
        let reader = Reader { message, body, at: 0 };
        if body.len() != header.body_bytes as usize {
            let said = header.body_bytes;
            return Err(reader.error("body", &format!("{} bytes, not {said}", body.len())));
        }
        Ok(reader)
    }

    pub fn error(&self, field: &str, wrong: &str) -> WireError {
        WireError::new(format!("{}: {field} at byte {}: {wrong}", self.message, self.at))
    }

    pub fn remaining(&self) -> usize {
        self.body.len() - self.at
    }

    pub fn take(&mut self, field: &str, count: usize) -> Result<&'a [u8], WireError> {
        let Some(bytes) = self.body[self.at..].get(..count) else {
            let there = self.remaining();
            return Err(self.error(field, &format!("{count} bytes needed, {there} are there")));
        };
        self.at += count;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, field: &str) -> Result<[u8; N], WireError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(field, N)?);
        Ok(bytes)
    }

    /// Messages without a place in the stream carry the number zero.
    pub fn unnumbered(&self, header: &Header) -> Result<(), WireError> {
        match header.sequence {
            0 => Ok(()),
            other => Err(self.error("sequence", &format!("{other} where none belongs"))),
        }
    }

    /// Nothing may follow the last field.
    pub fn end<T>(self, message: T) -> Result<T, WireError> {
        match self.remaining() {
            0 => Ok(message),
            more => Err(self.error("end", &format!("{more} bytes too many"))),
        }
    }

    pub fn u8(&mut self, field: &str) -> Result<u8, WireError> {
        Ok(u8::from_le_bytes(self.array(field)?))
    }

    pub fn u16(&mut self, field: &str) -> Result<u16, WireError> {
        Ok(u16::from_le_bytes(self.array(field)?))
    }

    pub fn u32(&mut self, field: &str) -> Result<u32, WireError> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    pub fn i32(&mut self, field: &str) -> Result<i32, WireError> {
        Ok(i32::from_le_bytes(self.array(field)?))
    }

    pub fn u64(&mut self, field: &str) -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }

    pub fn u128(&mut self, field: &str) -> Result<u128, WireError> {
        Ok(u128::from_le_bytes(self.array(field)?))
    }

    pub fn flag(&mut self, field: &str) -> Result<bool, WireError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.error(field, &format!("{other} is neither 0 nor 1"))),
        }
    }

    pub fn zeros(&mut self, count: usize) -> Result<(), WireError> {
        if self.take("reserved", count)?.iter().any(|byte| *byte != 0) {
            return Err(self.error("reserved", "not zero"));
        }
        Ok(())
    }

    pub fn id(&mut self, field: &str) -> Result<FileId, WireError> {
        let id = FileId(self.u64(field)?);
        if id.inode() == 0 {
            return Err(self.error(field, "no file has the number 0"));
        }
        Ok(id)
    }

    pub fn kind(&mut self, field: &str) -> Result<FileKind, WireError> {
        let number = self.u8(field)?;
        let error = || self.error(field, &format!("{number} is no kind of file"));
        FileKind::from_number(number).ok_or_else(error)
    }

    pub fn time(&mut self, field: &str) -> Result<FileTime, WireError> {
        let seconds = i64::from_le_bytes(self.array(field)?);
        let nanoseconds = self.u32(field)?;
        if nanoseconds >= NANOSECONDS_END {
            return Err(self.error(field, &format!("{nanoseconds} nanoseconds are over a second")));
        }
        Ok(FileTime { seconds, nanoseconds })
    }

    /// A size or offset of a file.
    pub fn offset(&mut self, field: &str) -> Result<u64, WireError> {
        let offset = self.u64(field)?;
        self.file_end(field, offset, 0)?;
        Ok(offset)
    }

    /// A range must end where a file can end.
    pub fn file_end(&self, field: &str, offset: u64, length: u64) -> Result<(), WireError> {
        match offset.checked_add(length) {
            Some(end) if end <= i64::MAX as u64 => Ok(()),
            _ => Err(self.error(field, &format!("{offset} + {length} is beyond any file"))),
        }
    }

    /// The name of a directory entry: one step of a path, and no way out of the directory.
    pub fn name(&mut self, field: &str) -> Result<&'a [u8], WireError> {
        let length = usize::from(self.u8(field)?);
        let name = self.take(field, length)?;
        match name {
            b"" | b"." | b".." => Err(self.error(field, "is not the name of an entry")),
            name if name.contains(&b'/') => Err(self.error(field, "contains a slash")),
            name if name.contains(&0) => Err(self.error(field, "contains a zero byte")),
            name => Ok(name),
        }
    }

    pub fn xattr_name(&mut self, field: &str) -> Result<&'a [u8], WireError> {
        let length = usize::from(self.u8(field)?);
        let name = self.take(field, length)?;
        if name.is_empty() || name.contains(&0) {
            return Err(self.error(field, "is not the name of an attribute"));
        }
        Ok(name)
    }

    /// The target of a symbolic link; every other kind of file has none.
    pub fn target(&mut self, field: &str, kind: FileKind) -> Result<&'a [u8], WireError> {
        let length = usize::from(self.u16(field)?);
        if length > TARGET_MAX {
            return Err(self.error(field, &format!("{length} bytes are too many")));
        }
        let target = self.take(field, length)?;
        if target.contains(&0) {
            return Err(self.error(field, "contains a zero byte"));
        }
        if (kind == FileKind::Symlink) == target.is_empty() {
            return Err(self.error(field, "a symbolic link has a target, and nothing else has"));
        }
        Ok(target)
    }

    pub fn value(&mut self, field: &str) -> Result<&'a [u8], WireError> {
        let length = self.u32(field)? as usize;
        if length > VALUE_MAX {
            return Err(self.error(field, &format!("{length} bytes are too many")));
        }
        self.take(field, length)
    }

    pub fn text(&mut self, field: &str) -> Result<String, WireError> {
        let length = usize::from(self.u16(field)?);
        if length > TEXT_MAX {
            return Err(self.error(field, &format!("{length} bytes are too many")));
        }
        match std::str::from_utf8(self.take(field, length)?) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(self.error(field, "is not UTF-8")),
        }
    }

    pub fn history(&mut self, field: &str) -> Result<Vec<u64>, WireError> {
        let count = usize::from(self.u8(field)?);
        if count > HISTORY_MAX {
            return Err(self.error(field, &format!("{count} generations are too many")));
        }
        (0..count).map(|_| self.u64(field)).collect()
    }

    /// The length of a list whose items take at least `item_bytes` each, so that a lie about the
    /// length cannot make us reserve memory.
    pub fn count(&mut self, field: &str, item_bytes: usize) -> Result<usize, WireError> {
        let count = self.u32(field)? as usize;
        if count > self.remaining() / item_bytes {
            return Err(self.error(field, &format!("{count} items cannot be in this body")));
        }
        Ok(count)
    }
}
