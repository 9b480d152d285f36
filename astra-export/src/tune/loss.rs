//! How far features are from those of the exact model.

use candle_core::{Result, Tensor, Var};

use super::model::{Division, Transformer};

/// What an input's features are to be.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// `[class tokens, D]`; none in models without.
    pub(super) class: Option<Tensor>,
    /// `[T, D]`
    pub(super) tokens: Tensor,
}

impl Target {
    /// The loss and its gradient by `x`, the rows after the last block.
    ///
    /// It is the squared error of the class tokens, mean over the members' copies as in the answer, plus that of the tokens, each
    /// in the square of what it is to be: distillation of features (Romero et al., FitNets, 2015).
    ///
    /// # Errors
    /// The rows are of another input.
    pub(super) fn loss(
        &self,
        model: &Transformer,
        x: &Tensor,
        division: &Division,
    ) -> Result<(f64, Tensor)> {
        let x = Var::from_tensor(x)?;
        let features = model.features(x.as_tensor())?;
        let tokens = features.narrow(0, division.class_rows(), division.tokens())?;
        let mut loss = relative_error(&tokens, &self.tokens)?;
        if let Some(class) = &self.class {
            let copies = features.narrow(0, 0, division.class_rows())?;
            let copies = copies.reshape((division.copies(), division.class, ()))?;
            loss = (loss + relative_error(&copies.mean(0)?, class)?)?;
        }
        let mut gradients = loss.backward()?;
        let gradient = gradients
            .remove(&x)
            .ok_or_else(|| candle_core::Error::msg("found no gradient of the features"))?;
        Ok((f64::from(loss.to_scalar::<f32>()?), gradient))
    }
}

/// Mean over rows of the squared error in the squared length of what is expected.
fn relative_error(found: &Tensor, expected: &Tensor) -> Result<Tensor> {
    let errors = (found - expected)?.sqr()?.sum(1)?;
    (errors / expected.sqr()?.sum(1)?)?.mean_all()
}
