//! Activations of MLPs.

use std::f32::consts::{FRAC_1_SQRT_2, PI};

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

use super::{made, values};

/// An activation, element by element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tune) enum Activation {
    /// `x Phi(x)` (Hendrycks and Gimpel, 2016).
    Gelu,
    /// Its approximation by the hyperbolic tangent.
    TanhGelu,
    /// `x / (1 + exp(-x))`
    Silu,
}

impl Activation {
    pub(in crate::tune) fn apply(self, rows: &Tensor) -> Result<Tensor> {
        rows.contiguous()?.apply_op1(self)
    }

    fn value(self, x: f32) -> f32 {
        match self {
            Self::Gelu => 0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2)),
            Self::TanhGelu => 0.5 * x * (1.0 + inner(x).tanh()),
            Self::Silu => x / (1.0 + (-x).exp()),
        }
    }

    fn derivative(self, x: f32) -> f32 {
        match self {
            Self::Gelu => {
                let density = (-0.5 * x * x).exp() / (2.0 * PI).sqrt();
                0.5 * (1.0 + erf(x * FRAC_1_SQRT_2)) + x * density
            }
            Self::TanhGelu => {
                let tanh = inner(x).tanh();
                let slope = (2.0 / PI).sqrt() * (1.0 + 3.0 * CUBIC * x * x);
                0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * slope
            }
            Self::Silu => {
                let sigmoid = 1.0 / (1.0 + (-x).exp());
                sigmoid * (1.0 + x * (1.0 - sigmoid))
            }
        }
    }
}

const CUBIC: f32 = 0.044_715;

fn inner(x: f32) -> f32 {
    (2.0 / PI).sqrt() * (x + CUBIC * x * x * x)
}

/// The error function within 4e-7, by the rational approximation of Eigen (`generic_fast_erf_float`), which is arithmetic alone.
pub(super) fn erf(x: f32) -> f32 {
    const P: [f32; 7] = [
        -2.726_142_3e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    const Q: [f32; 5] = [
        -1.456_607_2e-5,
        -2.133_740_6e-4,
        -1.682_827e-3,
        -7.373_329e-3,
        -1.426_473_9e-2,
    ];
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let horner = |coefficients: &[f32]| coefficients.iter().fold(0.0, |sum, c| sum * square + c);
    x * horner(&P) / horner(&Q)
}

impl CustomOp1 for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, rows: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let rows = values(rows, layout)?.iter();
        // One loop for each activation, without a branch inside.
        let out = match self {
            Self::Gelu => rows.map(|&x| Self::Gelu.value(x)).collect(),
            Self::TanhGelu => rows.map(|&x| Self::TanhGelu.value(x)).collect(),
            Self::Silu => rows.map(|&x| Self::Silu.value(x)).collect(),
        };
        Ok(made(out, layout))
    }

    fn bwd(&self, rows: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        rows.apply_op2_no_bwd(&gradient, &Gradient(*self)).map(Some)
    }
}

struct Gradient(Activation);

impl CustomOp2 for Gradient {
    fn name(&self) -> &'static str {
        "gradient of activation"
    }

    fn cpu_fwd(
        &self,
        rows: &CpuStorage,
        layout: &Layout,
        gradient: &CpuStorage,
        of_gradient: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let rows = values(rows, layout)?.iter();
        let pairs = rows.zip(values(gradient, of_gradient)?);
        let of = |activation: Activation| move |(&x, g): (&f32, &f32)| g * activation.derivative(x);
        let out = match self.0 {
            Activation::Gelu => pairs.map(of(Activation::Gelu)).collect(),
            Activation::TanhGelu => pairs.map(of(Activation::TanhGelu)).collect(),
            Activation::Silu => pairs.map(of(Activation::Silu)).collect(),
        };
        Ok(made(out, layout))
    }
}
