//! What is made of the features, as part of a graph.

use astra_bundle::{BundleError, BundleWriter, HeadRows, Task, TensorRef};

use super::model::{Classifier, Head, Pooling, Saliency, UpConvolution};
use crate::family::stored::store_linear;
use crate::graph::{Attribute, Dim, Element, GraphBuilder, StoredLinear, Value, as_i64};

#[derive(Debug)]
pub(super) enum StoredHead {
    Features,
    Saliency(StoredSaliency),
    Classification {
        pooling: Pooling,
        linear: StoredLinear,
        labels: Option<Vec<String>>,
    },
}

#[derive(Debug)]
pub(super) struct StoredSaliency {
    stages: Vec<StoredStage>,
    last_weight: TensorRef,
    last_bias: TensorRef,
    /// Side of the map: that of the input image.
    size: usize,
}

#[derive(Debug)]
struct StoredStage {
    weight: TensorRef,
    bias: TensorRef,
    /// The whole of it but the values.
    form: UpConvolution,
}

impl StoredHead {
    pub(super) fn store(
        writer: &mut BundleWriter,
        head: &Head,
        size: usize,
    ) -> Result<Self, BundleError> {
        Ok(match head {
            Head::Features => Self::Features,
            Head::Saliency(saliency) => {
                Self::Saliency(StoredSaliency::store(writer, saliency, size)?)
            }
            Head::Classification(Classifier {
                pooling,
                linear,
                labels,
            }) => Self::Classification {
                pooling: *pooling,
                linear: store_linear(writer, linear)?,
                labels: labels.clone(),
            },
        })
    }

    pub(super) fn task(&self) -> Task {
        match self {
            Self::Features => Task::Features,
            Self::Saliency(_) => Task::Saliency,
            Self::Classification { labels, .. } => Task::Classification {
                labels: labels.clone(),
            },
        }
    }

    /// How the head can be divided among members.
    pub(super) fn rows(&self) -> Option<HeadRows> {
        match self {
            Self::Saliency(saliency) => saliency.rows(),
            Self::Features | Self::Classification { .. } => None,
        }
    }

    /// Adds scores of whole rows of `patches`, `[r, D]`, and the inputs that say which halos there are.
    pub(super) fn add_rows(&self, graph: &mut GraphBuilder, patches: &Value, side: usize) {
        if let Self::Saliency(saliency) = self {
            saliency.add_rows(graph, patches, side);
        }
    }

    /// Adds the scores of all rows as an input, and the map they make.
    pub(super) fn add_finish(&self, graph: &mut GraphBuilder, side: usize) {
        if let Self::Saliency(saliency) = self {
            saliency.add_finish(graph, side);
        }
    }

    /// Adds the head's nodes and its output. `cls` is `[1, D]`, `patches` `[side * side, D]`.
    pub(super) fn add(&self, graph: &mut GraphBuilder, cls: &Value, patches: &Value, side: usize) {
        match self {
            Self::Features => {}
            Self::Saliency(saliency) => saliency.add(graph, patches, side),
            Self::Classification {
                pooling, linear, ..
            } => add_classifier(graph, cls, patches, *pooling, linear),
        }
    }
}

impl StoredSaliency {
    fn store(
        writer: &mut BundleWriter,
        saliency: &Saliency,
        size: usize,
    ) -> Result<Self, BundleError> {
        let mut stages = Vec::new();
        for stage in &saliency.stages {
            let dims = [stage.inputs, stage.outputs, stage.kernel, stage.kernel];
            stages.push(StoredStage {
                weight: writer.weights(&stage.weight, &dims)?,
                bias: writer.weights(&stage.bias, &[stage.outputs])?,
                form: UpConvolution {
                    weight: Vec::new(),
                    bias: Vec::new(),
                    ..*stage
                },
            });
        }
        let last = &saliency.last;
        Ok(Self {
            stages,
            last_weight: writer.weights(&last.weight, &[1, last.inputs, 1, 1])?,
            last_bias: writer.weights(&last.bias, &[1])?,
            size,
        })
    }

    fn add(&self, graph: &mut GraphBuilder, patches: &Value, side: usize) {
        let mut image = self.image(graph, patches, side);
        let mut image_side = side;
        for (number, stage) in self.stages.iter().enumerate() {
            image = stage.add(graph, &image, number);
            image_side = stage.form.side(image_side);
        }
        let scores = self.scores(graph, &image);
        self.finish(graph, scores, image_side);
    }

