//! Against candle's own composed operators and their gradients.

use candle_core::{D, Device, Tensor, Var};

use super::activation::erf;
use super::*;

fn random(shape: &[usize], seed: f32) -> Var {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count)
        .map(|i| ((i as f32 + seed) * 1.7).sin() * 2.0)
        .collect();
    Var::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Values and gradients of both are the same.
fn same(var: &Var, found: &Tensor, expected: &Tensor) {
    let weights = random(found.dims(), 0.3);
    let gradient = |of: &Tensor| {
        let sum = (of * weights.as_tensor()).unwrap().sum_all().unwrap();
        sum.backward().unwrap().get(var).unwrap().clone()
    };
    for (a, b) in [
        (found.clone(), expected.clone()),
        (gradient(found), gradient(expected)),
    ] {
        let difference = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
        let most = difference.max(0).unwrap().to_scalar::<f32>().unwrap();
        assert!(most < 2e-5, "differs by {most}");
    }
}

#[test]
fn linear_maps() {
    let (x, weight, bias) = (
        random(&[5, 4], 0.0),
        random(&[4, 3], 1.0),
        random(&[3], 2.0),
    );
    let linear = Linear {
        weight: weight.as_detached_tensor(),
        bias: Some(bias.as_detached_tensor()),
    };
    let expected = x.matmul(&weight).unwrap().broadcast_add(&bias).unwrap();
    same(&x, &linear.apply(&x).unwrap(), &expected);
}

#[test]
fn norms() {
    let x = random(&[5, 8], 0.0);
    let (weight, bias) = (random(&[8], 1.0), random(&[8], 2.0));
    let vector = |var: &Var| var.to_vec1::<f32>().unwrap();
    let norm = Norm {
        weight: vector(&weight),
        bias: Some(vector(&bias)),
        epsilon: 1e-3,
    };
    let mean = x.mean_keepdim(D::Minus1).unwrap();
    let centred = x.broadcast_sub(&mean).unwrap();
    let scaled = |rows: &Tensor| {
        let squares = rows.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
        let root = (squares + 1e-3).unwrap().sqrt().unwrap();
        let rows = rows.broadcast_div(&root).unwrap();
        rows.broadcast_mul(&weight).unwrap()
    };
    let expected = scaled(&centred).broadcast_add(&bias).unwrap();
    same(&x, &norm.apply(&x).unwrap(), &expected);
    let root_mean_square = Norm { bias: None, ..norm };
    same(&x, &root_mean_square.apply(&x).unwrap(), &scaled(&x));
}

#[test]
fn activations() {
    let x = random(&[6, 7], 0.0);
    for (activation, expected) in [
        (Activation::Gelu, x.gelu_erf()),
        (Activation::TanhGelu, x.gelu()),
        (Activation::Silu, x.silu()),
    ] {
        same(&x, &activation.apply(&x).unwrap(), &expected.unwrap());
    }
}

#[test]
fn the_error_function() {
    for i in -600..=600 {
        let x = i as f32 / 100.0;
        let expected = candle_core::cpu::erf::erf_f64(f64::from(x));
        let found = f64::from(erf(x));
        assert!((found - expected).abs() < 4e-7, "{x}: {found}, {expected}");
    }
}

#[test]
fn softmax_with_and_without_a_future() {
    let x = random(&[2, 3, 5], 0.0);
    for causal in [false, true] {
        let future = |row: usize, key: usize| causal && key > 2 + row;
        let mask = (0..30).map(|i| match future(i / 5 % 3, i % 5) {
            true => -1e9,
            false => 0.0_f32,
        });
        let mask = Tensor::from_vec(mask.collect(), (2, 3, 5), &Device::Cpu).unwrap();
        let scores = ((x.as_tensor() * 0.5).unwrap() + mask).unwrap();
        let most = scores.max_keepdim(D::Minus1).unwrap().detach();
        let exp = scores.broadcast_sub(&most).unwrap().exp().unwrap();
        let sum = exp.sum_keepdim(D::Minus1).unwrap();
        let expected = exp.broadcast_div(&sum).unwrap();
        let softmax = Softmax { scale: 0.5, causal };
        same(&x, &softmax.apply(&x).unwrap(), &expected);
    }
}
