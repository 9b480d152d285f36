//! The photographs, by name.

use super::{Asset, SAMPLE, Source, Wheel, pin};

/// Photographs; drawings, masks and scans of text in the same wheel teach a model of photographs
/// nothing and are left out. The files are the same in the wheel of every machine.
pub(crate) const DEMO_PHOTOS: Source = Source {
    wheel: Wheel {
        name: "scikit-image",
        version: "0.26.0",
        platform: "manylinux_2_28_x86_64",
        expected: pin(
            13_711_217,
            "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
        ),
    },
    assets: &[
        Asset {
            member: "skimage/data/astronaut.png",
            path: "photos/astronaut.png",
            expected: pin(
                791_555,
                "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
            ),
        },
        Asset {
            member: "skimage/data/brick.png",
            path: "photos/brick.png",
            expected: pin(
                106_634,
                "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
            ),
        },
        Asset {
            member: "skimage/data/camera.png",
            path: "photos/camera.png",
            expected: pin(
                139_512,
                "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
            ),
        },
        Asset {
            member: "skimage/data/chelsea.png",
            path: "photos/chelsea.png",
            expected: pin(
                240_512,
                "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
            ),
        },
        Asset {
            member: "skimage/data/coins.png",
            path: "photos/coins.png",
            expected: pin(
                75_825,
                "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba",
            ),
        },
        Asset {
            member: "skimage/data/grass.png",
            path: "photos/grass.png",
            expected: pin(
                217_893,
                "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
            ),
        },
        Asset {
            member: "skimage/data/gravel.png",
            path: "photos/gravel.png",
            expected: pin(
                194_247,
                "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
            ),
        },
        Asset {
            member: "skimage/data/hubble_deep_field.jpg",
            path: "photos/hubble_deep_field.jpg",
            expected: pin(
                527_940,
                "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
            ),
        },
        Asset {
            member: "skimage/data/ihc.png",
            path: "photos/ihc.png",
            expected: pin(
                477_916,
                "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef",
            ),
        },
        Asset {
            member: "skimage/data/moon.png",
            path: "photos/moon.png",
            expected: pin(
                50_177,
                "78739619d11f7eb9c165bb5d2efd4772cee557812ec847532dbb1d92ef71f577",
            ),
        },
        Asset {
            member: "skimage/data/motorcycle_left.png",
            path: "photos/motorcycle_left.png",
            expected: pin(
                644_701,
                "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
            ),
        },
        Asset {
            member: "skimage/data/motorcycle_right.png",
            path: "photos/motorcycle_right.png",
            expected: pin(
                640_373,
                "5fc913ae870e42a4b662314bc904d1786bcad8e2f0b9b67dba5a229406357797",
            ),
        },
        Asset {
            member: "skimage/data/retina.jpg",
            path: "photos/retina.jpg",
            expected: pin(
                269_564,
                "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6",
            ),
        },
        Asset {
            member: "skimage/data/rocket.jpg",
            path: "photos/rocket.jpg",
            expected: pin(
                112_525,
                "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
            ),
        },
        Asset {
            member: "skimage/data/coffee.png",
            path: SAMPLE,
            expected: pin(
                466_706,
                "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
            ),
        },
    ],
};
