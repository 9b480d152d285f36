//! The container: metadata, and where each tensor lies. Versions 2 and 3, little-endian.
//!
//! Layout by the specification of GGUF: `"GGUF"`, version u32, tensors u64, metadata entries u64; entries of key, type u32 and
//! value; for each tensor name, number of dimensions u32, dimensions u64 (fastest first), type u32 and offset u64; then the
//! data, aligned. A string is its length u64 and UTF-8.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::quantized::ValueType;
use crate::narrow::Blocks;
use crate::source::error::not_a_model;
use crate::source::{Mismatch, Tensor};

const MAGIC: &[u8; 4] = b"GGUF";
/// What the data and each tensor is aligned to, unless the file says otherwise.
const ALIGNMENT: u64 = 32;
/// Arrays of arrays are not nested deeper than this in any known file.
const MAX_DEPTH: usize = 4;
/// Most dimensions of a tensor.
const MAX_DIMENSIONS: u32 = 4;

/// A value of the metadata.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    Array(Vec<Value>),
}

/// A whole file, or all parts of a split one.
#[derive(Debug)]
pub(super) struct Gguf<'a> {
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Info<'a>>,
    /// Names of tensors that were read.
    read: RefCell<BTreeSet<String>>,
}

#[derive(Debug)]
struct Info<'a> {
    /// Slowest first, as everywhere else here.
    dims: Vec<usize>,
    value_type: u32,
    offset: u64,
    /// The data of its file.
    data: &'a [u8],
}

impl<'a> Gguf<'a> {
    /// Reads the metadata and the list of tensors of one file.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        if let Some(kind) = not_a_model(bytes) {
            return Err(kind.to_owned());
        }
        let mut cursor = Cursor { rest: bytes };
        if cursor.take(MAGIC.len())? != MAGIC {
            return Err("it does not begin with \"GGUF\"".to_owned());
        }
        check_version(cursor.u32()?)?;
        let (tensor_count, entry_count) = (cursor.u64()?, cursor.u64()?);
        let mut metadata = BTreeMap::new();
        for _ in 0..entry_count {
            let key = cursor.text()?;
            let kind = cursor.u32()?;
            let value = cursor.value(kind, 0)?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(format!("key {key:?} is there twice"));
            }
        }
        let mut tensors = BTreeMap::new();
        for _ in 0..tensor_count {
            let name = cursor.text()?;
            let info = cursor.info(&name)?;
            if tensors.insert(name.clone(), info).is_some() {
                return Err(format!("tensor {name:?} is there twice"));
            }
        }
        let alignment = match metadata.get("general.alignment") {
            Some(Value::Unsigned(alignment)) if alignment.is_power_of_two() => *alignment,
            _ => ALIGNMENT,
        };
        let read = (bytes.len() - cursor.rest.len()) as u64;
        let start = read.next_multiple_of(alignment);
        let data = usize::try_from(start).ok().and_then(|at| bytes.get(at..));
        let data = data.unwrap_or_default();
        tensors.values_mut().for_each(|info| info.data = data);
        Ok(Self {
            metadata,
            tensors,
            read: RefCell::default(),
        })
    }

    /// Takes over the tensors of another part of the same model.
    pub(super) fn add_part(&mut self, part: Self) -> Result<(), Mismatch> {
        for (name, info) in part.tensors {
            if self.tensors.contains_key(&name) {
                return Err(Mismatch::new(name, "the tensor in two parts", "one"));
            }
            self.tensors.insert(name, info);
        }
        Ok(())
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.metadata.keys().map(String::as_str)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Number of tensors.
    pub(super) fn tensor_count(&self) -> usize {
        self.tensors.len()
    }

    /// A tensor in float32.
    pub(super) fn tensor(&self, name: &str) -> Result<Tensor, Mismatch> {
        let Some(info) = self.tensors.get(name) else {
            return Err(Mismatch::missing(name, "a tensor of that name"));
        };
        self.read.borrow_mut().insert(name.to_owned());
        let value_type = ValueType::of(info.value_type, name)?;
        let bytes = info.bytes(name, value_type)?;
        let values = value_type.decode(bytes);
        let values = values.map_err(|error| {
            let expected = "values that can be decoded";
            Mismatch::new(name, error, expected)
        })?;
        Tensor::new(name, info.dims.clone(), values)
    }

    /// The integers of a matrix, if they are of a type that a bundle can keep.
    pub(super) fn blocks(&self, name: &str, dims: [usize; 2]) -> Result<Option<Blocks>, Mismatch> {
        let Some(info) = self.tensors.get(name).filter(|info| info.dims == dims) else {
            return Ok(None);
        };
        let value_type = ValueType::of(info.value_type, name)?;
        let blocks = super::blocks::blocks(value_type, info.bytes(name, value_type)?, dims);
        let Some(blocks) = blocks else {
            return Ok(None);
        };
        self.read.borrow_mut().insert(name.to_owned());
        let mut factors = blocks
            .scales()
            .iter()
            .chain(blocks.minima().unwrap_or_default());
        match factors.find(|value| !value.is_finite()) {
            None => Ok(Some(blocks)),
            Some(value) => Err(Mismatch::new(name, value, "finite values")),
        }
    }

    /// Refuses a file with tensors that were not read: they belong to a part of the model that would be lost.
    pub(super) fn check_all_read(&self) -> Result<(), Mismatch> {
        let read = self.read.borrow();
        match self.tensors.iter().find(|(name, _)| !read.contains(*name)) {
            None => Ok(()),
            Some((name, info)) => {
                let found = format!("a tensor of dimensions {:?}", info.dims);
                let expected = "only tensors of the known parts of this architecture";
                Err(Mismatch::new(name, found, expected))
            }
        }
    }
}

