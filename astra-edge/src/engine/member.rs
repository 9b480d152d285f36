//! One member's share of the model: its buffers bound to the sessions, and the steps that compute.

use astra_codec::Codebook;
use ort::session::IoBinding;
use ort::session::Session;
use ort::value::TensorRef;

use super::bind;
use super::buffers::{Buffers, Sizes};
use super::predict::{Prediction, spread};
use super::{Codec, EngineError, Input, Model};
use crate::plan::TokenRange;

/// Buffers and bindings of one token range at one rung, made once a plan. Steps go in the order of the crate's
/// [`job`](crate::job): [`embed`](Self::embed), then for each block [`local`](Self::local) and [`attend`](Self::attend). Where the
/// codec predicts, [`residual`](Self::residual) and [`coded`](Self::coded) go before and behind finding codes,
/// [`expect`](Self::expect) and [`complete`](Self::complete) before and behind decoding those of others.
pub struct Member {
    sizes: Sizes,
    buffers: Buffers,
    embed: IoBinding,
    local: Vec<IoBinding>,
    attend: Vec<IoBinding>,
    prediction: Option<Prediction>,
    /// Divided token of each row of `remote`, where not all are there.
    arrived: Vec<usize>,
}

impl Member {
    /// Buffers for `range` with `remote` tokens elsewhere that it attends to.
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

