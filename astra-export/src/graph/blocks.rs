//! Matrices in the bundle's weights, float32 or in blocks of narrow integers.

use astra_bundle::{MatrixBlocks, TensorRef};

use super::builder::{Attribute, GraphBuilder, Value, as_i64};

/// ONNX Runtime quantizes the rows that are multiplied to 8 bits, a scale for each block.
const INTEGER_PRODUCTS: i64 = 4;

/// A linear map in the bundle's weights.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredLinear {
    /// From `inputs` to `outputs` values.
    pub weight: StoredMatrix,
    /// `[outputs]`, where there is one.
    pub bias: Option<TensorRef>,
}

/// A matrix in the bundle's weights.
#[derive(Debug, Clone, PartialEq)]
pub enum StoredMatrix {
    /// Float32 `[inputs, outputs]`.
    Float(TensorRef),
    /// In blocks along the inputs.
    Blocks {
        /// Values of a row before.
        inputs: usize,
        /// Values of a row after.
        outputs: usize,
        /// Where they are.
        blocks: MatrixBlocks,
    },
}

/// A table of rows by number in the bundle's weights, which can also be a matrix from the width of a row to the number of rows.
#[derive(Debug, Clone, PartialEq)]
pub enum StoredTable {
    /// Float32 `[rows, width]`.
    Float(TensorRef),
    /// In blocks along the width.
    Blocks {
        /// Values of a row.
        width: usize,
        /// Rows.
        rows: usize,
        /// Where they are.
        blocks: MatrixBlocks,
    },
}

impl StoredMatrix {
    /// Values of a row before and after.
    pub fn sides(&self) -> [usize; 2] {
        match self {
            Self::Float(values) => {
                let mut sides = values.shape.iter().copied();
                [(); 2].map(|()| sides.next().unwrap_or_default())
            }
            Self::Blocks {
                inputs, outputs, ..
            } => [*inputs, *outputs],
        }
    }
}

impl GraphBuilder {
    /// `input · weight + bias`, rows `[m, inputs]` to `[m, outputs]`. `name` is that of the weights.
    pub fn linear(&mut self, name: &str, input: &Value, linear: &StoredLinear) -> Value {
        let bias = linear.bias.as_ref();
        match &linear.weight {
            StoredMatrix::Float(weight) => {
                let weight = self.stored(&format!("{name}.weight"), weight);
                match bias {
                    Some(bias) => {
                        let bias = self.stored(&format!("{name}.bias"), bias);
                        self.apply("Gemm", &[input, &weight, &bias], &[])
                    }
                    None => self.apply("MatMul", &[input, &weight], &[]),
                }
            }
            StoredMatrix::Blocks {
                inputs,
                outputs,
                blocks,
            } => {
                let bias = bias.map(|bias| self.stored(&format!("{name}.bias"), bias));
                self.times_blocks(name, input, [*inputs, *outputs], blocks, bias)
            }
        }
    }

    /// Rows of a table by number. `name` is that of the weights, here and below.
    pub fn table_rows(&mut self, name: &str, table: &StoredTable, numbers: &Value) -> Value {
        match table {
            StoredTable::Float(values) => {
                let values = self.stored(name, values);
                self.gather(&values, numbers)
            }
            StoredTable::Blocks {
                width,
                rows,
                blocks,
            } => self.block_rows(name, [*rows, *width], blocks, numbers),
        }
    }

    /// `input · table^T`: `[m, width]` to `[m, rows]`.
    pub fn times_table(&mut self, name: &str, input: &Value, table: &StoredTable) -> Value {
        match table {
            StoredTable::Float(values) => {
                let values = self.stored(name, values);
                self.times_transposed(input, &values)
            }
            StoredTable::Blocks {
                width,
                rows,
                blocks,
            } => self.times_blocks(name, input, [*width, *rows], blocks, None),
        }
    }

