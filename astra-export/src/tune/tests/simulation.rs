//! The first walk is what the members of a cluster compute.

use std::sync::OnceLock;

use astra_model::engine::{Codec, Input, Modality, Model, Runtime};
use astra_model::simulate::{Features, Simulation};

use super::models::{BITS, PATCH, PATCHES, Random};
use super::*;

pub(super) fn runtime() -> &'static Runtime {
    // A process can have one.
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let hint = "run the tests with `cargo xtask test`, which brings ONNX Runtime";
        Runtime::load(None, 1).unwrap_or_else(|error| panic!("{error}: {hint}"))
    })
}

/// Features that both compute for an input divided among members with these numbers of tokens.
fn both(small: Small, predicted: bool, tokens: &[u16]) -> [Features; 2] {
    let folder = tempfile::tempdir().unwrap();
    let bundle = small.bundle(folder.path(), predicted);
    let manifest = bundle.manifest();
    let (shape, modality) = (manifest.shape, Modality::of(manifest));
    let mut random = Random::new(9);
    let pixels = random.bytes(PATCHES * 3 * PATCH * PATCH);
    let total: u16 = tokens.iter().sum();
    let ids = random.ids(shape.class_tokens + usize::from(total));
    let input = match small {
        Small::Vit => Input::Pixels(&pixels),
        _ => Input::Ids(&ids),
    };
    let ranges = ranges(tokens);
    let mut model = Model::open(runtime(), bundle.dir(), &shape, modality).unwrap();
    let codec = Codec::load(&bundle, BITS as u16).unwrap();
    let mut simulation = Simulation::new(&model, &codec, &ranges).unwrap();
    let expected = simulation.run(&mut model, &codec, input).unwrap();

    let transformer = Transformer::read(&bundle).unwrap();
    let rung = Rung::read(&bundle, BITS).unwrap();
    let division = Division::new(shape.class_tokens, modality.is_causal(), &ranges);
    let pass = Pass {
        model: &transformer,
        step: &Step::new(&rung.frame, &rung.shapes, &rung.values).unwrap(),
        division: &division,
        noise: &[],
        commitment: 0.0,
    };
    let trace = pass.forward(input).unwrap();
    let features = transformer.features(&trace.x).unwrap();
    let (class, count) = (division.class_rows(), division.tokens());
    let rows = |from: usize, count: usize| features.narrow(0, from, count).unwrap();
    let cls = match class {
        0 => Vec::new(),
        _ => {
            let copies = rows(0, class);
            let copies = copies.reshape((division.copies(), division.class, ()));
            let mean = copies.unwrap().mean(0).unwrap();
            mean.flatten_all().unwrap().to_vec1().unwrap()
        }
    };
    let patches = rows(class, count).flatten_all().unwrap().to_vec1().unwrap();
    [Features { cls, patches }, expected]
}

#[test]
fn features_are_those_of_the_engine() {
    for small in Small::ALL {
        for predicted in [true, false] {
            for tokens in [&[16][..], &[8, 8], &[3, 7, 1, 5]] {
                let [found, expected] = both(small, predicted, tokens);
                let pairs = [
                    (&found.cls, &expected.cls),
                    (&found.patches, &expected.patches),
                ];
                for (found, expected) in pairs {
                    assert_eq!(found.len(), expected.len());
                    let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
                    let most = differences.fold(0.0, f32::max);
                    assert!(most < 1e-4, "{small:?} {predicted} {tokens:?}: {most}");
                }
            }
        }
    }
}
