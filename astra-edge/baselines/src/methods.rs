//! Opens a method by its name.

use anyhow::Result;
use astra_bundle::Bundle;
use astra_model::engine::Runtime;

use crate::Method;
use crate::input::InputLayout;
use crate::parallel::Parallel;
use crate::sequence::Sequence;
use crate::tensor::Tensor;

/// Opens a method on device `me` of `devices`.
pub(crate) fn open(
    method: Method,
    runtime: &Runtime,
    bundle: &Bundle,
    layout: &InputLayout,
    (me, devices): (usize, usize),
) -> Result<Box<dyn Parallel>> {
    Ok(match method {
        Method::SpF32 | Method::SpF16 => {
            let half = method == Method::SpF16;
            Box::new(Sequence::open(
                runtime,
                bundle,
                layout,
                (me, devices),
                half,
            )?)
        }
        Method::Tp => Box::new(Tensor::tensor_parallel(
            runtime,
            bundle,
            layout,
            (me, devices),
        )?),
        Method::Bp1 => Box::new(Tensor::block_parallel(
            runtime,
            bundle,
            layout,
            (me, devices),
            1,
        )?),
        Method::Bp4 => Box::new(Tensor::block_parallel(
            runtime,
            bundle,
            layout,
            (me, devices),
            4,
        )?),
    })
}
