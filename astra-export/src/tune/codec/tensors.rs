//! The trained tensors of a block, and the fixed parts of a rung.

use astra_model::engine::RungTables;

/// One entry for each trained tensor of a block: values, gradients, or moments. R axes stand in the coded order.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::tune) struct BlockTensors<T> {
    /// `[R, D]`: from a token to what is coded.
    pub(in crate::tune) enc_w: T,
    /// `[R]`
    pub(in crate::tune) enc_b: T,
    /// `[R, 2 W]`: from what is decoded to keys and values.
    pub(in crate::tune) dec_w: T,
    /// `[2 W]`
    pub(in crate::tune) dec_b: T,
    /// `[R, K]`: words of the first stage, dimension-major: row i has coordinate i of the K words of its group.
    pub(in crate::tune) words: T,
    /// `[R, K2]`: the same of the second stage.
    pub(in crate::tune) second: Option<T>,
    /// `[R of the block before, R]` and `[R]`: prediction from the block before.
    pub(in crate::tune) prediction: Option<[T; 2]>,
}

/// Name of the words of the second stage.
pub(in crate::tune) const SECOND: &str = "words2";

/// Values of the tensors of every block.
pub(in crate::tune) type Values = Vec<BlockTensors<Vec<f32>>>;

impl<T> BlockTensors<T> {
    /// All of them, in a fixed order.
    pub(in crate::tune) fn each(&self) -> impl Iterator<Item = &T> {
        let required = [
            &self.enc_w,
            &self.enc_b,
            &self.dec_w,
            &self.dec_b,
            &self.words,
        ];
        let prediction = self.prediction.iter().flatten();
        required.into_iter().chain(&self.second).chain(prediction)
    }

    /// The same, to be changed.
    pub(in crate::tune) fn each_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let required = [
            &mut self.enc_w,
            &mut self.enc_b,
            &mut self.dec_w,
            &mut self.dec_b,
            &mut self.words,
        ];
        let prediction = self.prediction.iter_mut().flatten();
        required
            .into_iter()
            .chain(&mut self.second)
            .chain(prediction)
    }

    /// One for each of them, in that order.
    pub(in crate::tune) fn try_map<U, E>(
        &self,
        mut f: impl FnMut(&T) -> Result<U, E>,
    ) -> Result<BlockTensors<U>, E> {
        Ok(BlockTensors {
            enc_w: f(&self.enc_w)?,
            enc_b: f(&self.enc_b)?,
            dec_w: f(&self.dec_w)?,
            dec_b: f(&self.dec_b)?,
            words: f(&self.words)?,
            second: self.second.as_ref().map(&mut f).transpose()?,
            prediction: match &self.prediction {
                Some([w, b]) => Some([f(w)?, f(b)?]),
                None => None,
            },
        })
    }

    /// The same where nothing can fail.
    pub(in crate::tune) fn map<U>(&self, mut f: impl FnMut(&T) -> U) -> BlockTensors<U> {
        BlockTensors {
            enc_w: f(&self.enc_w),
            enc_b: f(&self.enc_b),
            dec_w: f(&self.dec_w),
            dec_b: f(&self.dec_b),
            words: f(&self.words),
            second: self.second.as_ref().map(&mut f),
            prediction: self
                .prediction
                .as_ref()
                .map(|both| both.each_ref().map(&mut f)),
        }
    }

    /// What each is called.
    pub(in crate::tune) fn names(&self) -> impl Iterator<Item = &'static str> {
        let required = ["enc_w", "enc_b", "dec_w", "dec_b", "words"];
        let prediction = ["prediction.w", "prediction.b"];
        let prediction = prediction.into_iter().filter(|_| self.prediction.is_some());
        let second = self.second.is_some().then_some(SECOND);
        required.into_iter().chain(second).chain(prediction)
    }
}

/// What training leaves as it is in a block.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::tune) struct BlockFrame {
    /// Axis of the basis at each place.
    pub(in crate::tune) perm: Vec<u16>,
    /// Places of each group of the first stage.
    pub(in crate::tune) dims: Vec<u16>,
    /// The same of the second stage.
    pub(in crate::tune) second_dims: Vec<u16>,
    /// Bits and step of the mean of a frame at each place; `None` where frames have none.
    pub(in crate::tune) mean: Option<(Vec<u8>, Vec<f32>)>,
}

/// What training leaves as it is in a rung.
#[derive(Clone, Debug)]
pub(in crate::tune) struct RungFrame {
    pub(in crate::tune) tables: RungTables,
    /// Words of a codebook of the first and of the second stage.
    pub(in crate::tune) words: [usize; 2],
    pub(in crate::tune) blocks: Vec<BlockFrame>,
}
