//! An ONNX graph evaluated for one image: what every value is, by what computes it instead of by the names that an exporter
//! gave it.
//!
//! - [`layout`]: which elements of a result a view holds
//! - `constant`: tensors of the file, as numbers
//! - `evaluate`: every node in order, with known dimensions
//! - `views`, `fold`, `shapes`: nodes that select elements, that compute with constants alone, and all others
//!
//! Values are [`Value`]s: a view of a [`Base`]. Nodes that only select or rename elements leave no trace but in the layout;
//! nodes whose inputs are constants (all that exporters write to compute dimensions) become constants. What remains are the
//! [`Step`]s that compute something with the image. A node that is not known makes an unknown value, and so does every node
//! that depends on it; such a value is only refused where it is requested.

mod constant;
mod evaluate;
mod fold;
pub(super) mod layout;
mod shapes;
mod views;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use super::{Mismatch, Tensor};
use crate::graph::proto::{GraphProto, NodeProto, TensorProto};
pub(super) use constant::Numbers;
use layout::{Layout, element_count};

/// Elements of a base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    base: usize,
    pub(super) layout: Layout,
}

/// What a node computes.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) node: &'a NodeProto,
    /// `None` where an optional input is left out.
    pub(super) inputs: Vec<Option<Value>>,
}

