//! The operators the families are made of.

use astra_bundle::TensorRef;

use super::builder::{Attribute, GraphBuilder, Value, as_i64};

/// A linear map in the bundle's weights: weight `[inputs, outputs]`, bias `[outputs]`.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredLinear {
    /// `[inputs, outputs]`
    pub weight: TensorRef,
    /// `[outputs]`
    pub bias: TensorRef,
}

/// A layer normalization in the bundle's weights.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredNorm {
    /// `[channels]`
    pub weight: TensorRef,
    /// `[channels]`
    pub bias: TensorRef,
    /// Added to the variance.
    pub epsilon: f32,
}

/// Rows of this number and above are all rows to the end.
const END: i64 = i64::MAX;

impl GraphBuilder {
    /// `input · weight + bias`, rows `[m, inputs]` to `[m, outputs]`. `name` is that of the weights.
    pub fn linear(&mut self, name: &str, input: &Value, linear: &StoredLinear) -> Value {
        let weight = self.stored(&format!("{name}.weight"), &linear.weight);
        let bias = self.stored(&format!("{name}.bias"), &linear.bias);
        self.apply("Gemm", &[input, &weight, &bias], &[])
    }

    /// `input · matrix^T + bias` with matrices that are inputs of the graph: `[m, i]`, `[o, i]`, `[o]` to `[m, o]`.
    pub fn project(&mut self, input: &Value, matrix: &Value, bias: &Value) -> Value {
        let transposed = ("transB", Attribute::Int(1));
        self.apply("Gemm", &[input, matrix, bias], &[transposed])
    }

    /// Layer normalization of rows. `name` is that of the weights.
    pub fn layer_norm(&mut self, name: &str, input: &Value, norm: &StoredNorm) -> Value {
        let weight = self.stored(&format!("{name}.weight"), &norm.weight);
        let bias = self.stored(&format!("{name}.bias"), &norm.bias);
        let attributes = [
            ("axis", Attribute::Int(-1)),
            ("epsilon", Attribute::Float(norm.epsilon)),
        ];
        self.apply("LayerNormalization", &[input, &weight, &bias], &attributes)
    }

    /// Rows `first..` of a matrix.
    pub fn rows_from(&mut self, input: &Value, first: usize) -> Value {
        self.rows(input, as_i64(first), END)
    }

    /// Rows `..end` of a matrix.
    pub fn rows_to(&mut self, input: &Value, end: usize) -> Value {
        self.rows(input, 0, as_i64(end))
    }

    fn rows(&mut self, input: &Value, first: i64, end: i64) -> Value {
        let (first, end, axis) = (self.ints(&[first]), self.ints(&[end]), self.ints(&[0]));
        self.apply("Slice", &[input, &first, &end, &axis], &[])
    }

    /// Parts stacked along an axis.
    pub fn concat(&mut self, parts: &[&Value], axis: i64) -> Value {
        self.apply("Concat", parts, &[("axis", Attribute::Int(axis))])
    }

    /// The left and the right half of a matrix of `2 * width` columns.
    pub fn split_columns(&mut self, input: &Value, width: usize) -> [Value; 2] {
        let widths = self.ints(&[as_i64(width); 2]);
        let columns = [("axis", Attribute::Int(1))];
        self.node_with("", "Split", &[input, &widths], &columns)
    }

    /// Softmax attention, fused: queries `[m, heads * head_dim]`, keys and values `[n, heads * head_dim]`, to `[m, ..]`.
    pub fn attention(&mut self, heads: usize, query: &Value, key: &Value, value: &Value) -> Value {
        let batch = self.ints(&[0]);
        let [query, key, value] =
            [query, key, value].map(|rows| self.apply("Unsqueeze", &[rows, &batch], &[]));
        let attributes = [("num_heads", Attribute::Int(as_i64(heads)))];
        let mixed =
            self.apply_microsoft("MultiHeadAttention", &[&query, &key, &value], &attributes);
        self.apply("Squeeze", &[&mixed, &batch], &[])
    }

    /// The same values in other dimensions.
    pub fn reshape(&mut self, input: &Value, dims: &[usize]) -> Value {
        let dims: Vec<i64> = dims.iter().map(|&dim| as_i64(dim)).collect();
        let dims = self.ints(&dims);
        self.apply("Reshape", &[input, &dims], &[])
    }
}
