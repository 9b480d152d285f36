"""Makes the ONNX files in this folder, and expected.json: what PyTorch answers for the same models.

    PYTHONPATH=DINOV2 python make.py [FOLDER]

DINOV2 is a checkout of github.com/facebookresearch/dinov2. The files here were made with Python 3.11, torch 2.15.0,
transformers 5.24.0, onnx 1.23.2, onnxscript 0.7.2, onnxconverter-common 1.16.0. Models are small and random: 16 channels,
2 blocks of 2 heads, patches of 4 pixels, positions of 4 times 4 patches. Metadata that nothing reads (names of Python
source lines, types of values in between) is left out.
"""

import json
import os
import pathlib
import sys
import warnings
from functools import partial

os.environ["XFORMERS_DISABLED"] = "1"
warnings.filterwarnings("ignore")

import numpy
import onnx
import torch
from dinov2.layers import MemEffAttention, NestedTensorBlock
from dinov2.models.vision_transformer import DinoVisionTransformer
from onnxconverter_common import float16
from transformers import Dinov2Config, Dinov2ForImageClassification, Dinov2Model, ViTConfig, ViTModel

PATCH, SIDE, HIDDEN = 4, 4, 16
SHAPE = dict(hidden_size=HIDDEN, num_hidden_layers=2, num_attention_heads=2, image_size=PATCH * SIDE, patch_size=PATCH)
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
HALF = [0.5, 0.5, 0.5]


def shaken(model, seed):
    """Random weights that no part can be left out of without a trace."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            scale = 0.5 if parameter.ndim == 2 or parameter.ndim == 4 else 0.3
            one = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            parameter.copy_(scale * noise + one)
    return model.eval()


def hf(cls=Dinov2Model, attention="sdpa", **more):
    config = Dinov2Config(mlp_ratio=2, attn_implementation=attention, **SHAPE, **more)
    return shaken(cls(config), 1)


def vit():
    return shaken(ViTModel(ViTConfig(intermediate_size=2 * HIDDEN, **SHAPE)), 2)


def hub():
    block = partial(NestedTensorBlock, attn_class=MemEffAttention)
    model = DinoVisionTransformer(
        img_size=PATCH * SIDE, patch_size=PATCH, embed_dim=HIDDEN, depth=2, num_heads=2, mlp_ratio=2, block_fn=block,
        init_values=1.0, block_chunks=0,
    )
    return shaken(model, 3)


class Answer(torch.nn.Module):
    """A model with a plain tensor, or a few, as its answer."""

    def __init__(self, model, pick):
        super().__init__()
        self.model, self.pick = model, pick

    def forward(self, pixel_values):
        return self.pick(self.model(pixel_values))


def image(size, mean, std):
    """The bytes that the tests use too, normalized."""
    count = size * size * 3
    pixels = (numpy.arange(count, dtype=numpy.int64) * 83 + 17) % 256
    pixels = torch.tensor(pixels.reshape(1, size, size, 3)).permute(0, 3, 1, 2) / 255
    return (pixels - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


def features(model, x):
    if isinstance(model, DinoVisionTransformer):
        found = model.forward_features(x)
        return found["x_norm_clstoken"][0], found["x_norm_patchtokens"][0], None
    if isinstance(model, Dinov2ForImageClassification):
        found = model.dinov2(x).last_hidden_state[0]
        return found[0], found[1:], model(x).logits[0]
    found = model(x).last_hidden_state[0]
    return found[0], found[1:], None


def save(path, model):
    """The file without what nothing reads."""
    del model.graph.value_info[:]
    del model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for part in (*model.graph.initializer, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]
    onnx.save(model, path)


def main(folder):
    both = lambda found: (found.last_hidden_state, found.pooler_output)
    last = lambda found: found.last_hidden_state
    logits = lambda found: found.logits
    dynamic = dict(
        input_names=["pixel_values"],
        output_names=["last_hidden_state", "pooler_output"],
        dynamic_axes={name: {0: "batch"} for name in ("last_hidden_state", "pooler_output")}
        | {"pixel_values": {0: "batch", 2: "height", 3: "width"}},
    )
    script = dict(dynamo=False)
    dynamo = dict(dynamo=True, external_data=False)
    classifier = hf(Dinov2ForImageClassification, num_labels=3)
    # Name, model, what is exported, at which size, how; and the sizes to compare at.
    cases = [
        ("hf-script-11-eager", hf(attention="eager"), last, 12, dict(opset_version=11, **script), (12, 20)),
        ("hf-script-14-dynamic", hf(), both, 12, dict(opset_version=14, **script, **dynamic), (12, 20)),
        ("hf-dynamo-18-classes", classifier, logits, 12, dict(opset_version=18, **dynamo), (12,)),
        ("hf-dynamo-20-outside", hf(), last, 16, dict(opset_version=20, dynamo=True, external_data=True), (16,)),
        ("hf-script-17-half", hf(), last, 12, dict(opset_version=17, **script), (12, 20)),
        ("vit-script-17-pooler", vit(), both, 16, dict(opset_version=17, **script), (16,)),
        ("hub-script-17", hub(), None, 12, dict(opset_version=17, **script), (12, 20)),
        ("hub-dynamo-23", hub(), None, 16, dict(opset_version=23, **dynamo), (16,)),
    ]
    expected = {}
    for name, model, pick, size, how, sizes in cases:
        mean, std = (HALF, HALF) if name.startswith("vit") else (MEAN, STD)
        exported = Answer(model, pick) if pick else model
        path = folder / f"{name}.onnx"
        torch.onnx.export(exported, (image(size, mean, std),), str(path), **how)
        outside = how.get("external_data")
        proto = onnx.load(path, load_external_data=not outside)
        if name.endswith("half"):
            proto = float16.convert_float_to_float16(proto, keep_io_types=True)
        save(path, proto)
        answers = {}
        for at in sizes:
            with torch.no_grad():
                cls, patches, scores = features(model, image(at, mean, std))
            answer = dict(cls=cls, patches=patches.flatten()) | ({} if scores is None else dict(logits=scores))
            answers[at] = {part: [round(float(value), 6) for value in values] for part, values in answer.items()}
        expected[name] = answers
    with open(folder / "expected.json", "w") as file:
        json.dump(expected, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
