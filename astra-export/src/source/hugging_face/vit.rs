//! DINOv2 (`model_type` `dinov2`) and ViT (`vit`).
//!
//! Weights may be those of the bare model or of one with a classifier, whose tensors then stand under `dinov2.` or `vit.`.

use super::tensors::SafeTensors;
use super::vit_config::{Architecture, Config};
use super::{Content, Directory, preprocessor};
use crate::family::vit::{BlockWeights, Classifier, Head, Pooling, VitModel};
use crate::family::weights::{Linear, Norm};
use crate::position::PositionTable;
use crate::source::tensors::Tensors;
use crate::source::{ImportedVit, Mismatch, SourceError};

pub(super) fn import(
    directory: &Directory<'_>,
    tensors: &SafeTensors<'_>,
) -> Result<Content, SourceError> {
    let config: Config = directory.config()?;
    config.check().map_err(directory.in_config())?;
    let input = preprocessor::read(directory, config.model_type)?;
    Ok(Content::Image(ImportedVit {
        model: import_model(&config, tensors).map_err(directory.in_weights())?,
        input,
    }))
}

fn import_model(config: &Config, tensors: &SafeTensors<'_>) -> Result<VitModel, Mismatch> {
    let prefix = tensors.prefix(config.model_type.prefix(), "embeddings.cls_token")?;
    let reader = Reader {
        config,
        tensors,
        prefix,
    };
    let blocks = (0..config.num_hidden_layers).map(|number| reader.block(number));
    let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
    if tensors.contains(&reader.layer_norm_of(blocks.len())) {
        let found = format!("more than {} layers", blocks.len());
        return Err(Mismatch::new(
            "encoder",
            found,
            "num_hidden_layers of config.json",
        ));
    }
    let (class_token, positions) = reader.tokens()?;
    Ok(VitModel {
        hidden: config.hidden_size,
        heads: config.num_attention_heads,
        patch: config.patch_size,
        projection: reader.projection()?,
        class_token,
        positions,
        blocks,
        norm: reader.norm("layernorm")?,
        head: reader.head()?,
    })
}

/// Tensors by their place in the model.
struct Reader<'a> {
    config: &'a Config,
    tensors: &'a SafeTensors<'a>,
    prefix: &'a str,
}

/// What the parts of a layer are called.
struct Names {
    norm1: &'static str,
    norm2: &'static str,
    up: &'static str,
    down: &'static str,
    /// Layer scale after attention and after the MLP, where the architecture has it.
    scales: Option<[&'static str; 2]>,
}

impl Architecture {
    fn prefix(self) -> &'static str {
        match self {
            Self::Dinov2 => "dinov2.",
            Self::Vit => "vit.",
        }
    }

    fn names(self) -> Names {
        match self {
            Self::Dinov2 => Names {
                norm1: "norm1",
                norm2: "norm2",
                up: "mlp.fc1",
                down: "mlp.fc2",
                scales: Some(["layer_scale1.lambda1", "layer_scale2.lambda1"]),
            },
            Self::Vit => Names {
                norm1: "layernorm_before",
                norm2: "layernorm_after",
                up: "intermediate.dense",
                down: "output.dense",
                scales: None,
            },
        }
    }
}

