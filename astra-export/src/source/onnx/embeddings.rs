//! The embeddings: the projection of patches, the class token, the table of positions. They meet in
//! `Concat(class token, patches) + table`, where the table may be resized in the graph.

use super::Image;
use super::graph::layout::Layout;
use super::graph::{Graph, Step, Value};
use super::{Mismatch, attribute, expect_ints, expect_text};
use crate::family::weights::Linear;
use crate::position::{PositionTable, Resizing};

const TABLE: &str = "a constant table of positions, whole or resized";

pub(super) struct Embeddings {
    pub(super) projection: Linear,
    /// Pixels a side of a patch.
    pub(super) patch: usize,
    /// Its position added.
    pub(super) class_token: Vec<f32>,
    pub(super) positions: PositionTable,
}

pub(super) fn read(
    graph: &Graph<'_>,
    image: &Image<'_>,
    x: &Value,
) -> Result<Embeddings, Mismatch> {
    let sum = graph.whole_step_of(x, "Add");
    // Models without a position of the class token add before they join.
    let (tokens, table) = match sum {
        Some(sum) => tokens_and_table(graph, sum, x)?,
        None => (x.clone(), None),
    };
    let joined = graph.whole_step_of(&tokens, "Concat").ok_or_else(|| {
        graph.refuse(&tokens, "Concat of class token and patches, plus positions")
    })?;
    let [Some(class), Some(patches)] = joined.inputs.as_slice() else {
        return Err(register_tokens(graph, joined));
    };
    let (patches, table) = match (table, graph.whole_step_of(patches, "Add")) {
        (Some(table), _) => (patches.clone(), (Some(table), None)),
        (None, Some(sum)) => {
            let (patches, table) = patches_and_table(graph, sum)?;
            (patches, (None, Some(table)))
        }
        (None, None) => return Err(graph.refuse(patches, "positions added")),
    };
    let (projection, patch, side) = read_projection(graph, image, &patches)?;
    let grid = Grid {
        hidden: projection.outputs,
        side,
    };
    let expected = [image.batch, 1 + side * side, grid.hidden];
    if graph.dims_of_base(&tokens) != expected {
        return Err(graph.refuse(
            &tokens,
            format!("{expected:?}: a class token and the patches"),
        ));
    }
    let mut class_token = grid.class_row(graph, class)?;
    let positions = match table {
        (Some(table), _) => {
            let (position, positions) = grid.with_class(graph, &table)?;
            for (token, position) in class_token.iter_mut().zip(position) {
                *token += position;
            }
            positions
        }
        (None, Some(table)) => grid.table(graph, &table)?,
        (None, None) => return Err(graph.refuse(&tokens, TABLE)),
    };
    Ok(Embeddings {
        projection,
        patch,
        class_token,
        positions,
    })
}

fn tokens_and_table(
    graph: &Graph<'_>,
    sum: &Step<'_>,
    x: &Value,
) -> Result<(Value, Option<Value>), Mismatch> {
    let (a, b) = (sum.input(0)?, sum.input(1)?);
    let computed = |value: &Value| holds_image(graph, value);
    match (computed(a), computed(b)) {
        (true, false) => Ok((a.clone(), Some(b.clone()))),
        (false, true) => Ok((b.clone(), Some(a.clone()))),
        _ => Err(graph.refuse(x, "Concat of class token and patches, plus positions")),
    }
}

fn patches_and_table(graph: &Graph<'_>, sum: &Step<'_>) -> Result<(Value, Value), Mismatch> {
    let (a, b) = (sum.input(0)?, sum.input(1)?);
    match (holds_image(graph, a), holds_image(graph, b)) {
        (true, false) => Ok((a.clone(), b.clone())),
        (false, true) => Ok((b.clone(), a.clone())),
        _ => Err(graph.refuse(a, "patches plus positions")),
    }
}

/// Whether patches of the image are part of `value`, which nothing but a table of positions is added to.
fn holds_image(graph: &Graph<'_>, value: &Value) -> bool {
    // Patches, plus positions, joined, plus positions.
    const DEPTH: usize = 4;
    fn within(graph: &Graph<'_>, value: &Value, depth: usize) -> bool {
        let (Some(step), Some(depth)) = (graph.step(value), depth.checked_sub(1)) else {
            return false;
        };
        match step.node.op_type.as_str() {
            "Conv" => true,
            "Concat" | "Add" => step
                .inputs
                .iter()
                .flatten()
                .any(|input| within(graph, input, depth)),
            _ => false,
        }
    }
    within(graph, value, DEPTH)
}

