//! Tensor and block parallelism: every device has all tokens and computes a part of each block.

use anyhow::{Context, Result};
use astra_bundle::{Bundle, Shape};
use astra_model::engine::{OwnedInput, Runtime};
use astra_model::partition::TokenRange;
use ort::memory::Allocator;
use ort::session::{Session, SessionInputValue};
use ort::value::{Tensor as Value, TensorRef};

use crate::collective::{all_gather, all_reduce};
use crate::input::InputLayout;
use crate::mesh::Mesh;
use crate::parallel::{Output, OutputHead, Parallel, Times, timed};
use crate::shards::{Parts, Shard};
use crate::weights::Weights;

/// How the devices' outputs of a step are combined to the next step's input.
#[derive(Clone, Copy)]
enum Exchange {
    /// They are summed.
    AllReduce,
    /// Each contributes an equal part. The model would have to be trained for this; only its time is measured here.
    AllGather,
}

/// One device of tensor or block parallelism.
pub(crate) struct Tensor {
    shape: Shape,
    all: TokenRange,
    embed: Session,
    steps: Vec<(Session, Exchange)>,
    /// On the first device.
    head: Option<(Session, OutputHead)>,
}

impl Tensor {
    /// Tensor parallelism: attention and MLP of each block are each followed by an all-reduce.
    pub(crate) fn tensor_parallel(
        runtime: &Runtime,
        bundle: &Bundle,
        layout: &InputLayout,
        (me, devices): (usize, usize),
    ) -> Result<Self> {
        let shard = Shard::new(&bundle.manifest().shape, devices, me, false)?;
        Self::open(runtime, bundle, layout, me, shard, |parts, blocks| {
            let mut graphs = Vec::new();
            for block in 0..blocks {
                graphs.push((parts.attention(block)?, Exchange::AllReduce));
                graphs.push((parts.mlp(block)?, Exchange::AllReduce));
            }
            Ok(graphs)
        })
    }

    /// Block parallelism: an all-gather after every `period` blocks.
    pub(crate) fn block_parallel(
        runtime: &Runtime,
        bundle: &Bundle,
        layout: &InputLayout,
        (me, devices): (usize, usize),
        period: usize,
    ) -> Result<Self> {
        let shard = Shard::new(&bundle.manifest().shape, devices, me, true)?;
        Self::open(runtime, bundle, layout, me, shard, |parts, blocks| {
            let starts = (0..blocks).step_by(period);
            let graph = |start: usize| {
                let graph = parts.blocks(start..(start + period).min(blocks))?;
                Ok((graph, Exchange::AllGather))
            };
            starts.map(graph).collect()
        })
    }

    fn open(
        runtime: &Runtime,
        bundle: &Bundle,
        layout: &InputLayout,
        me: usize,
        shard: Shard,
        graphs: impl FnOnce(&Parts<'_>, usize) -> Result<Vec<(Vec<u8>, Exchange)>>,
    ) -> Result<Self> {
        let (dir, shape) = (bundle.dir(), bundle.manifest().shape);
        let weights = Weights::read(bundle)?;
        let parts = Parts::new(bundle, &weights, shard)?;
        let steps = graphs(&parts, shape.blocks)?
            .into_iter()
            .map(|(graph, exchange)| Ok((runtime.session_from_memory(&graph, dir)?, exchange)));
        let head = || -> Result<_> {
            let features = runtime.session_from_memory(&parts.features()?, dir)?;
            Ok((features, OutputHead::open(runtime, bundle)?))
        };
        Ok(Self {
            shape,
            all: layout.all(),
            embed: runtime.session(&dir.join("embed.onnx"))?,
            steps: steps.collect::<Result<_>>()?,
            head: (me == 0).then(head).transpose()?,
        })
    }

    /// x of all rows: [m, D].
    fn embed(&mut self, input: &OwnedInput) -> Result<Vec<f32>> {
        let hidden = self.shape.hidden;
        // No projection for a codec.
        let enc_w = Value::<f32>::new(&Allocator::default(), [0, hidden])?;
        let enc_b = Value::<f32>::new(&Allocator::default(), [0_usize])?;
        let mut inputs = ort::inputs!["enc_w" => enc_w, "enc_b" => enc_b];
        let ids: Vec<i64>;
        match input {
            OwnedInput::Pixels(pixels) => {
                let tokens = usize::from(self.all.tokens);
                let width = pixels.len() / tokens.max(1);
                let pixels = TensorRef::from_array_view(([tokens, width], pixels.as_slice()))?;
                inputs.push(("pixels".into(), SessionInputValue::from(pixels)));
                let first = Value::from_array(([1_usize], vec![0_i64]))?;
                inputs.push(("first".into(), SessionInputValue::from(first)));
            }
            OwnedInput::Ids(given) => {
                ids = given.iter().map(|&id| i64::from(id)).collect();
                let ids = TensorRef::from_array_view(([ids.len()], ids.as_slice()))?;
                inputs.push(("ids".into(), SessionInputValue::from(ids)));
            }
        }
        let outputs = self.embed.run(inputs)?;
        let x = outputs.get("x").context("embed has no output x")?;
        Ok(x.try_extract_tensor::<f32>()?.1.to_vec())
    }
}

/// Runs a graph on x: [m, D].
fn step(session: &mut Session, x: &[f32], hidden: usize) -> Result<Vec<f32>> {
    let rows = x.len() / hidden.max(1);
    let x = TensorRef::from_array_view(([rows, hidden], x))?;
    let outputs = session.run(ort::inputs!["x" => x])?;
    let out = outputs.get("out").context("a part has no output")?;
    Ok(out.try_extract_tensor::<f32>()?.1.to_vec())
}

impl Parallel for Tensor {
    fn range(&self, _device: usize) -> TokenRange {
        self.all
    }

    fn own_tokens(&self, _device: usize) -> u16 {
        0
    }

    fn run(
        &mut self,
        mesh: &mut Mesh,
        input: &OwnedInput,
        times: &mut Times,
    ) -> Result<Option<Output>> {
        let hidden = self.shape.hidden;
        let mut x = timed(&mut times.compute, || self.embed(input))?;
        for (session, exchange) in &mut self.steps {
            x = timed(&mut times.compute, || step(session, &x, hidden))?;
            let waited = mesh.waited;
            timed(&mut times.encode, || match exchange {
                Exchange::AllReduce => all_reduce(mesh, &mut x),
                Exchange::AllGather => all_gather(mesh, &mut x),
            })?;
            times.encode = times
                .encode
                .saturating_sub(mesh.waited.saturating_sub(waited));
        }
        let Some((features, head)) = &mut self.head else {
            return Ok(None);
        };
        timed(&mut times.compute, || {
            let mut class = step(features, &x, hidden)?;
            // For a text there is only the last row.
            let rows = (self.shape.class_tokens * hidden).min(class.len().saturating_sub(hidden));
            let features = class.split_off(rows);
            head.run(class, features, hidden).map(Some)
        })
    }
}
