//! The weights of a bundle by their names in the fused graph.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use astra_bundle::{Bundle, Dtype, TensorRef};
use astra_export::graph::StoredNorm;
use astra_export::graph::proto::{ModelProto, TensorProto};
use prost::Message;

/// Tensors in the bundle's weights file.
pub(crate) struct Weights {
    tensors: BTreeMap<String, TensorRef>,
    /// By the name of the norm's weight.
    epsilons: BTreeMap<String, f32>,
}

/// A linear map.
pub(crate) struct Linear {
    /// `[inputs, outputs]`
    pub(crate) weight: TensorRef,
    /// `[outputs]`, where there is one.
    pub(crate) bias: Option<TensorRef>,
}

impl Weights {
    /// Reads the names in the fused graph.
    pub(crate) fn read(bundle: &Bundle) -> Result<Self> {
        if let Some(matrix) = bundle
            .manifest()
            .matrices
            .iter()
            .find(|m| m.blocks.is_some())
        {
            bail!(
                "{}: matrix {}: found {}, expected float32: the baselines divide matrices by columns; export the model with --weights f32",
                bundle.dir().display(),
                matrix.name,
                matrix.storage()
            );
        }
        let name = match bundle.manifest().image {
            Some(_) => "whole.onnx",
            None => "decode.onnx",
        };
        let path = bundle.dir().join(name);
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        let model = ModelProto::decode(bytes.as_slice());
        let model = model.with_context(|| format!("{}: not a graph", path.display()))?;
        let graph = model.graph.unwrap_or_default();
        let tensors = graph.initializer.iter().filter_map(tensor).collect();
        let norms = graph.node.iter().filter_map(|node| {
            let epsilon = node.attribute.iter().find(|one| one.name == "epsilon")?;
            Some((node.input.get(1)?.clone(), epsilon.f?))
        });
        Ok(Self {
            tensors,
            epsilons: norms.collect(),
        })
    }

    pub(crate) fn tensor(&self, name: &str) -> Result<&TensorRef> {
        let found = self.tensors.get(name);
        found.with_context(|| format!("the bundle's fused graph has no weights {name}"))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    pub(crate) fn linear(&self, name: &str) -> Result<Linear> {
        Ok(Linear {
            weight: self.tensor(&format!("{name}.weight"))?.clone(),
            bias: self.tensors.get(&format!("{name}.bias")).cloned(),
        })
    }

    pub(crate) fn norm(&self, name: &str) -> Result<StoredNorm> {
        let weight = format!("{name}.weight");
        let Some(&epsilon) = self.epsilons.get(&weight) else {
            bail!("the bundle's fused graph has no norm {name}");
        };
        Ok(StoredNorm {
            weight: self.tensor(&weight)?.clone(),
            bias: self.tensors.get(&format!("{name}.bias")).cloned(),
            epsilon,
        })
    }
}

/// An external tensor of the graph.
fn tensor(proto: &TensorProto) -> Option<(String, TensorRef)> {
    let offset = proto
        .external_data
        .iter()
        .find(|entry| entry.key == "offset")?;
    let shape = proto.dims.iter().map(|&dim| usize::try_from(dim));
    let tensor = TensorRef {
        offset: offset.value.parse().ok()?,
        shape: shape.collect::<Result<_, _>>().ok()?,
        dtype: Dtype::Float32,
    };
    Some((proto.name.clone(), tensor))
}
