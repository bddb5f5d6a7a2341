//! A generation as JSON, as status and `reconcile` have it (docs/internals/interfaces.md).
//!
//! Numbers of generations are hexadecimal text, because a JSON reader may round large numbers; "0"
//! is "no data".

use mirror_core::generation::{Generation, LastRole, HISTORY_MAX};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    current: String,
    base: String,
    history: Vec<String>,
    role: String,
    clean: bool,
    sole: bool,
    sync_target: bool,
    outdated: bool,
    epoch: u64,
}

pub fn to_json(generation: &Generation) -> Value {
    serde_json::json!(Written {
        current: number_text(generation.current),
        base: number_text(generation.base),
        history: generation.history.iter().copied().map(number_text).collect(),
        role: generation.role.as_str().into(),
        clean: generation.clean,
        sole: generation.sole,
        sync_target: generation.sync_target,
        outdated: generation.outdated,
        epoch: generation.epoch,
    })
}

/// The error is a sentence part that says which field is wrong.
pub fn from_json(value: &Value) -> Result<Generation, String> {
    let written = Written::deserialize(value).map_err(|e| e.to_string())?;
    if written.history.len() > HISTORY_MAX {
        return Err(format!("`history` has {} numbers", written.history.len()));
    }
    Ok(Generation {
        current: number("current", &written.current)?,
        base: number("base", &written.base)?,
        history: written
            .history
            .iter()
            .map(|text| number("history", text))
            .collect::<Result<_, _>>()?,
        role: LastRole::from_name(&written.role)
            .ok_or_else(|| format!("`role` is {:?}", written.role))?,
        clean: written.clean,
        sole: written.sole,
        sync_target: written.sync_target,
        outdated: written.outdated,
        epoch: written.epoch,
    })
}

fn number_text(number: u64) -> String {
    match number {
        0 => "0".into(),
        number => format!("{number:016x}"),
    }
}

fn number(field: &str, text: &str) -> Result<u64, String> {
    let hex = text == "0" || (text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit()));
    match u64::from_str_radix(text, 16) {
        Ok(number) if hex => Ok(number),
        _ => Err(format!("`{field}` is {text:?}, not 16 hexadecimal digits or 0")),
    }
}
