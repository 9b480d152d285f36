//! One member's part of the model: its buffers bound to the sessions, and the steps that compute.

use core::ops::Range;

use ort::session::IoBinding;

use super::bind;
use super::buffers::{Buffers, Sizes};
use super::error::{slice, slice_mut};
use super::masked_attention::attend_masked;
use super::mlp::Mlp;
use super::prediction::{Prediction, scatter_rows};
use super::{Codec, Encoded, EngineError, Input, Model, Stages, TokenEncoder};
use crate::partition::TokenRange;

/// Buffers and bindings of one token range at one rung, allocated once for a plan.
///
/// Order of the steps: [`embed`](Self::embed), then for each block [`local`](Self::local), [`attend`](Self::attend), and
/// [`mlp`](Self::mlp) for each chunk. Own tokens are encoded by [`encode`](Self::encode) before their block. Where the codec predicts,
/// these are added: after all are encoded [`reconstruct_own`](Self::reconstruct_own) and [`predict_own`](Self::predict_own), before remote tokens are decoded [`predict_remote`](Self::predict_remote), and after it
/// [`reconstruct_remote`](Self::reconstruct_remote).
pub struct Member {
    sizes: Sizes,
    buffers: Buffers,
    embed: IoBinding,
    local: Vec<IoBinding>,
    attend: Vec<IoBinding>,
    /// Empty unless graphs compute keys and values of remote tokens.
    exact: Vec<IoBinding>,
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
        };
        let mut buffers = Buffers::new(modality, codec, &sizes, keep_kv)?;
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
                let matrices = (block, codec.matrices(block)?);
                bind::attend(session, modality, matrices, &mut buffers)
            })
            .collect::<Result<_, _>>()?;
        let exact = match &mut buffers.remote_kv {
            None => Vec::new(),
            Some(kv) => {
                let sessions = model.exact.iter().enumerate();
                let bound = sessions
                    .map(|(block, session)| bind::exact(session, block, &buffers.remote, kv));
                bound.collect::<Result<_, _>>()?
            }
        };
        Ok(Self {
            exact,
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
            prediction.reset()?;
        }
        bind::run(&mut model.embed, &self.embed, "embed")
    }

    /// Encodes some own tokens of a block, in place of the y of which the residual of the first stage is left: the difference to the
    /// prediction, where the codec predicts. All own tokens must be encoded in ascending order.
    ///
    /// # Errors
    /// There are no such tokens, or they do not follow those encoded last.
    pub fn encode<'a>(
        &mut self,
        codec: &Codec,
        block: usize,
        tokens: Range<usize>,
        (stages, encoder): (&Stages<'_>, &'a mut TokenEncoder),
    ) -> Result<Encoded<'a>, EngineError> {
        let rank = self.buffers.y.width(block)?;
        let own = |token: usize| (self.sizes.class_tokens + token) * rank;
        let rows = own(tokens.start)..own(tokens.end);
        let y = slice_mut("y", self.buffers.y.values_mut(block)?, rows)?;
        if let Some(prediction) = &self.prediction {
            prediction.subtract(block, y, &tokens)?;
        }
        encoder.encode(stages, &codec.layout(block)?, tokens, y)
    }

    /// Decodes the codes of the own tokens to the state that receivers have of them, where the codec predicts.
    ///
    /// # Errors
    /// Not all own tokens have been encoded.
    pub fn reconstruct_own(
        &mut self,
        block: usize,
        stages: &Stages<'_>,
        encoder: &TokenEncoder,
    ) -> Result<(), EngineError> {
        let Some(prediction) = &mut self.prediction else {
            return Ok(());
        };
        encoder.decode(stages, prediction.own_residual_mut(block)?)?;
        prediction.reconstruct_own(block)
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
    pub fn reconstruct_remote(
        &mut self,
        block: usize,
        arrived: usize,
    ) -> Result<usize, EngineError> {
        let Some(prediction) = &self.prediction else {
            return Ok(arrived);
        };
        let sizes = &self.sizes;
        let rank = self.buffers.remote.width(block)?;
        let remote = self.buffers.remote.values_mut(block)?;
        if arrived < sizes.remote {
            let tokens = slice("rows that arrived", &self.arrived, 0..arrived)?;
            scatter_rows(remote, rank, tokens, |row| sizes.remote_token(row))?;
        }
        prediction.reconstruct_remote(block, remote)?;
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
        if codec.has_exact_graphs() {
            bind::run_block(&mut model.exact, &self.exact, block, "exact")?;
        }
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

    /// Buffer for decoded tokens of a block, one after another: [r, R].
    ///
    /// # Errors
    /// There is no such block.
    pub fn remote_mut(&mut self, block: usize) -> Result<&mut [f32], EngineError> {
        self.buffers.remote.values_mut(block)
    }

    /// The same, and the divided token of each row: `[r]`, read only where rows are missing.
    ///
    /// # Errors
    /// There is no such block.
    pub fn remote_rows_mut(
        &mut self,
        block: usize,
    ) -> Result<(&mut [f32], &mut [usize]), EngineError> {
        Ok((self.buffers.remote.values_mut(block)?, &mut self.arrived))
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
