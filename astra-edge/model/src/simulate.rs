//! All members of a request in one process, in lock step and without a network, for tests and for measuring at export how the codec
//! changes the output.

use crate::engine::{Codec, EngineError, Input, Member, Model, slice, slice_mut};
use crate::mean::mean;
use crate::partition::TokenRange;

/// Members of one partition at one rung.
pub struct Simulation {
    members: Vec<Member>,
    ranges: Vec<TokenRange>,
    /// Tokens of all members as receivers decode them: [T, R].
    decoded: Vec<f32>,
    codes: Vec<u16>,
}

/// Features of all members.
#[derive(Clone, Debug)]
pub struct Features {
    /// Mean of the members' class tokens after the final norm: [c * D]. In a causal model these are the first tokens, equal on all
    /// members.
    pub cls: Vec<f32>,
    /// Divided tokens after the final norm: [T, D].
    pub patches: Vec<f32>,
}

impl Simulation {
    /// Members for `ranges`, which are contiguous from token 0.
    ///
    /// # Errors
    /// ONNX Runtime has no memory, or the codec is of another shape than the model.
    pub fn new(model: &Model, codec: &Codec, ranges: &[TokenRange]) -> Result<Self, EngineError> {
        let total = ranges.last().map_or(0, TokenRange::end);
        let members = ranges
            .iter()
            .map(|&range| {
                let remote = range.remote_tokens(total, model.modality().is_causal());
                Member::new(model, codec, range, remote)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            members,
            ranges: ranges.to_vec(),
            decoded: vec![0.0; total * codec.rank()],
            codes: vec![0; total * codec.codes()],
        })
    }

    /// Computes the features of one input, of all tokens.
    ///
    /// # Errors
    /// The input is of another modality or length, or a step fails.
    pub fn run(
        &mut self,
        model: &mut Model,
        codec: &Codec,
        input: Input<'_>,
    ) -> Result<Features, EngineError> {
        let total = self.ranges.last().map_or(0, TokenRange::end);
        let class_tokens = model.shape().class_tokens;
        for (member, range) in self.members.iter_mut().zip(&self.ranges) {
            let own = input.part(range.indexes(), total, class_tokens)?;
            member.embed(model, own.borrow())?;
        }
        for block in 0..model.shape().blocks {
            self.encode(codec, block)?;
            for member in &mut self.members {
                member.predict_own(model, block)?;
                member.predict_remote(model, block)?;
            }
            self.distribute(codec.rank())?;
            for member in &mut self.members {
                let remote = member.reconstruct_remote(member.remote_tokens())?;
                member.local(model, block)?;
                member.finish_block(model, codec, block, remote)?;
            }
        }
        self.features()
    }

    /// Encodes the tokens of each member and decodes them as receivers do.
    fn encode(&mut self, codec: &Codec, block: usize) -> Result<(), EngineError> {
        if self.members.len() < 2 {
            return Ok(());
        }
        let rank = codec.rank();
        let book = codec.codebook(block)?;
        let mut decoded = self.decoded.as_mut_slice();
        for member in &mut self.members {
            let length = member.tokens() * rank;
            let (found, place) = (decoded.len(), std::mem::take(&mut decoded));
            let (own, rest) = place
                .split_at_mut_checked(length)
                .ok_or(EngineError::Length {
                    what: "decoded tokens",
                    found,
                    expected: length,
                })?;
            decoded = rest;
            match &book {
                Some(book) => {
                    let count = member.tokens() * codec.codes();
                    let codes = slice_mut("codes", &mut self.codes, 0..count)?;
                    member.subtract_prediction(0..member.tokens())?;
                    book.encode(member.y()?, codes)?;
                    book.decode(codes, own)?;
                    member.reconstruct_own(book, codes)?;
                }
                None => {
                    let values = member.n_patches()?;
                    EngineError::length("exchanged values", values.len(), own.len())?;
                    own.copy_from_slice(values);
                }
            }
        }
        Ok(())
    }

    /// Copies the decoded tokens to all members but their owner.
    fn distribute(&mut self, rank: usize) -> Result<(), EngineError> {
        if self.members.len() < 2 {
            return Ok(());
        }
        for (member, range) in self.members.iter_mut().zip(&self.ranges) {
            let own = range.indexes();
            let (first, end) = (own.start * rank, own.end * rank);
            let before = slice("decoded tokens", &self.decoded, 0..first)?;
            let after = slice("decoded tokens", &self.decoded, end..self.decoded.len())?;
            let remote = member.remote_mut();
            slice_mut("remote rows", remote, 0..first)?.copy_from_slice(before);
            // A causal member attends only to the tokens before it.
            if remote.len() > first {
                EngineError::length("remote rows", remote.len(), first + after.len())?;
                let all = first..remote.len();
                slice_mut("remote rows", remote, all)?.copy_from_slice(after);
            }
        }
        Ok(())
    }

    fn features(&self) -> Result<Features, EngineError> {
        let copies = self.members.iter().map(Member::n_class);
        let patches = self.members.iter().map(Member::n_patches);
        Ok(Features {
            cls: mean(copies.collect::<Result<Vec<_>, _>>()?).ok_or(EngineError::Length {
                what: "copies of the class tokens",
                found: 0,
                expected: self.members.len(),
            })?,
            patches: patches.collect::<Result<Vec<_>, _>>()?.concat(),
        })
    }
}
