//! What leaves the graph: features, classes or a map, and what a bundle does without.

use super::Image;
use super::encoder::{Encoder, read as read_encoder};
use super::graph::layout::Layout;
use super::graph::{Graph, Value};
use super::{Mismatch, saliency};
use crate::family::vit::{Classifier, Head, Pooling, VitModel};

const EXPECTED: &str =
    "normalized features, their class token, scores of classes, or a saliency map";

/// What an output is, by the features it is made of.
struct Answer {
    /// All that the final norm makes.
    features: Value,
    kind: Kind,
}

enum Kind {
    /// The features or some of them.
    Features,
    /// All of `Gemm` or `MatMul` and `Add`, of what is pooled.
    Scores(Value),
    Map(Value),
    /// `tanh` of a projection of the class token, which ViT is trained with and nothing uses.
    Pooler,
}

/// A model that a graph computes.
pub(super) struct Found {
    pub(super) model: VitModel,
    /// Whether it has layer scales, as DINOv2 has and ViT has not.
    pub(super) layer_scale: bool,
    /// Names of outputs that the model does not have.
    pub(super) left_out: Vec<String>,
}

/// The model that computes these outputs.
pub(super) fn read(
    graph: &Graph<'_>,
    image: &Image<'_>,
    outputs: &[(&str, Value)],
) -> Result<Found, Mismatch> {
    let answers: Vec<_> = outputs
        .iter()
        .map(|(_, value)| answer(graph, value))
        .collect();
    let encoder = deepest(graph, image, outputs, &answers)?;
    let mut head: Option<(&str, Head)> = None;
    let mut others = Vec::new();
    for ((name, value), answer) in outputs.iter().zip(&answers) {
        let of_encoder = |answer: &&Answer| graph.same(&answer.features, encoder.features());
        let found = match answer
            .as_ref()
            .filter(of_encoder)
            .map(|answer| &answer.kind)
        {
            Some(Kind::Features) => continue,
            Some(Kind::Scores(scores)) => classifier(graph, &encoder, scores)?,
            Some(Kind::Map(map)) => Head::Saliency(saliency::read(graph, &encoder, image, map)?),
            Some(Kind::Pooler) => {
                graph.pass_over(value);
                others.push((name, value));
                continue;
            }
            None => {
                others.push((name, value));
                continue;
            }
        };
        if let Some((before, _)) = head.replace((name, found)) {
            let found = format!("a second head, besides {before}");
            return Err(Mismatch::new(*name, found, "one head"));
        }
    }
    let mut left_out = Vec::new();
    for (name, value) in others {
        graph.check_read(value, EXPECTED)?;
        left_out.push((*name).to_owned());
    }
    let layer_scale = encoder.layer_scale;
    let head = head.map_or(Head::Features, |(_, head)| head);
    Ok(Found {
        model: encoder.into_model(head),
        layer_scale,
        left_out,
    })
}

/// Of the features that outputs are made of, those after most blocks: others are those of blocks in between.
fn deepest(
    graph: &Graph<'_>,
    image: &Image<'_>,
    outputs: &[(&str, Value)],
    answers: &[Option<Answer>],
) -> Result<Encoder, Mismatch> {
    let mut known: Vec<&Value> = Vec::new();
    let mut best: Option<Encoder> = None;
    let mut refusal = None;
    for answer in answers.iter().flatten() {
        if known
            .iter()
            .any(|known| graph.same(known, &answer.features))
        {
            continue;
        }
        known.push(&answer.features);
        match read_encoder(graph, image, &answer.features) {
            Ok(encoder)
                if best
                    .as_ref()
                    .is_none_or(|best| best.blocks() < encoder.blocks()) =>
            {
                best = Some(encoder)
            }
            Ok(_) => {}
            Err(error) => refusal = refusal.or(Some(error)),
        }
    }
    match (best, refusal, outputs) {
        (Some(best), ..) => Ok(best),
        (None, Some(refusal), _) => Err(refusal),
        (None, None, [(_, value), ..]) => Err(graph.refuse(value, EXPECTED)),
        (None, None, []) => Err(Mismatch::missing("graph", "an output")),
    }
}

