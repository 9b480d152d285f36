//! All members of a request in one process, in lock step and without a network: what the codec does to an answer, and
//! nothing else. For measuring agreement at export, and for tests.

use crate::engine::{Codec, EngineError, Input, Member, Model};
use crate::plan::TokenRange;

/// Members of one split at one rung.
pub struct Simulation {
    members: Vec<Member>,
    ranges: Vec<TokenRange>,
    /// Tokens of all members as their receivers decode them: [T, R].
    decoded: Vec<f32>,
    codes: Vec<u16>,
}

/// What the members come to together.
#[derive(Clone, Debug)]
pub struct Features {
    /// Mean of the members' class tokens after the final norm: [c * D]. Those of a causal text are its first tokens, the same
    /// on all members.
    pub cls: Vec<f32>,
    /// Divided tokens after the final norm: [T, D].
    pub patches: Vec<f32>,
}

impl Simulation {
    /// Members for `ranges`, which follow one another from token 0.
    ///
    /// # Errors
    /// ONNX Runtime has no memory, or the codec is of another shape than the model.
    pub fn new(model: &Model, codec: &Codec, ranges: &[TokenRange]) -> Result<Self, EngineError> {
        let total = ranges.last().map_or(0, TokenRange::end);
        let members = ranges
            .iter()
            .map(|&range| {
                let remote = range.remote_tokens(total, model.form().is_causal());
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

    /// Runs one input, of all tokens.
    ///
    /// # Errors
    /// The input does not fit, or a step fails.
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
                member.expect_own(model, block)?;
                member.expect(model, block)?;
            }
            self.deal(codec.rank());
            for member in &mut self.members {
                let remote = member.complete(member.remote_tokens());
                member.local(model, block)?;
                member.advance(model, codec, block, remote)?;
            }
        }
        Ok(self.features())
    }

    /// What each member sends, decoded once.
    fn encode(&mut self, codec: &Codec, block: usize) -> Result<(), EngineError> {
        if self.members.len() < 2 {
            return Ok(());
        }
        let rank = codec.rank();
        let book = codec.codebook(block)?;
        let mut decoded = self.decoded.as_mut_slice();
        for member in &mut self.members {
            let (place, rest) = std::mem::take(&mut decoded)
                .split_at_mut_checked(member.tokens() * rank)
                .unwrap_or_default();
            decoded = rest;
            match &book {
                Some(book) => {
                    let codes = self.codes.get_mut(..member.tokens() * codec.codes());
                    let codes = codes.unwrap_or_default();
                    member.residual(0..member.tokens());
                    book.encode(member.y(), codes)?;
                    book.decode(codes, place)?;
                    member.coded(book, codes)?;
                }
                None => {
                    let values = member.n_patches();
                    EngineError::length("exchanged values", values.len(), place.len())?;
                    place.copy_from_slice(values);
                }
            }
        }
        Ok(())
    }

    /// What was decoded, to all members but those it is of.
    fn deal(&mut self, rank: usize) {
        if self.members.len() < 2 {
            return;
        }
        for (member, range) in self.members.iter_mut().zip(&self.ranges) {
            let (before, from) = self
                .decoded
                .split_at_checked(range.indexes().start * rank)
                .unwrap_or_default();
            let after = from
                .get(usize::from(range.tokens) * rank..)
                .unwrap_or_default();
            // A causal member attends to those before it only.
            let (left, right) = member
                .remote_mut()
                .split_at_mut_checked(before.len())
                .unwrap_or_default();
            left.copy_from_slice(before);
            if !right.is_empty() {
                right.copy_from_slice(after);
            }
        }
    }

    fn features(&self) -> Features {
        let copies: Vec<&[f32]> = self.members.iter().map(Member::n_class).collect();
        let patches = self.members.iter().flat_map(Member::n_patches);
        Features {
            cls: mean(&copies),
            patches: patches.copied().collect(),
        }
    }
}

/// Mean of the members' class tokens (ASTRA, arXiv 2505.19342, distributed class tokens). Copies of another length than
/// the first are left out.
pub fn mean(copies: &[&[f32]]) -> Vec<f32> {
    let Some((first, rest)) = copies.split_first() else {
        return Vec::new();
    };
    let mut sum = first.to_vec();
    let mut count = 1.0;
    for copy in rest.iter().filter(|copy| copy.len() == first.len()) {
        for (total, value) in sum.iter_mut().zip(*copy) {
            *total += value;
        }
        count += 1.0;
    }
    for total in &mut sum {
        *total /= count;
    }
    sum
}
