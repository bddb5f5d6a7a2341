//! The bytes of answers.

use std::time::Duration;

use crate::abi;
use crate::session::Wishes;

/// Since 1970; before it, the seconds are negative and the nanoseconds are still added.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Time {
    pub seconds: i64,
    pub nanoseconds: u32,
}

/// Attributes of a file, as `stat` has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attributes {
    pub number: u64,
    pub size: u64,
    pub blocks: u64,
    pub atime: Time,
    pub mtime: Time,
    pub ctime: Time,
    pub mode: u32,
    pub links: u32,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u32,
    pub block_bytes: u32,
}

/// A file that was found or made.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Tells a file from an earlier one of the same number.
    pub generation: u64,
    /// For how long the kernel need not ask again: for the name, and for the attributes.
    pub remember: Duration,
    pub attributes: Attributes,
}

/// What `statfs` tells.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileSystem {
    pub blocks: u64,
    pub blocks_free: u64,
    pub blocks_available: u64,
    pub files: u64,
    pub files_free: u64,
    pub block_bytes: u32,
    pub name_max: u32,
    pub fragment_bytes: u32,
}

/// An answer of known size: nothing is allocated for it.
pub(crate) struct Out {
    bytes: [u8; OUT_MAX],
    length: usize,
}

/// The longest is that to STATX, with its header.
const OUT_MAX: usize = abi::ANSWER_HEADER_BYTES + 288;

