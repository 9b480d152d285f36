//! What is made of the features, as part of a graph.

use astra_bundle::{BundleError, BundleWriter, HeadRows, Task};

use super::model::{Classifier, Head, Pooling};
use super::saliency::StoredSaliency;
use crate::family::stored::store_linear;
use crate::graph::{Dim, Element, GraphBuilder, StoredLinear, Value};

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
    let [_, classes] = linear.weight.sides();
    let scores = graph.linear("classifier", &pooled, linear);
    let scores = graph.reshape(&scores, &[classes]);
    graph.output(&scores, "logits", Element::F32, &[Dim::Fixed(classes)]);
}
