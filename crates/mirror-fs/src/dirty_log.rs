//! The file of the dirty map's log, open to be appended to (`mirror_core::doubt::log`).

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;

use mirror_core::doubt::{encode_batch, Touched, CHUNK_BYTES, PAGE_BYTES};

use crate::calls;
use crate::effect::{self, Effect};
use crate::engine::write_durably;

pub struct Log {
    file: File,
    batches: u64,
    pub end: u64,
    length: u64,
}

impl Log {
    /// Takes the place of the one before.
    pub fn begin(path: &Path, base: u64, records: &[Touched]) -> io::Result<Log> {
        let mut bytes = encode_batch(base, 0, records);
        let end = bytes.len();
        bytes.resize((end + 2 * PAGE_BYTES).div_ceil(CHUNK_BYTES) * CHUNK_BYTES, 0);
        write_durably(path, &bytes)?;
        effect::at(Effect::MapWrite)?;
        let file = File::options().write(true).open(path)?;
        Ok(Log { file, batches: 1, end: end as u64, length: bytes.len() as u64 })
    }

    /// When this returns, it is on disk.
    pub fn append(&mut self, base: u64, records: &[Touched]) -> io::Result<()> {
        let pages = encode_batch(base, self.batches, records);
        let needed = self.end + (pages.len() + 2 * PAGE_BYTES) as u64;
        if needed > self.length {
            let more = (needed - self.length).div_ceil(CHUNK_BYTES as u64) * CHUNK_BYTES as u64;
            self.file.seek(SeekFrom::Start(self.length))?;
            calls::write_all(Effect::MapWrite, &mut self.file, &vec![0; more as usize])?;
            effect::at(Effect::MapSync)?;
            self.file.sync_all()?;
            self.length += more;
        }
        self.file.seek(SeekFrom::Start(self.end))?;
        calls::write_all(Effect::MapWrite, &mut self.file, &pages)?;
        effect::at(Effect::MapSync)?;
        self.file.sync_data()?;
        self.end += pages.len() as u64;
        self.batches += 1;
        Ok(())
    }
}
