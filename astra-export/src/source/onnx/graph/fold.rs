//! Nodes that compute with constants alone: what exporters write to find out dimensions, factors and masks.

use super::evaluate::Inputs;
use super::views::{int, resolved};
use super::{Graph, Numbers, Value, element_count};
use crate::graph::proto::{NodeProto, data_type};
use crate::source::onnx::attribute;

/// Most numbers that are computed at once.
const MOST: usize = 1 << 26;

type Folded = (Vec<usize>, Numbers);

impl<'a> Graph<'a> {
    /// Dimensions and numbers of what `node` makes; `None` if it is not known.
    pub(super) fn fold(&self, node: &NodeProto, inputs: &Inputs) -> Option<Folded> {
        let input = |number: usize| inputs.get(number).and_then(Option::as_ref);
        match node.op_type.as_str() {
            "Reshape" => {
                // The elements are not in order: copied, they are.
                let copied = Value {
                    layout: super::Layout::whole(&input(0)?.layout.dims()),
                    ..input(0)?.clone()
                };
                let dims = self
                    .view(node, &[Some(copied), input(1).cloned()])?
                    .first()?
                    .layout
                    .dims();
                Some((dims, self.known(input(0)?)?))
            }
            "Cast" | "CastLike" => self.cast(input(0)?, self.cast_to(node, inputs)?),
            "Concat" => self.concat(node, inputs),
            "Gather" => self.gathered(node, input(0)?, input(1)?),
            "ConstantOfShape" => self.filled(node, input(0)?),
            "Range" => self.range(input(0)?, input(1)?, input(2)?),
            "ReduceProd" => {
                let Numbers::Ints(values) = self.known(input(0)?)? else {
                    return None;
                };
                let product = values
                    .iter()
                    .try_fold(1i64, |n, &value| n.checked_mul(value))?;
                let keep = int(node, "keepdims") != Some(0);
                let rank = input(0)?.layout.rank();
                (rank == 1).then(|| (vec![1; usize::from(keep)], Numbers::Ints(vec![product])))
            }
            "Where" => self.select(input(0)?, input(1)?, input(2)?),
            _ if inputs.len() == 1 => self.unary(node, input(0)?),
            _ if inputs.len() == 2 => self.binary(node, input(0)?, input(1)?),
            _ => None,
        }
    }

    /// What `Shape` or `Size` make of a value that need not be a constant.
    pub(super) fn fold_dims(&self, node: &NodeProto, value: &Value) -> Option<Folded> {
        let dims = value.layout.dims();
        let all: Vec<i64> = dims
            .iter()
            .map(|&dim| i64::try_from(dim).ok())
            .collect::<Option<_>>()?;
        if node.op_type == "Size" {
            return Some((vec![], Numbers::Ints(vec![all.iter().product()])));
        }
        let rank = i64::try_from(all.len()).ok()?;
        let bound = |name, default| {
            let place = int(node, name).unwrap_or(default);
            let place = if place < 0 {
                place.saturating_add(rank)
            } else {
                place
            };
            usize::try_from(place.clamp(0, rank)).ok()
        };
        let part = all.get(bound("start", 0)?..bound("end", rank)?)?.to_vec();
        Some((vec![part.len()], Numbers::Ints(part)))
    }

    fn known(&self, value: &Value) -> Option<Numbers> {
        self.numbers(value).ok()?
    }

    fn cast(&self, value: &Value, to: i32) -> Option<Folded> {
        let numbers = match (self.known(value)?, to) {
            (Numbers::Floats(values), data_type::FLOAT) => Numbers::Floats(values),
            (Numbers::Ints(values), data_type::FLOAT) => {
                Numbers::Floats(values.iter().map(|&value| value as f32).collect())
            }
            (Numbers::Ints(values), data_type::INT32 | data_type::INT64) => Numbers::Ints(values),
            (Numbers::Ints(values), data_type::BOOL) => {
                Numbers::Ints(values.iter().map(|&value| i64::from(value != 0)).collect())
            }
            // Towards zero, as ONNX has it.
            (Numbers::Floats(values), data_type::INT32 | data_type::INT64) => {
                Numbers::Ints(values.iter().map(|&value| value as i64).collect())
            }
            _ => return None,
        };
        Some((value.layout.dims(), numbers))
    }

