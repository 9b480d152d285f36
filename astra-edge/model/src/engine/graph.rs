//! Opening a graph of a bundle as a session, with the inputs and outputs that the format defines.

use std::path::Path;

use ort::session::Session;

use super::{EngineError, Runtime};

/// Opens a graph.
///
/// # Errors
/// The graph is missing, ONNX Runtime refuses it, or it has other inputs or outputs than these. Their order is free: they are bound by
/// name.
pub(super) fn open(
    runtime: &Runtime,
    path: &Path,
    inputs: &[&str],
    outputs: &[&str],
) -> Result<Session, EngineError> {
    let session = runtime.session(path)?;
    let found: Vec<&str> = session.inputs().iter().map(|input| input.name()).collect();
    check(path, "inputs", &found, inputs)?;
    let found: Vec<&str> = session
        .outputs()
        .iter()
        .map(|output| output.name())
        .collect();
    check(path, "outputs", &found, outputs)?;
    Ok(session)
}

fn check(
    path: &Path,
    what: &'static str,
    found: &[&str],
    expected: &[&str],
) -> Result<(), EngineError> {
    if found.len() == expected.len() && expected.iter().all(|name| found.contains(name)) {
        return Ok(());
    }
    Err(EngineError::Interface {
        path: path.to_owned(),
        what,
        found: found.join(", "),
        expected: expected.join(", "),
    })
}
