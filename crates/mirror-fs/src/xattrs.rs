//! Extended attributes of a file, all at once. ACLs are among them.

use std::ffi::CString;
use std::io;
use std::os::fd::BorrowedFd;

use crate::sys;

/// Calls `read` with a buffer of the length it says it needs, again if that grew meanwhile.
pub fn grow(mut read: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<Vec<u8>> {
    for _ in 0..8 {
        let need = read(&mut [])?;
        if need == 0 {
            return Ok(Vec::new());
        }
        let mut buffer = vec![0; need];
        match read(&mut buffer) {
            Ok(got) => {
                buffer.truncate(got);
                return Ok(buffer);
            }
            Err(e) if e.raw_os_error() == Some(libc::ERANGE) => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::from_raw_os_error(libc::EAGAIN))
}

/// Every attribute and its value, sorted by name. None where the file system has no attributes.
pub fn read_all(path: BorrowedFd<'_>) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let path = sys::proc_path(path);
    let names = match grow(|buffer| sys::list_xattr(&path, buffer)) {
        Err(e) if matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOSYS)) => {
            return Ok(Vec::new())
        }
        other => other?,
    };
    let mut all = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let c_name = CString::new(name).map_err(|_| io::ErrorKind::InvalidData)?;
        match grow(|buffer| sys::get_xattr(&path, &c_name, buffer)) {
            Ok(value) => all.push((name.to_vec(), value)),
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENODATA | libc::EOPNOTSUPP)) => {}
            Err(e) => return Err(e),
        }
    }
    all.sort();
    Ok(all)
}
