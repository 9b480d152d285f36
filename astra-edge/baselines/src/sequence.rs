//! Sequence parallelism: tokens are divided as in astra-edge, and their normalized rows exchanged once a block.

use anyhow::{Context, Result, ensure};
use astra_bundle::Bundle;
use astra_edge::plan::Plan;
use astra_model::engine::{Codec, Member, Modality, Model, OwnedInput, Runtime};
use astra_model::mean::mean;
use astra_model::partition::{Costs, TokenRange};
use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::collective::{read_f32, write_f32};
use crate::input::InputLayout;
use crate::mesh::Mesh;
use crate::parallel::{Output, OutputHead, Parallel, Times, timed};

/// One device of sequence parallelism.
pub(crate) struct Sequence {
    model: Model,
    codec: Codec,
    member: Member,
    plan: Plan,
    me: usize,
    /// On the device that computes the output: the first, or the last for a causal model.
    head: Option<OutputHead>,
    wire: Wire,
}

/// Encoding of exchanged rows: float32 or float16.
struct Wire {
    half: bool,
    halves: Vec<f16>,
}

impl Sequence {
    pub(crate) fn open(
        runtime: &Runtime,
        bundle: &Bundle,
        layout: &InputLayout,
        (me, devices): (usize, usize),
        half: bool,
    ) -> Result<Self> {
        let (dir, manifest) = (bundle.dir(), bundle.manifest());
        let modality = Modality::of(manifest);
        let speeds = vec![1.0; devices];
        let costs = Costs::of(&manifest.shape, manifest.shape.hidden, modality.is_causal());
        let ranges = costs.split(layout.tokens, &speeds)?;
        let plan = Plan {
            id: 0,
            // No code frame is written.
            version: 0,
            epoch: 0,
            rung: 0,
            causal: modality.is_causal(),
            ranges,
        };
        let model = Model::open(runtime, dir, &manifest.shape, modality)?;
        let codec = Codec::load(bundle, 0)?;
        let range = plan
            .ranges
            .get(me)
            .copied()
            .context("no range for this device")?;
        let has_head = me == if plan.causal { devices - 1 } else { 0 };
        Ok(Self {
            member: Member::new(&model, &codec, range, plan.remote_tokens(me))?,
            head: has_head
                .then(|| OutputHead::open(runtime, bundle))
                .transpose()?,
            model,
            codec,
            plan,
            me,
            wire: Wire {
                half,
                halves: Vec::new(),
            },
        })
    }

    /// Sends the own rows to every device that attends to them.
    fn send(&mut self, mesh: &mut Mesh) -> Result<()> {
        for other in mesh.others() {
            if self.plan.senders(other) & (1 << self.me) != 0 {
                self.wire.send(mesh, other, self.member.n_patches()?)?;
            }
        }
        Ok(())
    }

    /// Receives the rows that this device attends to.
    fn receive(&mut self, mesh: &mut Mesh, block: usize, times: &mut Times) -> Result<()> {
        let width = self.codec.rank(block)?;
        let own = self
            .plan
            .ranges
            .get(self.me)
            .map_or(0, |range| usize::from(range.tokens));
        for other in mesh.others() {
            if self.plan.senders(self.me) & (1 << other) == 0 {
                continue;
            }
            let received = mesh.expect(other)?;
            let range = self
                .plan
                .ranges
                .get(other)
                .copied()
                .context("no range for a device")?;
            let first = range.indexes().start - if other > self.me { own } else { 0 };
            let rows = first * width..(first + usize::from(range.tokens)) * width;
            let rows = self
                .member
                .remote_mut(block)?
                .get_mut(rows)
                .context("rows outside the remote tokens")?;
            timed(&mut times.encode, || self.wire.read(&received, rows))?;
        }
        Ok(())
    }

