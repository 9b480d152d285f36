//! One member's part of the model: its buffers bound to the sessions, and the steps that compute.

use core::ops::Range;

use astra_codec::Codebook;
use ort::session::IoBinding;

use super::bind;
use super::buffers::{Buffers, Sizes};
use super::error::{slice, slice_mut};
use super::masked_attention::attend_masked;
use super::mlp::Mlp;
use super::prediction::{Prediction, scatter_rows};
use super::{Codec, EngineError, Input, Model};
use crate::partition::TokenRange;

/// Buffers and bindings of one token range at one rung, allocated once for a plan.
///
/// Order of the steps: [`embed`](Self::embed), then for each block [`local`](Self::local), [`attend`](Self::attend), and
/// [`mlp`](Self::mlp) for each chunk. Where the codec predicts, these are added: before own tokens are encoded
/// [`subtract_prediction`](Self::subtract_prediction), after all are encoded [`reconstruct_own`](Self::reconstruct_own) and
/// [`predict_own`](Self::predict_own), before remote tokens are decoded [`predict_remote`](Self::predict_remote), and after it
/// [`reconstruct_remote`](Self::reconstruct_remote).
pub struct Member {
    sizes: Sizes,
    buffers: Buffers,
    embed: IoBinding,
    local: Vec<IoBinding>,
    attend: Vec<IoBinding>,
    mlp: Mlp,
    prediction: Option<Prediction>,
    /// Divided token of each row of `remote`, where rows are missing.
    arrived: Vec<usize>,
}

impl Member {
    /// Buffers for `range` that attends to `remote` tokens of other members.
    ///
    /// # Errors
    /// ONNX Runtime has no memory, or the codec is of another shape than the model.
    pub fn new(
        model: &Model,
        codec: &Codec,
        range: TokenRange,
        remote: usize,
    ) -> Result<Self, EngineError> {
        Self::build(model, codec, range, remote, false)
    }

    /// The same for the member of a causal model that generates: keys and values are kept for [`attended_kv`](Self::attended_kv).
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_attended_kv(
        model: &Model,
        codec: &Codec,
        range: TokenRange,
        remote: usize,
    ) -> Result<Self, EngineError> {
        Self::build(model, codec, range, remote, model.modality().is_causal())
    }

    fn build(
        model: &Model,
        codec: &Codec,
        range: TokenRange,
        remote: usize,
        keep_kv: bool,
    ) -> Result<Self, EngineError> {
        let (shape, modality) = (*model.shape(), model.modality());
        let sizes = Sizes {
            class_tokens: shape.class_tokens,
            first: usize::from(range.first),
            tokens: usize::from(range.tokens),
            remote,
            hidden: shape.hidden,
            queries: shape.heads * shape.head_dim,
            kv: shape.kv_width(),
            coded: if codec.is_exact() { 0 } else { codec.rank() },
            rank: codec.rank(),
        };
        let mut buffers = Buffers::new(modality, &sizes, keep_kv)?;
        let embed = bind::embed(&model.embed, modality, codec.matrices(0)?, &mut buffers)?;
        let local = model
            .local
            .iter()
            .map(|session| bind::local(session, modality, &mut buffers))
            .collect::<Result<_, _>>()?;
        let attend = model
            .attend
            .iter()
            .enumerate()
            .map(|(block, session)| {
                bind::attend(session, modality, codec.matrices(block)?, &mut buffers)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            prediction: Prediction::new(model.predict.as_ref(), codec, &sizes, &buffers)?,
            mlp: Mlp::new(model, codec, &sizes, &mut buffers)?,
            arrived: vec![0; remote],
            sizes,
            buffers,
            embed,
            local,
            attend,
        })
    }

    /// Embeds the class tokens and the own tokens: writes x, n and y of block 0.
    ///
    /// # Errors
    /// The input is of another modality or length, or ONNX Runtime fails.
    pub fn embed(&mut self, model: &mut Model, input: Input<'_>) -> Result<(), EngineError> {
        self.buffers.input.fill(input)?;
        if let Some(prediction) = &mut self.prediction {
            prediction.reset();
        }
        bind::run(&mut model.embed, &self.embed, "embed")
    }