fn check_version(version: u32) -> Result<(), String> {
    match version {
        2 | 3 => Ok(()),
        other if matches!(other.swap_bytes(), 1..=3) => Err("found a big-endian file, expected \
             a little-endian one (convert it with gguf_convert_endian.py of llama.cpp)"
            .to_owned()),
        other => Err(format!("version: found {other}, expected 2 or 3")),
    }
}

impl<'a> Info<'a> {
    fn bytes(&self, name: &str, value_type: ValueType) -> Result<&'a [u8], Mismatch> {
        // A block lies within one row.
        let row = self.dims.last().copied().unwrap_or_default();
        let whole = row.is_multiple_of(value_type.block());
        let count = self.dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let bytes = count.and_then(|count| value_type.byte_len(count));
        let bytes = bytes.filter(|_| whole).ok_or_else(|| {
            let found = format!("dimensions {:?}", self.dims);
            let expected = format!("rows of a multiple of {} values", value_type.block());
            Mismatch::new(name, found, expected)
        })?;
        let start = usize::try_from(self.offset).ok();
        let end = start.and_then(|start| start.checked_add(bytes));
        let range = start
            .zip(end)
            .and_then(|(from, to)| self.data.get(from..to));
        range.ok_or_else(|| {
            let found = format!("{bytes} bytes at byte {} of the data", self.offset);
            let expected = format!("to end within {} bytes", self.data.len());
            Mismatch::new(name, found, expected)
        })
    }
}

/// What is not read yet.
struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or_else(|| format!("it is cut short: it ends where {count} bytes were expected"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| format!("no {N} bytes"))
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn text(&mut self) -> Result<String, String> {
        let length = self.u64()?;
        let length = usize::try_from(length).map_err(|_| format!("a string of {length} bytes"))?;
        let bytes = self.take(length)?;
        // Token lists of some files hold pieces of characters.
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn value(&mut self, kind: u32, depth: usize) -> Result<Value, String> {
        Ok(match kind {
            0 => Value::Unsigned(u64::from(u8::from_le_bytes(self.array()?))),
            1 => Value::Signed(i64::from(i8::from_le_bytes(self.array()?))),
            2 => Value::Unsigned(u64::from(u16::from_le_bytes(self.array()?))),
            3 => Value::Signed(i64::from(i16::from_le_bytes(self.array()?))),
            4 => Value::Unsigned(u64::from(self.u32()?)),
            5 => Value::Signed(i64::from(i32::from_le_bytes(self.array()?))),
            6 => Value::Float(f64::from(f32::from_le_bytes(self.array()?))),
            7 => Value::Bool(u8::from_le_bytes(self.array()?) != 0),
            8 => Value::Text(self.text()?),
            9 if depth < MAX_DEPTH => self.values(depth)?,
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(i64::from_le_bytes(self.array()?)),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            other => return Err(format!("a value of type {other}, expected 0 to 12")),
        })
    }

    fn values(&mut self, depth: usize) -> Result<Value, String> {
        let (kind, count) = (self.u32()?, self.u64()?);
        // Grows with what is there, not with what is promised.
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(kind, depth + 1)?);
        }
        Ok(Value::Array(values))
    }

    fn info(&mut self, name: &str) -> Result<Info<'a>, String> {
        let count = self.u32()?;
        if !(1..=MAX_DIMENSIONS).contains(&count) {
            let expected = format!("expected 1 to {MAX_DIMENSIONS}");
            return Err(format!(
                "tensor {name:?} has {count} dimensions, {expected}"
            ));
        }
        let mut dims = Vec::new();
        for _ in 0..count {
            let dim = self.u64()?;
            let dim = usize::try_from(dim).map_err(|_| format!("tensor {name:?}: side {dim}"))?;
            dims.push(dim);
        }
        dims.reverse();
        Ok(Info {
            dims,
            value_type: self.u32()?,
            offset: self.u64()?,
            data: &[],
        })
    }
}
