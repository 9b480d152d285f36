//! One member's share of the model: its buffers bound to the sessions, and the steps that compute.

use ort::session::IoBinding;
use ort::session::Session;
use ort::value::TensorRef;

use super::buffers::{Bind, Buffers, Sizes};
use super::codec::Matrices;
use super::{Codec, EngineError, Model};
use crate::plan::TokenRange;

/// Buffers and bindings of one token range at one rung, made once a plan. Steps go in the order of the crate's
/// [`job`](crate::job): [`embed`](Self::embed), then for each block [`local`](Self::local) and [`attend`](Self::attend).
pub struct Member {
    sizes: Sizes,
    buffers: Buffers,
    embed: IoBinding,
    local: Vec<IoBinding>,
    attend: Vec<IoBinding>,
    class_tokens: usize,
}

impl Member {
    /// Buffers for `range` with `remote` tokens elsewhere; `pixels` are the bytes of one token's pixels.
    ///
    /// # Errors
    /// ONNX Runtime has no memory, or the codec is of another shape than the model.
    pub fn new(
        model: &Model,
        codec: &Codec,
        range: TokenRange,
        remote: usize,
        pixels: usize,
    ) -> Result<Self, EngineError> {
        let shape = *model.shape();
        let tokens = usize::from(range.tokens);
        let sizes = Sizes {
            rows: shape.class_tokens + tokens,
            tokens,
            pixels,
            remote,
            hidden: shape.hidden,
            kv: shape.kv_width(),
            coded: if codec.is_exact() { 0 } else { codec.rank() },
            rank: codec.rank(),
        };
        let mut buffers = Buffers::new(&sizes)?;
        if let (_, [first]) = buffers.first.extract_tensor_mut() {
            *first = i64::from(range.first);
        }
        let embed = bind_embed(&model.embed, codec.matrices(0)?, &mut buffers)?;
        let local = model
            .local
            .iter()
            .map(|session| bind_local(session, &mut buffers))
            .collect::<Result<_, _>>()?;
        let attend = model
            .attend
            .iter()
            .enumerate()
            .map(|(block, session)| bind_attend(session, codec, block, shape.blocks, &mut buffers))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            sizes,
            buffers,
            embed,
            local,
            attend,
            class_tokens: shape.class_tokens,
        })
    }

    /// Embeds the own tokens' pixels, [t, patch * patch * 3] bytes: fills x, n and y of block 0.
    ///
    /// # Errors
    /// `pixels` is of another length, or ONNX Runtime fails.
    pub fn embed(&mut self, model: &mut Model, pixels: &[u8]) -> Result<(), EngineError> {
        let (_, place) = self.buffers.pixels.extract_tensor_mut();
        EngineError::length("pixels", pixels.len(), place.len())?;
        place.copy_from_slice(pixels);
        run(&mut model.embed, &self.embed, "embed")
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
    /// the projection for the next block: replaces x, n and y. After the last block n holds the features.
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

    /// Own patch tokens, t.
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

    /// n of the patch rows: [t, D].
    pub fn n_patches(&self) -> &[f32] {
        self.n()
            .get(self.class_tokens * self.sizes.hidden..)
            .unwrap_or_default()
    }

    /// n of the class rows: [c, D].
    pub fn n_class(&self) -> &[f32] {
        self.n()
            .get(..self.class_tokens * self.sizes.hidden)
            .unwrap_or_default()
    }

    /// What the encoder codes: [t, R]; empty in exact mode.
    pub fn y(&self) -> &[f32] {
        self.buffers.y.extract_tensor().1
    }

    /// Queries of the own rows after [`local`](Self::local): [m, D].
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
}

fn bind_embed(
    session: &Session,
    first: &Matrices,
    buffers: &mut Buffers,
) -> Result<IoBinding, EngineError> {
    Ok(Bind::new(session, "bind embed")?
        .input("pixels", &buffers.pixels)?
        .input("first", &buffers.first)?
        .input("enc_w", &first.enc_w)?
        .input("enc_b", &first.enc_b)?
        .output("x", &mut buffers.x[0])?
        .output("n", &mut buffers.n)?
        .output("y", &mut buffers.y)?
        .done())
}

fn bind_local(session: &Session, buffers: &mut Buffers) -> Result<IoBinding, EngineError> {
    Ok(Bind::new(session, "bind local")?
        .input("n", &buffers.n)?
        .output("q", &mut buffers.q)?
        .output("k", &mut buffers.k)?
        .output("v", &mut buffers.v)?
        .done())
}

fn bind_attend(
    session: &Session,
    codec: &Codec,
    block: usize,
    blocks: usize,
    buffers: &mut Buffers,
) -> Result<IoBinding, EngineError> {
    let own = codec.matrices(block)?;
    let [even, odd] = &mut buffers.x;
    let (from, to) = if block.is_multiple_of(2) {
        (even, odd)
    } else {
        (odd, even)
    };
    let bind = Bind::new(session, "bind attend")?
        .input("x", from)?
        .input("q", &buffers.q)?
        .input("k", &buffers.k)?
        .input("v", &buffers.v)?
        .input("remote", &buffers.remote)?
        .input("dec_w", &own.dec_w)?
        .input("dec_b", &own.dec_b)?
        .output("x_out", to)?
        .output("n_out", &mut buffers.n)?;
    if block + 1 == blocks {
        return Ok(bind.done());
    }
    let next = codec.matrices(block + 1)?;
    Ok(bind
        .input("enc_w", &next.enc_w)?
        .input("enc_b", &next.enc_b)?
        .output("y_out", &mut buffers.y)?
        .done())
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