    /// Replaces y of some own tokens by the residual to the prediction, where the codec predicts.
    ///
    /// # Errors
    /// There are no such tokens.
    pub fn subtract_prediction(&mut self, tokens: Range<usize>) -> Result<(), EngineError> {
        let Some(prediction) = &self.prediction else {
            return Ok(());
        };
        let (_, y) = self.buffers.y.extract_tensor_mut();
        let own = self.sizes.class_tokens * self.sizes.coded..y.len();
        prediction.subtract(slice_mut("y", y, own)?, tokens)
    }

    /// Decodes the codes of the own tokens, [t, G], to the state that receivers have of them, where the codec predicts.
    ///
    /// # Errors
    /// The codes are of another number of tokens.
    pub fn reconstruct_own(
        &mut self,
        book: &Codebook<'_>,
        codes: &[u16],
    ) -> Result<(), EngineError> {
        if let Some(prediction) = &mut self.prediction {
            book.decode(codes, prediction.own_residual_mut())?;
            prediction.reconstruct_own();
        }
        Ok(())
    }

    /// Predicts the own tokens of the next block as receivers do. A member without receivers does not need it.
    ///
    /// # Errors
    /// ONNX Runtime fails.
    pub fn predict_own(&mut self, model: &mut Model, block: usize) -> Result<(), EngineError> {
        match (&self.prediction, &mut model.predict) {
            (Some(prediction), Some(session)) => prediction.predict_own(session, block),
            _ => Ok(()),
        }
    }

    /// Predicts the remote tokens, before their codes are decoded over their state.
    ///
    /// # Errors
    /// ONNX Runtime fails.
    pub fn predict_remote(&mut self, model: &mut Model, block: usize) -> Result<(), EngineError> {
        match (&mut self.prediction, &mut model.predict) {
            (Some(prediction), Some(session)) => prediction.predict_remote(session, block),
            _ => Ok(()),
        }
    }

    /// Turns decoded residuals into tokens where the codec predicts; a missing token is then its prediction. Returns the number of valid
    /// rows, of which `arrived` were decoded.
    ///
    /// # Errors
    /// More rows arrived than `remote` holds, or they are of other tokens.
    pub fn reconstruct_remote(&mut self, arrived: usize) -> Result<usize, EngineError> {
        let Some(prediction) = &self.prediction else {
            return Ok(arrived);
        };
        let sizes = &self.sizes;
        let (_, remote) = self.buffers.remote.extract_tensor_mut();
        if arrived < sizes.remote {
            let tokens = slice("rows that arrived", &self.arrived, 0..arrived)?;
            scatter_rows(remote, sizes.rank, tokens, |row| sizes.remote_token(row))?;
        }
        prediction.reconstruct_remote(remote);
        Ok(sizes.remote)
    }

    /// Queries, keys and values of the own rows, from n.
    ///
    /// # Errors
    /// There is no such block, or ONNX Runtime fails.
    pub fn local(&mut self, model: &mut Model, block: usize) -> Result<(), EngineError> {
        bind::run_block(&mut model.local, &self.local, block, "local")
    }

    /// Attention over the own rows and the first `arrived` rows of [`remote`](Self::remote_mut).
    /// [`attended_kv`](Self::attended_kv) is valid only if all rows arrived.
    ///
    /// # Errors
    /// There is no such block, more rows arrived than `remote` holds, or ONNX Runtime fails.
    pub fn attend(
        &mut self,
        model: &mut Model,
        codec: &Codec,
        block: usize,
        arrived: usize,
    ) -> Result<(), EngineError> {
        if arrived < self.sizes.remote {
            let tokens = slice("rows that arrived", &self.arrived, 0..arrived)?;
            let (sizes, buffers) = (&self.sizes, &mut self.buffers);
            return attend_masked(model, codec.matrices(block)?, block, sizes, buffers, tokens);
        }
        EngineError::length("remote rows", arrived, self.sizes.remote)?;
        bind::run_block(&mut model.attend, &self.attend, block, "attend")
    }

    /// Sets whether [`mlp`](Self::mlp) goes through the rows in several chunks; at first it does not.
    pub fn set_chunked(&mut self, chunked: bool) {
        self.mlp.set_chunked(chunked);
    }

