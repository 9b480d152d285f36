//! A graph's nodes and constants by name.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use super::Mismatch;
use super::Tensor;
use crate::graph::proto::{
    AttributeProto, EXTERNAL, GraphProto, NodeProto, TensorProto, data_type,
};
use crate::source::Precision;
use crate::source::tensor::half_to_single;

/// Look-ups that refuse by name what is not there.
pub(super) struct Index<'a> {
    nodes: &'a [NodeProto],
    by_name: HashMap<&'a str, &'a NodeProto>,
    /// By the values they make.
    producers: HashMap<&'a str, &'a NodeProto>,
    /// Initializers and the values of `Constant` nodes.
    constants: HashMap<&'a str, &'a TensorProto>,
    initializers: &'a [TensorProto],
    read: RefCell<HashSet<&'a str>>,
}

impl<'a> Index<'a> {
    pub(super) fn new(graph: &'a GraphProto) -> Result<Self, Mismatch> {
        let mut index = Self {
            nodes: &graph.node,
            by_name: HashMap::new(),
            producers: HashMap::new(),
            constants: HashMap::new(),
            initializers: &graph.initializer,
            read: RefCell::default(),
        };
        for tensor in &graph.initializer {
            index.add_constant(&tensor.name, tensor)?;
        }
        for node in &graph.node {
            if !node.name.is_empty() && index.by_name.insert(&node.name, node).is_some() {
                return Err(twice(&node.name));
            }
            for output in node.output.iter().filter(|output| !output.is_empty()) {
                if index.producers.insert(output, node).is_some() {
                    return Err(twice(output));
                }
            }
            if let ("Constant", Some(tensor), Some(output)) = (
                node.op_type.as_str(),
                attribute(node, "value").and_then(|value| value.t.as_ref()),
                node.output.first(),
            ) {
                index.add_constant(output, tensor)?;
            }
        }
        Ok(index)
    }

    fn add_constant(&mut self, name: &'a str, tensor: &'a TensorProto) -> Result<(), Mismatch> {
        match self.constants.insert(name, tensor) {
            None => Ok(()),
            Some(_) => Err(twice(name)),
        }
    }

    /// All nodes.
    pub(super) fn nodes(&self) -> &'a [NodeProto] {
        self.nodes
    }

    /// The node of that name, if it applies `operator`.
    pub(super) fn node(&self, name: &str, operator: &str) -> Result<&'a NodeProto, Mismatch> {
        let expected = format!("a node that applies {operator}");
        match self.by_name.get(name) {
            None => Err(Mismatch::missing(name, expected)),
            Some(node) if node.op_type == operator => Ok(node),
            Some(node) => Err(Mismatch::new(name, &node.op_type, expected)),
        }
    }

    /// Whether there is a node of that name that applies `operator`.
    pub(super) fn has_node(&self, name: &str, operator: &str) -> bool {
        self.node(name, operator).is_ok()
    }

    /// The node that makes `value`.
    pub(super) fn producer(&self, value: &str) -> Result<&'a NodeProto, Mismatch> {
        let node = self.producers.get(value).copied();
        node.ok_or_else(|| Mismatch::missing(value, "a node that makes this value"))
    }

    /// The node that makes `value`, if it applies `operator`.
    pub(super) fn producer_of(
        &self,
        value: &str,
        operator: &str,
    ) -> Result<&'a NodeProto, Mismatch> {
        let node = self.producer(value)?;
        if node.op_type == operator {
            return Ok(node);
        }
        let found = format!("{} as what makes {value}", node.op_type);
        Err(Mismatch::new(&node.name, found, operator))
    }

    /// Whether `value` is a constant.
    pub(super) fn is_constant(&self, value: &str) -> bool {
        self.constants.contains_key(value)
    }

    /// A constant of floats.
    pub(super) fn floats(&self, name: &str) -> Result<Tensor, Mismatch> {
        let Some((name, tensor)) = self.constants.get_key_value(name) else {
            return Err(Mismatch::missing(name, "a constant tensor"));
        };
        self.read.borrow_mut().insert(name);
        let dims = dims(name, tensor)?;
        inside(name, tensor)?;
        let raw = tensor.raw_data.as_slice();
        let precision = match tensor.data_type {
            data_type::FLOAT if raw.is_empty() => {
                return Tensor::new(name, dims, tensor.float_data.clone());
            }
            data_type::FLOAT => Precision::F32,
            data_type::FLOAT16 if raw.is_empty() => {
                return Tensor::new(name, dims, halves(name, &tensor.int32_data)?);
            }
            data_type::FLOAT16 => Precision::F16,
            data_type::BFLOAT16 => Precision::Bf16,
            other => {
                let found = format!("element type {other}");
                return Err(Mismatch::new(*name, found, "floats of 32 or 16 bits"));
            }
        };
        Tensor::from_bytes(name, dims, precision, raw)
    }

    /// A constant of 64-bit integers.
    pub(super) fn integers(&self, name: &str) -> Result<Vec<i64>, Mismatch> {
        let Some(tensor) = self.constants.get(name) else {
            return Err(Mismatch::missing(name, "a constant tensor"));
        };
        inside(name, tensor)?;
        if tensor.data_type != data_type::INT64 {
            let found = format!("element type {}", tensor.data_type);
            return Err(Mismatch::new(name, found, "integers of 64 bits"));
        }
        if tensor.raw_data.is_empty() {
            return Ok(tensor.int64_data.clone());
        }
        let (words, rest) = tensor.raw_data.as_chunks();
        if !rest.is_empty() {
            let found = format!("{} bytes", tensor.raw_data.len());
            return Err(Mismatch::new(name, found, "a multiple of 8"));
        }
        Ok(words.iter().map(|&word| i64::from_le_bytes(word)).collect())
    }

    /// A constant that is one float.
    pub(super) fn scalar(&self, name: &str) -> Result<f32, Mismatch> {
        let tensor = self.floats(name)?;
        let dims = tensor.dims().to_vec();
        match tensor.into_values(&dims)?.as_slice() {
            [value] => Ok(*value),
            values => {
                let found = format!("{} values", values.len());
                Err(Mismatch::new(name, found, "one"))
            }
        }
    }

    /// Refuses a file with float tensors that nothing asked for.
    pub(super) fn check_all_read(&self) -> Result<(), Mismatch> {
        let read = self.read.borrow();
        let weights = self.initializers.iter().filter(|tensor| {
            tensor.data_type != data_type::INT64 && tensor.dims.iter().any(|&dim| dim != 1)
        });
        for tensor in weights {
            if !read.contains(tensor.name.as_str()) {
                let found = format!(
                    "a tensor of dimensions {:?} with no known part",
                    tensor.dims
                );
                return Err(Mismatch::new(
                    &tensor.name,
                    found,
                    "the weights of a DINOv2 encoder and its head, and no others",
                ));
            }
        }
        Ok(())
    }
}