    fn times_blocks(
        &mut self,
        name: &str,
        input: &Value,
        [inputs, outputs]: [usize; 2],
        blocks: &MatrixBlocks,
        bias: Option<Value>,
    ) -> Value {
        let data = self.stored(&format!("{name}.data"), &blocks.data);
        let scales = self.stored(&format!("{name}.scales"), &blocks.scales);
        let none = Value::none();
        let mut operands = vec![input, &data, &scales];
        if let Some(bias) = &bias {
            operands.extend([&none, &none, bias]);
        }
        let attributes = [
            ("K", Attribute::Int(as_i64(inputs))),
            ("N", Attribute::Int(as_i64(outputs))),
            ("bits", Attribute::Int(i64::from(blocks.bits))),
            ("block_size", Attribute::Int(as_i64(blocks.size))),
            ("accuracy_level", Attribute::Int(INTEGER_PRODUCTS)),
        ];
        let product = self.apply_microsoft("MatMulNBits", &operands, &attributes);
        let Some(minima) = &blocks.minima else {
            return product;
        };
        // All weights of a block have its minimum, so it multiplies the sum of the block's inputs.
        let sums = self.sums_of_blocks(input, inputs, blocks.size);
        let minima = self.stored(&format!("{name}.minima"), minima);
        let transposed = ("transB", Attribute::Int(1));
        self.apply("Gemm", &[&sums, &minima, &product], &[transposed])
    }

    /// `[m, inputs]` to `[m, inputs / size]`, once for all matrices that multiply the same rows.
    fn sums_of_blocks(&mut self, rows: &Value, inputs: usize, size: usize) -> Value {
        let mut known = self.block_sums.iter();
        if let Some((.., sums)) = known.find(|(of, by, _)| of == rows && *by == size) {
            return sums.clone();
        }
        let dims = [0, as_i64(inputs / size.max(1)), as_i64(size)];
        let (dims, axis) = (self.ints(&dims), self.ints(&[2]));
        let blocks = self.apply("Reshape", &[rows, &dims], &[]);
        let flat = ("keepdims", Attribute::Int(0));
        let sums = self.apply("ReduceSum", &[&blocks, &axis], &[flat]);
        self.block_sums.push((rows.clone(), size, sums.clone()));
        sums
    }

    fn block_rows(
        &mut self,
        name: &str,
        [rows, width]: [usize; 2],
        blocks: &MatrixBlocks,
        numbers: &Value,
    ) -> Value {
        // The same bytes as those of the product with the table, of two dimensions.
        let flat = TensorRef {
            shape: vec![rows, width * blocks.bits as usize / 8],
            ..blocks.data.clone()
        };
        let data = self.stored(&format!("{name}.rows"), &flat);
        let scales = self.stored(&format!("{name}.scales"), &blocks.scales);
        let attributes = [
            ("bits", Attribute::Int(i64::from(blocks.bits))),
            ("block_size", Attribute::Int(as_i64(blocks.size))),
            ("gather_axis", Attribute::Int(0)),
            ("quantize_axis", Attribute::Int(1)),
        ];
        let operands = [&data, numbers, &scales];
        let found = self.apply_microsoft("GatherBlockQuantized", &operands, &attributes);
        let Some(minima) = &blocks.minima else {
            return found;
        };
        let minima = self.stored(&format!("{name}.minima"), minima);
        let minima = self.gather(&minima, numbers);
        let (last, per_block) = (self.ints(&[2]), [0, -1, as_i64(blocks.size)]);
        let minima = self.apply("Unsqueeze", &[&minima, &last], &[]);
        let per_block = self.ints(&per_block);
        let found = self.apply("Reshape", &[&found, &per_block], &[]);
        let sum = self.apply("Add", &[&found, &minima], &[]);
        let whole = self.ints(&[0, as_i64(width)]);
        self.apply("Reshape", &[&sum, &whole], &[])
    }
}
