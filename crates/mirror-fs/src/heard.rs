//! The mark that this node heard last as a secondary (`mirror_core::doubt::marks`), on its disk:
//! `state_dir/dirty-map.heard`.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::PathBuf;

use mirror_core::doubt::{Heard, Mark, SLOT_BYTES};
use parking_lot::Mutex;

use crate::calls;
use crate::effect::{self, Effect};
use crate::engine::write_durably;

pub struct HeardMark {
    path: PathBuf,
    state: Mutex<(Heard, Option<File>)>,
}

impl HeardMark {
    /// `used`: false: there is none, and one from an earlier run is not to be believed later.
    pub fn open(path: PathBuf, used: bool) -> Result<HeardMark, String> {
        let read = effect::at(Effect::StateRead).map_err(io::Error::from);
        let heard = match read.and_then(|()| std::fs::read(&path)) {
            Ok(slots) if used => Heard::decode(&slots),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Heard::default(),
            Ok(_) | Err(_) => {
                let removed = std::fs::remove_file(&path);
                removed.map_err(|e| format!("{} cannot be removed: {e}", path.display()))?;
                Heard::default()
            }
        };
        Ok(HeardMark { path, state: Mutex::new((heard, None)) })
    }

    /// 0: none.
    pub fn mark(&self) -> Mark {
        self.state.lock().0.mark
    }

    /// When this returns, it is on disk.
    pub fn hear(&self, mark: Mark) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.0.mark == mark {
            return Ok(());
        }
        let heard = Heard { written: state.0.written + 1, mark };
        match &mut state.1 {
            Some(file) => {
                file.seek(SeekFrom::Start(heard.offset()))?;
                calls::write_all(Effect::MapWrite, file, &heard.encode())?;
                effect::at(Effect::MapSync)?;
                file.sync_data()?;
            }
            none => {
                let mut slots = vec![0; 2 * SLOT_BYTES];
                let at = heard.offset() as usize;
                slots[at..at + SLOT_BYTES].copy_from_slice(&heard.encode());
                write_durably(&self.path, &slots)?;
                *none = Some(File::options().write(true).open(&self.path)?);
            }
        }
        state.0 = heard;
        Ok(())
    }

    /// This node's copy is not linked any more to what it heard.
    pub fn forget(&self) -> io::Result<()> {
        self.hear(0)
    }
}