    /// Computes the output, from the features of all devices where the model needs them.
    fn finish(&mut self, mesh: &mut Mesh, times: &mut Times) -> Result<Option<Output>> {
        let hidden = self.model.shape().hidden;
        if self.plan.causal {
            return self.finish_text(mesh, times, hidden);
        }
        let Some(head) = &mut self.head else {
            self.wire.send(mesh, 0, self.member.n_class()?)?;
            self.wire.send(mesh, 0, self.member.n_patches()?)?;
            return Ok(None);
        };
        let mut copies = vec![self.member.n_class()?.to_vec()];
        let mut features = self.member.n_patches()?.to_vec();
        for other in 1..mesh.devices() {
            let range = self
                .plan
                .ranges
                .get(other)
                .map_or(0, |range| usize::from(range.tokens));
            let class = self.member.n_class()?.len();
            for (rows, length) in [(None, class), (Some(&mut features), range * hidden)] {
                let mut values = vec![0.0; length];
                self.wire.read(&mesh.expect(other)?, &mut values)?;
                match rows {
                    None => copies.push(values),
                    Some(features) => features.extend(values),
                }
            }
        }
        let class = mean(copies.iter().map(Vec::as_slice));
        let class = class.context("class tokens: found copies of different lengths")?;
        timed(&mut times.compute, || {
            head.run(class, features, hidden).map(Some)
        })
    }

    /// The last device computes the next token and sends it to rank 0, then its logits for the comparison.
    fn finish_text(
        &mut self,
        mesh: &mut Mesh,
        times: &mut Times,
        hidden: usize,
    ) -> Result<Option<Output>> {
        let last = mesh.devices() - 1;
        if let Some(head) = &mut self.head {
            let rows = self.member.n_patches()?.to_vec();
            let output = timed(&mut times.compute, || head.run(Vec::new(), rows, hidden))?;
            let Output::Logits(logits) = &output else {
                return Ok(Some(output));
            };
            if self.me == 0 {
                return Ok(Some(output));
            }
            mesh.send(0, |out| out.extend([0; 4]))?;
            mesh.send(0, |out| write_f32(out, logits))?;
            return Ok(None);
        }
        if self.me != 0 {
            return Ok(None);
        }
        let token = mesh.expect(last)?;
        ensure!(token.len() == 4, "a token of {} bytes", token.len());
        Ok(Some(Output::Logits(Vec::new())))
    }
}

impl Wire {
    fn send(&mut self, mesh: &mut Mesh, to: usize, rows: &[f32]) -> Result<()> {
        if !self.half {
            return mesh.send(to, |out| write_f32(out, rows));
        }
        self.halves.resize(rows.len(), f16::ZERO);
        self.halves.convert_from_f32_slice(rows);
        mesh.send(to, |out| {
            for value in &self.halves {
                out.extend_from_slice(&value.to_le_bytes());
            }
        })
    }

    fn read(&mut self, bytes: &[u8], values: &mut [f32]) -> Result<()> {
        if !self.half {
            return read_f32(bytes, values, |old, new| *old = new);
        }
        let received = bytes.as_chunks::<2>().0;
        ensure!(
            received.len() == values.len(),
            "found {} values of float16, expected {}",
            received.len(),
            values.len()
        );
        self.halves.clear();
        self.halves
            .extend(received.iter().map(|bytes| f16::from_le_bytes(*bytes)));
        self.halves.convert_to_f32_slice(values);
        Ok(())
    }
}

impl Parallel for Sequence {
    fn range(&self, device: usize) -> TokenRange {
        let empty = TokenRange {
            first: 0,
            tokens: 0,
        };
        self.plan.ranges.get(device).copied().unwrap_or(empty)
    }

    fn own_tokens(&self, device: usize) -> u16 {
        self.range(device).tokens
    }

    fn run(
        &mut self,
        mesh: &mut Mesh,
        input: &OwnedInput,
        times: &mut Times,
    ) -> Result<Option<Output>> {
        timed(&mut times.compute, || {
            self.member.embed(&mut self.model, input.borrow())
        })?;
        for block in 0..self.model.shape().blocks {
            timed(&mut times.encode, || self.send(mesh))?;
            timed(&mut times.compute, || {
                self.member.local(&mut self.model, block)
            })?;
            self.receive(mesh, block, times)?;
            let remote = self.member.remote_tokens();
            timed(&mut times.compute, || {
                self.member
                    .finish_block(&mut self.model, &self.codec, block, remote)
            })?;
        }
        self.finish(mesh, times)
    }

    fn complete(&mut self, mesh: &mut Mesh, output: Output) -> Result<Output> {
        match output {
            Output::Logits(logits) if logits.is_empty() => {
                let received = mesh.expect(mesh.devices() - 1)?;
                let mut logits = vec![0.0; received.len() / 4];
                read_f32(&received, &mut logits, |old, new| *old = new)?;
                Ok(Output::Logits(logits))
            }
            complete => Ok(complete),
        }
    }
}
