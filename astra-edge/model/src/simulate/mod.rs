//! All members of a request in one process, in lock step and without a network, for tests and for measuring at export how the codec
//! changes the output.
//!
//! - `losses`: frames that do not arrive

mod losses;

use crate::engine::{Codec, EngineError, Input, Member, Model, TokenEncoder, slice, slice_mut};
use crate::mean::mean;
use crate::partition::TokenRange;
use losses::Losses;

/// Members of one partition at one rung.
pub struct Simulation {
    members: Vec<Member>,
    ranges: Vec<TokenRange>,
    causal: bool,
    encoder: TokenEncoder,
    /// Tokens of all members as their codes are decoded, before a prediction is added: [T, R] of the present block.
    decoded: Vec<f32>,
    losses: Option<Losses>,
    masked_tokens: u64,
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
        let causal = model.modality().is_causal();
        let members = ranges
            .iter()
            .map(|&range| Member::new(model, codec, range, range.remote_tokens(total, causal)))
            .collect::<Result<_, _>>()?;
        let largest = ranges.iter().map(|range| range.tokens).max();
        let rank = codec.ranks().max().unwrap_or_default();
        Ok(Self {
            members,
            ranges: ranges.to_vec(),
            causal,
            encoder: TokenEncoder::for_codec(codec, largest.unwrap_or_default().into())?,
            decoded: vec![0.0; total * rank],
            losses: None,
            masked_tokens: 0,
        })
    }

    /// The same, but each frame of each block is lost for each receiver with probability `share`, independently. What is lost follows
    /// from `seed` and the requests run before.
    #[must_use]
    pub fn with_losses(self, share: f64, seed: u64) -> Self {
        Self {
            losses: (share > 0.0).then(|| Losses::new(share, seed)),
            ..self
        }
    }

    /// Tokens that receivers missed in the last request, summed over receivers and blocks.
    pub fn masked_tokens(&self) -> u64 {
        self.masked_tokens
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
        self.masked_tokens = 0;
        for (member, range) in self.members.iter_mut().zip(&self.ranges) {
            let own = input.part(range.indexes(), total, class_tokens)?;
            member.embed(model, own.borrow())?;
        }
        for block in 0..model.shape().blocks {
            self.encode(codec, block)?;
            for me in 0..self.members.len() {
                self.receive(model, codec, (block, me))?;
            }
        }
        self.features()
    }

    /// Encodes the tokens of each member and decodes them as receivers do.
    fn encode(&mut self, codec: &Codec, block: usize) -> Result<(), EngineError> {
        if self.members.len() < 2 {
            return Ok(());
        }
        let rank = codec.rank(block)?;
        let stages = codec.stages(block)?;
        for (member, range) in self.members.iter_mut().zip(&self.ranges) {
            let own = range.indexes();
            let rows = own.start * rank..own.end * rank;
            let decoded = slice_mut("decoded tokens", &mut self.decoded, rows)?;
            let Some(stages) = &stages else {
                let values = member.n_patches()?;
                EngineError::length("exchanged values", values.len(), decoded.len())?;
                decoded.copy_from_slice(values);
                continue;
            };
            let encoder = &mut self.encoder;
            member.encode(codec, block, 0..own.len(), (stages, encoder))?;
            self.encoder.decode(stages, decoded)?;
            member.reconstruct_own(block, stages, &self.encoder)?;
        }
        Ok(())
    }

    /// One member's part of a block once all have encoded their tokens.
    fn receive(
        &mut self,
        model: &mut Model,
        codec: &Codec,
        (block, me): (usize, usize),
    ) -> Result<(), EngineError> {
        self.member(me)?.predict_own(model, block)?;
        self.member(me)?.predict_remote(model, block)?;
        let arrived = match self.losses {
            Some(_) => self.deliver_frames(codec, block, me)?,
            None => self.deliver_all(codec.rank(block)?, block, me)?,
        };
        let member = self.member(me)?;
        let masked = member.remote_tokens() - arrived;
        let valid = member.reconstruct_remote(block, arrived)?;
        member.local(model, block)?;
        member.finish_block(model, codec, block, valid)?;
        self.masked_tokens += masked as u64;
        Ok(())
    }

    fn member(&mut self, me: usize) -> Result<&mut Member, EngineError> {
        let members = self.members.len();
        let member = self.members.get_mut(me);
        member.ok_or_else(|| no_member(members, me))
    }

    /// Copies all decoded tokens of the other members. Returns how many there are.
    fn deliver_all(&mut self, rank: usize, block: usize, me: usize) -> Result<usize, EngineError> {
        let members = self.members.len();
        let member = self.members.get_mut(me).zip(self.ranges.get(me));
        let (member, range) = member.ok_or_else(|| no_member(members, me))?;
        let own = range.indexes();
        let remote = member.remote_mut(block)?;
        let (first, end) = (own.start * rank, own.end * rank);
        let before = slice("decoded tokens", &self.decoded, 0..first)?;
        slice_mut("remote rows", remote, 0..first)?.copy_from_slice(before);
        // A causal member attends only to the tokens before it.
        let rest = slice_mut("remote rows", remote, first..remote.len())?;
        let after = slice("decoded tokens", &self.decoded, end..end + rest.len())?;
        rest.copy_from_slice(after);
        Ok(member.remote_tokens())
    }

    /// Copies the decoded tokens of the frames that arrive, one after another, and lists them. Returns how many there are.
    fn deliver_frames(
        &mut self,
        codec: &Codec,
        block: usize,
        me: usize,
    ) -> Result<usize, EngineError> {
        let (rank, layout) = (codec.rank(block)?, codec.layout(block)?);
        let members = self.members.len();
        let member = self.members.get_mut(me).zip(self.losses.as_mut());
        let (member, losses) = member.ok_or_else(|| no_member(members, me))?;
        let (remote, tokens) = member.remote_rows_mut(block)?;
        let mut arrived = 0;
        for (sender, range) in self.ranges.iter().enumerate() {
            if sender == me || (self.causal && sender > me) {
                continue;
            }
            for frame in layout.split(range.tokens) {
                if !losses.arrives(&layout) {
                    continue;
                }
                let first = range.indexes().start + frame.start;
                let rows = first * rank..(first + frame.len()) * rank;
                let to = arrived * rank..(arrived + frame.len()) * rank;
                let rows = slice("decoded tokens", &self.decoded, rows)?;
                slice_mut("remote rows", remote, to)?.copy_from_slice(rows);
                let listed =
                    slice_mut("rows that arrived", tokens, arrived..arrived + frame.len())?;
                for (listed, token) in listed.iter_mut().zip(first..) {
                    *listed = token;
                }
                arrived += frame.len();
            }
        }
        Ok(arrived)
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

fn no_member(found: usize, me: usize) -> EngineError {
    EngineError::Length {
        what: "members",
        found,
        expected: me + 1,
    }
}
