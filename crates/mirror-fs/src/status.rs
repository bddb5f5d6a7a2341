//! The engine as its control socket sees it: commands in, status out.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Duration;

use mirror_core::generation::compare;
use serde_json::{json, Map, Value};

use crate::control::{Commands, Refusal, Request};
use crate::effect;
use crate::engine::Engine;
use crate::generation_json;
use crate::mode::{Gate, Role};
use crate::mount;
use crate::rescue_store::{self, root_of};

/// Carries out the commands; knows how to end the process.
pub struct Control {
    pub engine: Arc<Engine>,
    pub ended: std::sync::mpsc::SyncSender<()>,
}

impl Commands for Control {
    fn handle(&self, request: Request) -> Result<Map<String, Value>, Refusal> {
        let engine = &self.engine;
        let mut fields = Map::new();
        match request {
            Request::BecomePrimary { epoch, alone, first, force } => {
                engine.become_primary(epoch, alone, first, force)?;
            }
            Request::BecomeSecondary { epoch, follow } => {
                engine.become_secondary(epoch, follow)?;
            }
            Request::ContinueAlone { epoch } => engine.continue_alone(epoch)?,
            Request::Outdate { epoch, alone } => engine.outdate(epoch, alone)?,
            Request::Freeze { epoch } => engine.freeze(epoch)?,
            Request::Thaw { epoch } => engine.thaw(epoch)?,
            Request::Reconcile { theirs } => {
                let relation = compare(&engine.generation(), &theirs);
                fields.insert("relation".into(), json!(relation.as_str()));
            }
            Request::SetResyncLimit { bytes_per_s } => {
                engine.set_resync_limit(bytes_per_s.map(std::num::NonZeroU64::get));
            }
            Request::Verify { repair } => engine.begin_verify(repair)?,
            Request::Estimate => {
                fields.insert("estimate".into(), engine.estimate()?);
            }
            Request::Resync => {
                fields.insert("begins".into(), engine.compare_everything()?.as_str().into());
            }
            Request::StopVerify => engine.stop_verify(),
            Request::VerifyResult => {
                fields.insert("verify".into(), engine.verifications.lock().full());
            }
            Request::Stop { abort } => self.stop(abort)?,
            Request::Faults { plan } => {
                if engine.config.faults.is_none() {
                    let text = "faults are injected only where the configuration has `faults`";
                    return Err(Refusal::new("refused", text));
                }
                if let Some(plan) = plan {
                    let rules = effect::read(&plan).map_err(|e| Refusal::new("bad_request", e))?;
                    effect::arm(Some(rules));
                }
                fields.insert("faults".into(), effect::counts());
            }
        }
        Ok(fields)
    }

    fn status(&self) -> Value {
        self.engine.status()
    }

    fn wait_change(&self, since: u64, timeout: Duration) -> u64 {
        self.engine.wait_version(since, timeout)
    }
}

impl Control {
    fn stop(&self, abort: bool) -> Result<(), Refusal> {
        let engine = &self.engine;
        if abort {
            engine.abort();
            for tree in &engine.trees {
                mount::unmount_by_force(&tree.path);
            }
        } else {
            for tree in &engine.trees {
                // Unmounting brings out what the kernel still holds, through the open gate.
                mount::unmount(&tree.path).map_err(|text| Refusal::new("busy", text))?;
            }
            engine.finish()?;
        }
        for tree in &engine.trees {
            mount::unmount_raw(&engine.config.run_dir, tree.index as usize);
        }
        engine.facts.lock().stopping = true;
        let _ = self.ended.try_send(());
        Ok(())
    }
}

