//! The operators the families are made of.

use astra_bundle::TensorRef;

use super::builder::{Attribute, Element, GraphBuilder, Value, as_i64};

/// A normalization in the bundle's weights.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredNorm {
    /// `[channels]`
    pub weight: TensorRef,
    /// `[channels]`; without it, the normalization is by the root of the mean square.
    pub bias: Option<TensorRef>,
    /// Added to the variance or mean square.
    pub epsilon: f32,
}

/// Heads of a causal attention whose K/V heads serve several query heads each.
#[derive(Debug, Clone, Copy)]
pub struct Grouped {
    /// Query heads.
    pub heads: usize,
    /// K/V heads, a divisor of `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
}

/// How many rows a causal attention sees.
#[derive(Debug, Clone)]
pub struct Lengths {
    /// i32 `[1]`: rows in all, cached and new.
    pub total: Value,
    /// i32 `[1]`: one less.
    pub last: Value,
}

/// Rows of this number and above are all rows to the end.
const END: i64 = i64::MAX;

impl GraphBuilder {
    /// `input · matrix^T + bias` with matrices that are inputs of the graph: `[m, i]`, `[o, i]`, `[o]` to `[m, o]`.
    pub fn project(&mut self, input: &Value, matrix: &Value, bias: &Value) -> Value {
        let transposed = ("transB", Attribute::Int(1));
        self.apply("Gemm", &[input, matrix, bias], &[transposed])
    }

    /// Normalization of rows. `name` is that of the weights.
    pub fn norm(&mut self, name: &str, input: &Value, norm: &StoredNorm) -> Value {
        let weight = self.stored(&format!("{name}.weight"), &norm.weight);
        let attributes = [
            ("axis", Attribute::Int(-1)),
            ("epsilon", Attribute::Float(norm.epsilon)),
        ];
        match &norm.bias {
            Some(bias) => {
                let bias = self.stored(&format!("{name}.bias"), bias);
                self.apply("LayerNormalization", &[input, &weight, &bias], &attributes)
            }
            // ONNX Runtime keeps this operator of its own in ONNX's domain.
            None => self.apply(
                "SimplifiedLayerNormalization",
                &[input, &weight],
                &attributes,
            ),
        }
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

    /// Causal softmax attention, fused: queries `[l, heads * head_dim]`, keys and values `[l, kv_heads * head_dim]`, after the
    /// rows of `past`, `[1, kv_heads, c, head_dim]` each. Gives the mixed values, as the queries, and all keys and values, as
    /// `past`; these may be the memory of `past` if that has room for all rows.
    pub fn grouped_attention(
        &mut self,
        shape: Grouped,
        rows: [&Value; 3],
        past: Option<[&Value; 2]>,
        lengths: &Lengths,
    ) -> [Value; 3] {
        let batch = self.ints(&[0]);
        let [query, key, value] = rows.map(|rows| self.apply("Unsqueeze", &[rows, &batch], &[]));
        let none = Value::none();
        let [past_key, past_value] = past.unwrap_or([&none, &none]);
        let inputs = [
            &query,
            &key,
            &value,
            past_key,
            past_value,
            &lengths.last,
            &lengths.total,
        ];
        let attributes = [
            ("num_heads", Attribute::Int(as_i64(shape.heads))),
            ("kv_num_heads", Attribute::Int(as_i64(shape.kv_heads))),
        ];
        let [mixed, keys, values] =
            self.apply_microsoft_with("GroupQueryAttention", &inputs, &attributes);
        [self.apply("Squeeze", &[&mixed, &batch], &[]), keys, values]
    }

    /// Rows `[r, kv_heads * head_dim]` as [`grouped_attention`](Self::grouped_attention) takes those of the past.
    pub fn by_head(&mut self, rows: &Value, shape: Grouped) -> Value {
        // 0 keeps the number of rows, which may be 0 itself.
        let dims = self.ints(&[0, as_i64(shape.kv_heads), as_i64(shape.head_dim)]);
        let heads = self.apply("Reshape", &[rows, &dims], &[]);
        let swapped = [("perm", Attribute::Ints(&[1, 0, 2]))];
        let heads = self.apply("Transpose", &[&heads], &swapped);
        let batch = self.ints(&[0]);
        self.apply("Unsqueeze", &[&heads, &batch], &[])
    }

    /// The lengths of an attention over as many rows as `rows` has.
    pub fn lengths_of(&mut self, rows: &Value) -> Lengths {
        let count = self.count_rows(rows);
        let total = self.cast(&count, Element::I32);
        let one = self.short_ints(&[1]);
        let last = self.apply("Sub", &[&total, &one], &[]);
        Lengths { total, last }
    }

    /// i64 `[1]`: the first dimension.
    pub fn count_rows(&mut self, rows: &Value) -> Value {
        let only_rows = [("start", Attribute::Int(0)), ("end", Attribute::Int(1))];
        self.apply("Shape", &[rows], &only_rows)
    }

    /// Rotary positions (Su et al., "RoFormer", 2021), channel i of a head turned with channel i + head_dim / 2: `rows`
    /// `[m, heads * head_dim]`, `positions` i64 `[1, m]`, or `[1]` for that of the first of rows that follow one another;
    /// `cos` and `sin` `[positions, head_dim / 2]`.
    pub fn rotate(&mut self, rows: &Value, positions: &Value, [cos, sin]: [&Value; 2]) -> Value {
        let batch = self.ints(&[0]);
        let rows = self.apply("Unsqueeze", &[rows, &batch], &[]);
        let inputs = [&rows, positions, cos, sin];
        let turned = self.apply_microsoft("RotaryEmbedding", &inputs, &[]);
        self.apply("Squeeze", &[&turned, &batch], &[])
    }

    /// Rows of a table by number.
    pub fn gather(&mut self, table: &Value, rows: &Value) -> Value {
        self.apply("Gather", &[table, rows], &[("axis", Attribute::Int(0))])
    }

    /// `input · matrix^T`: `[m, i]`, `[o, i]` to `[m, o]`.
    pub fn times_transposed(&mut self, input: &Value, matrix: &Value) -> Value {
        self.apply("Gemm", &[input, matrix], &[("transB", Attribute::Int(1))])
    }

    /// The last row of a matrix, `[1, columns]`.
    pub fn last_row(&mut self, input: &Value) -> Value {
        self.rows(input, -1, END)
    }

    /// The same values in other dimensions.
    pub fn reshape(&mut self, input: &Value, dims: &[usize]) -> Value {
        let dims: Vec<i64> = dims.iter().map(|&dim| as_i64(dim)).collect();
        let dims = self.ints(&dims);
        self.apply("Reshape", &[input, &dims], &[])
    }
}
