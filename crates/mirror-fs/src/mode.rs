//! What the engine may do now: its role, whether writes are let through, and to whom they go.
//!
//! Every change holds the mode for reading from its first look at it until its operation stands in
//! the stream. Whoever changes the mode therefore knows that no change is half done.

use std::sync::Arc;

use mirror_core::generation::{Generation, LastRole};

use crate::answer::Answer;
use crate::change::Change;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    None,
    Primary,
    Secondary,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Role::None => "none",
            Role::Primary => "primary",
            Role::Secondary => "secondary",
        }
    }

    pub fn last(self) -> LastRole {
        match self {
            Role::None => LastRole::None,
            Role::Primary => LastRole::Primary,
            Role::Secondary => LastRole::Secondary,
        }
    }
}

/// What happens to a change that arrives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gate {
    Open,
    /// It waits; the text says for what.
    Frozen(&'static str),
    /// It fails with this errno.
    Refused(i32),
}

/// Why writes are frozen when somebody has said so.
pub const BY_COMMAND: &str = "frozen by command";

impl Gate {
    /// Frozen for want of the peer: open again when the peer has come, or by the control plane.
    pub fn waits_for_peer(self) -> bool {
        matches!(self, Gate::Frozen(why) if why != BY_COMMAND)
    }
}

#[derive(Debug)]
pub struct Mode {
    pub role: Role,
    pub gate: Gate,
    /// Number of the session with a secondary; 0: there is none, changes stay here.
    pub session: u64,
    /// The secondary has everything (false: a resync runs).
    pub full: bool,
    /// In a resync of what is in doubt: what is not in its plan is equal, and changes to it are
    /// sent.
    pub partial: bool,
    /// The next change is the first that only this node has: it needs a new generation first.
    pub fork_due: bool,
}

impl Default for Mode {
    fn default() -> Self {
        Mode {
            role: Role::None,
            gate: Gate::Refused(libc::EROFS),
            session: 0,
            full: false,
            partial: false,
            fork_due: false,
        }
    }
}

/// A change that waits for the gate to open.
pub struct Parked {
    pub tree: u8,
    pub change: Change<'static>,
    pub answer: Answer,
}

/// How the data stands, as far as this process knows; the durable part is in `generation`.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    pub generation: Arc<Generation>,
    /// The tree is exactly that of the generation: it was stopped in order, or never left alone.
    pub trusted: bool,
    /// The record could not be read: nothing may be served without force.
    pub damaged: Option<String>,
}