impl Engine {
    pub fn status(&self) -> Value {
        // Of one moment: with the epoch of a command go the facts that it has made true.
        let mode = self.mode.read();
        let (role, gate) = (mode.role, mode.gate);
        let standing = self.standing.lock().clone();
        let generation = &standing.generation;
        let facts = self.facts.lock().clone();
        drop(mode);
        let frozen = match gate {
            Gate::Frozen(why) => Some(why),
            _ => None,
        };
        let silent_ms = match role {
            Role::Primary => self.outbox.silent_ms(),
            _ => self.follower.lock().as_ref().and_then(|f| f.silent_ms()),
        };
        let counters = &self.outbox.counters;
        json!({
            "module": self.config.module,
            "node": self.config.node,
            "pid": std::process::id(),
            "version": env!("CARGO_PKG_VERSION"),
            "role": role.as_str(),
            "epoch": generation.epoch,
            "frozen": frozen.is_some(),
            "freeze_reason": frozen,
            "alone": role == Role::Primary && generation.sole,
            "link": if facts.link_up { "up" } else { "down" },
            "link_silent_ms": silent_ms,
            "refused": facts.refused,
            "peer_up_to_date": role == Role::Primary && facts.peer_up_to_date,
            "up_to_date": generation.up_to_date() && standing.damaged.is_none(),
            "trusted": standing.trusted,
            "welcomed_epoch": self.welcomed.load(Relaxed),
            "worth": self.worth().as_str(),
            "kept_copy": self.kept_status(),
            "resync": self.resync_status(role, generation.sync_target),
            "doubt": self.doubt_status(),
            "last_resync": facts.last_resync,
            "verify": self.verifications.lock().brief(),
            "generation": generation_json::to_json(generation),
            "damaged": standing.damaged,
            "rescue": {
                "id": facts.rescuing,
                "kept": rescue_store::ids(&root_of(&self.config.state_dir)).map_or(0, |i| i.len()),
            },
            "failed": facts.failed.as_ref().map(|(what, text)| json!({"what": what, "text": text})),
            "pending_operations": self.outbox.waiting(),
            "parked_operations": self.parked.lock().len(),
            "counters": {
                "operations_sent": counters.operations_sent.load(Relaxed),
                "bytes_sent": counters.bytes_sent.load(Relaxed),
                "operations_applied": self.applied.operations.load(Relaxed),
                "bytes_applied": self.applied.bytes.load(Relaxed),
                "resyncs": self.resyncs.load(Relaxed),
            },
        })
    }

    fn set_resync_limit(&self, bytes_per_s: Option<u64>) {
        *self.resync_limit.lock() = bytes_per_s;
        if let Some(source) = &*self.source.lock() {
            source.pace.lock().bucket.set_limit(bytes_per_s);
        }
        self.touch();
    }

    fn resync_status(&self, role: Role, target: bool) -> Value {
        match (role, &*self.source.lock()) {
            (Role::Primary, Some(source)) => {
                let figures = &source.figures;
                let whole = figures.unlisted.load(Relaxed) == 0;
                let total = |figure: &AtomicU64| whole.then(|| figure.load(Relaxed));
                let forecast = source.forecast();
                let whole_number = |rate: Option<f64>| rate.map(|r| r.round() as u64);
                json!({
                    "as": "source",
                    "files_done": figures.files_done.load(Relaxed),
                    "files_total": total(&figures.files_found),
                    "bytes_done": figures.bytes_done.load(Relaxed),
                    "bytes_total": total(&figures.bytes_found),
                    "bytes_sent": figures.bytes_sent.load(Relaxed),
                    "bytes_skipped": figures.bytes_skipped.load(Relaxed),
                    "bytes_durable": self.resumption.memory.lock().durable_bytes(),
                    "bytes_per_s": whole_number(forecast.bytes_per_s),
                    "sent_bytes_per_s": whole_number(forecast.sent_bytes_per_s),
                    "seconds_left": forecast.left.map(|left| left.as_secs()),
                    "share_percent": (source.share() * 100.0).ceil() as u64,
                    "limit_bytes_per_s": *self.resync_limit.lock(),
                    "started_s_ago": source.begun.elapsed().as_secs_f64(),
                })
            }
            (Role::Secondary, _) if target => json!({
                "as": "target",
                "files_done": 0, "files_total": Value::Null,
                "bytes_done": self.applied.bytes.load(Relaxed), "bytes_total": Value::Null,
                "bytes_sent": 0, "started_s_ago": Value::Null,
            }),
            _ => Value::Null,
        }
    }
}
