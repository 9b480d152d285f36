//! The saliency decoder as part of a graph: whole, or rows of patches at a time.

use astra_bundle::{BundleError, BundleWriter, HeadRows, TensorRef};

use super::model::Saliency;
use super::sub_pixel::StoredStage;
use crate::graph::{Attribute, Dim, Element, GraphBuilder, Value, as_i64};

#[derive(Debug)]
pub(super) struct StoredSaliency {
    stages: Vec<StoredStage>,
    /// To one score for each pixel that a place of the last stage stands for: `[scores, channels, 1, 1]`, `[scores]`.
    last_weight: TensorRef,
    last_bias: TensorRef,
    /// Channels of the features.
    channels: usize,
    /// Side of the map: that of the input image.
    size: usize,
}

impl StoredSaliency {
    pub(super) fn store(
        writer: &mut BundleWriter,
        saliency: &Saliency,
        size: usize,
    ) -> Result<Self, BundleError> {
        let stages = saliency.stages.iter();
        let stages = stages.map(|stage| StoredStage::store(writer, stage));
        let stages = stages.collect::<Result<Vec<_>, _>>()?;
        let (last, first) = (&saliency.last, saliency.stages.first());
        let pixels = stages.last().map_or(1, StoredStage::pixels);
        let weight = last_weight(&last.weight, pixels);
        Ok(Self {
            stages,
            last_weight: writer.weights(&weight, &[pixels, pixels * last.inputs, 1, 1])?,
            last_bias: writer.weights(&last.bias.repeat(pixels), &[pixels])?,
            channels: first.map_or(last.inputs, |stage| stage.inputs),
            size,
        })
    }

    /// Adds the map of all `patches`, `[side * side, D]`.
    pub(super) fn add(&self, graph: &mut GraphBuilder, patches: &Value, side: usize) {
        let mut image = self.image(graph, patches, side);
        let mut image_side = side;
        for (number, stage) in self.stages.iter().enumerate() {
            image = stage.add(graph, &image, number);
            image = self.scores_behind(graph, image, number);
            image = stage.widen(graph, &image);
            image_side = stage.side(image_side);
        }
        if self.stages.is_empty() {
            image = self.scores(graph, &image);
        }
        self.finish(graph, image, image_side);
    }

    /// Patches, `[r, D]`, as `[1, D, r / side, side]`.
    fn image(&self, graph: &mut GraphBuilder, patches: &Value, side: usize) -> Value {
        let columns = [("perm", Attribute::Ints(&[1, 0]))];
        let planes = graph.apply("Transpose", &[patches], &columns);
        let dims = graph.ints(&[1, as_i64(self.channels), -1, as_i64(side)]);
        graph.apply("Reshape", &[&planes, &dims], &[])
    }

    /// The scores after the last stage, before its pixels are put in their places: there they are one channel instead of many.
    fn scores_behind(&self, graph: &mut GraphBuilder, image: Value, stage: usize) -> Value {
        match stage + 1 == self.stages.len() {
            true => self.scores(graph, &image),
            false => image,
        }
    }

    fn scores(&self, graph: &mut GraphBuilder, image: &Value) -> Value {
        let weight = graph.stored("last.weight", &self.last_weight);
        let bias = graph.stored("last.bias", &self.last_bias);
        graph.apply("Conv", &[image, &weight, &bias], &[])
    }

    /// Scores, `[1, 1, side, side]`, to the map.
    fn finish(&self, graph: &mut GraphBuilder, mut scores: Value, side: usize) {
        if side != self.size {
            scores = self.resize(graph, &scores);
        }
        let map = graph.apply("Sigmoid", &[&scores], &[]);
        let map = graph.reshape(&map, &[self.size, self.size]);
        let dims = [Dim::Fixed(self.size), Dim::Fixed(self.size)];
        graph.output(&map, "map", Element::F32, &dims);
    }

    /// Rows that each stage needs before and after its own, then none after the last. `None` if a stage does not widen by a whole
    /// factor: its rows then do not belong to rows of patches.
    fn halos(&self) -> Option<Vec<usize>> {
        let mut halos = vec![0];
        for stage in self.stages.iter().rev() {
            halos.push(stage.halo(halos.last().copied().unwrap_or(0))?);
        }
        halos.reverse();
        Some(halos)
    }

    /// How the decoder can be divided among members.
    pub(super) fn rows(&self) -> Option<HeadRows> {
        let halo = self.halos()?.first().copied().unwrap_or(0);
        let scale = self.stages.iter().map(StoredStage::stride).product();
        Some(HeadRows { halo, scale })
    }

    /// Adds the scores of whole rows of `patches`, `[r, D]`, and the inputs that say which halos there are.
    pub(super) fn add_rows(&self, graph: &mut GraphBuilder, patches: &Value, side: usize) {
        let one = [Dim::Fixed(1)];
        let halos = ["above", "below"].map(|name| graph.input(name, Element::I64, &one));
        let needed = self.halos().unwrap_or_default();
        let mut image = self.image(graph, patches, side);
        let mut columns = side;
        for (number, (stage, needed)) in self.stages.iter().zip(needed.windows(2)).enumerate() {
            let rows = stage.rows(needed, halos.each_ref());
            image = stage.add_rows(graph, &image, number, &rows);
            image = self.scores_behind(graph, image, number);
            image = stage.widen_rows(graph, &image, &rows);
            columns = stage.side(columns);
        }
        if self.stages.is_empty() {
            image = self.scores(graph, &image);
        }
        let dims = graph.ints(&[-1, as_i64(columns)]);
        let scores = graph.apply("Reshape", &[&image, &dims], &[]);
        let dims = [Dim::Named("s"), Dim::Fixed(columns)];
        graph.output(&scores, "scores", Element::F32, &dims);
    }

    /// Adds the scores of all rows as an input, and the map they make.
    pub(super) fn add_finish(&self, graph: &mut GraphBuilder, side: usize) {
        let stages = self.stages.iter();
        let side = stages.fold(side, |side, stage| stage.side(side));
        let scores = graph.input(
            "scores",
            Element::F32,
            &[Dim::Fixed(side), Dim::Fixed(side)],
        );
        let scores = graph.reshape(&scores, &[1, 1, side, side]);
        self.finish(graph, scores, side);
    }

    fn resize(&self, graph: &mut GraphBuilder, image: &Value) -> Value {
        let side = as_i64(self.size);
        let sizes = graph.ints(&[1, 1, side, side]);
        let attributes = [
            ("mode", Attribute::Text("linear")),
            (
                "coordinate_transformation_mode",
                Attribute::Text("half_pixel"),
            ),
        ];
        let none = Value::none();
        graph.apply("Resize", &[image, &none, &none, &sizes], &attributes)
    }
}

/// The 1x1 convolution `[channels]` for each of the `pixels` that a place stands for, `[pixels, channels * pixels]`: channel c of pixel
/// i is channel c * pixels + i there.
fn last_weight(weight: &[f32], pixels: usize) -> Vec<f32> {
    let row = |pixel: usize| {
        let channels = weight.iter();
        channels.flat_map(move |&value| {
            (0..pixels).map(move |at| if at == pixel { value } else { 0.0 })
        })
    };
    (0..pixels).flat_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pixel_has_a_score_of_its_own_channels() {
        assert_eq!(last_weight(&[3.0, 5.0], 1), [3.0, 5.0]);
        assert_eq!(
            last_weight(&[3.0, 5.0], 2),
            [3.0, 0.0, 5.0, 0.0, 0.0, 3.0, 0.0, 5.0]
        );
    }
}
