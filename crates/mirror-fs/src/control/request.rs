//! The commands as a closed union, and their JSON.

use std::num::NonZeroU64;

use mirror_core::generation::Generation;
use mirror_core::units::Epoch;
use serde::Deserialize;
use serde_json::{json, Map, Value};

use crate::generation_json;

/// What the engine can be asked to do (docs/internals/interfaces.md tells what each means).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    BecomePrimary {
        epoch: Epoch,
        alone: bool,
        first: bool,
        force: bool,
    },
    /// `follow: false`: hand over and stand still, because a stop comes next.
    BecomeSecondary {
        epoch: Epoch,
        follow: bool,
    },
    ContinueAlone {
        epoch: Epoch,
    },
    /// The other node goes on alone, in the epoch `alone`: make it durable that this copy is not up
    /// to date; unless it has been welcomed by that node in that epoch already.
    Outdate {
        epoch: Epoch,
        alone: Epoch,
    },
    Freeze {
        epoch: Epoch,
    },
    Thaw {
        epoch: Epoch,
    },
    Reconcile {
        theirs: Generation,
    },
    /// How much a resync may send, from now on until the engine ends. None: no limit.
    SetResyncLimit {
        bytes_per_s: Option<NonZeroU64>,
    },
    /// Compare the two copies while they are in use; the status tells how far it is.
    Verify {
        repair: bool,
    },
    StopVerify,
    /// What a resync would look at if it began now.
    Estimate,
    /// A resync in which everything is compared.
    Resync,
    /// What the verification that runs, or the last one, has found: all that is kept of it.
    VerifyResult,
    Stop {
        abort: bool,
    },
    /// For tests: arm these faults (none: only tell what struck).
    Faults {
        plan: Option<Value>,
    },
}

impl Request {
    /// Whether it answers only when done, which may take long.
    pub fn waits(&self) -> bool {
        match self {
            Request::BecomePrimary { .. }
            | Request::BecomeSecondary { .. }
            | Request::ContinueAlone { .. }
            | Request::Outdate { .. }
            | Request::Estimate
            | Request::Resync
            | Request::Stop { .. } => true,
            Request::Freeze { .. }
            | Request::Thaw { .. }
            | Request::Reconcile { .. }
            | Request::SetResyncLimit { .. }
            | Request::Verify { .. }
            | Request::StopVerify
            | Request::VerifyResult
            | Request::Faults { .. } => false,
        }
    }
}

/// Why a command was not carried out: a code for the daemon, a sentence for a person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    pub code: &'static str,
    pub text: String,
}

impl Refusal {
    pub fn new(code: &'static str, text: impl Into<String>) -> Self {
        Refusal { code, text: text.into() }
    }
}

/// A request as a client sends it; two kinds are answered by the server itself.
#[derive(Debug)]
pub enum Asked {
    Status,
    Subscribe,
    Do(Request),
}

#[derive(Deserialize)]
#[serde(tag = "command", rename_all = "snake_case", deny_unknown_fields)]
enum Written {
    Status {},
    Subscribe {},
    BecomePrimary {
        epoch: Epoch,
        #[serde(default)]
        alone: bool,
        #[serde(default)]
        first: bool,
        #[serde(default)]
        force: bool,
    },
    BecomeSecondary {
        epoch: Epoch,
        #[serde(default = "yes")]
        follow: bool,
    },
    ContinueAlone {
        epoch: Epoch,
    },
    Outdate {
        epoch: Epoch,
        #[serde(default = "any_epoch")]
        alone: Epoch,
    },
    Freeze {
        epoch: Epoch,
    },
    Thaw {
        epoch: Epoch,
    },
    Reconcile {
        theirs: Value,
    },
    SetResyncLimit {
        bytes_per_s: Value,
    },
    Verify {
        #[serde(default)]
        repair: bool,
    },
    StopVerify {},
    VerifyResult {},
    Estimate {},
    Resync {},
    Stop {
        #[serde(default)]
        abort: bool,
    },
    Faults {
        #[serde(default)]
        plan: Option<Value>,
    },
}

fn any_epoch() -> Epoch {
    Epoch::MAX
}

fn yes() -> bool {
    true
}

/// Read one line. The id goes back with the answer, also with that of a request we cannot read.
pub fn parse(line: &[u8]) -> (Value, Result<Asked, Refusal>) {
    let bad = |why: String| Refusal::new("bad_request", format!("The request is refused: {why}."));
    let mut fields = match serde_json::from_slice(line) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return (Value::Null, Err(bad("it is not a JSON object".into()))),
        Err(e) => return (Value::Null, Err(bad(format!("it is not JSON ({e})")))),
    };
    let id = match fields.remove("id").unwrap_or(Value::Null) {
        id @ (Value::Null | Value::Number(_) | Value::String(_)) => id,
        _ => return (Value::Null, Err(bad("`id` is neither a number nor text".into()))),
    };
    (id, understand(fields).map_err(bad))
}

fn understand(fields: Map<String, Value>) -> Result<Asked, String> {
    let written = Written::deserialize(Value::Object(fields)).map_err(|e| e.to_string())?;
    Ok(Asked::Do(match written {
        Written::Status {} => return Ok(Asked::Status),
        Written::Subscribe {} => return Ok(Asked::Subscribe),
        Written::BecomePrimary { epoch, alone, first, force } => {
            Request::BecomePrimary { epoch, alone, first, force }
        }
        Written::BecomeSecondary { epoch, follow } => Request::BecomeSecondary { epoch, follow },
        Written::ContinueAlone { epoch } => Request::ContinueAlone { epoch },
        Written::Outdate { epoch, alone } => Request::Outdate { epoch, alone },
        Written::Freeze { epoch } => Request::Freeze { epoch },
        Written::Thaw { epoch } => Request::Thaw { epoch },
        Written::Reconcile { theirs } => {
            let theirs = generation_json::from_json(&theirs).map_err(|e| format!("theirs: {e}"))?;
            Request::Reconcile { theirs }
        }
        Written::SetResyncLimit { bytes_per_s } => {
            let bytes_per_s = Option::<NonZeroU64>::deserialize(bytes_per_s).map_err(|_| {
                "`bytes_per_s` is neither a number of bytes above 0 nor null (no limit)"
            })?;
            Request::SetResyncLimit { bytes_per_s }
        }
        Written::Verify { repair } => Request::Verify { repair },
        Written::StopVerify {} => Request::StopVerify,
        Written::VerifyResult {} => Request::VerifyResult,
        Written::Estimate {} => Request::Estimate,
        Written::Resync {} => Request::Resync,
        Written::Stop { abort } => Request::Stop { abort },
        Written::Faults { plan } => Request::Faults { plan },
    }))
}

/// The reply to a request, as one line.
pub fn reply(id: &Value, outcome: Result<Map<String, Value>, Refusal>) -> Vec<u8> {
    let mut fields = Map::new();
    fields.insert("id".into(), id.clone());
    fields.insert("ok".into(), outcome.is_ok().into());
    match outcome {
        Ok(more) => fields.extend(more),
        Err(Refusal { code, text }) => {
            fields.insert("error".into(), json!({"code": code, "text": text}));
        }
    }
    line(&Value::Object(fields))
}

/// The event that carries a status, as one line.
pub fn status_event(status: Value) -> Vec<u8> {
    line(&json!({"event": "status", "status": status}))
}

fn line(value: &Value) -> Vec<u8> {
    let mut bytes = value.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}