impl Out {
    /// With room for the header.
    pub fn new() -> Out {
        Out { bytes: [0; OUT_MAX], length: abi::ANSWER_HEADER_BYTES }
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Out {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
        self
    }

    pub fn u16(&mut self, value: u16) -> &mut Out {
        self.put(&value.to_ne_bytes())
    }

    pub fn u32(&mut self, value: u32) -> &mut Out {
        self.put(&value.to_ne_bytes())
    }

    pub fn u64(&mut self, value: u64) -> &mut Out {
        self.put(&value.to_ne_bytes())
    }

    fn zeros(&mut self, count: usize) -> &mut Out {
        self.length += count;
        self
    }

    fn attributes(&mut self, a: &Attributes) -> &mut Out {
        self.u64(a.number).u64(a.size).u64(a.blocks);
        let times = [a.atime, a.mtime, a.ctime];
        for time in times {
            self.u64(time.seconds as u64);
        }
        for time in times {
            self.u32(time.nanoseconds);
        }
        self.u32(a.mode).u32(a.links).u32(a.uid).u32(a.gid).u32(a.rdev).u32(a.block_bytes).u32(0)
    }

    pub fn attributes_for(&mut self, remember: Duration, attributes: &Attributes) -> &mut Out {
        self.u64(remember.as_secs()).u32(remember.subsec_nanos()).u32(0).attributes(attributes)
    }

    pub fn entry(&mut self, entry: &Entry) -> &mut Out {
        let (seconds, part) = (entry.remember.as_secs(), entry.remember.subsec_nanos());
        self.u64(entry.attributes.number).u64(entry.generation);
        self.u64(seconds).u64(seconds).u32(part).u32(part).attributes(&entry.attributes)
    }

    pub fn opened(&mut self, file: u64, flags: u32) -> &mut Out {
        self.u64(file).u32(flags).u32(0)
    }

    pub fn file_system(&mut self, f: &FileSystem) -> &mut Out {
        self.u64(f.blocks).u64(f.blocks_free).u64(f.blocks_available).u64(f.files);
        self.u64(f.files_free).u32(f.block_bytes).u32(f.name_max).u32(f.fragment_bytes).zeros(28)
    }

    /// The answer to STATX.
    pub fn birth(&mut self, remember: Duration, a: &Attributes, birth: Option<Time>) -> &mut Out {
        let mask = abi::STATX_BASIC_STATS | if birth.is_some() { abi::STATX_BIRTH } else { 0 };
        self.u64(remember.as_secs()).u32(remember.subsec_nanos()).zeros(20);
        self.u32(mask).u32(a.block_bytes).u64(0).u32(a.links).u32(a.uid).u32(a.gid);
        self.u16(a.mode as u16).u16(0).u64(a.number).u64(a.size).u64(a.blocks).u64(0);
        for time in [a.atime, birth.unwrap_or_default(), a.ctime, a.mtime] {
            self.u64(time.seconds as u64).u32(time.nanoseconds).u32(0);
        }
        let rdev = u64::from(a.rdev);
        self.u32(libc::major(rdev)).u32(libc::minor(rdev)).zeros(8 + 14 * 8)
    }

    pub fn init(&mut self, wishes: &Wishes, flags: u64, page_bytes: u32) {
        let pages = wishes.max_write_bytes.div_ceil(page_bytes);
        self.u32(abi::MAJOR).u32(abi::MINOR).u32(wishes.max_read_ahead_bytes).u32(flags as u32);
        self.u16(wishes.max_background).u16(wishes.congestion_threshold);
        self.u32(wishes.max_write_bytes).u32(1); // times are kept to the nanosecond
        self.u16(pages as u16).u16(0).u32((flags >> 32) as u32).zeros(28);
    }

    /// The whole answer, with its header.
    pub fn finish(&mut self, unique: u64) -> &[u8] {
        let header = header(self.length - abi::ANSWER_HEADER_BYTES, 0, unique);
        self.bytes[..abi::ANSWER_HEADER_BYTES].copy_from_slice(&header);
        &self.bytes[..self.length]
    }

    /// Without a header, as a part of something longer.
    pub fn part(&self) -> &[u8] {
        &self.bytes[abi::ANSWER_HEADER_BYTES..self.length]
    }
}

/// `errno` is positive, or 0.
pub(crate) fn header(body_bytes: usize, errno: i32, unique: u64) -> [u8; abi::ANSWER_HEADER_BYTES] {
    let mut header = [0; abi::ANSWER_HEADER_BYTES];
    let length = (abi::ANSWER_HEADER_BYTES + body_bytes) as u32;
    header[..4].copy_from_slice(&length.to_ne_bytes());
    header[4..8].copy_from_slice(&(-errno).to_ne_bytes());
    header[8..].copy_from_slice(&unique.to_ne_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number somewhere in an answer, by its offset in the kernel's structure.
    fn u32_at(out: &mut Out, offset: usize) -> u32 {
        let at = abi::ANSWER_HEADER_BYTES + offset;
        u32::from_ne_bytes(out.finish(7)[at..at + 4].try_into().unwrap())
    }

    fn file() -> Attributes {
        let time = |seconds| Time { seconds, nanoseconds: 999 };
        let (atime, mtime, ctime) = (time(-2), time(11), time(12));
        let (mode, links, rdev, block_bytes) = (0o100_640, 3, 0x103, 4096);
        Attributes {
            number: 77,
            size: 5,
            blocks: 8,
            atime,
            mtime,
            ctime,
            mode,
            links,
            uid: 1,
            gid: 2,
            rdev,
            block_bytes,
        }
    }

    #[test]
    fn answers_are_as_long_as_the_kernel_wants_them() {
        let entry = Entry { generation: 9, remember: Duration::from_secs(1), attributes: file() };
        let lengths = [
            (Out::new().entry(&entry).finish(1).len(), 128),
            (Out::new().entry(&entry).opened(1, 2).finish(1).len(), 144),
            (Out::new().attributes_for(entry.remember, &file()).finish(1).len(), 104),
            (Out::new().birth(entry.remember, &file(), None).finish(1).len(), 288),
            (Out::new().file_system(&FileSystem::default()).finish(1).len(), 80),
            (Out::new().opened(1, 2).finish(1).len(), 16),
        ];
        for (length, structure) in lengths {
            assert_eq!(length, structure + abi::ANSWER_HEADER_BYTES);
        }
    }

    #[test]
    fn attributes_stand_where_the_kernel_looks() {
        let mut out = Out::new();
        out.attributes_for(Duration::new(3, 4), &file());
        // attr_valid, its nanoseconds; ino, size, blocks; atime; mtimensec; mode, nlink; rdev.
        let offsets = [(0, 3), (8, 4), (16, 77), (24, 5), (32, 8), (40, -2i32 as u32), (68, 999)];
        let offsets = offsets.into_iter().chain([(76, 0o100_640), (80, 3), (92, 0x103)]);
        for (offset, value) in offsets {
            assert_eq!(u32_at(&mut out, offset), value, "at {offset}");
        }
        let header = &out.finish(7)[..abi::ANSWER_HEADER_BYTES];
        assert_eq!(header, [[120, 0, 0, 0], [0; 4], [7, 0, 0, 0], [0; 4]].concat());
    }

    #[test]
    fn the_time_of_birth_stands_among_the_others() {
        let mut out = Out::new();
        out.birth(Duration::from_secs(3), &file(), Some(Time { seconds: 10, nanoseconds: 1 }));
        // mask; nlink; ino, size; atime, btime, ctime, mtime; rdev.
        let offsets = [(32, 0xfff), (48, 3), (64, 77), (72, 5), (96, -2i32 as u32), (112, 10)];
        let offsets = offsets.into_iter().chain([(128, 12), (144, 11), (160, 1), (164, 3)]);
        for (offset, value) in offsets {
            assert_eq!(u32_at(&mut out, offset), value, "at {offset}");
        }
        let mut unknown = Out::new();
        unknown.birth(Duration::ZERO, &file(), None);
        assert_eq!(u32_at(&mut unknown, 32), 0x7ff);
    }

    #[test]
    fn what_is_agreed_on() {
        let wishes = Wishes {
            flags: 0,
            max_write_bytes: 1 << 20,
            max_read_ahead_bytes: 131_072,
            max_background: 64,
            congestion_threshold: 48,
        };
        let mut out = Out::new();
        out.init(&wishes, 1 << 36 | 1 << 30, 4096);
        assert_eq!(out.finish(1).len(), 64 + abi::ANSWER_HEADER_BYTES);
        let fields = [7, 40, 131_072, 1 << 30, 48 << 16 | 64, 1 << 20, 1, 256, 1 << 4];
        for (number, value) in fields.into_iter().enumerate() {
            assert_eq!(u32_at(&mut out, 4 * number), value, "field {number}");
        }
    }

    #[test]
    fn an_errno_is_told_as_a_negative_number() {
        let told = header(0, libc::ENOENT, 5);
        assert_eq!(i32::from_ne_bytes(told[4..8].try_into().unwrap()), -2);
    }
}
