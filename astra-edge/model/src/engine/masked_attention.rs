//! Attention where remote tokens are missing. Leaving a token out of `remote` is the same as masking it.

use ort::value::TensorRef;

use super::buffers::{Buffers, Sizes};
use super::codec::Matrices;
use super::error::slice;
use super::{EngineError, Model};

/// Runs `attend` of a block with the first rows of `remote`, which are of the divided tokens `tokens`.
///
/// # Errors
/// There is no such block, `remote` has fewer rows, or ONNX Runtime fails.
pub(super) fn attend_masked(
    model: &mut Model,
    matrices: &Matrices,
    block: usize,
    sizes: &Sizes,
    buffers: &mut Buffers,
    tokens: &[usize],
) -> Result<(), EngineError> {
    let is_rotary = model.modality().is_rotary();
    let blocks = model.attend.len();
    let session = model.attend.get_mut(block);
    let session = session.ok_or(EngineError::NoSuchBlock {
        found: block,
        blocks,
    })?;
    let Buffers {
        x,
        attended,
        q,
        k,
        v,
        remote,
        remote_kv,
        ..
    } = buffers;
    let arrived = tokens.len();
    let (rank, values) = match remote_kv {
        Some(remote_kv) => (2 * sizes.kv, remote_kv.extract_tensor().1),
        None => (remote.width(block)?, remote.values(block)?),
    };
    let rows = slice("remote rows", values, 0..arrived * rank)?;
    let failed = EngineError::run("attend");
    let remote = TensorRef::from_array_view(([arrived, rank], rows)).map_err(&failed)?;
    let mut inputs = ort::inputs![
        "x" => &*x, "q" => &*q, "k" => &*k, "v" => &*v, "remote" => remote,
        "dec_w" => &matrices.dec_w, "dec_b" => &matrices.dec_b,
    ];
    // A missing row shifts those after it, but not their positions.
    let positions: Vec<i64> = tokens
        .iter()
        .map(|token| (sizes.class_tokens + token) as i64)
        .collect();
    if is_rotary {
        let positions =
            TensorRef::from_array_view(([arrived], positions.as_slice())).map_err(&failed)?;
        inputs.extend(ort::inputs!["remote_positions" => positions]);
    }
    let outputs = session.run(inputs).map_err(&failed)?;
    let value = outputs.get("x_out");
    let value = value.ok_or(EngineError::Length {
        what: "outputs x_out of attend",
        found: 0,
        expected: 1,
    })?;
    let (_, values) = value.try_extract_tensor::<f32>().map_err(&failed)?;
    let (_, attended) = attended.extract_tensor_mut();
    EngineError::length("x_out", values.len(), attended.len())?;
    attended.copy_from_slice(values);
    Ok(())
}
