//! What is made of the features, as part of a graph.

use astra_bundle::{BundleError, BundleWriter, Task, TensorRef};

use super::model::{Classifier, Head, Pooling, Saliency, UpConvolution};
use crate::family::stored::store_linear;
use crate::graph::{Attribute, Dim, Element, GraphBuilder, StoredLinear, Value};

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
        let channels = self.stages.first().map(|stage| stage.form.inputs);
        let channels = channels.or(self.last_weight.shape.get(1).copied());
        let columns = [("perm", Attribute::Ints(&[1, 0]))];
        let planes = graph.apply("Transpose", &[patches], &columns);
        let mut image = graph.reshape(&planes, &[1, channels.unwrap_or(0), side, side]);
        let mut image_side = side;
        for (number, stage) in self.stages.iter().enumerate() {
            image = stage.add(graph, &image, number);
            image_side = stage.form.side(image_side);
        }
        let weight = graph.stored("last.weight", &self.last_weight);
        let bias = graph.stored("last.bias", &self.last_bias);
        image = graph.apply("Conv", &[&image, &weight, &bias], &[]);
        if image_side != self.size {
            image = self.resize(graph, &image);
        }
        let map = graph.apply("Sigmoid", &[&image], &[]);
        let map = graph.reshape(&map, &[self.size, self.size]);
        let dims = [Dim::Fixed(self.size), Dim::Fixed(self.size)];
        graph.output(&map, "map", Element::F32, &dims);
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
