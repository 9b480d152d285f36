//! The module `Dense`.

use astra_bundle::Activation;
use serde_json::json;

use super::super::object::Object;
use super::super::tensors::SafeTensors;
use super::super::{CONFIG, Directory};
use crate::family::bert::DenseLayer;
use crate::source::sides::{MAX_SIDE, check_sides};
use crate::source::tensors::Tensors;
use crate::source::{Mismatch, SourceError};

/// Weights of a layer.
const WEIGHTS: &str = "model.safetensors";
const PICKLED: &str = "pytorch_model.bin";
/// Classes of PyTorch without parameters.
const ACTIVATIONS: [(&str, Activation); 4] = [
    ("Identity", Activation::Identity),
    ("Tanh", Activation::Tanh),
    ("ReLU", Activation::Relu),
    ("Sigmoid", Activation::Sigmoid),
];

/// Reads the module at `path`, which takes vectors `inputs` wide.
pub(super) fn read(
    directory: &Directory<'_>,
    path: &str,
    inputs: usize,
) -> Result<DenseLayer, SourceError> {
    let name = format!("{path}/{CONFIG}");
    let mut config = Object::read(directory, &name)?.ok_or_else(|| {
        let missing = Mismatch::missing("the layer's configuration", "a file with in_features");
        missing.at(&directory.dir.join(&name))
    })?;
    let number = "a number";
    for name in ["module_input_name", "module_output_name"] {
        config.only(name, &[json!("sentence_embedding")])?;
    }
    config.only("use_residual", &[json!(false)])?;
    config.only("in_features", &[json!(inputs)])?;
    let outputs: Option<usize> = config.take("out_features", number)?;
    let outputs = outputs.ok_or_else(|| {
        let missing = Mismatch::missing("out_features", number);
        missing.at(&directory.dir.join(&name))
    })?;
    check_sides([("out_features", outputs, MAX_SIDE)])
        .map_err(|mismatch| mismatch.at(&directory.dir.join(&name)))?;
    let bias = config.take("bias", "true or false")?.unwrap_or(true);
    let activation = activation(&mut config)?;
    // They initialize what the weights replace.
    config.ignore(&["init_weight", "init_bias"]);
    config.finish()?;
    let (weight, bias) = weights(directory, path, [outputs, inputs], bias)?;
    Ok(DenseLayer {
        inputs,
        outputs,
        weight,
        bias,
        activation,
    })
}

/// A dotted name such as `torch.nn.modules.activation.Tanh`; the hyperbolic tangent where there is none.
fn activation(config: &mut Object) -> Result<Activation, SourceError> {
    const FIELD: &str = "activation_function";
    let Some(found) = config.take::<String>(FIELD, "a dotted name")? else {
        return Ok(Activation::Tanh);
    };
    let class = match found.rsplit_once('.') {
        Some((path, class)) if path.starts_with("torch.nn") => Some(class),
        _ => None,
    };
    let known = ACTIVATIONS.iter().find(|(name, _)| Some(*name) == class);
    known.map(|(_, activation)| *activation).ok_or_else(|| {
        let names = ACTIVATIONS.map(|(name, _)| name).join(", ");
        let expected = format!("torch.nn's {names}");
        config.refusal(FIELD, &json!(found), &expected)
    })
}

type Weights = (Vec<f32>, Option<Vec<f32>>);

fn weights(
    directory: &Directory<'_>,
    path: &str,
    [outputs, inputs]: [usize; 2],
    bias: bool,
) -> Result<Weights, SourceError> {
    let file = directory.dir.join(path).join(WEIGHTS);
    if !file.exists() && directory.dir.join(path).join(PICKLED).exists() {
        let expected = "model.safetensors, which SentenceTransformer(DIR).save_pretrained(OTHER) of the \
                        Python package sentence-transformers writes";
        let found = Mismatch::new("the layer's weights", PICKLED, expected);
        return Err(found.at(&file));
    }
    let tensors = SafeTensors::open(&file)?;
    let values = |name: &str, dims: &[usize]| {
        let values = tensors.values(name, dims);
        values.map_err(|mismatch| mismatch.at(&file))
    };
    let weight = values("linear.weight", &[outputs, inputs])?;
    let bias = bias
        .then(|| values("linear.bias", &[outputs]))
        .transpose()?;
    Ok((weight, bias))
}
