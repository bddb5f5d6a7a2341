//! The bounds of the rescues, as `mirror.json` has them: all optional.

use mirror_core::rescue::{Limits, WhenFull};
use serde::Deserialize;

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RescueConfig {
    pub limit_bytes: u64,
    pub keep: u32,
    pub reserve_bytes: u64,
    pub whole_file_bytes: u64,
    pub when_full: WhenFullWord,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFullWord {
    Stop,
    GoOn,
}

impl Default for RescueConfig {
    fn default() -> RescueConfig {
        let limits = Limits::default();
        RescueConfig {
            limit_bytes: limits.limit_bytes,
            keep: limits.keep,
            reserve_bytes: limits.reserve_bytes,
            whole_file_bytes: limits.whole_file_bytes,
            when_full: WhenFullWord::Stop,
        }
    }
}

impl RescueConfig {
    pub fn limits(&self) -> Limits {
        Limits {
            limit_bytes: self.limit_bytes,
            keep: self.keep,
            reserve_bytes: self.reserve_bytes,
            whole_file_bytes: self.whole_file_bytes,
            when_full: match self.when_full {
                WhenFullWord::Stop => WhenFull::Stop,
                WhenFullWord::GoOn => WhenFull::GoOn,
            },
        }
    }
}
