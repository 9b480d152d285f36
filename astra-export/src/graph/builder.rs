//! A graph, node by node.

use astra_bundle::{Dtype, TensorRef, WEIGHTS_FILE};
use prost::Message;

use super::proto::{
    AttributeProto, DimensionProto, EXTERNAL, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto,
    TypeProto, ValueInfoProto, attribute_type, data_type,
};

/// The first ONNX operator set with `Gelu`.
const OPSET: i64 = 20;
/// The format version that belongs to it.
const IR_VERSION: i64 = 9;
/// Domain of ONNX Runtime's own operators.
const MICROSOFT: &str = "com.microsoft";

/// A value of the graph under construction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value(String);

impl Value {
    /// An optional input that is left out.
    pub fn none() -> Self {
        Self(String::new())
    }
}

/// Element type of an input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 32-bit float.
    F32,
    /// Byte.
    U8,
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
}

impl Element {
    fn code(self) -> i32 {
        match self {
            Self::F32 => data_type::FLOAT,
            Self::U8 => data_type::UINT8,
            Self::I32 => data_type::INT32,
            Self::I64 => data_type::INT64,
        }
    }
}

/// A dimension of an input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dim {
    /// Known when the graph is written.
    Fixed(usize),
    /// Known when it runs; the same name means the same size.
    Named(&'static str),
}

/// A constant parameter of an operator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Attribute<'a> {
    /// One integer.
    Int(i64),
    /// One float.
    Float(f32),
    /// Integers.
    Ints(&'a [i64]),
    /// A string.
    Text(&'a str),
}

/// Builds one graph whose weights are external data in the bundle's `weights.bin`.
#[derive(Debug, Default)]
pub struct GraphBuilder {
    graph: GraphProto,
    /// Sums of blocks by the name of their rows and the size of the blocks.
    pub(super) block_sums: Vec<(Value, usize, Value)>,
}

impl GraphBuilder {
    /// An empty graph.
    pub fn new(name: &str) -> Self {
        Self {
            graph: GraphProto {
                name: name.to_owned(),
                ..GraphProto::default()
            },
            block_sums: Vec::new(),
        }
    }

    /// Declares an input.
    pub fn input(&mut self, name: &str, element: Element, dims: &[Dim]) -> Value {
        self.graph.input.push(value_info(name, element, dims));
        Value(name.to_owned())
    }

    /// Declares `value`, made by a node, to be an output of that name.
    pub fn output(&mut self, value: &Value, name: &str, element: Element, dims: &[Dim]) -> Value {
        for node in &mut self.graph.node {
            for used in node.input.iter_mut().chain(&mut node.output) {
                if *used == value.0 {
                    name.clone_into(used);
                }
            }
        }
        self.graph.output.push(value_info(name, element, dims));
        Value(name.to_owned())
    }

    /// A constant that lies in the bundle's weights, declared once however often it is requested. The same name in another
    /// graph may be another tensor.
    pub fn stored(&mut self, name: &str, tensor: &TensorRef) -> Value {
        if self.has_initializer(name) {
            return Value(name.to_owned());
        }
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: key.to_owned(),
            value,
        };
        let length = tensor.byte_len().unwrap_or(u64::MAX);
        self.graph.initializer.push(TensorProto {
            dims: tensor.shape.iter().map(|&dim| as_i64(dim)).collect(),
            data_type: match tensor.dtype {
                Dtype::Float32 => data_type::FLOAT,
                Dtype::Float16 => data_type::FLOAT16,
                Dtype::Uint8 => data_type::UINT8,
            },
            name: name.to_owned(),
            external_data: vec![
                entry("location", WEIGHTS_FILE.to_owned()),
                entry("offset", tensor.offset.to_string()),
                entry("length", length.to_string()),
            ],
            data_location: EXTERNAL,
            ..TensorProto::default()
        });
        Value(name.to_owned())
    }

    /// A short list of integers inside the graph (axes, sizes), written once however often it is requested.
    pub fn ints(&mut self, values: &[i64]) -> Value {
        let text: Vec<String> = values.iter().map(i64::to_string).collect();
        let name = format!("ints_{}", text.join("_"));
        if !self.has_initializer(&name) {
            self.graph.initializer.push(TensorProto {
                dims: vec![as_i64(values.len())],
                data_type: data_type::INT64,
                name: name.clone(),
                int64_data: values.to_vec(),
                ..TensorProto::default()
            });
        }
        Value(name)
    }

    fn has_initializer(&self, name: &str) -> bool {
        let mut known = self.graph.initializer.iter();
        known.any(|known| known.name == name)
    }

    /// The same of 32 bits, of which some of ONNX Runtime's own operators take lengths.
    pub fn short_ints(&mut self, values: &[i64]) -> Value {
        let values = self.ints(values);
        self.cast(&values, Element::I32)
    }

    /// Values of another type.
    pub fn cast(&mut self, input: &Value, to: Element) -> Value {
        let to = [("to", Attribute::Int(i64::from(to.code())))];
        self.apply("Cast", &[input], &to)
    }

    /// Applies an operator of ONNX with one output.
    pub fn apply(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute<'_>)],
    ) -> Value {
        self.node("", operator, inputs, attributes)
    }

    /// Applies one of ONNX Runtime's own operators with one output.
    pub fn apply_microsoft(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute<'_>)],
    ) -> Value {
        self.node(MICROSOFT, operator, inputs, attributes)
    }

    fn node(
        &mut self,
        domain: &str,
        operator: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute<'_>)],
    ) -> Value {
        let [value] = self.node_with(domain, operator, inputs, attributes);
        value
    }

    /// Applies one of ONNX Runtime's own operators with `N` outputs.
    pub(super) fn apply_microsoft_with<const N: usize>(
        &mut self,
        operator: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute<'_>)],
    ) -> [Value; N] {
        self.node_with(MICROSOFT, operator, inputs, attributes)
    }

    /// A node with `N` outputs.
    pub(super) fn node_with<const N: usize>(
        &mut self,
        domain: &str,
        operator: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute<'_>)],
    ) -> [Value; N] {
        let name = format!("{operator}_{}", self.graph.node.len());
        let outputs = std::array::from_fn(|output| match output {
            0 => Value(name.clone()),
            more => Value(format!("{name}_{more}")),
        });
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|value| value.0.clone()).collect(),
            output: outputs.iter().map(|value| value.0.clone()).collect(),
            name,
            op_type: operator.to_owned(),
            attribute: attributes.iter().map(attribute).collect(),
            domain: domain.to_owned(),
        });
        outputs
    }

    /// The bytes of the `.onnx` file.
    pub fn finish(self) -> Vec<u8> {
        let opset = |domain: &str, version| OperatorSetIdProto {
            domain: domain.to_owned(),
            version,
        };
        ModelProto {
            ir_version: IR_VERSION,
            producer_name: env!("CARGO_PKG_NAME").to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(self.graph),
            opset_import: vec![opset("", OPSET), opset(MICROSOFT, 1)],
            functions: Vec::new(),
        }
        .encode_to_vec()
    }
}