fn answer(graph: &Graph<'_>, value: &Value) -> Option<Answer> {
    if let Some(features) = normalized(graph, value) {
        return Some(Answer {
            features,
            kind: Kind::Features,
        });
    }
    if let Some(projection) = graph.try_projection(value) {
        return Some(Answer {
            features: pooled_features(graph, &projection.input)?,
            kind: Kind::Scores(value.clone()),
        });
    }
    if let Some(step) = graph.whole_step_of(value, "Tanh") {
        let projection = graph.try_projection(step.input(0).ok()?)?;
        return Some(Answer {
            features: normalized(graph, &projection.input)?,
            kind: Kind::Pooler,
        });
    }
    Some(Answer {
        features: normalized(graph, &saliency::image_of(graph, value)?)?,
        kind: Kind::Map(value.clone()),
    })
}

/// All that a norm makes, if `value` is some of it.
fn normalized(graph: &Graph<'_>, value: &Value) -> Option<Value> {
    graph.step(value)?;
    let all = graph.all_of(value);
    graph.is_norm(&all).then_some(all)
}

/// The features that a classifier looks at.
fn pooled_features(graph: &Graph<'_>, pooled: &Value) -> Option<Value> {
    match graph.whole_step_of(pooled, "Concat") {
        Some(joined) => normalized(graph, joined.input(0).ok()?),
        None => normalized(graph, pooled),
    }
}

fn classifier(graph: &Graph<'_>, encoder: &Encoder, scores: &Value) -> Result<Head, Mismatch> {
    let projection = graph.projection(scores)?;
    let pooled = &projection.input;
    let pooling = match graph
        .whole_step_of(pooled, "Concat")
        .map(|joined| joined.inputs.as_slice())
    {
        None if is_class(encoder, pooled) => Pooling::Class,
        Some([Some(class), Some(mean)])
            if is_class(encoder, class) && is_mean(graph, encoder, mean) =>
        {
            Pooling::ClassAndMean
        }
        _ => {
            let expected = "a classifier of the class token, or of it and the mean of the patches";
            return Err(graph.refuse(pooled, expected));
        }
    };
    let inputs = match pooling {
        Pooling::Class => encoder.hidden(),
        Pooling::ClassAndMean => 2 * encoder.hidden(),
    };
    let linear = projection.read_all(graph)?;
    if linear.inputs != inputs {
        let found = format!("{} inputs", linear.inputs);
        return Err(Mismatch::new(graph.name_of(scores), found, inputs));
    }
    Ok(Head::Classification(Classifier {
        pooling,
        linear,
        labels: None,
    }))
}

/// Whether a view of the features is their class token.
fn is_class(encoder: &Encoder, value: &Value) -> bool {
    let hidden = encoder.hidden();
    let class = Layout::strided(0, &[(encoder.batch, encoder.rows() * hidden), (hidden, 1)]);
    value.layout.same_elements(&class)
}

fn is_mean(graph: &Graph<'_>, encoder: &Encoder, value: &Value) -> bool {
    let hidden = encoder.hidden();
    let patches = [
        (encoder.batch, encoder.rows() * hidden),
        (encoder.rows() - 1, hidden),
        (hidden, 1),
    ];
    let dims = patches.map(|(size, _)| size);
    graph
        .whole_step_of(value, "ReduceMean")
        .is_some_and(|step| {
            let Ok(input) = step.input(0) else {
                return false;
            };
            let of_features =
                normalized(graph, input).is_some_and(|all| graph.same(&all, encoder.features()));
            let all = input.layout.dims() == dims
                && input
                    .layout
                    .same_elements(&Layout::strided(hidden, &patches));
            of_features && all && graph.reduced_axes(step.node, &step.inputs) == Some(vec![1])
        })
}
