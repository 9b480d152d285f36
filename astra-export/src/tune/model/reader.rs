//! Weights of a bundle, by the names that its graphs give them.

use std::path::PathBuf;

use astra_bundle::{Bundle, Dtype, TensorRef};
use candle_core::{Device, Tensor};
use prost::Message;

use crate::graph::proto::{EXTERNAL, GraphProto, ModelProto, TensorProto, data_type};
use crate::tune::TuneError;
use crate::tune::ops::{Linear, Norm};

/// One graph of a bundle.
pub(super) struct GraphWeights<'a> {
    bundle: &'a Bundle,
    path: PathBuf,
    graph: GraphProto,
}

impl<'a> GraphWeights<'a> {
    pub(super) fn open(bundle: &'a Bundle, name: &str) -> Result<Self, TuneError> {
        let path = bundle.graph(name)?;
        let bytes = std::fs::read(&path).map_err(TuneError::io("read", &path))?;
        let model = ModelProto::decode(bytes.as_slice());
        let graph = model.ok().and_then(|model| model.graph);
        let graph = graph.ok_or_else(|| {
            TuneError::mismatch(&path, "content", "no ONNX graph", "the graph of a bundle")
        })?;
        Ok(Self {
            bundle,
            path,
            graph,
        })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<&TensorProto> {
        let mut tensors = self.graph.initializer.iter();
        tensors.find(|tensor| tensor.name == name)
    }

    fn place(&self, name: &str) -> Result<TensorRef, TuneError> {
        let wrong = |found: &str| {
            let expected = "a float32 tensor in weights.bin";
            TuneError::mismatch(&self.path, name, found, expected)
        };
        let tensor = self.find(name).ok_or_else(|| wrong("nothing"))?;
        if tensor.data_type != data_type::FLOAT || tensor.data_location != EXTERNAL {
            return Err(wrong("a tensor of another kind"));
        }
        let mut entries = tensor.external_data.iter();
        let offset = entries.find(|entry| entry.key == "offset");
        let offset = offset.and_then(|offset| offset.value.parse().ok());
        let dims = tensor.dims.iter().map(|&dim| usize::try_from(dim).ok());
        Ok(TensorRef {
            offset: offset.ok_or_else(|| wrong("a tensor without an offset"))?,
            shape: dims
                .collect::<Option<_>>()
                .ok_or_else(|| wrong("a negative dimension"))?,
            dtype: Dtype::Float32,
        })
    }

    pub(super) fn tensor(&self, name: &str) -> Result<Tensor, TuneError> {
        let place = self.place(name)?;
        let values = self.bundle.tensor(&place)?.into_owned();
        Ok(Tensor::from_vec(values, place.shape, &Device::Cpu)?)
    }

    fn vector(&self, name: &str) -> Result<Vec<f32>, TuneError> {
        Ok(self.bundle.tensor(&self.place(name)?)?.into_owned())
    }

    /// A linear map; without a bias where the graph has none.
    pub(super) fn linear(&self, name: &str) -> Result<Linear, TuneError> {
        let bias = format!("{name}.bias");
        let bias = self.has(&bias).then(|| self.tensor(&bias));
        Ok(Linear {
            weight: self.tensor(&format!("{name}.weight"))?,
            bias: bias.transpose()?,
        })
    }

    /// A normalization; one by the root of the mean square where there is no bias.
    pub(super) fn norm(&self, name: &str) -> Result<Norm, TuneError> {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        let mut nodes = self.graph.node.iter();
        let node = nodes.find(|node| node.input.get(1) == Some(&weight));
        let mut attributes = node.into_iter().flat_map(|node| &node.attribute);
        let epsilon = attributes.find(|attribute| attribute.name == "epsilon");
        let epsilon = epsilon.and_then(|epsilon| epsilon.f).ok_or_else(|| {
            let expected = "a normalization with an epsilon";
            TuneError::mismatch(&self.path, name, "none", expected)
        })?;
        Ok(Norm {
            weight: self.vector(&weight)?,
            bias: self.has(&bias).then(|| self.vector(&bias)).transpose()?,
            epsilon,
        })
    }
}