    /// The same for a causal model's member that goes on to generate: [`seen`](Self::seen) keeps keys and values.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn that_generates(
        model: &Model,
        codec: &Codec,
        range: TokenRange,
        remote: usize,
    ) -> Result<Self, EngineError> {
        Self::build(model, codec, range, remote, model.form().is_causal())
    }

    fn build(
        model: &Model,
        codec: &Codec,
        range: TokenRange,
        remote: usize,
        keep_seen: bool,
    ) -> Result<Self, EngineError> {
        let (shape, form) = (*model.shape(), model.form());
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
        let mut buffers = Buffers::new(form, &sizes, keep_seen)?;
        let embed = bind::embed(&model.embed, form, codec.matrices(0)?, &mut buffers)?;
        let local = model
            .local
            .iter()
            .map(|session| bind::local(session, form, &mut buffers))
            .collect::<Result<_, _>>()?;
        let attend = model
            .attend
            .iter()
            .enumerate()
            .map(|(block, session)| {
                let last = block + 1 == shape.blocks;
                bind::attend(session, form, codec, block, last, &mut buffers)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            prediction: Prediction::new(model.predict.as_ref(), codec, &sizes, &buffers)?,
            arrived: vec![0; remote],
            sizes,
            buffers,
            embed,
            local,
            attend,
        })
    }

    /// Embeds the own tokens, and those that every member computes: fills x, n and y of block 0.
    ///
    /// # Errors
    /// The input is of another kind or length, or ONNX Runtime fails.
    pub fn embed(&mut self, model: &mut Model, input: Input<'_>) -> Result<(), EngineError> {
        self.buffers.source.fill(input)?;
        run(&mut model.embed, &self.embed, "embed")
    }

    /// Makes y what the encoder codes in a block: where the codec predicts, the residual of what receivers expect.
    ///
    /// # Errors
    /// ONNX Runtime fails.
    pub fn residual(&mut self, model: &mut Model, block: usize) -> Result<(), EngineError> {
        match (&mut self.prediction, &mut model.predict) {
            (Some(prediction), Some(session)) => {
                prediction.residual(session, block, self.buffers.y.extract_tensor_mut().1)
            }
            _ => Ok(()),
        }
    }

    /// Notes the codes of the own tokens, [t, G]: receivers know the tokens by these. Nothing where the codec does not predict.
    ///
    /// # Errors
    /// The codes are of another number of tokens.
    pub fn coded(&mut self, book: &Codebook<'_>, codes: &[u16]) -> Result<(), EngineError> {
        if let Some(prediction) = &mut self.prediction {
            book.decode(codes, prediction.own_mut())?;
            prediction.confirm();
        }
        Ok(())
    }

    /// Works out what is expected of remote tokens, before their codes are decoded over their state.
    ///
    /// # Errors
    /// ONNX Runtime fails.
    pub fn expect(&mut self, model: &mut Model, block: usize) -> Result<(), EngineError> {
        match (&mut self.prediction, &mut model.predict) {
            (Some(prediction), Some(session)) => prediction.expect(session, block),
            _ => Ok(()),
        }
    }

    /// Makes decoded residuals the tokens they are of. Where the codec predicts, what did not arrive is what was expected. Returns
    /// the rows there then are, of the `arrived` that were decoded.
    pub fn complete(&mut self, arrived: usize) -> usize {
        let Some(prediction) = &self.prediction else {
            return arrived;
        };
        let sizes = &self.sizes;
        let (_, remote) = self.buffers.remote.extract_tensor_mut();
        if arrived < sizes.remote {
            let there = self.arrived.get(..arrived).unwrap_or_default();
            spread(remote, sizes.rank, there, |row| sizes.remote_token(row));
        }
        prediction.complete(remote);
        sizes.remote
    }

    /// Queries, keys and values of the own rows, from n.
    ///
    /// # Errors
    /// There is no such block, or ONNX Runtime fails.
    pub fn local(&mut self, model: &mut Model, block: usize) -> Result<(), EngineError> {
        let missing = no_such(block, &model.local);
        match (model.local.get_mut(block), self.local.get(block)) {
            (Some(session), Some(binding)) => run(session, binding, "local"),
            _ => Err(missing),
        }
    }

    /// Attention over the own rows and the first `arrived` rows of [`remote`](Self::remote_mut), the block's MLP, and
    /// the projection for the next block: replaces x, n and y. After the last block n holds the features. What was
    /// [`seen`](Self::seen) is kept only where all rows arrived.
    ///
    /// # Errors
    /// There is no such block, more rows arrived than there is room for, or ONNX Runtime fails.
    pub fn attend(
        &mut self,
        model: &mut Model,
        codec: &Codec,
        block: usize,
        arrived: usize,
    ) -> Result<(), EngineError> {
        if arrived < self.sizes.remote {
            return self.attend_some(model, codec, block, arrived);
        }
        EngineError::length("remote rows", arrived, self.sizes.remote)?;
        let missing = no_such(block, &model.attend);
        match (model.attend.get_mut(block), self.attend.get(block)) {
            (Some(session), Some(binding)) => run(session, binding, "attend"),
            _ => Err(missing),
        }
    }

    /// The same with a shorter `remote`: leaving a token out of the set attended to is masking it.
    fn attend_some(
        &mut self,
        model: &mut Model,
        codec: &Codec,
        block: usize,
        arrived: usize,
    ) -> Result<(), EngineError> {
        let missing = no_such(block, &model.attend);
        let last = block + 1 == model.attend.len();
        let form = model.form();
        let session = model.attend.get_mut(block).ok_or(missing)?;
        let matrices = codec.matrices(block)?;
        let next = codec.matrices(if last { block } else { block + 1 })?;
        let Buffers {
            x,
            n,
            y,
            q,
            k,
            v,
            remote,
            ..
        } = &mut self.buffers;
        let (_, rows) = remote.extract_tensor();
        let rows = rows.get(..arrived * self.sizes.rank).unwrap_or_default();
        let failed = EngineError::run("attend");
        let remote =
            TensorRef::from_array_view(([arrived, self.sizes.rank], rows)).map_err(&failed)?;
        let [even, odd] = x;
        let (from, to) = if block.is_multiple_of(2) {
            (even, odd)
        } else {
            (odd, even)
        };
        let mut inputs = ort::inputs![
            "x" => &*from, "q" => &*q, "k" => &*k, "v" => &*v, "remote" => remote,
            "dec_w" => &matrices.dec_w, "dec_b" => &matrices.dec_b,
        ];
        // A row that is not there shifts those behind it, but not their positions.
        let tokens = self.arrived.get(..arrived).unwrap_or_default().iter();
        let positions: Vec<i64> = tokens
            .map(|token| (self.sizes.class_tokens + token) as i64)
            .collect();
        if form.is_rotary() {
            let positions =
                TensorRef::from_array_view(([arrived], positions.as_slice())).map_err(&failed)?;
            inputs.extend(ort::inputs!["remote_positions" => positions]);
        }
        if !last {
            inputs.extend(ort::inputs!["enc_w" => &next.enc_w, "enc_b" => &next.enc_b]);
        }
        let outputs = session.run(inputs).map_err(&failed)?;
        for (name, place) in [
            ("x_out", Some(to)),
            ("n_out", Some(n)),
            ("y_out", (!last).then_some(y)),
        ] {
            let (Some(place), Some(value)) = (place, outputs.get(name)) else {
                continue;
            };
            let (_, values) = value.try_extract_tensor::<f32>().map_err(&failed)?;
            let (_, place) = place.extract_tensor_mut();
            EngineError::length(name, values.len(), place.len())?;
            place.copy_from_slice(values);
        }
        Ok(())
    }

    /// Own divided tokens, t.
    pub fn tokens(&self) -> usize {
        self.sizes.tokens
    }

    /// Tokens elsewhere, r.
    pub fn remote_tokens(&self) -> usize {
        self.sizes.remote
    }

    /// Post-norm input of the block to come, or the features after the last: [m, D], class rows first.
    pub fn n(&self) -> &[f32] {
        self.buffers.n.extract_tensor().1
    }

    /// n of the divided rows: [t, D].
    pub fn n_patches(&self) -> &[f32] {
        self.n()
            .get(self.sizes.class_tokens * self.sizes.hidden..)
            .unwrap_or_default()
    }

    /// n of the class rows: [c, D].
    pub fn n_class(&self) -> &[f32] {
        self.n()
            .get(..self.sizes.class_tokens * self.sizes.hidden)
            .unwrap_or_default()
    }

    /// What the encoder codes: [t, R]; empty in exact mode.
    pub fn y(&self) -> &[f32] {
        self.buffers.y.extract_tensor().1
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

    /// Where decoded tokens go, one after another: [r, R].
    pub fn remote_mut(&mut self) -> &mut [f32] {
        self.buffers.remote.extract_tensor_mut().1
    }

    /// The same, and which divided token each row is of: [r]. The latter is only read where fewer rows arrive than there is
    /// room for.
    pub fn remote_rows_mut(&mut self) -> (&mut [f32], &mut [usize]) {
        (
            self.buffers.remote.extract_tensor_mut().1,
            &mut self.arrived,
        )
    }

    /// Keys and values of all rows attended to in the block before, [c + r + t, W] each: class rows, remote ones, own ones.
    /// Empty where they are not kept.
    pub fn seen(&self) -> (&[f32], &[f32]) {
        match &self.buffers.seen {
            Some(seen) => (seen.keys.extract_tensor().1, seen.values.extract_tensor().1),
            None => (&[], &[]),
        }
    }
}

fn run(session: &mut Session, binding: &IoBinding, step: &'static str) -> Result<(), EngineError> {
    session
        .run_binding(binding)
        .map(drop)
        .map_err(EngineError::run(step))
}

fn no_such(block: usize, sessions: &[Session]) -> EngineError {
    EngineError::NoSuchBlock {
        found: block,
        blocks: sessions.len(),
    }
}