    fn concat(&self, node: &NodeProto, inputs: &Inputs) -> Option<Folded> {
        let parts = inputs
            .iter()
            .map(Option::as_ref)
            .collect::<Option<Vec<_>>>()?;
        let all: Vec<_> = parts.iter().map(|part| part.layout.dims()).collect();
        let first = all.first()?;
        let axis = *resolved(&[int(node, "axis")?], first.len())?.first()?;
        let mut dims = first.clone();
        *dims.get_mut(axis)? = all
            .iter()
            .map(|dims| dims.get(axis).copied())
            .sum::<Option<usize>>()?;
        let fits = |own: &Vec<usize>| {
            own.len() == dims.len()
                && own
                    .iter()
                    .zip(&dims)
                    .enumerate()
                    .all(|(i, (a, b))| i == axis || a == b)
        };
        if !all.iter().all(fits) || element_count(&dims)? > MOST {
            return None;
        }
        let outer: usize = dims.iter().take(axis).product();
        let numbers = parts
            .iter()
            .map(|part| self.known(part))
            .collect::<Option<Vec<_>>>()?;
        let joined = match numbers.first()? {
            Numbers::Ints(_) => {
                Numbers::Ints(interleave(&numbers, outer, |numbers| match numbers {
                    Numbers::Ints(values) => Some(values),
                    Numbers::Floats(_) => None,
                })?)
            }
            Numbers::Floats(_) => {
                Numbers::Floats(interleave(&numbers, outer, |numbers| match numbers {
                    Numbers::Floats(values) => Some(values),
                    Numbers::Ints(_) => None,
                })?)
            }
        };
        Some((dims, joined))
    }

    /// Any elements of a list.
    fn gathered(&self, node: &NodeProto, value: &Value, indices: &Value) -> Option<Folded> {
        if value.layout.rank() != 1 || int(node, "axis").unwrap_or(0) != 0 {
            return None;
        }
        let places = resolved(&self.ints(indices)?, value.layout.count())?;
        let numbers = match self.known(value)? {
            Numbers::Ints(values) => Numbers::Ints(
                places
                    .iter()
                    .map(|&i| values.get(i).copied())
                    .collect::<Option<_>>()?,
            ),
            Numbers::Floats(values) => Numbers::Floats(
                places
                    .iter()
                    .map(|&i| values.get(i).copied())
                    .collect::<Option<_>>()?,
            ),
        };
        Some((indices.layout.dims(), numbers))
    }

    fn filled(&self, node: &NodeProto, dims: &Value) -> Option<Folded> {
        let dims = self
            .ints(dims)?
            .iter()
            .map(|&dim| usize::try_from(dim).ok())
            .collect::<Option<Vec<_>>>()?;
        let count = element_count(&dims).filter(|&count| count <= MOST)?;
        let value = attribute(node, "value").and_then(|value| value.t.as_ref());
        let Some(tensor) = value else {
            return Some((dims, Numbers::Floats(vec![0.0; count])));
        };
        let numbers = match super::constant::decode("", tensor).ok()? {
            Numbers::Ints(values) => Numbers::Ints(vec![*values.first()?; count]),
            Numbers::Floats(values) => Numbers::Floats(vec![*values.first()?; count]),
        };
        Some((dims, numbers))
    }

    fn range(&self, start: &Value, limit: &Value, step: &Value) -> Option<Folded> {
        let one = |value| self.ints(value)?.first().copied();
        let (start, limit, step) = (one(start)?, one(limit)?, usize::try_from(one(step)?).ok()?);
        let values: Vec<i64> = (start..limit).step_by(step.max(1)).take(MOST).collect();
        Some((vec![values.len()], Numbers::Ints(values)))
    }

    fn select(&self, condition: &Value, yes: &Value, no: &Value) -> Option<Folded> {
        let dims = broadcast(
            &condition.layout.dims(),
            &broadcast(&yes.layout.dims(), &no.layout.dims())?,
        )?;
        let spread = |value: &Value| {
            let layout = value.layout.expanded(&dims)?;
            self.known(&Value {
                layout,
                ..value.clone()
            })
        };
        let Numbers::Ints(condition) = spread(condition)? else {
            return None;
        };
        let numbers = match (spread(yes)?, spread(no)?) {
            (Numbers::Ints(yes), Numbers::Ints(no)) => Numbers::Ints(choose(&condition, &yes, &no)),
            (Numbers::Floats(yes), Numbers::Floats(no)) => {
                Numbers::Floats(choose(&condition, &yes, &no))
            }
            _ => return None,
        };
        Some((dims, numbers))
    }

    fn unary(&self, node: &NodeProto, value: &Value) -> Option<Folded> {
        let numbers = match (self.known(value)?, node.op_type.as_str()) {
            (Numbers::Floats(values), operator) => {
                let apply: fn(f32) -> f32 = match operator {
                    "Sqrt" => f32::sqrt,
                    "Reciprocal" => f32::recip,
                    "Neg" => |v| -v,
                    "Abs" => f32::abs,
                    "Floor" => f32::floor,
                    "Ceil" => f32::ceil,
                    "Exp" => f32::exp,
                    _ => return None,
                };
                Numbers::Floats(values.into_iter().map(apply).collect())
            }
            (Numbers::Ints(values), "Not") => {
                Numbers::Ints(values.iter().map(|&v| i64::from(v == 0)).collect())
            }
            (Numbers::Ints(values), "Neg") => {
                Numbers::Ints(values.iter().map(|&v| v.wrapping_neg()).collect())
            }
            (Numbers::Ints(values), "Abs") => {
                Numbers::Ints(values.iter().map(|&v| v.wrapping_abs()).collect())
            }
            _ => return None,
        };
        Some((value.layout.dims(), numbers))
    }

