//! The bytes of requests.

use crate::abi::{self, opcode, set};
use crate::out::Time;
use crate::request::{Caller, Init, Malformed, Operation, Request, SetAttributes, TimeOrNow};

/// Files and how many of their lookups are forgotten.
#[derive(Clone, PartialEq, Debug)]
pub struct Forgets<'a>(Fields<'a>);

impl Iterator for Forgets<'_> {
    type Item = (u64, u64);

    fn next(&mut self) -> Option<(u64, u64)> {
        Some((self.0.u64().ok()?, self.0.u64().ok()?))
    }
}

type Field<T> = Result<T, &'static str>;

/// What has not been read yet.
#[derive(Clone, PartialEq, Debug)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Field<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("it is too short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Field<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or("it is too short")?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Field<u32> {
        Ok(u32::from_ne_bytes(self.array()?))
    }

    fn u64(&mut self) -> Field<u64> {
        Ok(u64::from_ne_bytes(self.array()?))
    }

    fn skip(&mut self, count: usize) -> Field<()> {
        self.bytes(count).map(|_| ())
    }

    /// Up to the zero byte that ends it.
    fn text(&mut self) -> Field<&'a [u8]> {
        let end = self.0.iter().position(|&byte| byte == 0).ok_or("a name has no end")?;
        let text = &self.0[..end];
        self.0 = &self.0[end + 1..];
        Ok(text)
    }
}

impl<'a> Request<'a> {
    /// `agreed`: on what of `abi::init` kernel and session have agreed.
    pub fn read(bytes: &'a [u8], agreed: u64) -> Result<Request<'a>, Malformed> {
        let (length, mut fields) = (bytes.len(), Fields(bytes));
        let mut header = || -> Field<(u32, u32, u64, u64, Caller, usize)> {
            let (length, code, unique) = (fields.u32()?, fields.u32()?, fields.u64()?);
            let (node, uid, gid, _pid) =
                (fields.u64()?, fields.u32()?, fields.u32()?, fields.u32()?);
            let extension_units = u16::from_ne_bytes(fields.array()?);
            fields.skip(2)?;
            let caller = Caller { uid, gid };
            Ok((length, code, unique, node, caller, usize::from(extension_units) * 8))
        };
        let malformed = |unique, what| Malformed { unique, what };
        let (told, code, unique, node, caller, extension) =
            header().map_err(|what| malformed(None, what))?;
        if told as usize != length || extension > fields.0.len() {
            return Err(malformed(Some(unique), "its length is not what it says"));
        }
        // What follows the request by agreement; nothing was agreed on.
        fields.0 = &fields.0[..fields.0.len() - extension];
        let operation =
            operation(code, &mut fields, agreed).map_err(|w| malformed(Some(unique), w))?;
        Ok(Request { unique, node, caller, operation })
    }
}

fn operation<'a>(code: u32, fields: &mut Fields<'a>, agreed: u64) -> Field<Operation<'a>> {
    use Operation as O;
    Ok(match code {
        opcode::INIT => O::Init(init(fields)?),
        opcode::DESTROY => O::Destroy,
        opcode::LOOKUP => O::LookUp { name: fields.text()? },
        opcode::FORGET => O::Forget { lookups: fields.u64()? },
        opcode::BATCH_FORGET => {
            let count = fields.u32()? as usize;
            fields.skip(4)?;
            O::ForgetSeveral(Forgets(Fields(fields.bytes(count.saturating_mul(16))?)))
        }
        opcode::GETATTR => O::GetAttributes { file: file_of_attributes(fields)? },
        opcode::STATX => O::GetBirth { file: file_of_attributes(fields)? },
        opcode::SETATTR => O::SetAttributes(set_attributes(fields)?),
        opcode::STATFS => O::StatFileSystem,
        opcode::GETXATTR => {
            let bytes = fields.u32()?;
            fields.skip(4)?;
            O::GetXattr { name: fields.text()?, bytes }
        }
        opcode::LISTXATTR => O::ListXattr { bytes: fields.u32()? },
        opcode::SETXATTR => {
            let (bytes, flags) = (fields.u32()?, fields.u32()?);
            let more = match agreed & abi::init::SETXATTR_EXT {
                0 => 0,
                _ => (fields.u32()?, fields.skip(4)?).0,
            };
            let kill_sgid = more & abi::SETXATTR_ACL_KILL_SGID != 0;
            let name = fields.text()?;
            O::SetXattr { name, value: fields.bytes(bytes as usize)?, flags, kill_sgid }
        }
        opcode::REMOVEXATTR => O::RemoveXattr { name: fields.text()? },
        _ => return names(code, fields),
    })
}

