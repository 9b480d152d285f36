//! The constants of a file, as numbers.

use super::layout::{Layout, MOST_ELEMENTS};
use super::{Base, Graph, Mismatch, Value};
use crate::graph::proto::{NodeProto, TensorProto, data_type};
use crate::source::Precision;
use crate::source::onnx::attribute;
use crate::source::tensor::half_to_single;

/// Most elements of a constant that is computed from others, or repeated: a mask of the scores of 4,096 tokens is one.
const MOST_COMPUTED: usize = 1 << 26;

/// Numbers of a constant; truth values are integers.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::source::onnx) enum Numbers {
    Ints(Vec<i64>),
    Floats(Vec<f32>),
}

impl Numbers {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Ints(values) => values.len(),
            Self::Floats(values) => values.len(),
        }
    }

    /// The elements that `layout` says.
    fn gathered(&self, layout: &Layout) -> Self {
        match self {
            Self::Ints(values) => Self::Ints(gather(values, layout)),
            Self::Floats(values) => Self::Floats(gather(values, layout)),
        }
    }
}

fn gather<T: Copy + Default>(values: &[T], layout: &Layout) -> Vec<T> {
    let mut gathered = Vec::with_capacity(layout.count().min(MOST_COMPUTED));
    layout.for_each(&mut |place| gathered.push(values.get(place).copied().unwrap_or_default()));
    gathered
}

impl<'a> Graph<'a> {
    pub(super) fn add_tensor(
        &mut self,
        name: &'a str,
        tensor: &'a TensorProto,
    ) -> Result<Value, Mismatch> {
        let dims = dims(name, tensor)?;
        self.add(name, dims, Base::Tensor(tensor))
    }

    /// The constant of a `Constant` node; `None` for kinds that are not known.
    pub(super) fn add_constant_node(
        &mut self,
        node: &'a NodeProto,
        name: &'a str,
    ) -> Result<Option<Value>, Mismatch> {
        let value = |name| attribute(node, name);
        if let Some(tensor) = value("value").and_then(|value| value.t.as_ref()) {
            return self.add_tensor(name, tensor).map(Some);
        }
        let (dims, numbers) = if let Some(int) = value("value_int").and_then(|value| value.i) {
            (vec![], Numbers::Ints(vec![int]))
        } else if let Some(float) = value("value_float").and_then(|value| value.f) {
            (vec![], Numbers::Floats(vec![float]))
        } else if let Some(ints) = value("value_ints") {
            (vec![ints.ints.len()], Numbers::Ints(ints.ints.clone()))
        } else if let Some(floats) = value("value_floats") {
            (
                vec![floats.floats.len()],
                Numbers::Floats(floats.floats.clone()),
            )
        } else {
            return Ok(None);
        };
        self.add(name, dims, Base::Folded(numbers, Default::default()))
            .map(Some)
    }

    /// The numbers of a constant, in the order of `value`; `None` for what is no constant.
    pub(in crate::source::onnx) fn numbers(
        &self,
        value: &Value,
    ) -> Result<Option<Numbers>, Mismatch> {
        let Some(entry) = self.entry(value) else {
            return Ok(None);
        };
        let all: usize = entry.dims.iter().product();
        let count = value.layout.count();
        if count > all.max(MOST_COMPUTED) {
            let found = format!("dimensions {:?}", value.layout.dims());
            return Err(Mismatch::new(
                entry.name,
                found,
                "a constant that fits in memory",
            ));
        }
        let whole = value.layout.is_whole(all);
        Ok(match &entry.base {
            Base::Tensor(tensor) => {
                let numbers = decode(entry.name, tensor)?;
                Some(if whole {
                    numbers
                } else {
                    numbers.gathered(&value.layout)
                })
            }
            Base::Folded(numbers, _) if whole => Some(numbers.clone()),
            Base::Folded(numbers, _) => Some(numbers.gathered(&value.layout)),
            Base::Input | Base::Step(_) | Base::Unknown(_) => None,
        })
    }

    /// A constant of integers as it is needed for dimensions and indices.
    pub(super) fn ints(&self, value: &Value) -> Option<Vec<i64>> {
        match self.numbers(value).ok()?? {
            Numbers::Ints(ints) => Some(ints),
            Numbers::Floats(_) => None,
        }
    }
}

/// Whether the elements are floats, which weights are.
pub(super) fn is_float(tensor: &TensorProto) -> bool {
    matches!(
        tensor.data_type,
        data_type::FLOAT | data_type::FLOAT16 | data_type::BFLOAT16 | data_type::DOUBLE
    )
}

