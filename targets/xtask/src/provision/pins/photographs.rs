//! The photographs, by name.

use super::{Asset, SAMPLE, Source, Wheel, pin};

/// Assets of files in one folder of a wheel, whose places are [`PHOTOS`](super::PHOTOS) and their names: each a name, bytes and
/// SHA-256. Assets with other places follow after a semicolon.
macro_rules! photographs {
    ($folder:literal $($name:literal $size:literal $sha256:literal)* $(; $other:expr)*) => {
        &[
            $(Asset {
                member: concat!($folder, $name),
                path: concat!("photographs/", $name),
                expected: pin($size, $sha256),
            },)*
            $($other,)*
        ]
    };
}

/// Ordinary photographs: people, animals, rooms, food, buildings, landscapes. What else lies in the wheels is left out: a model
/// of photographs learns nothing from drawings, masks, textures and pictures of microscopes, and two shots of one scene count
/// like one. The files are the same in the wheel of every machine.
pub(crate) const DEMO_PHOTOS: [Source; 3] = [SCIKIT_IMAGE, PYVISION, FOOLBOX];

/// In the public domain or CC0 as its documentation says of each; the motorcycle comes under the licence of the package
/// (BSD-3-Clause).
const SCIKIT_IMAGE: Source = Source {
    wheel: Wheel {
        name: "scikit-image",
        version: "0.26.0",
        platform: "manylinux_2_28_x86_64",
        expected: pin(
            13_711_217,
            "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
        ),
    },
    assets: photographs! {
        "skimage/data/"
        "astronaut.png" 791_555 "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"
        "camera.png" 139_512 "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a"
        "chelsea.png" 240_512 "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"
        "motorcycle_left.png" 644_701 "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179"
        "rocket.jpg" 112_525 "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c"
        ; COFFEE
    },
};