/// What else is joined to class token and patches.
fn register_tokens(graph: &Graph<'_>, joined: &Step<'_>) -> Mismatch {
    let expected = "a class token and the patches (register tokens are not supported)";
    let constants = joined
        .inputs
        .iter()
        .flatten()
        .filter(|input| graph.is_constant(input));
    match constants.last() {
        Some(constant) => graph.refuse(constant, expected),
        None => Mismatch::new(
            &joined.node.name,
            format!("{} parts", joined.inputs.len()),
            expected,
        ),
    }
}

/// The projection, whose weights `[D, 3, p, p]` become rows of `3 p p` inputs, p, and the patches a side.
fn read_projection(
    graph: &Graph<'_>,
    image: &Image<'_>,
    patches: &Value,
) -> Result<(Linear, usize, usize), Mismatch> {
    let conv = graph.step_of(patches, "Conv");
    let conv = conv.ok_or_else(|| graph.refuse(patches, "Conv of patches of the image"))?;
    let input = conv.input(0)?;
    if !graph.is_input(input, image.name) {
        return Err(graph.refuse(
            input,
            "the image itself (normalization inside the graph is not supported)",
        ));
    }
    let weight = graph.weights(conv.input(1)?)?;
    let [hidden, _, patch, _] = weight.sides("[hidden, 3, patch, patch]")?;
    let weight = weight.into_values(&[hidden, 3, patch, patch])?;
    let step = i64::try_from(patch).unwrap_or(i64::MAX);
    expect_ints(conv.node, "strides", &[1, 1], &[step, step])?;
    expect_ints(conv.node, "pads", &[0; 4], &[0; 4])?;
    expect_ints(conv.node, "dilations", &[1, 1], &[1, 1])?;
    let bias = match conv.inputs.get(2).and_then(Option::as_ref) {
        Some(bias) => graph.weights(bias)?.into_values(&[hidden])?,
        None => vec![0.0; hidden],
    };
    let side = image.size.checked_div(patch).unwrap_or(0);
    if side * patch != image.size {
        let found = format!("{} pixels a side", image.size);
        return Err(Mismatch::new(
            image.name,
            found,
            format!("a multiple of {patch}"),
        ));
    }
    let tokens = side * side;
    let arranged = Layout::strided(
        0,
        &[
            (image.batch, hidden * tokens),
            (tokens, 1),
            (hidden, tokens),
        ],
    );
    if !patches.layout.same_elements(&arranged) {
        return Err(graph.refuse(patches, "patches row by row"));
    }
    let projection = Linear::from_transposed(3 * patch * patch, hidden, &weight, bias);
    Ok((projection, patch, side))
}

/// What tokens there are.
struct Grid {
    hidden: usize,
    side: usize,
}

impl Grid {
    fn patches(&self) -> usize {
        self.side * self.side
    }

    /// A constant of D channels, the same for every image.
    fn class_row(&self, graph: &Graph<'_>, value: &Value) -> Result<Vec<f32>, Mismatch> {
        let dims = value.layout.dims();
        if !matches!(dims.as_slice(), [_, 1, hidden] if *hidden == self.hidden) {
            let expected = format!("a constant of dimensions [1, 1, {}]", self.hidden);
            return Err(graph.refuse(value, expected));
        }
        let mut values = graph.weights(value)?.into_values(&dims)?;
        let (first, rest) = values.split_at(self.hidden.min(values.len()));
        if rest.chunks(self.hidden).any(|row| row != first) {
            return Err(graph.refuse(value, "the same token for every image"));
        }
        values.truncate(self.hidden);
        Ok(values)
    }

    /// The position of the class token and those of the patches.
    fn with_class(
        &self,
        graph: &Graph<'_>,
        table: &Value,
    ) -> Result<(Vec<f32>, PositionTable), Mismatch> {
        if graph.is_constant(table) {
            let table_rows = graph.weights(table)?;
            let [_, rows, _] = table_rows.sides("[1, 1 + patches, hidden]")?;
            let mut class = table_rows.into_values(&[1, rows, self.hidden])?;
            let patches = class.split_off(self.hidden.min(class.len()));
            return Ok((class, self.fixed(graph, table, patches)?));
        }
        let joined = graph
            .whole_step_of(table, "Concat")
            .ok_or_else(|| graph.refuse(table, TABLE))?;
        let [Some(class), Some(patches)] = joined.inputs.as_slice() else {
            return Err(graph.refuse(table, TABLE));
        };
        Ok((self.class_row(graph, class)?, self.table(graph, patches)?))
    }