    /// Patches, `[r, D]`, as `[1, D, r / side, side]`.
    fn image(&self, graph: &mut GraphBuilder, patches: &Value, side: usize) -> Value {
        let channels = self.stages.first().map(|stage| stage.form.inputs);
        let channels = channels.or(self.last_weight.shape.get(1).copied());
        let columns = [("perm", Attribute::Ints(&[1, 0]))];
        let planes = graph.apply("Transpose", &[patches], &columns);
        let dims = graph.ints(&[1, as_i64(channels.unwrap_or(0)), -1, as_i64(side)]);
        graph.apply("Reshape", &[&planes, &dims], &[])
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

    /// Rows of each stage's result to cut off on a side with a halo, and the rows of patches that halo has. `None` if a stage
    /// does not widen by a whole factor: its rows then do not belong to rows of patches.
    fn crops(&self) -> Option<(Vec<usize>, usize)> {
        let mut crops = Vec::new();
        let mut needed = 0;
        for stage in self.stages.iter().rev() {
            let (before, crop) = stage.form.halo(needed)?;
            crops.push(crop);
            needed = before;
        }
        crops.reverse();
        Some((crops, needed))
    }

    fn rows(&self) -> Option<HeadRows> {
        let (_, halo) = self.crops()?;
        let scale = self.stages.iter().map(|stage| stage.form.stride).product();
        Some(HeadRows { halo, scale })
    }

    fn add_rows(&self, graph: &mut GraphBuilder, patches: &Value, side: usize) {
        let one = [Dim::Fixed(1)];
        let halos = ["above", "below"].map(|name| graph.input(name, Element::I64, &one));
        let (crops, _) = self.crops().unwrap_or_default();
        let mut image = self.image(graph, patches, side);
        let mut columns = side;
        for (number, (stage, &crop)) in self.stages.iter().zip(&crops).enumerate() {
            image = stage.add(graph, &image, number);
            image = cut(graph, &image, halos.each_ref(), crop);
            columns = stage.form.side(columns);
        }
        let scores = self.scores(graph, &image);
        let dims = graph.ints(&[-1, as_i64(columns)]);
        let scores = graph.apply("Reshape", &[&scores, &dims], &[]);
        let dims = [Dim::Named("s"), Dim::Fixed(columns)];
        graph.output(&scores, "scores", Element::F32, &dims);
    }

    fn add_finish(&self, graph: &mut GraphBuilder, side: usize) {
        let stages = self.stages.iter();
        let side = stages.fold(side, |side, stage| stage.form.side(side));
        let scores = graph.input(
            "scores",
            Element::F32,
            &[Dim::Fixed(side), Dim::Fixed(side)],
        );
        let scores = graph.reshape(&scores, &[1, 1, side, side]);
        self.finish(graph, scores, side);
    }

    fn resize(&self, graph: &mut GraphBuilder, image: &Value) -> Value {
        let side = i64::try_from(self.size).unwrap_or(i64::MAX);
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

impl StoredStage {
    fn add(&self, graph: &mut GraphBuilder, image: &Value, number: usize) -> Value {
        let weight = graph.stored(&format!("stage_{number}.weight"), &self.weight);
        let bias = graph.stored(&format!("stage_{number}.bias"), &self.bias);
        let [kernel, stride, padding] = [self.form.kernel, self.form.stride, self.form.padding]
            .map(|size| i64::try_from(size).unwrap_or(i64::MAX));
        let attributes = [
            ("kernel_shape", Attribute::Ints(&[kernel, kernel])),
            ("strides", Attribute::Ints(&[stride, stride])),
            ("pads", Attribute::Ints(&[padding; 4])),
        ];
        let wide = graph.apply("ConvTranspose", &[image, &weight, &bias], &attributes);
        graph.apply("Relu", &[&wide], &[])
    }
}

/// Without `crop` rows at the top of `[1, C, rows, columns]` where `above` is 1, and at the bottom where `below` is.
fn cut(graph: &mut GraphBuilder, image: &Value, [above, below]: [&Value; 2], crop: usize) -> Value {
    let crop = graph.ints(&[as_i64(crop)]);
    let first = graph.apply("Mul", &[above, &crop], &[]);
    let behind = graph.apply("Mul", &[below, &crop], &[]);
    let only_rows = [("start", Attribute::Int(2)), ("end", Attribute::Int(3))];
    let rows = graph.apply("Shape", &[image], &only_rows);
    let end = graph.apply("Sub", &[&rows, &behind], &[]);
    let axis = graph.ints(&[2]);
    graph.apply("Slice", &[image, &first, &end, &axis], &[])
}

fn add_classifier(
    graph: &mut GraphBuilder,
    cls: &Value,
    patches: &Value,
    pooling: Pooling,
    linear: &StoredLinear,
) {
    let pooled = match pooling {
        Pooling::Class => cls.clone(),
        Pooling::ClassAndMean => {
            let rows = graph.ints(&[0]);
            let mean = graph.apply("ReduceMean", &[patches, &rows], &[]);
            graph.concat(&[cls, &mean], 1)
        }
    };
    let classes = linear.weight.shape.last().copied().unwrap_or(0);
    let scores = graph.linear("classifier", &pooled, linear);
    let scores = graph.reshape(&scores, &[classes]);
    graph.output(&scores, "logits", Element::F32, &[Dim::Fixed(classes)]);
}