const COFFEE: Asset = Asset {
    member: "skimage/data/coffee.png",
    path: SAMPLE,
    expected: pin(
        466_706,
        "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    ),
};

/// Under the licence of the package (BSD-3-Clause), which is of the photographer.
const PYVISION: Source = Source {
    wheel: Wheel {
        name: "pyvision-toolkit",
        version: "1.3.6",
        platform: "manylinux_2_28_x86_64",
        expected: pin(
            18_636_078,
            "216587b4d9ce273a5eca99fbdd4b03d2ff0300244d3b03a6e00200eba86b40ae",
        ),
    },
    assets: photographs! {
        "pyvision/data/nonface/"
        "NONFACE_1.jpg" 194_955 "ec40bab52ab5219dd0e314c02d7fafbcb04b66e68ee06e2405fecfa5dca74c0c"
        "NONFACE_2.jpg" 143_016 "6f88ba0d9b9c519113c8e2b6a6c5df95b0dd3f94daee4af6848fc94a614f2b81"
        "NONFACE_3.jpg" 172_594 "0bf9cabac03afc097de7bcd02949d7261c062249a14edb401d186584c5ce601b"
        "NONFACE_4.jpg" 113_747 "2c8b9487bb4aa8cac07488a5cdd3d9dc1158c8f8c893ca6ca1d42ccd697a901c"
        "NONFACE_5.jpg" 79_480 "e47b257330c28ae52cd7db6e2e900271e7eb810918eb6e31f3eaace985f344b2"
        "NONFACE_6.jpg" 187_585 "64940f3b5c8064247227a109cc14d2c83020002767618ee0667e7767bda3054c"
        "NONFACE_7.jpg" 182_470 "de3c8dc553529ebe575d0a24e1a1fa427072276404c432b04a0c555c4cafa2d1"
        "NONFACE_8.jpg" 127_095 "e72e919840e7911b2c1391408198a15c64b886c1c449e6167bdcde194a96c5b2"
        "NONFACE_9.jpg" 146_492 "1a9ebe8fec1a4ab63b33fca169104cb02e9444e4ac6f68284b402a9dd527b757"
        "NONFACE_10.jpg" 120_438 "6d87cb5442dc1e51ff9c113627ce405b6d581666b7aa3ee8f987d3c71a425dbf"
        "NONFACE_11.jpg" 83_449 "22e01193c2ef0f19ec39860e8231424642f03a55dce48a5e3130fa1cd3cec4ec"
        "NONFACE_12.jpg" 131_913 "dd8e4b55cf0ebca4a058f2f0100358cccd14c884115fbcdc6768d844e40db8dd"
        "NONFACE_13.jpg" 100_510 "298009c4ac2d9ab3e7df38407ce3554cb9858de6bf50b9226f6880c3b4fa96a1"
        "NONFACE_14.jpg" 162_599 "70dbd54bebc40dd42d4e5d626e2b3171d4c84ad13afe1e00f3ad41e7572563b4"
        "NONFACE_15.jpg" 91_692 "fb4cb8c6eb87c140172d01da092d2ce2ed76d4219d44b11d66c088fb72d4ba91"
        "NONFACE_16.jpg" 118_145 "f6825278ac9d4f52c6473f4761030bb20e63ac9860f6354579b3bd3025e32b4a"
        "NONFACE_17.jpg" 102_277 "8afbaf2ca5f0f1e7b03df9959e37a5819bda6083545b07a4c251ef450922a2eb"
        "NONFACE_19.jpg" 110_496 "23b76aef302b9c16b33c613de55478eefb2beded985532b444617f3ee153c5e9"
        "NONFACE_20.jpg" 149_706 "82b3c1f9d264644a2f9979bbd4f23299ac0521eff5dc115b0d7096c23658a339"
        "NONFACE_21.jpg" 105_122 "86edfa0dee22231a30e9db08aac5192959f051ddf947c1fa87072b1320666ca3"
        "NONFACE_22.jpg" 94_549 "8036a0f699aa19686696f13cca1361bf1c6e5913704e450fc797563515c8bec2"
        "NONFACE_23.jpg" 117_728 "f7059527c7265c31f4e87d26d2d395ed81e273836721fe276c973602042f7d18"
        "NONFACE_24.jpg" 132_700 "59b57bd28c344a0dfcd7c7ec8cf56da77109c53f7b8b7584f25d6c70c09636dc"
        "NONFACE_25.jpg" 120_050 "dfe0dc77701de72b494df8f17ed9ddfc0d48dffd28d72dfce8118e1cfe9d8e82"
        "NONFACE_26.jpg" 145_210 "9a9142535e188da1e63725bcb67a1db7e81a59b12e1b12d4ba0fb01e7b3bf4b4"
        "NONFACE_27.jpg" 185_948 "e808cbda002b8fed63fab2606b11614fcff919a10f7835a09a602aa2ecc5a63e"
        "NONFACE_28.jpg" 111_797 "a7b8bdda799fe8945269cb1a2dd6e56a9ff3a9a762604acd09a863ac39b09cc8"
        "NONFACE_29.jpg" 157_311 "ec19d618ac80dd598bb57be9233512ddfda4102458a046e5879355712e51ab23"
        "NONFACE_30.jpg" 175_151 "10345354a78d063a845a6b694eef0a06751ec7039fdfcd40887d9616a3ef51bd"
        "NONFACE_32.jpg" 80_009 "0a42c9f93cbbfb2c381eb1bffdc22e6b122a573f67b158491ed80fba74ca845d"
        "NONFACE_33.jpg" 121_676 "890763fa9bb2fb438100879436edeb60fc495fdbd7c6a447309a154fd78afd0c"
        "NONFACE_34.jpg" 97_827 "5036da339a6b312b90c49907b0219b275e389bb177adebe1917d827b95681737"
        "NONFACE_35.jpg" 109_382 "9c4e684e2e69199026fe6a6cfc2cf2ea8a25276b37e354e38c5563832de86d97"
        "NONFACE_36.jpg" 148_893 "9913e556faeac013ceb5152ee3ca37f02c0a01b82139d6d338b76547c688a144"
        "NONFACE_37.jpg" 96_058 "9d96435dc279577ad5d853344ba6b1c18b4072ca0ec9edda0af464945711f626"
        "NONFACE_38.jpg" 84_305 "1a8dcdb06e1e7124b02d1a28591e0a42a11404be2e3656427a2383773a6afebf"
        "NONFACE_39.jpg" 153_978 "c0e307481e5db17a8a5852e960792f36a2662d71924bcacb457050ddbb0545aa"
        "NONFACE_40.jpg" 102_477 "a4f93279e02834ed86379d2107b5adb25f9c9fbbfabee0e98f1c181d90ba6b0e"
        "NONFACE_41.jpg" 104_516 "1d6cacf3934adcc237e73842fa48c0aa60cece96f8d5f2a5be66de6c480bf74f"
        "NONFACE_42.jpg" 99_771 "00009c658cd999c3ef0ede6b78d104c2bfcadd4608a270c71334ea2d356b31f7"
        "NONFACE_43.jpg" 79_180 "26508dafeabb665c774b7a5037d23c22f78b721de662183f3d6d19316f84f65e"
        "NONFACE_44.jpg" 73_145 "0615fd725d703582b2b0af84a233da6e736ccad153752191151da40bce4609d5"
        "NONFACE_45.jpg" 120_936 "e950f8745afe401f2c7999ff2c044464fd2401ee29be442cbdef4dae44bf2823"
        "NONFACE_46.jpg" 98_652 "6fb864ab58e269f526847fdb9a69850ede0061080190072fd19b50852f16e680"
        "NONFACE_47.jpg" 114_413 "90dc01ab3064ef0f22ea0a1f8d22e83691bb0c1c348cd295723e53a19b8df794"
        "NONFACE_48.jpg" 106_312 "030774eb75088496d5c71e1998c1948196765c6ee226520a8f713858f361b341"
        "NONFACE_49.jpg" 119_844 "136f17455c9950b69c53ce93025edba5787d3875f4ffd3c6be4d08b76d79389a"
        "NONFACE_50.jpg" 176_813 "6e810138b2715d106503e77f38051d68b8e089dd0d0e63abf44803e7d0776c9f"
        ; FACE
    },
};

const FACE: Asset = Asset {
    member: "pyvision/data/misc/FaceSample.jpg",
    path: "photographs/FaceSample.jpg",
    expected: pin(
        78_714,
        "6004a05f02ab4dcddd97bddad4ca35abbdc6e63447c36e991b0da163617d8ec9",
    ),
};

/// Under the licence of the package (MIT); who took them is not said.
const FOOLBOX: Source = Source {
    wheel: Wheel {
        name: "foolbox",
        version: "3.3.4",
        platform: "manylinux_2_28_x86_64",
        expected: pin(
            1_677_112,
            "11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb",
        ),
    },
    assets: photographs! {
        "foolbox/data/"
        "imagenet_00_243.jpg" 86_225 "28b7b933c8028c6e20bf74a86a709eda42ce99f14c8742cb657cb386f08a4c9d"
        "imagenet_01_559.jpg" 60_981 "5f03b0c74dff01b5b4195d0beabcae2a625a406e6917957ab9c455b5b7dea6d6"
        "imagenet_02_438.jpg" 38_174 "ccef0734c1a65549c6cb5adb0f5d9b1c0b2e2104aba50a9e5f9202dc6d4532ed"
        "imagenet_03_990.jpg" 91_433 "c7f0b2f1e9ee39d8f900759e8983afa2e4a2d7de090060e8bb947f6e90cace5f"
        "imagenet_04_949.jpg" 64_224 "a7f62f3c1d214de4718c7253871ab38209283249e131faf65b8f2b7fdc970669"
        "imagenet_05_853.jpg" 82_330 "8a449436c61da867528b1f4efaf8ae832ab9c9201705eae0d3af1353fbdac131"
        "imagenet_06_609.jpg" 91_478 "fb061102a4e58b3ed942bb2a4f9542e1e1acdc8f225ef95498e93889290e192f"
        "imagenet_07_609.jpg" 93_555 "2c297ad1e5c4804a647e9b34bc02ee2fc348b05a4d49050d170fb61c948efa5c"
        "imagenet_08_915.jpg" 92_322 "c6a3411a3987799f0de45adc142f00ca412c3e14073c635e2adfae1f3913180c"
        "imagenet_09_455.jpg" 130_424 "ace3716b60ac5843269b270e17020e4f8138440cd30ef3487f7d6e54da9745a4"
        "imagenet_10_541.jpg" 99_497 "f325c71d9f4290ee45e99bd7ad42f4bffe513b1450ad21e7bd61c7cb137395d9"
        "imagenet_11_630.jpg" 27_498 "892dff58fc528fe63d2df0c783aa3eca2342637798578ce01763fbc0553eda01"
        "imagenet_12_741.jpg" 112_576 "6c256e17545b25bbf2e06cf6513ff48d049583569515ac4d4c3a52aea804a529"
        "imagenet_13_471.jpg" 72_748 "52ed0e738b90d27afcabc3e92c81ae637f160c2d9f75b93a65211005ab5dcd81"
        "imagenet_14_129.jpg" 18_186 "ad9371d813bf24b0365ee2f78f28c08718ee7c5975f060caa16c3f264e828139"
        "imagenet_15_99.jpg" 111_008 "4b588649cd835d4c65521727ebee03d9621baff1f54d3e8a53a26b53d983ec2e"
        "imagenet_16_251.jpg" 73_665 "ce3440a3b7beb6ca3009817504c44d39fa789e7c2f70a2eef7e2f9cc9a87b129"
        "imagenet_17_22.jpg" 30_745 "b432341845620e9cfd67d848c4783c32dd6eaddad45513866b17180d2b09fcf5"
        "imagenet_18_317.jpg" 35_421 "b9412f92f0b1c3faede45b55a44940977daa744f2040118d0538cf597fca785d"
        "imagenet_19_305.jpg" 38_110 "e1f58f00e2e47ce930d7ecab0e46a78316054f68c10d0742e87c1cc092324556"
    },
};
