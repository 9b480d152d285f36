//! One member's share of the model: its buffers bound to the sessions, and the steps that compute.

use core::ops::Range;

use astra_codec::Codebook;
use ort::session::IoBinding;
use ort::value::TensorRef;

use super::bind;
use super::buffers::{Buffers, Sizes};
use super::error::{part, part_mut};
use super::pieces::MemberPieces;
use super::predict::{Prediction, spread};
use super::{Codec, EngineError, Input, Model};
use crate::partition::TokenRange;

/// Buffers and bindings of one token range at one rung, made once a plan. Steps go in the order of the crate's
/// [`job`](crate::job): [`embed`](Self::embed), then for each block [`local`](Self::local), [`attend`](Self::attend), and
/// [`mlp`](Self::mlp) piece by piece. Where the codec predicts, [`residual`](Self::residual) and [`coded`](Self::coded) go before and
/// behind finding codes, [`expect_own`](Self::expect_own) with the latter; [`expect`](Self::expect) and [`complete`](Self::complete)
/// go before and behind decoding those of others.
pub struct Member {
    sizes: Sizes,
    buffers: Buffers,
    embed: IoBinding,
    local: Vec<IoBinding>,
    attend: Vec<IoBinding>,
    pieces: MemberPieces,
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
                bind::attend(session, form, codec.matrices(block)?, &mut buffers)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            prediction: Prediction::new(model.predict.as_ref(), codec, &sizes, &buffers)?,
            pieces: MemberPieces::new(model, codec, &sizes, &mut buffers)?,
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
        if let Some(prediction) = &mut self.prediction {
            prediction.begin();
        }
        bind::run(&mut model.embed, &self.embed, "embed")
    }

    /// Makes y of some own tokens what the encoder codes: where the codec predicts, the residual of what receivers expect.
    ///
    /// # Errors
    /// There are no such tokens.
    pub fn residual(&mut self, tokens: Range<usize>) -> Result<(), EngineError> {
        let Some(prediction) = &self.prediction else {
            return Ok(());
        };
        let (_, y) = self.buffers.y.extract_tensor_mut();
        let own = self.sizes.class_tokens * self.sizes.coded..y.len();
        prediction.residual(part_mut("y", y, own)?, tokens)
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

    /// Works out what receivers expect of the own tokens in the block behind. For nothing where nobody receives.
    ///
    /// # Errors
    /// ONNX Runtime fails.
    pub fn expect_own(&mut self, model: &mut Model, block: usize) -> Result<(), EngineError> {
        match (&self.prediction, &mut model.predict) {
            (Some(prediction), Some(session)) => prediction.expect_own(session, block),
            _ => Ok(()),
        }
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
    ///
    /// # Errors
    /// More rows arrived than there is room for.
    pub fn complete(&mut self, arrived: usize) -> Result<usize, EngineError> {
        let Some(prediction) = &self.prediction else {
            return Ok(arrived);
        };
        let sizes = &self.sizes;
        let (_, remote) = self.buffers.remote.extract_tensor_mut();
        if arrived < sizes.remote {
            let there = part("rows that arrived", &self.arrived, 0..arrived)?;
            spread(remote, sizes.rank, there, |row| sizes.remote_token(row));
        }
        prediction.complete(remote);
        Ok(sizes.remote)
    }

    /// Queries, keys and values of the own rows, from n.
    ///
    /// # Errors
    /// There is no such block, or ONNX Runtime fails.
    pub fn local(&mut self, model: &mut Model, block: usize) -> Result<(), EngineError> {
        bind::run_block(&mut model.local, &self.local, block, "local")
    }

    /// Attention over the own rows and the first `arrived` rows of [`remote`](Self::remote_mut). What was [`seen`](Self::seen) is
    /// kept only where all rows arrived.
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
        bind::run_block(&mut model.attend, &self.attend, block, "attend")
    }

    /// Whether [`mlp`](Self::mlp) goes by several pieces; by one to begin with.
    pub fn divide(&mut self, divided: bool) {
        self.pieces.divide(divided);
    }

    /// Pieces that [`mlp`](Self::mlp) goes by.
    pub fn pieces(&self) -> usize {
        self.pieces.pieces().count()
    }

    /// The rest of a block behind [`attend`](Self::attend), of one piece of the rows: the MLP, and the projection for the next block.
    /// Replaces these rows of x, n and y; after the last block n holds the features. Returns the own tokens, from 0, that they are.
    ///
    /// # Errors
    /// There is no such block or piece, or ONNX Runtime fails.
    pub fn mlp(
        &mut self,
        model: &mut Model,
        block: usize,
        piece: usize,
    ) -> Result<Range<usize>, EngineError> {
        self.pieces
            .run(&mut model.mlp, (block, piece), &mut self.buffers)?;
        Ok(self.pieces.pieces().tokens(piece))
    }

    /// [`attend`](Self::attend) and [`mlp`](Self::mlp) of all pieces.
    ///
    /// # Errors
    /// As theirs.
    pub fn advance(
        &mut self,
        model: &mut Model,
        codec: &Codec,
        block: usize,
        arrived: usize,
    ) -> Result<(), EngineError> {
        self.attend(model, codec, block, arrived)?;
        for piece in 0..self.pieces() {
            self.mlp(model, block, piece)?;
        }
        Ok(())
    }

    /// Attention with a shorter `remote`: leaving a token out of the set attended to is masking it.
    fn attend_some(
        &mut self,
        model: &mut Model,
        codec: &Codec,
        block: usize,
        arrived: usize,
    ) -> Result<(), EngineError> {
        let form = model.form();
        let blocks = model.attend.len();
        let session = model.attend.get_mut(block);
        let session = session.ok_or(EngineError::NoSuchBlock {
            found: block,
            blocks,
        })?;
        let matrices = codec.matrices(block)?;
        let Buffers {
            x,
            attended,
            q,
            k,
            v,
            remote,
            ..
        } = &mut self.buffers;
        let (_, rows) = remote.extract_tensor();
        let rows = part("remote rows", rows, 0..arrived * self.sizes.rank)?;
        let failed = EngineError::run("attend");
        let remote =
            TensorRef::from_array_view(([arrived, self.sizes.rank], rows)).map_err(&failed)?;
        let mut inputs = ort::inputs![
            "x" => &*x, "q" => &*q, "k" => &*k, "v" => &*v, "remote" => remote,
            "dec_w" => &matrices.dec_w, "dec_b" => &matrices.dec_b,
        ];
        // A row that is not there shifts those behind it, but not their positions.
        let tokens = part("rows that arrived", &self.arrived, 0..arrived)?;
        let positions: Vec<i64> = tokens
            .iter()
            .map(|token| (self.sizes.class_tokens + token) as i64)
            .collect();
        if form.is_rotary() {
            let positions =
                TensorRef::from_array_view(([arrived], positions.as_slice())).map_err(&failed)?;
            inputs.extend(ort::inputs!["remote_positions" => positions]);
        }
        let outputs = session.run(inputs).map_err(&failed)?;
        let value = outputs.get("x_out");
        let value = value.ok_or(EngineError::Length {
            what: "outputs x_out of attend",
            found: 0,
            expected: 1,
        })?;
        let (_, values) = value.try_extract_tensor::<f32>().map_err(&failed)?;
        let (_, place) = attended.extract_tensor_mut();
        EngineError::length("x_out", values.len(), place.len())?;
        place.copy_from_slice(values);
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
    ///
    /// # Errors
    /// n is shorter than its class rows.
    pub fn n_patches(&self) -> Result<&[f32], EngineError> {
        let n = self.n();
        part("n", n, self.sizes.class_tokens * self.sizes.hidden..n.len())
    }

    /// n of the class rows: [c, D].
    ///
    /// # Errors
    /// n is shorter than its class rows.
    pub fn n_class(&self) -> Result<&[f32], EngineError> {
        part(
            "n",
            self.n(),
            0..self.sizes.class_tokens * self.sizes.hidden,
        )
    }

    /// What the encoder codes: [t, R]; empty in exact mode.
    ///
    /// # Errors
    /// y is shorter than its class rows.
    pub fn y(&self) -> Result<&[f32], EngineError> {
        let (_, y) = self.buffers.y.extract_tensor();
        part("y", y, self.sizes.class_tokens * self.sizes.coded..y.len())
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