#[derive(Debug)]
pub(super) enum Base<'a> {
    /// An input of the graph.
    Input,
    Step(Step<'a>),
    /// A constant of the file.
    Tensor(&'a TensorProto),
    /// A constant computed from constants, and the tensors it was computed from.
    Folded(Numbers, BTreeSet<&'a str>),
    /// The result of a node that is not known.
    Unknown(&'a NodeProto),
}

#[derive(Debug)]
struct Entry<'a> {
    /// Name of the value in the file; the first, where there are several.
    name: &'a str,
    dims: Vec<usize>,
    base: Base<'a>,
}

/// What all values of a graph are.
pub(super) struct Graph<'a> {
    entries: Vec<Entry<'a>>,
    values: HashMap<&'a str, Value>,
    opset: i64,
    initializers: &'a [TensorProto],
    read: RefCell<HashSet<&'a str>>,
}

impl<'a> Graph<'a> {
    /// Evaluates `graph` for inputs of these dimensions.
    pub(super) fn evaluate(
        graph: &'a GraphProto,
        opset: i64,
        inputs: &[(&'a str, Vec<usize>)],
    ) -> Result<Self, Mismatch> {
        let mut evaluated = Self {
            entries: Vec::new(),
            values: HashMap::new(),
            opset,
            initializers: &graph.initializer,
            read: RefCell::default(),
        };
        for (name, dims) in inputs {
            let value = evaluated.add(name, dims.clone(), Base::Input)?;
            evaluated.name(name, value)?;
        }
        for tensor in &graph.initializer {
            let value = evaluated.add_tensor(&tensor.name, tensor)?;
            evaluated.name(&tensor.name, value)?;
        }
        let mut names = HashSet::new();
        for node in &graph.node {
            if !node.name.is_empty() && !names.insert(&node.name) {
                return Err(twice(&node.name));
            }
            evaluated.run(node)?;
        }
        Ok(evaluated)
    }

    fn name(&mut self, name: &'a str, value: Value) -> Result<(), Mismatch> {
        match self.values.insert(name, value) {
            None => Ok(()),
            Some(_) => Err(twice(name)),
        }
    }

    /// A base, and all of it as a value.
    fn add(&mut self, name: &'a str, dims: Vec<usize>, base: Base<'a>) -> Result<Value, Mismatch> {
        if element_count(&dims).is_none() {
            let found = format!("dimensions {dims:?}");
            return Err(Mismatch::new(
                name,
                found,
                "dimensions of a tensor that fits in memory",
            ));
        }
        let value = Value {
            base: self.entries.len(),
            layout: Layout::whole(&dims),
        };
        self.entries.push(Entry { name, dims, base });
        Ok(value)
    }

    fn entry(&self, value: &Value) -> Option<&Entry<'a>> {
        self.entries.get(value.base)
    }

    /// The value of that name.
    pub(super) fn value(&self, name: &str) -> Result<&Value, Mismatch> {
        let value = self.values.get(name);
        value.ok_or_else(|| {
            Mismatch::missing(name, "a value that an input, a constant or a node makes")
        })
    }

    /// What computes the result that `value` is a view of; `None` for inputs and constants.
    pub(super) fn step(&self, value: &Value) -> Option<&Step<'a>> {
        match self.entry(value) {
            Some(Entry {
                base: Base::Step(step),
                ..
            }) => Some(step),
            _ => None,
        }
    }

    /// The node whose result `value` is a view of, if it applies `operator`.
    pub(super) fn step_of(&self, value: &Value, operator: &str) -> Option<&Step<'a>> {
        self.step(value)
            .filter(|step| step.node.op_type == operator)
    }

    /// What computes `value`, if that is the whole result in order, perhaps with other dimensions.
    pub(super) fn whole_step(&self, value: &Value) -> Option<&Step<'a>> {
        let count = self.dims_of_base(value).iter().product();
        self.step(value).filter(|_| value.layout.is_whole(count))
    }

    /// What computes `value` by `operator`, if that is the whole result in order.
    pub(super) fn whole_step_of(&self, value: &Value, operator: &str) -> Option<&Step<'a>> {
        self.whole_step(value)
            .filter(|step| step.node.op_type == operator)
    }

    /// All of what `value` is a view of.
    pub(super) fn all_of(&self, value: &Value) -> Value {
        value.with_layout(Layout::whole(self.dims_of_base(value)))
    }

    /// Dimensions of what `value` is a view of.
    pub(super) fn dims_of_base(&self, value: &Value) -> &[usize] {
        self.entry(value).map_or(&[], |entry| &entry.dims)
    }

    /// Whether both hold the same elements of the same result, whatever the dimensions.
    pub(super) fn same(&self, a: &Value, b: &Value) -> bool {
        a.base == b.base && a.layout.same_elements(&b.layout)
    }

    /// Whether `value` is all of the input of that name.
    pub(super) fn is_input(&self, value: &Value, name: &str) -> bool {
        let count = self.dims_of_base(value).iter().product();
        let found = self.entry(value);
        value.layout.is_whole(count)
            && found.is_some_and(|entry| matches!(entry.base, Base::Input) && entry.name == name)
    }

    pub(super) fn is_constant(&self, value: &Value) -> bool {
        let base = self.entry(value).map(|entry| &entry.base);
        matches!(base, Some(Base::Tensor(_) | Base::Folded(..)))
    }

    /// For errors: the name of a constant, or of the node that computes `value`.
    pub(super) fn name_of(&self, value: &Value) -> &'a str {
        match self.entry(value) {
            Some(Entry {
                base: Base::Step(Step { node, .. }) | Base::Unknown(node),
                name,
                ..
            }) => {
                if node.name.is_empty() {
                    name
                } else {
                    &node.name
                }
            }
            Some(Entry {
                base: Base::Folded(_, origins),
                name,
                ..
            }) => origins.first().copied().unwrap_or(name),
            Some(entry) => entry.name,
            None => "",
        }
    }

    /// A refusal of `value`, which is not what is expected.
    pub(super) fn refuse(&self, value: &Value, expected: impl std::fmt::Display) -> Mismatch {
        let found = match self.entry(value).map(|entry| &entry.base) {
            Some(Base::Step(Step { node, .. })) => operator_of(node),
            // Whatever was expected, this is in the way of it.
            Some(Base::Unknown(node)) => {
                let expected = "operators that DINOv2 and ViT are made of";
                return Mismatch::new(self.name_of(value), operator_of(node), expected);
            }
            Some(Base::Input) => "an input of the graph".to_owned(),
            Some(Base::Tensor(_) | Base::Folded(..)) => {
                format!("a constant of dimensions {:?}", value.layout.dims())
            }
            None => "nothing".to_owned(),
        };
        Mismatch::new(self.name_of(value), found, expected)
    }

    /// A constant of floats as a weight of the model: what it is made of counts as read.
    pub(super) fn weights(&self, value: &Value) -> Result<Tensor, Mismatch> {
        let numbers = self
            .numbers(value)?
            .ok_or_else(|| self.refuse(value, "a constant of floats"))?;
        match self.entry(value).map(|entry| (&entry.base, entry.name)) {
            Some((Base::Tensor(_), name)) => {
                self.read.borrow_mut().insert(name);
            }
            Some((Base::Folded(_, origins), _)) => self.read.borrow_mut().extend(origins),
            _ => {}
        }
        match numbers {
            Numbers::Floats(values) => {
                Tensor::new(self.name_of(value), value.layout.dims(), values)
            }
            Numbers::Ints(_) => Err(Mismatch::new(self.name_of(value), "integers", "floats")),
        }
    }

    /// A constant of one float, which does not have to be read elsewhere.
    pub(super) fn scalar(&self, value: &Value) -> Option<f32> {
        if value.layout.count() != 1 {
            return None;
        }
        match self.numbers(value).ok()?? {
            Numbers::Floats(values) => values.first().copied(),
            Numbers::Ints(_) => None,
        }
    }

    /// Refuses a file with float tensors that nodes use and that were not read.
    pub(super) fn check_all_read(&self, nodes: &[NodeProto]) -> Result<(), Mismatch> {
        let used: HashSet<&str> = nodes
            .iter()
            .flat_map(|node| &node.input)
            .map(String::as_str)
            .collect();
        let read = self.read.borrow();
        for tensor in self.initializers {
            let name = tensor.name.as_str();
            let several = tensor.dims.iter().any(|&dim| dim != 1);
            if several && constant::is_float(tensor) && used.contains(name) && !read.contains(name)
            {
                let found = format!(
                    "a tensor of dimensions {:?} with no known part",
                    tensor.dims
                );
                let expected = "the weights of a vision Transformer and its head, and no others";
                return Err(Mismatch::new(name, found, expected));
            }
        }
        Ok(())
    }

    /// Marks the tensors that `value` is computed from as read: it is something that a bundle does without.
    pub(super) fn pass_over(&self, value: &Value) {
        self.visit(value, &mut |entry| {
            match &entry.base {
                Base::Tensor(_) => {
                    self.read.borrow_mut().insert(entry.name);
                }
                Base::Folded(_, origins) => self.read.borrow_mut().extend(origins),
                Base::Input | Base::Step(_) | Base::Unknown(_) => {}
            }
            Ok(())
        })
        .unwrap_or_default();
    }

    /// Refuses a value that is computed with weights that were not read, or by nodes that are not known.
    pub(super) fn check_read(&self, value: &Value, expected: &str) -> Result<(), Mismatch> {
        let read = self.read.borrow();
        self.visit(value, &mut |entry| match &entry.base {
            Base::Tensor(tensor)
                if constant::is_float(tensor)
                    && tensor.dims.iter().any(|&dim| dim != 1)
                    && !read.contains(entry.name) =>
            {
                let found = format!(
                    "a tensor of dimensions {:?} with no known part",
                    tensor.dims
                );
                Err(Mismatch::new(entry.name, found, expected))
            }
            Base::Unknown(node) => Err(Mismatch::new(&node.name, operator_of(node), expected)),
            _ => Ok(()),
        })
    }

    /// Calls `visit` with everything that `value` is computed from.
    fn visit(
        &self,
        value: &Value,
        visit: &mut dyn FnMut(&Entry<'a>) -> Result<(), Mismatch>,
    ) -> Result<(), Mismatch> {
        let mut open = vec![value.base];
        let mut seen = HashSet::new();
        while let Some(base) = open.pop() {
            let Some(entry) = self.entries.get(base).filter(|_| seen.insert(base)) else {
                continue;
            };
            visit(entry)?;
            if let Base::Step(step) = &entry.base {
                open.extend(step.inputs.iter().flatten().map(|input| input.base));
            }
        }
        Ok(())
    }
}

impl Value {
    /// Other elements of the same result.
    pub(super) fn with_layout(&self, layout: Layout) -> Self {
        Self {
            base: self.base,
            layout,
        }
    }
}

impl Step<'_> {
    /// Input number `number`.
    pub(super) fn input(&self, number: usize) -> Result<&Value, Mismatch> {
        let input = self.inputs.get(number).and_then(Option::as_ref);
        input.ok_or_else(|| {
            let found = format!("{} inputs", self.inputs.len());
            let expected = format!("an input number {number} of {}", self.node.op_type);
            Mismatch::new(&self.node.name, found, expected)
        })
    }
}

/// The operator of a node, with its domain where that is not ONNX's own.
pub(super) fn operator_of(node: &NodeProto) -> String {
    match node.domain.as_str() {
        "" | "ai.onnx" => node.op_type.clone(),
        domain => format!("{domain}.{}", node.op_type),
    }
}

fn twice(name: &str) -> Mismatch {
    Mismatch::new(name, "the name twice", "unique names")
}
