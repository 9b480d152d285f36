//! Every node in order.

use super::layout::Layout;
use super::{Base, Graph, Mismatch, Numbers, Step, Value};
use crate::graph::proto::{NodeProto, data_type};
use crate::source::onnx::attribute;

/// What a node makes.
pub(super) enum Outcome {
    /// Views or constants, one an output.
    Values(Vec<Value>),
    /// Something computed, of these dimensions.
    Computed(Vec<usize>),
    /// Nothing that is known.
    Unknown,
}

/// The inputs of a node, all of which are known.
pub(super) type Inputs = [Option<Value>];

impl<'a> Graph<'a> {
    /// Names the outputs of `node`.
    pub(super) fn run(&mut self, node: &'a NodeProto) -> Result<(), Mismatch> {
        let mut inputs = Vec::with_capacity(node.input.len());
        for name in &node.input {
            inputs.push(match name.as_str() {
                "" => None,
                name => Some(self.value(name)?.clone()),
            });
        }
        let known = inputs.iter().flatten().all(|input| !self.is_unknown(input));
        let own = matches!(node.domain.as_str(), "" | "ai.onnx");
        let outcome = match known && own {
            true => self.outcome(node, &inputs)?,
            false => Outcome::Unknown,
        };
        let values = match outcome {
            Outcome::Values(values) => values,
            Outcome::Computed(dims) => {
                let name = node.output.first().map_or("", String::as_str);
                vec![self.add_step(name, dims, node, inputs)?]
            }
            Outcome::Unknown => self.unknown(node, &inputs)?,
        };
        // Outputs of their own that training alone uses (a mask of Dropout) stay unknown.
        let mut values = values.into_iter();
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            let value = match values.next() {
                Some(value) => value,
                None => self.add(name, vec![], Base::Unknown(node))?,
            };
            self.name(name, value)?;
        }
        Ok(())
    }

    fn is_unknown(&self, value: &Value) -> bool {
        matches!(
            self.entry(value).map(|entry| &entry.base),
            Some(Base::Unknown(_)) | None
        )
    }

    /// The first node that is not known on the way to these inputs.
    fn unknown(&mut self, node: &'a NodeProto, inputs: &Inputs) -> Result<Vec<Value>, Mismatch> {
        let before = inputs.iter().flatten().find(|input| self.is_unknown(input));
        if let Some(before) = before {
            return Ok(vec![before.clone(); node.output.len()]);
        }
        let names = node.output.iter();
        names
            .map(|name| self.add(name, vec![], Base::Unknown(node)))
            .collect()
    }

    /// A step, or the one of the same operator and inputs that there is.
    fn add_step(
        &mut self,
        name: &'a str,
        dims: Vec<usize>,
        node: &'a NodeProto,
        inputs: Vec<Option<Value>>,
    ) -> Result<Value, Mismatch> {
        // Exporters write the same node again soon after the first, as x - mean of a layer normalization.
        const NEAR: usize = 32;
        let near = self.entries.iter().enumerate().rev().take(NEAR);
        let same = near.filter(|(_, entry)| matches!(&entry.base, Base::Step(step)
            if step.node.op_type == node.op_type && step.node.attribute == node.attribute && step.inputs == inputs));
        if let Some(base) = same.map(|(base, _)| base).next() {
            let layout = Layout::whole(&dims);
            return Ok(Value { base, layout });
        }
        self.add(name, dims, Base::Step(Step { node, inputs }))
    }

    fn outcome(&mut self, node: &'a NodeProto, inputs: &Inputs) -> Result<Outcome, Mismatch> {
        if node.op_type == "Constant" {
            let name = node.output.first().map_or("", String::as_str);
            let value = self.add_constant_node(node, name)?;
            return Ok(value.map_or(Outcome::Unknown, |value| Outcome::Values(vec![value])));
        }
        if let Some(values) = self.view(node, inputs) {
            return Ok(Outcome::Values(values));
        }
        if let Some(value) = self.cast_between_floats(node, inputs) {
            return Ok(Outcome::Values(vec![value]));
        }
        if let ("Shape" | "Size", [Some(value)]) = (node.op_type.as_str(), inputs) {
            let Some((dims, numbers)) = self.fold_dims(node, value) else {
                return Ok(Outcome::Unknown);
            };
            return self.add_folded(node, &[], dims, numbers);
        }
        // Of a cast to the type of another value, only the type counts.
        let read = if node.op_type == "CastLike" {
            1
        } else {
            inputs.len()
        };
        let constant = inputs
            .iter()
            .take(read)
            .flatten()
            .all(|input| self.is_constant(input));
        if constant && let Some((dims, numbers)) = self.fold(node, inputs) {
            return self.add_folded(node, inputs, dims, numbers);
        }
        if let Some(value) = self.simplified(node, inputs)? {
            return Ok(Outcome::Values(vec![value]));
        }
        Ok(self
            .shape_of(node, inputs)?
            .map_or(Outcome::Unknown, Outcome::Computed))
    }

    fn add_folded(
        &mut self,
        node: &'a NodeProto,
        inputs: &Inputs,
        dims: Vec<usize>,
        numbers: Numbers,
    ) -> Result<Outcome, Mismatch> {
        let mut origins = std::collections::BTreeSet::new();
        for entry in inputs
            .iter()
            .flatten()
            .filter_map(|input| self.entry(input))
        {
            match &entry.base {
                Base::Tensor(_) => {
                    origins.insert(entry.name);
                }
                Base::Folded(_, before) => origins.extend(before),
                Base::Input | Base::Step(_) | Base::Unknown(_) => {}
            }
        }
        let name = node.output.first().map_or("", String::as_str);
        let value = self.add(name, dims, Base::Folded(numbers, origins))?;
        Ok(Outcome::Values(vec![value]))
    }

    /// Floats of the file are read as single precision, whatever their own is, and that is what is computed with.
    fn cast_between_floats(&self, node: &NodeProto, inputs: &Inputs) -> Option<Value> {
        let value = inputs.first()?.as_ref()?;
        let to = self.cast_to(node, inputs)?;
        (to == data_type::FLOAT && self.is_float(value)).then(|| value.clone())
    }

    /// The element type a node casts to; single precision stands for floats of any.
    pub(super) fn cast_to(&self, node: &NodeProto, inputs: &Inputs) -> Option<i32> {
        let to = match (node.op_type.as_str(), inputs) {
            ("Cast", _) => i32::try_from(attribute(node, "to")?.i?).ok()?,
            ("CastLike", [_, Some(like)]) if self.is_float(like) => data_type::FLOAT,
            ("CastLike", [_, Some(_)]) => data_type::INT64,
            _ => return None,
        };
        Some(match to {
            data_type::FLOAT16 | data_type::BFLOAT16 | data_type::DOUBLE => data_type::FLOAT,
            to => to,
        })
    }

    fn is_float(&self, value: &Value) -> bool {
        match self.entry(value).map(|entry| &entry.base) {
            Some(Base::Tensor(tensor)) => super::constant::is_float(tensor),
            Some(Base::Folded(numbers, _)) => matches!(numbers, Numbers::Floats(_)),
            Some(Base::Input | Base::Step(_)) => true,
            Some(Base::Unknown(_)) | None => false,
        }
    }

    /// What a node that computes something is the same as.
    fn simplified(
        &mut self,
        node: &'a NodeProto,
        inputs: &Inputs,
    ) -> Result<Option<Value>, Mismatch> {
        match (node.op_type.as_str(), inputs) {
            ("Mul" | "Div", [Some(x), Some(factor)]) if self.scales(x, factor) => {
                self.scaled(node, x, factor, false).map(Some)
            }
            ("Mul", [Some(factor), Some(x)]) if self.scales(x, factor) => {
                self.scaled(node, x, factor, true).map(Some)
            }
            // A mask that lets everything pass.
            ("Add", [Some(x), Some(mask)] | [Some(mask), Some(x)]) if self.is_open(mask, x) => {
                self.pass_over(mask);
                Ok(Some(x.clone()))
            }
            ("Where", [Some(condition), Some(yes), Some(no)]) => {
                Ok(self.chosen(condition, yes, no))
            }
            _ => Ok(None),
        }
    }

    /// Whether `factor` is one number that all of a computed `x` is multiplied or divided by.
    fn scales(&self, x: &Value, factor: &Value) -> bool {
        !self.is_constant(x)
            && factor.layout.rank() <= x.layout.rank()
            && self.scalar(factor).is_some()
    }

    /// Multiplies or divides all of what `x` is a view of, so that the view comes last.
    fn scaled(
        &mut self,
        node: &'a NodeProto,
        x: &Value,
        factor: &Value,
        first: bool,
    ) -> Result<Value, Mismatch> {
        let dims = self.dims_of_base(x).to_vec();
        let all = Value {
            base: x.base,
            layout: Layout::whole(&dims),
        };
        let mut inputs = vec![Some(all), Some(factor.clone())];
        if first {
            inputs.reverse();
        }
        let name = node.output.first().map_or("", String::as_str);
        let step = self.add_step(name, dims, node, inputs)?;
        Ok(Value {
            base: step.base,
            layout: x.layout.clone(),
        })
    }

    /// Whether `mask` is a constant of zeros for scores, which does not make `x` larger.
    fn is_open(&self, mask: &Value, x: &Value) -> bool {
        let (dims, to) = (mask.layout.dims(), x.layout.dims());
        // Biases and tables, which may be zero too, have fewer dimensions.
        if dims.len() != 4 || self.is_constant(x) || !self.is_constant(mask) {
            return false;
        }
        let fits = to.len() == 4
            && dims
                .iter()
                .zip(&to)
                .all(|(&mask, &x)| mask == 1 || mask == x);
        fits && self.lets_all_pass(mask)
    }

    /// Whether a mask is constant zeros, or constant truth.
    pub(in crate::source::onnx) fn lets_all_pass(&self, mask: &Value) -> bool {
        match self.numbers(mask) {
            Ok(Some(Numbers::Floats(values))) => values.iter().all(|&value| value == 0.0),
            Ok(Some(Numbers::Ints(values))) => values.iter().all(|&value| value != 0),
            Ok(None) | Err(_) => false,
        }
    }

    /// `Where(IsNaN(x), 0, x)`, which only matters where a mask leaves nothing; and masked patches, which training alone has:
    /// their mask is an input of its own.
    fn chosen(&self, condition: &Value, yes: &Value, no: &Value) -> Option<Value> {
        if !self.is_constant(yes) || yes.layout.rank() > no.layout.rank() {
            return None;
        }
        let nan = self
            .whole_step_of(condition, "IsNaN")
            .and_then(|step| step.input(0).ok());
        if nan.is_some_and(|x| self.same(x, no)) && self.scalar(yes) == Some(0.0) {
            return Some(no.clone());
        }
        let masked = matches!(self.entry(condition)?.base, Base::Input)
            && condition.layout.rank() <= no.layout.rank();
        masked.then(|| {
            self.pass_over(yes);
            no.clone()
        })
    }
}