    /// Number of chunks of [`mlp`](Self::mlp).
    pub fn chunks(&self) -> usize {
        self.mlp.chunks().count()
    }

    /// The rest of a block after [`attend`](Self::attend), for one chunk of the rows: the MLP and the projection for the next block.
    /// Replaces these rows of x, n and y; after the last block n holds the features. Returns the own tokens of the chunk, from 0.
    ///
    /// # Errors
    /// There is no such block or chunk, or ONNX Runtime fails.
    pub fn mlp(
        &mut self,
        model: &mut Model,
        block: usize,
        chunk: usize,
    ) -> Result<Range<usize>, EngineError> {
        self.mlp
            .run(&mut model.mlp, (block, chunk), &mut self.buffers)?;
        Ok(self.mlp.chunks().tokens(chunk))
    }

    /// [`attend`](Self::attend) and [`mlp`](Self::mlp) for all chunks.
    ///
    /// # Errors
    /// As theirs.
    pub fn finish_block(
        &mut self,
        model: &mut Model,
        codec: &Codec,
        block: usize,
        arrived: usize,
    ) -> Result<(), EngineError> {
        self.attend(model, codec, block, arrived)?;
        for chunk in 0..self.chunks() {
            self.mlp(model, block, chunk)?;
        }
        Ok(())
    }

    /// Own divided tokens, t.
    pub fn tokens(&self) -> usize {
        self.sizes.tokens
    }

    /// Remote tokens, r.
    pub fn remote_tokens(&self) -> usize {
        self.sizes.remote
    }

    /// Normalized input of the next block, or the features after the last: [m, D], class rows first.
    pub fn n(&self) -> &[f32] {
        self.buffers.n.extract_tensor().1
    }

    /// n of the divided rows: [t, D].
    ///
    /// # Errors
    /// n is shorter than its class rows.
    pub fn n_patches(&self) -> Result<&[f32], EngineError> {
        let n = self.n();
        slice("n", n, self.sizes.class_tokens * self.sizes.hidden..n.len())
    }

    /// n of the class rows: [c, D].
    ///
    /// # Errors
    /// n is shorter than its class rows.
    pub fn n_class(&self) -> Result<&[f32], EngineError> {
        slice(
            "n",
            self.n(),
            0..self.sizes.class_tokens * self.sizes.hidden,
        )
    }

    /// Input of the encoder: [t, R]; empty in exact mode.
    ///
    /// # Errors
    /// y is shorter than its class rows.
    pub fn y(&self) -> Result<&[f32], EngineError> {
        let (_, y) = self.buffers.y.extract_tensor();
        slice("y", y, self.sizes.class_tokens * self.sizes.coded..y.len())
    }

    /// Queries of the own rows after [`local`](Self::local): [m, H * d].
    pub fn q(&self) -> &[f32] {
        self.buffers.q.extract_tensor().1
    }

    /// Keys of the own rows: [m, W].
    pub fn k(&self) -> &[f32] {
        self.buffers.k.extract_tensor().1
    }

    /// Values of the own rows: [m, W].
    pub fn v(&self) -> &[f32] {
        self.buffers.v.extract_tensor().1
    }

    /// Buffer for decoded tokens, one after another: [r, R].
    pub fn remote_mut(&mut self) -> &mut [f32] {
        self.buffers.remote.extract_tensor_mut().1
    }

    /// The same, and the divided token of each row: `[r]`, read only where rows are missing.
    pub fn remote_rows_mut(&mut self) -> (&mut [f32], &mut [usize]) {
        (
            self.buffers.remote.extract_tensor_mut().1,
            &mut self.arrived,
        )
    }

    /// Keys and values of all rows that attention read in the last block computed, [c + r + t, W] each: class rows, remote rows, own
    /// rows.
    ///
    /// # Errors
    /// The member does not keep them: see [`with_attended_kv`](Self::with_attended_kv).
    pub fn attended_kv(&self) -> Result<(&[f32], &[f32]), EngineError> {
        let kv = self.buffers.attended_kv.as_ref();
        let kv = kv.ok_or(EngineError::Length {
            what: "buffers of attended keys and values",
            found: 0,
            expected: 2,
        })?;
        Ok((kv.keys.extract_tensor().1, kv.values.extract_tensor().1))
    }
}
