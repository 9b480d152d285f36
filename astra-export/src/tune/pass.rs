//! One input through all members, and the gradients of what is trained.
//!
//! Of the first walk through the blocks only their inputs and decisions are kept; the second, backwards, computes each block
//! again with its gradients. So the memory of a pass is that of one block's intermediate values, and two matrices a block.

use astra_model::engine::Input;
use astra_wire::Layout;
use candle_core::{Tensor, Var};

use super::TuneError;
use super::codec::{BlockTensors, Codebooks, Coded, Decisions, Decoder, Noise, RungFrame, SECOND};
use super::model::{Division, Transformer};

/// What is trained, at one step.
pub(super) struct Step<'a> {
    pub(super) frame: &'a RungFrame,
    vars: Vec<BlockTensors<Var>>,
    /// The same without gradients, for the first walk.
    constant: Vec<BlockTensors<Tensor>>,
    codebooks: Vec<(Codebooks, Layout)>,
}

/// One input of a step.
pub(super) struct Pass<'a> {
    pub(super) model: &'a Transformer,
    pub(super) step: &'a Step<'a>,
    pub(super) division: &'a Division,
    /// Of each block; empty for none.
    pub(super) noise: &'a [Noise],
    /// Weight of the distortion of the codes in the loss.
    pub(super) commitment: f64,
}

/// What the first walk leaves.
pub(super) struct Trace {
    blocks: Vec<BlockTrace>,
    /// Rows after the last block.
    pub(super) x: Tensor,
    /// Distortion of the codes, mean over the blocks.
    pub(super) distortion: f64,
}

struct BlockTrace {
    x: Tensor,
    /// Decoded states of the block before.
    before: Option<Tensor>,
    /// None where there is one member.
    decisions: Option<Decisions>,
}

impl<'a> Step<'a> {
    /// Of the present `values` of a rung; `shapes` are theirs.
    ///
    /// # Errors
    /// They do not fit together.
    pub(super) fn new(
        frame: &'a RungFrame,
        shapes: &[BlockTensors<Vec<usize>>],
        values: &[BlockTensors<Vec<f32>>],
    ) -> Result<Self, TuneError> {
        let mut step = Self {
            frame,
            vars: Vec::with_capacity(values.len()),
            constant: Vec::with_capacity(values.len()),
            codebooks: Vec::with_capacity(values.len()),
        };
        let blocks = frame.blocks.iter().zip(values).zip(shapes);
        for (block, ((frame, values), shapes)) in blocks.enumerate() {
            let mut shapes = shapes.each();
            let vars = values.try_map(|values| {
                let shape = shapes.next().cloned().unwrap_or_default();
                Var::from_vec(values.clone(), shape, &candle_core::Device::Cpu)
            })?;
            let constant = vars.try_map(|var| Ok::<_, TuneError>(var.as_detached_tensor()))?;
            let codebooks = Codebooks::new(frame, step.frame.words, values)
                .map_err(TuneError::codebook(block))?;
            let stages = codebooks.borrow().map_err(TuneError::codebook(block))?;
            let layout = step.frame.tables.layout(&stages)?;
            step.vars.push(vars);
            step.constant.push(constant);
            step.codebooks.push((codebooks, layout));
        }
        Ok(step)
    }
}