impl Reader<'_> {
    fn block(&self, number: usize) -> Result<BlockWeights, Mismatch> {
        let (hidden, mlp) = (self.config.hidden_size, self.config.mlp_width());
        let names = self.config.model_type.names();
        let layer = |part: &str| format!("encoder.layer.{number}.{part}");
        let attention = |part: &str| layer(&format!("attention.attention.{part}"));
        let mut output = self.linear(&layer("attention.output.dense"), hidden, hidden)?;
        let mut down = self.linear(&layer(names.down), mlp, hidden)?;
        if let Some([after_attention, after_mlp]) = names.scales {
            output.scale_outputs(&self.values(&layer(after_attention), &[hidden])?);
            down.scale_outputs(&self.values(&layer(after_mlp), &[hidden])?);
        }
        Ok(BlockWeights {
            norm1: self.norm(&layer(names.norm1))?,
            query: self.attention_input(&attention("query"))?,
            key: self.attention_input(&attention("key"))?,
            value: self.attention_input(&attention("value"))?,
            output,
            norm2: self.norm(&layer(names.norm2))?,
            up: self.linear(&layer(names.up), hidden, mlp)?,
            down,
        })
    }

    fn layer_norm_of(&self, number: usize) -> String {
        let norm = self.config.model_type.names().norm1;
        format!("{}encoder.layer.{number}.{norm}.weight", self.prefix)
    }

    fn values(&self, name: &str, dims: &[usize]) -> Result<Vec<f32>, Mismatch> {
        self.tensors
            .tensor(&format!("{}{name}", self.prefix))?
            .into_values(dims)
    }

    fn norm(&self, name: &str) -> Result<Norm, Mismatch> {
        let dims = [self.config.hidden_size];
        Ok(Norm {
            weight: self.values(&format!("{name}.weight"), &dims)?,
            bias: self.values(&format!("{name}.bias"), &dims)?,
            epsilon: self.config.epsilon(),
        })
    }

    fn linear(&self, name: &str, inputs: usize, outputs: usize) -> Result<Linear, Mismatch> {
        let weight = self.values(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = self.values(&format!("{name}.bias"), &[outputs])?;
        Ok(Linear::from_transposed(inputs, outputs, &weight, bias))
    }

    /// Queries, keys and values may do without bias.
    fn attention_input(&self, name: &str) -> Result<Linear, Mismatch> {
        let hidden = self.config.hidden_size;
        if self.config.qkv_bias() {
            return self.linear(name, hidden, hidden);
        }
        let weight = self.values(&format!("{name}.weight"), &[hidden, hidden])?;
        let bias = vec![0.0; hidden];
        Ok(Linear::from_transposed(hidden, hidden, &weight, bias))
    }

    fn projection(&self) -> Result<Linear, Mismatch> {
        let (hidden, patch) = (self.config.hidden_size, self.config.patch_size);
        let name = "embeddings.patch_embeddings.projection";
        let weight = self.values(&format!("{name}.weight"), &[hidden, 3, patch, patch])?;
        let bias = self.values(&format!("{name}.bias"), &[hidden])?;
        let inputs = 3 * patch * patch;
        Ok(Linear::from_transposed(inputs, hidden, &weight, bias))
    }

    fn tokens(&self) -> Result<(Vec<f32>, PositionTable), Mismatch> {
        let hidden = self.config.hidden_size;
        let mut class_token = self.values("embeddings.cls_token", &[1, 1, hidden])?;
        let name = format!("{}embeddings.position_embeddings", self.prefix);
        let table = self.tensors.tensor(&name)?;
        let [_, rows, _] = table.sides("[1, 1 + patches, hidden]")?;
        let mut class_position = table.into_values(&[1, rows, hidden])?;
        let patches = class_position.split_off(hidden);
        for (token, position) in class_token.iter_mut().zip(class_position) {
            *token += position;
        }
        let table = PositionTable::new(patches, hidden).ok_or_else(|| {
            let expected = "1 and a square number of positions";
            Mismatch::new(&name, format!("{rows} positions"), expected)
        })?;
        Ok((class_token, table))
    }

    fn head(&self) -> Result<Head, Mismatch> {
        // The classifier stands beside the model, not within its prefix.
        const WEIGHT: &str = "classifier.weight";
        const BIAS: &str = "classifier.bias";
        if !self.tensors.contains(WEIGHT) {
            return Ok(Head::Features);
        }
        let hidden = self.config.hidden_size;
        let (pooling, inputs) = match self.config.model_type {
            Architecture::Dinov2 => (Pooling::ClassAndMean, 2 * hidden),
            Architecture::Vit => (Pooling::Class, hidden),
        };
        let weight = self.tensors.tensor(WEIGHT)?;
        let [classes, _] = weight.sides("[classes, inputs]")?;
        let weight = weight.into_values(&[classes, inputs])?;
        let bias = self.tensors.tensor(BIAS)?.into_values(&[classes])?;
        Ok(Head::Classification(Classifier {
            pooling,
            linear: Linear::from_transposed(inputs, classes, &weight, bias),
            labels: self.config.labels(classes),
        }))
    }
}