    /// The positions of the patches.
    fn table(&self, graph: &Graph<'_>, table: &Value) -> Result<PositionTable, Mismatch> {
        if graph.is_constant(table) {
            let rows = self.patches();
            let values = graph.weights(table)?.into_values(&[1, rows, self.hidden])?;
            return self.fixed(graph, table, values);
        }
        let resize = graph
            .step_of(table, "Resize")
            .ok_or_else(|| graph.refuse(table, TABLE))?;
        let arranged = [(1, 0), (self.patches(), 1), (self.hidden, self.patches())];
        let tokens = [1, self.patches(), self.hidden];
        if !table.layout.same_elements(&Layout::strided(0, &arranged))
            || table.layout.dims() != tokens
        {
            return Err(graph.refuse(table, "positions row by row"));
        }
        self.resized(graph, table, resize)
    }

    /// A table that no node resizes: whether it was resized before it was exported cannot be seen.
    fn fixed(
        &self,
        graph: &Graph<'_>,
        table: &Value,
        values: Vec<f32>,
    ) -> Result<PositionTable, Mismatch> {
        let rows = values.len() / self.hidden.max(1);
        let positions = PositionTable::new(values, self.hidden)
            .filter(|positions| positions.side() == self.side);
        let positions = positions.ok_or_else(|| {
            let found = format!("{rows} positions of patches");
            Mismatch::new(graph.name_of(table), found, self.patches())
        })?;
        Ok(positions.with_resizing(Resizing::None))
    }

    /// The table that goes into a Resize, if that resizes as [`PositionTable`] does.
    fn resized(
        &self,
        graph: &Graph<'_>,
        table: &Value,
        resize: &Step<'_>,
    ) -> Result<PositionTable, Mismatch> {
        let node = resize.node;
        expect_text(node, "mode", "cubic")?;
        expect_text(node, "coordinate_transformation_mode", "half_pixel")?;
        // -0.75 is ONNX's default too.
        let sharpness = attribute(node, "cubic_coeff_a")
            .and_then(|value| value.f)
            .unwrap_or(-0.75);
        let int = |name| attribute(node, name).and_then(|value| value.i).unwrap_or(0);
        let (antialias, outside) = (int("antialias"), int("exclude_outside"));
        if (sharpness, antialias, outside) != (-0.75, 0, 0) {
            let found = format!(
                "cubic_coeff_a {sharpness}, antialias {antialias}, exclude_outside {outside}"
            );
            return Err(Mismatch::new(&node.name, found, "-0.75, 0 and 0"));
        }
        let image = resize.input(0)?;
        let weights = graph.weights(image)?;
        let [_, _, old, _] = weights.sides("[1, hidden, side, side]")?;
        let offset = self.offset(graph, resize, image, old)?;
        let values = weights.into_values(&[1, self.hidden, old, old])?;
        let rows =
            (0..old * old).flat_map(|row| values.iter().skip(row).step_by(old * old).copied());
        let positions = PositionTable::new(rows.collect(), self.hidden);
        let positions =
            positions.ok_or_else(|| graph.refuse(table, "a square table of positions"))?;
        Ok(positions.with_resizing(Resizing::Offset(offset)))
    }

    /// How much more than the sides of the new grid the factors of a Resize stand for: nothing, or the 0.1 of DINOv2's own
    /// code (`interpolate_offset`).
    fn offset(
        &self,
        graph: &Graph<'_>,
        resize: &Step<'_>,
        image: &Value,
        old: usize,
    ) -> Result<f64, Mismatch> {
        let to = [1, self.hidden, self.side, self.side];
        let factors = graph.resize_factors(&resize.inputs, &image.layout.dims(), &to);
        let [_, _, down, across] = factors.as_slice() else {
            return Err(Mismatch::new(
                &resize.node.name,
                format!("factors {factors:?}"),
                "four",
            ));
        };
        let offset = |factor: &f32| f64::from(*factor) * old as f64 - self.side as f64;
        let fits = |factor: &f32, known: f64| {
            // Of a factor in single precision; one that has no more digits than a half was perhaps rounded to one.
            let half = factor.to_bits() & 0x1fff == 0;
            let error = if half { 5e-4 } else { 1e-6 };
            let room = (error * (self.side as f64 + 1.0)).min(0.04);
            (offset(factor) - known).abs() < room
        };
        let known = [0.0, 0.1]
            .into_iter()
            .find(|&known| fits(down, known) && fits(across, known));
        for factors in resize.inputs.iter().skip(1).flatten() {
            graph.pass_over(factors);
        }
        known.ok_or_else(|| {
            let found = format!(
                "factors {down} and {across} from {old} to {} a side",
                self.side
            );
            Mismatch::new(
                &resize.node.name,
                found,
                "the ratio of the sides, or that with 0.1 added to the new side",
            )
        })
    }
}