/// Input number `number` of a node.
pub(super) fn input(node: &NodeProto, number: usize) -> Result<&str, Mismatch> {
    match node.input.get(number) {
        Some(name) if !name.is_empty() => Ok(name),
        _ => {
            let found = format!("{} inputs", node.input.len());
            let expected = format!("an input number {number} of {}", node.op_type);
            Err(Mismatch::new(&node.name, found, expected))
        }
    }
}

/// The first output of a node.
pub(super) fn output(node: &NodeProto) -> Result<&str, Mismatch> {
    let first = node.output.first().map(String::as_str);
    first.ok_or_else(|| Mismatch::new(&node.name, "no output", "one"))
}

/// An attribute of a node.
pub(super) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute
        .iter()
        .find(|attribute| attribute.name == name)
}

/// Refuses a node whose attribute `name` is a string other than `expected`.
pub(super) fn expect_text(node: &NodeProto, name: &str, expected: &str) -> Result<(), Mismatch> {
    let found = attribute(node, name).and_then(|value| value.s.as_deref());
    let found = String::from_utf8_lossy(found.unwrap_or_default());
    if found == expected {
        return Ok(());
    }
    let found = format!("{name} {found:?}");
    Err(Mismatch::new(&node.name, found, format!("{expected:?}")))
}

/// Refuses a node whose attribute `name` are integers other than `expected`; left out, they are `default`.
pub(super) fn expect_ints(
    node: &NodeProto,
    name: &str,
    default: &[i64],
    expected: &[i64],
) -> Result<(), Mismatch> {
    let found = attribute(node, name).map_or(default, |value| value.ints.as_slice());
    if found == expected {
        return Ok(());
    }
    let found = format!("{name} {found:?}");
    Err(Mismatch::new(&node.name, found, format!("{expected:?}")))
}

fn dims(name: &str, tensor: &TensorProto) -> Result<Vec<usize>, Mismatch> {
    let sizes = tensor.dims.iter().map(|&dim| usize::try_from(dim));
    sizes.collect::<Result<_, _>>().map_err(|_| {
        let found = format!("dimensions {:?}", tensor.dims);
        Mismatch::new(name, found, "none below 0")
    })
}

fn inside(name: &str, tensor: &TensorProto) -> Result<(), Mismatch> {
    if tensor.data_location != EXTERNAL {
        return Ok(());
    }
    Err(Mismatch::new(
        name,
        "data in another file",
        "data inside the ONNX file (save it without external data)",
    ))
}

fn halves(name: &str, bits: &[i32]) -> Result<Vec<f32>, Mismatch> {
    let bits = bits
        .iter()
        .map(|&bits| u16::try_from(bits).map(half_to_single));
    bits.collect::<Result<_, _>>()
        .map_err(|_| Mismatch::new(name, "a number of more than 16 bits", "halves"))
}

fn twice(name: &str) -> Mismatch {
    Mismatch::new(name, "the name twice", "unique names")
}
