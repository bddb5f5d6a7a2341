//! The border between Python and the engine: a few functions, and no logic.
//!
//! The interpreter's lock is released before the engine runs, and nothing in the engine calls
//! Python: no interpreter stands between a FUSE request and its reply.

use std::path::PathBuf;

use mirror_core::exclusion::Exclusion;
use mirror_core::generation;
use mirror_fs::{generation_json, rescue_extract as extracting, rescue_read};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

#[pymodule]
mod _mirror {
    #[pymodule_export]
    use super::{
        bad_pattern, compare_generations, rescue_delete, rescue_extract, rescue_list, rescue_show,
        run, version,
    };
}

/// Run the engine until it ends; returns the exit code of the process.
#[pyfunction]
fn run(py: Python<'_>, config_path: PathBuf) -> i32 {
    py.detach(|| mirror_fs::run(&config_path))
}

/// How two generation objects (as in the status of an engine) compare: a word of the interface.
#[pyfunction]
fn compare_generations(
    mine: &Bound<'_, PyDict>, theirs: &Bound<'_, PyDict>,
) -> PyResult<&'static str> {
    let mine = generation_from("mine", mine)?;
    let theirs = generation_from("theirs", theirs)?;
    Ok(generation::compare(&mine, &theirs).as_str())
}

/// The first of these patterns of `exclude` that means nothing, and why.
#[pyfunction]
fn bad_pattern(patterns: Vec<String>) -> Option<(usize, String)> {
    Exclusion::new(&patterns).err().map(|bad| (bad.index, bad.text))
}

/// The rescues below a module's state directory, as a JSON array.
#[pyfunction]
fn rescue_list(py: Python<'_>, state_dir: PathBuf) -> PyResult<String> {
    answered(py.detach(|| rescue_read::list(&state_dir)))
}

/// What is in one rescue, as a JSON object with at most `limit` names.
#[pyfunction]
fn rescue_show(py: Python<'_>, state_dir: PathBuf, id: String, limit: usize) -> PyResult<String> {
    answered(py.detach(|| rescue_read::show(&state_dir, &id, limit)))
}

/// Puts what a rescue holds into a directory that is new or empty; answers what was made.
#[pyfunction]
fn rescue_extract(
    py: Python<'_>, state_dir: PathBuf, id: String, into: PathBuf, with_current: bool,
) -> PyResult<String> {
    answered(py.detach(|| extracting::extract(&state_dir, &id, &into, with_current)))
}

/// Removes a rescue for good.
#[pyfunction]
fn rescue_delete(py: Python<'_>, state_dir: PathBuf, id: String) -> PyResult<String> {
    answered(py.detach(|| rescue_read::delete(&state_dir, &id)))
}

/// The answer as JSON text; a failure is a sentence in a `ValueError`.
fn answered(result: std::io::Result<serde_json::Value>) -> PyResult<String> {
    result.map(|value| value.to_string()).map_err(|e| PyValueError::new_err(e.to_string()))
}

/// The version of the engine; it must be that of the Python package.
#[pyfunction]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

fn generation_from(
    which: &str, object: &Bound<'_, PyDict>,
) -> PyResult<mirror_core::generation::Generation> {
    let text: String = object.py().import("json")?.call_method1("dumps", (object,))?.extract()?;
    let wrong = |why: String| {
        PyValueError::new_err(format!("The generation object `{which}` is not valid: {why}."))
    };
    let value = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    generation_json::from_json(&value).map_err(wrong)
}
