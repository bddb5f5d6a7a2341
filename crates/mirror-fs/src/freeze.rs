//! Writes held back by command, apart from those that wait for a lost peer.
//!
//! Only what was frozen by command is thawed by command: a freeze for want of the peer ends when
//! the peer is back or the control plane lets this node go on alone.

use mirror_core::units::Epoch;

use crate::control::Refusal;
use crate::engine::Engine;
use crate::mode::{Gate, Role, BY_COMMAND};

impl Engine {
    pub fn freeze(&self, epoch: Epoch) -> Result<(), Refusal> {
        self.check_epoch(epoch)?;
        let mut mode = self.mode.write();
        if mode.role == Role::Primary && mode.gate == Gate::Open {
            mode.gate = Gate::Frozen(BY_COMMAND);
        }
        drop(mode);
        self.touch();
        Ok(())
    }

    pub fn thaw(&self, epoch: Epoch) -> Result<(), Refusal> {
        self.check_epoch(epoch)?;
        {
            let mut mode = self.mode.write();
            if mode.gate == Gate::Frozen(BY_COMMAND) {
                mode.gate = Gate::Open;
            }
        }
        self.release_parked();
        self.touch();
        Ok(())
    }
}
