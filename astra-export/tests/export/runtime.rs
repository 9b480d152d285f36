//! Graphs run through ONNX Runtime.

use std::path::Path;
use std::sync::OnceLock;

use ort::environment::Environment;
use ort::session::{Session, SessionInputValue};
use ort::value::Tensor;

use crate::cache;

/// A value going in or coming out; last dimension fastest.
#[derive(Debug, Clone)]
pub(crate) enum Array {
    F32(Vec<usize>, Vec<f32>),
    U8(Vec<usize>, Vec<u8>),
    I32(Vec<usize>, Vec<i32>),
    I64(Vec<usize>, Vec<i64>),
}

impl Array {
    /// The number of rows and the values of a float matrix.
    pub(crate) fn into_matrix(self) -> (usize, Vec<f32>) {
        match self {
            Self::F32(dims, values) => (dims[0], values),
            other => panic!("{other:?} is no matrix of floats"),
        }
    }

    fn into_value(self) -> SessionInputValue<'static> {
        match self {
            Self::F32(dims, values) => Tensor::from_array((dims, values)).unwrap().into(),
            Self::U8(dims, values) => Tensor::from_array((dims, values)).unwrap().into(),
            Self::I32(dims, values) => Tensor::from_array((dims, values)).unwrap().into(),
            Self::I64(dims, values) => Tensor::from_array((dims, values)).unwrap().into(),
        }
    }
}

/// An open graph.
pub(crate) struct Graph(Session);

impl Graph {
    pub(crate) fn open(path: &Path) -> Self {
        let session = builder().commit_from_file(path);
        Self(session.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    }

    /// A graph without external data.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(builder().commit_from_memory(bytes).unwrap())
    }

    /// Runs with inputs by name; answers the outputs of these names, all floats.
    pub(crate) fn run<const N: usize>(
        &mut self,
        inputs: Vec<(&str, Array)>,
        outputs: [&str; N],
    ) -> [Array; N] {
        let inputs: Vec<(String, _)> = inputs
            .into_iter()
            .map(|(name, array)| (name.to_owned(), array.into_value()))
            .collect();
        let found = self.0.run(inputs).unwrap();
        outputs.map(|name| {
            let value = found
                .get(name)
                .unwrap_or_else(|| panic!("no output {name}"));
            let (shape, values) = value.try_extract_tensor::<f32>().unwrap();
            let dims = shape.iter().map(|&dim| usize::try_from(dim).unwrap());
            Array::F32(dims.collect(), values.to_vec())
        })
    }
}

fn builder() -> ort::session::builder::SessionBuilder {
    // A process can have one environment, and it goes with the last that holds it.
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    let environment = ENVIRONMENT.get_or_init(|| {
        let path = cache::runtime();
        let builder = ort::init_from(&path).unwrap_or_else(|error| {
            panic!("{}: {error}", path.display());
        });
        builder.with_telemetry(false).build().unwrap()
    });
    let builder = Session::builder(environment).unwrap();
    let builder = builder.with_intra_threads(1).unwrap();
    builder.with_intra_op_spinning(false).unwrap()
}

/// Largest absolute difference; panics if the lengths differ.
pub(crate) fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    // Not `f32::max`, which would pass over a NaN.
    differences.fold(0.0, |most, d| if d <= most { most } else { d })
}