fn attribute(&(name, value): &(&str, Attribute<'_>)) -> AttributeProto {
    let mut proto = AttributeProto {
        name: name.to_owned(),
        ..AttributeProto::default()
    };
    match value {
        Attribute::Int(int) => {
            proto.r#type = attribute_type::INT;
            proto.i = Some(int);
        }
        Attribute::Float(float) => {
            proto.r#type = attribute_type::FLOAT;
            proto.f = Some(float);
        }
        Attribute::Ints(ints) => {
            proto.r#type = attribute_type::INTS;
            proto.ints = ints.to_vec();
        }
        Attribute::Text(text) => {
            proto.r#type = attribute_type::STRING;
            proto.s = Some(text.as_bytes().to_vec());
        }
    }
    proto
}

fn value_info(name: &str, element: Element, dims: &[Dim]) -> ValueInfoProto {
    let dim = |dim: &Dim| match *dim {
        Dim::Fixed(size) => DimensionProto {
            dim_value: Some(as_i64(size)),
            dim_param: None,
        },
        Dim::Named(name) => DimensionProto {
            dim_value: None,
            dim_param: Some(name.to_owned()),
        },
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: element.code(),
                shape: Some(TensorShapeProto {
                    dim: dims.iter().map(dim).collect(),
                }),
            }),
        }),
    }
}

/// No dimension of a tensor in memory is beyond `i64`.
pub(crate) fn as_i64(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}