fn names<'a>(code: u32, fields: &mut Fields<'a>) -> Field<Operation<'a>> {
    use Operation as O;
    Ok(match code {
        opcode::READLINK => O::ReadLink,
        opcode::MKNOD => {
            let (mode, rdev, umask) = (fields.u32()?, fields.u32()?, fields.u32()?);
            fields.skip(4)?;
            O::MakeNode { name: fields.text()?, mode, rdev, umask }
        }
        opcode::MKDIR => {
            let (mode, umask) = (fields.u32()?, fields.u32()?);
            O::MakeDirectory { name: fields.text()?, mode, umask }
        }
        opcode::SYMLINK => {
            let name = fields.text()?;
            O::MakeSymlink { name, target: fields.text()? }
        }
        opcode::UNLINK => O::Unlink { name: fields.text()? },
        opcode::RMDIR => O::RemoveDirectory { name: fields.text()? },
        opcode::RENAME => {
            let (new_parent, name) = (fields.u64()?, fields.text()?);
            O::Rename { name, new_parent, new_name: fields.text()?, flags: 0 }
        }
        opcode::RENAME2 => {
            let (new_parent, flags) = (fields.u64()?, fields.u32()?);
            fields.skip(4)?;
            let name = fields.text()?;
            O::Rename { name, new_parent, new_name: fields.text()?, flags }
        }
        opcode::LINK => O::Link { file: fields.u64()?, name: fields.text()? },
        opcode::CREATE | opcode::TMPFILE => {
            let (flags, mode, umask) = (fields.u32()? as i32, fields.u32()?, fields.u32()?);
            fields.skip(4)?;
            match code {
                opcode::CREATE => O::Create { name: fields.text()?, flags, mode, umask },
                _ => O::CreateUnnamed { mode, umask },
            }
        }
        _ => return contents(code, fields),
    })
}

fn contents<'a>(code: u32, fields: &mut Fields<'a>) -> Field<Operation<'a>> {
    use Operation as O;
    Ok(match code {
        opcode::OPEN => O::Open { flags: fields.u32()? as i32 },
        opcode::OPENDIR => O::OpenDirectory,
        opcode::READ => {
            let (file, offset, bytes) = place(fields)?;
            O::Read { file, offset, bytes }
        }
        opcode::READDIR => {
            let (directory, offset, bytes) = place(fields)?;
            O::ReadDirectory { directory, offset, bytes }
        }
        opcode::READDIRPLUS => {
            let (directory, offset, bytes) = place(fields)?;
            O::ReadDirectoryPlus { directory, offset, bytes }
        }
        opcode::WRITE => {
            let (file, offset, bytes) = place(fields)?;
            let write_flags = fields.u32()?;
            fields.skip(8)?;
            let flags = fields.u32()? as i32;
            fields.skip(4)?;
            let kill_suid = write_flags & abi::WRITE_KILL_SUIDGID != 0;
            O::Write { file, offset, flags, kill_suid, data: fields.bytes(bytes as usize)? }
        }
        opcode::FLUSH => O::Flush,
        opcode::RELEASE => O::Release { file: fields.u64()? },
        opcode::RELEASEDIR => O::ReleaseDirectory { directory: fields.u64()? },
        opcode::FSYNC | opcode::FSYNCDIR => {
            let file = fields.u64()?;
            let data_only = fields.u32()? & abi::FSYNC_DATA_ONLY != 0;
            match code {
                opcode::FSYNC => O::Sync { file, data_only },
                _ => O::SyncDirectory { data_only },
            }
        }
        opcode::FALLOCATE => {
            let (file, offset, length) = (fields.u64()?, fields.u64()?, fields.u64()?);
            O::Allocate { file, offset, length, mode: fields.u32()? }
        }
        opcode::LSEEK => {
            let (file, offset) = (fields.u64()?, fields.u64()?);
            O::Seek { file, offset, whence: fields.u32()? }
        }
        opcode => O::Unknown { opcode },
    })
}

fn init(fields: &mut Fields<'_>) -> Field<Init> {
    let (major, minor) = (fields.u32()?, fields.u32()?);
    let (max_readahead, low) = (fields.u32()?, u64::from(fields.u32()?));
    let high = match low & abi::init::INIT_EXT {
        0 => 0,
        _ => u64::from(fields.u32()?),
    };
    Ok(Init { major, minor, max_readahead, flags: low | high << 32 })
}

fn place(fields: &mut Fields<'_>) -> Field<(u64, u64, u32)> {
    Ok((fields.u64()?, fields.u64()?, fields.u32()?))
}

fn file_of_attributes(fields: &mut Fields<'_>) -> Field<Option<u64>> {
    let flags = fields.u32()?;
    fields.skip(4)?;
    let file = fields.u64()?;
    Ok((flags & abi::GETATTR_FILE != 0).then_some(file))
}

fn set_attributes(fields: &mut Fields<'_>) -> Field<SetAttributes> {
    let valid = fields.u32()?;
    fields.skip(4)?;
    let (file, size, _lock_owner) = (fields.u64()?, fields.u64()?, fields.u64()?);
    let seconds = [fields.u64()? as i64, fields.u64()? as i64];
    fields.skip(8)?;
    let nanoseconds = [fields.u32()?, fields.u32()?];
    fields.skip(4)?;
    let mode = fields.u32()?;
    fields.skip(4)?;
    let (uid, gid) = (fields.u32()?, fields.u32()?);
    let has = |flag| valid & flag != 0;
    let time = |which: usize, given, now| match (has(given), has(now)) {
        (false, _) => None,
        (true, true) => Some(TimeOrNow::Now),
        (true, false) => {
            let (seconds, nanoseconds) = (seconds[which], nanoseconds[which]);
            Some(TimeOrNow::Time(Time { seconds, nanoseconds }))
        }
    };
    Ok(SetAttributes {
        file: has(set::FILE).then_some(file),
        size: has(set::SIZE).then_some(size),
        mode: has(set::MODE).then_some(mode),
        uid: has(set::UID).then_some(uid),
        gid: has(set::GID).then_some(gid),
        atime: time(0, set::ATIME, set::ATIME_NOW),
        mtime: time(1, set::MTIME, set::MTIME_NOW),
        kill_suid: has(set::KILL_SUIDGID),
    })
}
