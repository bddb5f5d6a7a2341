//! Whether this node may be primary: what its copy is worth, and what it can know by itself.

use mirror_core::generation::Worth;

use crate::control::Refusal;
use crate::engine::Engine;
use crate::mode::Role;

impl Engine {
    pub(crate) fn may_be_primary(
        &self, role: Role, alone: bool, first: bool, force: bool,
    ) -> Result<(), Refusal> {
        let standing = self.standing.lock().clone();
        let generation = &standing.generation;
        if let (Some(text), false) = (&standing.damaged, force) {
            return Err(Refusal::new("not_up_to_date", text.clone()));
        }
        if !generation.has_data() && !first && !force {
            let text = "this node has no data of this module yet";
            return Err(Refusal::new("no_data", text));
        }
        if generation.has_data() && !generation.up_to_date() && !force {
            let text = match self.worth() {
                Worth::MixtureOverKept => {
                    "a resync into this node did not end: its copy is not whole; the older one \
                     from before it is kept, and force brings it back"
                }
                Worth::Mixture => "a resync into this node did not end: its copy is not whole",
                _ => "the other node went on alone: this copy is older than its",
            };
            return Err(Refusal::new("not_up_to_date", text));
        }
        let unheard = alone && role == Role::None && !generation.sole && generation.has_data();
        if unheard && !force && !first {
            let text = "the other node may have newer data; this one cannot know";
            return Err(Refusal::new("not_up_to_date", text));
        }
        Ok(())
    }
}