impl Pass<'_> {
    /// The first walk.
    ///
    /// # Errors
    /// The input does not fit the model.
    pub(super) fn forward(&self, input: Input<'_>) -> Result<Trace, TuneError> {
        self.walk(input, |number, x, before| {
            match self.division.ranges.len() {
                0 | 1 => Ok(None),
                _ => self.decide(number, x, before),
            }
        })
    }

    /// The same with the decisions that `decide` makes of a block, its rows and the states before.
    fn walk(
        &self,
        input: Input<'_>,
        decide: impl Fn(usize, &Tensor, Option<&Tensor>) -> Result<Option<Decisions>, TuneError>,
    ) -> Result<Trace, TuneError> {
        let mut x = self.model.embed(input, self.division)?;
        let mut before = None;
        let mut blocks = Vec::with_capacity(self.model.blocks.len());
        let mut distortion = 0.0;
        for number in 0..self.model.blocks.len() {
            let decisions = decide(number, &x, before.as_ref())?;
            let tensors = self.step.constant.get(number);
            let (next, coded) =
                self.block(number, tensors, (&x, before.as_ref()), decisions.as_ref())?;
            blocks.push(BlockTrace {
                x,
                before,
                decisions,
            });
            x = next;
            if let Some(coded) = &coded {
                distortion += f64::from(coded.distortion.to_scalar::<f32>()?);
            }
            before = coded.map(|coded| coded.state);
        }
        Ok(Trace {
            distortion: distortion / blocks.len().max(1) as f64,
            blocks,
            x,
        })
    }

    /// The first walk with the decisions of another, as finite differences need it.
    #[cfg(test)]
    pub(super) fn forward_as(&self, input: Input<'_>, other: &Trace) -> Result<Trace, TuneError> {
        self.walk(input, |number, _, _| {
            Ok(other.blocks[number].decisions.clone())
        })
    }

    fn decide(
        &self,
        number: usize,
        x: &Tensor,
        before: Option<&Tensor>,
    ) -> Result<Option<Decisions>, TuneError> {
        let (model, step) = (self.model, self.step);
        let tensors = step.constant.get(number).zip(step.codebooks.get(number));
        let parts = tensors.zip(step.frame.blocks.get(number));
        let (Some(((tensors, (codebooks, layout)), frame)), Some(block)) =
            (parts, model.blocks.get(number))
        else {
            return Err(no_block(number).into());
        };
        let tokens = x.narrow(0, self.division.class_rows(), self.division.tokens())?;
        let n = block.normalized(&tokens)?;
        let decoder = Decoder {
            block: number,
            frame,
            tensors,
        };
        let noise = self.noise.get(number);
        let coding = (codebooks, layout);
        let decisions = decoder.decide((&n, before), coding, self.division, noise)?;
        Ok(Some(decisions))
    }

    /// One block: its rows, and its tokens as receivers have them.
    fn block(
        &self,
        number: usize,
        tensors: Option<&BlockTensors<Tensor>>,
        (x, before): (&Tensor, Option<&Tensor>),
        decisions: Option<&Decisions>,
    ) -> candle_core::Result<(Tensor, Option<Coded>)> {
        let block = self.model.blocks.get(number);
        let frame = self.step.frame.blocks.get(number);
        let parts = block.zip(tensors).zip(frame);
        let ((block, tensors), frame) = parts.ok_or_else(|| no_block(number))?;
        let n = block.normalized(x)?;
        let coded = decisions.map(|decisions| {
            let decoder = Decoder {
                block: number,
                frame,
                tensors,
            };
            let tokens = n.narrow(0, self.division.class_rows(), self.division.tokens())?;
            decoder.decode(&tokens, before, decisions)
        });
        let coded = coded.transpose()?;
        let remote = coded.iter().map(|coded| coded.remote.clone());
        let remote: Vec<_> = remote.collect();
        let next = self.model.block(block, (x, &n), &remote, self.division)?;
        Ok((next, coded))
    }

    /// The second walk: gradients of the loss, of which `gradient` is that of [`Trace::x`], for every trained tensor.
    ///
    /// # Errors
    /// A gradient is missing.
    pub(super) fn backward(
        &self,
        trace: &Trace,
        mut gradient: Tensor,
    ) -> Result<Vec<BlockTensors<Tensor>>, TuneError> {
        let mut gradients = Vec::with_capacity(trace.blocks.len());
        let mut of_state: Option<Tensor> = None;
        let share = self.commitment / trace.blocks.len().max(1) as f64;
        for (number, kept) in trace.blocks.iter().enumerate().rev() {
            let vars = self.step.vars.get(number).ok_or_else(|| no_block(number))?;
            let x = Var::from_tensor(&kept.x)?;
            let before = kept.before.as_ref().map(Var::from_tensor).transpose()?;
            let tracked = vars.try_map(|var| Ok::<_, TuneError>(var.as_tensor().clone()))?;
            let decisions = kept.decisions.as_ref();
            let inputs = (x.as_tensor(), before.as_deref());
            let (next, coded) = self.block(number, Some(&tracked), inputs, decisions)?;
            let mut sum = (next * &gradient)?.sum_all()?;
            if let Some(coded) = &coded {
                sum = (sum + (&coded.distortion * share)?)?;
                if let Some(of_state) = &of_state {
                    sum = (sum + (&coded.state * of_state)?.sum_all()?)?;
                }
            }
            let mut grads = sum.backward()?;
            gradient = grads.remove(&x).ok_or_else(|| no_gradient("x", number))?;
            of_state = before.as_deref().and_then(|before| grads.remove(before));
            let refines = decisions.is_some_and(Decisions::refines);
            let mut names = vars.names();
            gradients.push(vars.try_map(|var| {
                let name = names.next().unwrap_or_default();
                match grads.remove(var) {
                    Some(gradient) => Ok(gradient),
                    // Of few tokens none is refined.
                    None if name == SECOND && !refines => var.zeros_like(),
                    None => Err(no_gradient(name, number)),
                }
            })?);
        }
        gradients.reverse();
        Ok(gradients)
    }

    /// `[T, R]` of each block: what the codes leave of what was coded.
    ///
    /// # Errors
    /// The trace is of another step.
    pub(super) fn residuals(&self, trace: &Trace) -> candle_core::Result<Vec<Tensor>> {
        let blocks = trace.blocks.iter().enumerate();
        let residual = |(number, kept): (usize, &BlockTrace)| {
            let frame = self.step.frame.blocks.get(number);
            let parts = frame.zip(self.step.constant.get(number));
            let ((frame, tensors), decisions) = parts
                .zip(kept.decisions.as_ref())
                .ok_or_else(|| no_block(number))?;
            let decoder = Decoder {
                block: number,
                frame,
                tensors,
            };
            decoder.residual(decisions)
        };
        blocks.map(residual).collect()
    }
}

fn no_block(number: usize) -> candle_core::Error {
    candle_core::Error::msg(format!("found no block {number} of model and codec"))
}

fn no_gradient(name: &str, block: usize) -> candle_core::Error {
    candle_core::Error::msg(format!("found no gradient of {name} in block {block}"))
}
