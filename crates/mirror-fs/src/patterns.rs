//! Other patterns than when this copy was made: what is replicated now and was not may differ, so
//! all is compared. A node remembers the patterns of its copy, one on a line, in `exclude`.

use std::io;
use std::sync::Arc;

use mirror_core::disk::encode_generation;

use crate::config::Config;
use crate::effect::{self, Effect};
use crate::engine::write_durably;
use crate::mode::Standing;

/// To be called before anything is served.
pub fn note_change(config: &Config, standing: &mut Standing) -> Result<(), String> {
    let path = config.state_dir.join("exclude");
    let shown = path.display();
    let read = effect::at(Effect::StateRead).map_err(io::Error::from);
    let before = match read.and_then(|()| std::fs::read_to_string(&path)) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(format!("{shown} cannot be read: {e}")),
    };
    let lines = config.exclude.iter().map(|pattern| pattern.replace('\n', "\\n") + "\n");
    let now: String = lines.collect();
    if now == before {
        return Ok(());
    }
    if standing.generation.has_data() {
        tracing::info!("other paths are excluded than before: the copies will be compared");
        standing.trusted = false;
        // Durable before the new patterns are: a crash in between asks the same question again.
        let mut generation = (*standing.generation).clone();
        generation.clean = false;
        let record = config.state_dir.join("generation");
        write_durably(&record, &encode_generation(&generation))
            .map_err(|e| format!("{} cannot be written: {e}", record.display()))?;
        standing.generation = Arc::new(generation);
    }
    write_durably(&path, now.as_bytes()).map_err(|e| format!("{shown} cannot be written: {e}"))
}
