//! Matrices in blocks of 4 or 8-bit integers, in the byte layout of ONNX Runtime's `MatMulNBits`.
//!
//! - [`Blocks`]: a matrix as it is stored
//! - `quantize`: a float matrix to blocks
//! - [`Storage`]: which of them a bundle gets

mod quantize;
mod storage;

pub use quantize::{block_size, quantize};
pub use storage::Storage;

/// Width of an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    /// 0 to 15 for -8 to 7.
    Four,
    /// 0 to 255 for -128 to 127.
    Eight,
}

impl Bits {
    /// Number of them.
    pub fn count(self) -> u32 {
        match self {
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// The integer that stands for 0.
    pub fn zero(self) -> u8 {
        match self {
            Self::Four => 8,
            Self::Eight => 128,
        }
    }
}

/// A matrix of `outputs` rows of `inputs` weights, each row in blocks of `size` weights. With q a stored integer,
/// `w = scale * (q - zero) + minimum`.
#[derive(Debug, Clone, PartialEq)]
pub struct Blocks {
    bits: Bits,
    size: usize,
    inputs: usize,
    outputs: usize,
    data: Vec<u8>,
    scales: Vec<f32>,
    minima: Option<Vec<f32>>,
}

/// What [`Blocks`] are made of, block after block.
#[derive(Debug, Default)]
pub struct Parts {
    /// One integer a weight, of all blocks whole: weights beyond a row's end are [`Bits::zero`].
    pub integers: Vec<u8>,
    /// One a block.
    pub scales: Vec<f32>,
    /// One a block, or none.
    pub minima: Vec<f32>,
}

impl Blocks {
    /// Packs `parts`, a matrix of `[outputs, inputs]`. `None` if there are not as many integers, scales or minima as it needs.
    pub fn pack(
        bits: Bits,
        size: usize,
        [outputs, inputs]: [usize; 2],
        parts: Parts,
    ) -> Option<Self> {
        let blocks = outputs.checked_mul(inputs.div_ceil(size.max(1)))?;
        let whole = parts.scales.len() == blocks
            && Some(parts.integers.len()) == blocks.checked_mul(size)
            && (parts.minima.is_empty() || parts.minima.len() == blocks);
        whole.then(|| Self {
            bits,
            size,
            inputs,
            outputs,
            data: match bits {
                Bits::Eight => parts.integers,
                Bits::Four => {
                    let (pairs, _) = parts.integers.as_chunks::<2>();
                    pairs.iter().map(|[low, high]| low | high << 4).collect()
                }
            },
            scales: parts.scales,
            minima: (!parts.minima.is_empty()).then_some(parts.minima),
        })
    }

    /// Width of the integers.
    pub fn bits(&self) -> Bits {
        self.bits
    }

    /// Weights of a block.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Blocks of a row.
    pub fn per_row(&self) -> usize {
        self.inputs.div_ceil(self.size.max(1))
    }

    /// Rows.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Weights of a row.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// `[outputs, blocks, size * bits / 8]`; of two integers of 4 bits in a byte, the first has the low bits.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// `[outputs, blocks]`
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// `[outputs, blocks]`; `None` where all are 0.
    pub fn minima(&self) -> Option<&[f32]> {
        self.minima.as_deref()
    }

    /// The weights: `[outputs, inputs]`.
    pub fn values(&self) -> Vec<f32> {
        let zero = f32::from(self.bits.zero());
        let bytes = self.data.len() / self.scales.len().max(1);
        let zeros = vec![0.0; self.scales.len()];
        let minima = self.minima.as_ref().unwrap_or(&zeros);
        let mut values = Vec::with_capacity(self.outputs * self.inputs);
        let mut rest = 0;
        let blocks = self.data.chunks(bytes.max(1)).zip(&self.scales).zip(minima);
        for ((block, scale), minimum) in blocks {
            if rest == 0 {
                rest = self.inputs;
            }
            let weight = |integer: u8| scale * (f32::from(integer) - zero) + minimum;
            let count = rest.min(self.size);
            rest -= count;
            match self.bits {
                Bits::Eight => values.extend(block.iter().take(count).map(|&q| weight(q))),
                Bits::Four => {
                    let integers = block.iter().flat_map(|pair| [pair & 15, pair >> 4]);
                    values.extend(integers.take(count).map(weight));
                }
            }
        }
        values
    }

    /// The same with row i where row `order[i]` was. Rows that do not exist are left out.
    pub fn with_rows(&self, order: &[usize]) -> Self {
        let blocks = self.per_row();
        let bytes = self.data.len() / self.outputs.max(1);
        Self {
            data: rows(&self.data, bytes, order),
            scales: rows(&self.scales, blocks, order),
            minima: (self.minima.as_ref()).map(|minima| rows(minima, blocks, order)),
            outputs: order.len(),
            ..*self
        }
    }
}

fn rows<T: Copy>(values: &[T], width: usize, order: &[usize]) -> Vec<T> {
    let row = |&row: &usize| values.get(row * width..(row + 1) * width);
    order.iter().filter_map(row).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three outputs of five inputs in blocks of four, so that the second block of a row reaches beyond it.
    fn parts(zero: u8) -> Parts {
        Parts {
            integers: (0..24).map(|i| (zero + i % 7) - 3).collect(),
            scales: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            minima: vec![0.5, 0.0, 0.0, 0.0, 0.0, -0.5],
        }
    }

    #[test]
    fn blocks_are_packed_and_read_back() {
        for bits in [Bits::Four, Bits::Eight] {
            let blocks = Blocks::pack(bits, 4, [3, 5], parts(bits.zero())).unwrap();
            let values = blocks.values();
            assert_eq!(values.len(), 15);
            assert_eq!(values[..5], [-2.5, -1.5, -0.5, 0.5, 2.0]);
            assert_eq!(values[14], 17.5);
        }
        let four = Blocks::pack(Bits::Four, 4, [3, 5], parts(8)).unwrap();
        assert_eq!(four.data()[..2], [0x65, 0x87]);
    }

    #[test]
    fn rows_change_places() {
        let blocks = Blocks::pack(Bits::Four, 4, [3, 5], parts(8)).unwrap();
        let (values, turned) = (blocks.values(), blocks.with_rows(&[2, 0, 1]).values());
        assert_eq!(turned[..5], values[10..]);
        assert_eq!(turned[5..], values[..10]);
    }

    #[test]
    fn parts_of_another_length_are_refused() {
        let shapes = [[3, 4], [4, 5], [3, 9], [usize::MAX, usize::MAX]];
        for shape in shapes {
            assert_eq!(Blocks::pack(Bits::Eight, 4, shape, parts(128)), None);
        }
    }
}