/// The numbers of a tensor, as many as its dimensions say.
pub(super) fn decode(name: &str, tensor: &TensorProto) -> Result<Numbers, Mismatch> {
    let numbers = match tensor.raw_data.as_slice() {
        [] => decode_typed(name, tensor)?,
        raw => decode_raw(name, tensor.data_type, raw)?,
    };
    let dims = dims(name, tensor)?;
    if dims.iter().product::<usize>() == numbers.len() {
        return Ok(numbers);
    }
    let found = format!("{} values", numbers.len());
    Err(Mismatch::new(
        name,
        found,
        format!("as many as dimensions {dims:?} have"),
    ))
}

/// Numbers in the field of their type.
fn decode_typed(name: &str, tensor: &TensorProto) -> Result<Numbers, Mismatch> {
    let ints = || tensor.int32_data.iter().map(|&int| i64::from(int));
    Ok(match tensor.data_type {
        data_type::FLOAT => Numbers::Floats(tensor.float_data.clone()),
        data_type::FLOAT16 => Numbers::Floats(halves(name, &tensor.int32_data, half_to_single)?),
        data_type::BFLOAT16 => {
            let single = |bits| f32::from_bits(u32::from(bits) << 16);
            Numbers::Floats(halves(name, &tensor.int32_data, single)?)
        }
        data_type::DOUBLE => {
            let doubles = tensor.double_data.iter();
            Numbers::Floats(doubles.map(|&value| value as f32).collect())
        }
        data_type::INT64 => Numbers::Ints(tensor.int64_data.clone()),
        data_type::INT32 | data_type::BOOL => Numbers::Ints(ints().collect()),
        other => return Err(unknown_type(name, other)),
    })
}

/// Numbers as little-endian bytes.
fn decode_raw(name: &str, data_type: i32, raw: &[u8]) -> Result<Numbers, Mismatch> {
    Ok(match data_type {
        data_type::FLOAT => Numbers::Floats(Precision::F32.decode(whole(name, raw, 4)?)),
        data_type::FLOAT16 => Numbers::Floats(Precision::F16.decode(whole(name, raw, 2)?)),
        data_type::BFLOAT16 => Numbers::Floats(Precision::Bf16.decode(whole(name, raw, 2)?)),
        data_type::DOUBLE => {
            let words = words(whole(name, raw, 8)?);
            Numbers::Floats(words.map(|word| f64::from_bits(word) as f32).collect())
        }
        data_type::INT64 => {
            let words = words(whole(name, raw, 8)?);
            Numbers::Ints(words.map(u64::cast_signed).collect())
        }
        data_type::INT32 => {
            let (words, _) = whole(name, raw, 4)?.as_chunks();
            let ints = words.iter().map(|&word| i32::from_le_bytes(word));
            Numbers::Ints(ints.map(i64::from).collect())
        }
        data_type::BOOL => Numbers::Ints(raw.iter().map(|&byte| i64::from(byte != 0)).collect()),
        other => return Err(unknown_type(name, other)),
    })
}

fn unknown_type(name: &str, data_type: i32) -> Mismatch {
    let found = format!("element type {data_type}");
    Mismatch::new(name, found, "floats of 16, 32 or 64 bits")
}

fn dims(name: &str, tensor: &TensorProto) -> Result<Vec<usize>, Mismatch> {
    let dims = tensor.dims.iter().map(|&dim| usize::try_from(dim).ok());
    let dims: Option<Vec<usize>> = dims.collect();
    let count = dims
        .as_ref()
        .and_then(|dims| dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim)));
    match (dims, count) {
        (Some(dims), Some(..=MOST_ELEMENTS)) => Ok(dims),
        _ => {
            let found = format!("dimensions {:?}", tensor.dims);
            Err(Mismatch::new(
                name,
                found,
                "dimensions of a tensor that fits in memory",
            ))
        }
    }
}

/// Bytes of whole elements.
fn whole<'b>(name: &str, bytes: &'b [u8], width: usize) -> Result<&'b [u8], Mismatch> {
    if bytes.len().is_multiple_of(width) {
        return Ok(bytes);
    }
    let found = format!("{} bytes", bytes.len());
    Err(Mismatch::new(name, found, format!("a multiple of {width}")))
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let (words, _) = bytes.as_chunks();
    words.iter().map(|&word| u64::from_le_bytes(word))
}

fn halves(name: &str, bits: &[i32], to_single: impl Fn(u16) -> f32) -> Result<Vec<f32>, Mismatch> {
    let halves = bits.iter().map(|&bits| u16::try_from(bits).map(&to_single));
    let halves = halves.collect::<Result<_, _>>();
    halves.map_err(|_| Mismatch::new(name, "a number of more than 16 bits", "halves"))
}