    fn binary(&self, node: &NodeProto, a: &Value, b: &Value) -> Option<Folded> {
        let dims = broadcast(&a.layout.dims(), &b.layout.dims())?;
        element_count(&dims).filter(|&count| count <= MOST)?;
        let spread = |value: &Value| {
            let layout = value.layout.expanded(&dims)?;
            self.known(&Value {
                layout,
                ..value.clone()
            })
        };
        let operator = node.op_type.as_str();
        let numbers = match (spread(a)?, spread(b)?) {
            (Numbers::Ints(a), Numbers::Ints(b)) => {
                let pairs = a.iter().zip(&b).map(|(&a, &b)| of_ints(operator, a, b));
                Numbers::Ints(pairs.collect::<Option<_>>()?)
            }
            (Numbers::Floats(a), Numbers::Floats(b)) => of_floats(operator, &a, &b)?,
            // Pow alone takes two types; the result has the first.
            (Numbers::Floats(a), Numbers::Ints(b)) if operator == "Pow" => {
                Numbers::Floats(a.iter().zip(&b).map(|(&a, &b)| a.powf(b as f32)).collect())
            }
            _ => return None,
        };
        Some((dims, numbers))
    }
}

fn interleave<T: Copy>(
    numbers: &[Numbers],
    outer: usize,
    values: impl Fn(&Numbers) -> Option<&Vec<T>>,
) -> Option<Vec<T>> {
    let parts = numbers.iter().map(values).collect::<Option<Vec<_>>>()?;
    let mut joined = Vec::new();
    for row in 0..outer {
        for part in &parts {
            let width = part.len().checked_div(outer)?;
            joined.extend_from_slice(part.get(row * width..(row + 1) * width)?);
        }
    }
    Some(joined)
}

fn choose<T: Copy>(condition: &[i64], yes: &[T], no: &[T]) -> Vec<T> {
    let choices = condition.iter().zip(yes.iter().zip(no));
    choices
        .map(|(&condition, (&yes, &no))| if condition != 0 { yes } else { no })
        .collect()
}

fn of_ints(operator: &str, a: i64, b: i64) -> Option<i64> {
    match operator {
        "Add" => a.checked_add(b),
        "Sub" => a.checked_sub(b),
        "Mul" => a.checked_mul(b),
        "Div" => a.checked_div(b),
        "Mod" => a.checked_rem_euclid(b),
        "Pow" => a.checked_pow(u32::try_from(b).ok()?),
        "Min" => Some(a.min(b)),
        "Max" => Some(a.max(b)),
        "Equal" => Some(i64::from(a == b)),
        "Greater" => Some(i64::from(a > b)),
        "GreaterOrEqual" => Some(i64::from(a >= b)),
        "Less" => Some(i64::from(a < b)),
        "LessOrEqual" => Some(i64::from(a <= b)),
        "And" => Some(i64::from(a != 0 && b != 0)),
        "Or" => Some(i64::from(a != 0 || b != 0)),
        _ => None,
    }
}

fn of_floats(operator: &str, a: &[f32], b: &[f32]) -> Option<Numbers> {
    let pairs = || a.iter().copied().zip(b.iter().copied());
    let floats =
        |apply: fn(f32, f32) -> f32| Numbers::Floats(pairs().map(|(a, b)| apply(a, b)).collect());
    let truths = |apply: fn(f32, f32) -> bool| {
        Numbers::Ints(pairs().map(|(a, b)| i64::from(apply(a, b))).collect())
    };
    Some(match operator {
        "Add" => floats(|a, b| a + b),
        "Sub" => floats(|a, b| a - b),
        "Mul" => floats(|a, b| a * b),
        "Div" => floats(|a, b| a / b),
        "Pow" => floats(f32::powf),
        "Min" => floats(f32::min),
        "Max" => floats(f32::max),
        "Equal" => truths(|a, b| a == b),
        "Greater" => truths(|a, b| a > b),
        "GreaterOrEqual" => truths(|a, b| a >= b),
        "Less" => truths(|a, b| a < b),
        "LessOrEqual" => truths(|a, b| a <= b),
        _ => return None,
    })
}

/// The dimensions of two values that are broadcast to each other, as numpy does.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let dim = |dims: &[usize], axis: usize| match (axis + dims.len()).checked_sub(rank) {
        Some(axis) => dims.get(axis).copied().unwrap_or(1),
        None => 1,
    };
    (0..rank)
        .map(|axis| match (dim(a, axis), dim(b, axis)) {
            (a, b) if a == b => Some(a),
            (1, b) => Some(b),
            (a, 1) => Some(a),
            _ => None,
        })
        .collect()
}
