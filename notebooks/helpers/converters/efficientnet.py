"""Turn efficientnet-lite0 from a PyTorch file into the library's own class.

Called by helpers.bases with the unpacked package and an empty folder; 1 s on two
cores. The file was made from the TensorFlow model that the authors published (Tan and
Le, 2019, and the Lite variants of 2020), and keeps the names of the first PyTorch
translation: `_conv_stem`, sixteen `_blocks`, `_conv_head`, `_fc`.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch
from transformers import (
    CLIPImageProcessorPil,
    EfficientNetConfig,
    EfficientNetForImageClassification,
)

FILE = "efficientnet-lite0-57934424.pth"
NAMES = Path(__file__).with_name("imagenet_names.txt")
OPEN = 40.0  # sigmoid(40) is 1 in float32: a gate that lets everything pass

# The file's names by the library's, first what stands outside the blocks.
OUTSIDE = {
    "_conv_stem": "embeddings.convolution",
    "_bn0": "embeddings.batchnorm",
    "_conv_head": "encoder.top_conv",
    "_bn1": "encoder.top_bn",
}
INSIDE = {
    "_expand_conv": "expansion.expand_conv",
    "_bn0": "expansion.expand_bn",
    "_depthwise_conv": "depthwise_conv.depthwise_conv",
    "_bn1": "depthwise_conv.depthwise_norm",
    "_project_conv": "projection.project_conv",
    "_bn2": "projection.project_bn",
}


def convert(files: Path, folder: Path) -> None:
    """Write config, weights and image processor for `from_pretrained`.

    `files` is the folder that holds the .pth file, `folder` an empty one. Raises
    ValueError where the file's tensors are not those of this architecture.
    """
    tensors = torch.load(files / FILE, map_location="cpu", weights_only=True)
    model = EfficientNetForImageClassification(config()).eval()
    state = state_of(tensors) | gates(model.state_dict())
    missing, unexpected = model.load_state_dict(state, strict=False)
    if missing or unexpected:
        raise ValueError(f"unknown tensors in {FILE}: {unexpected}, {missing}")
    model.save_pretrained(folder)
    image_processor().save_pretrained(folder)


def config() -> EfficientNetConfig:
    """Return EfficientNet-Lite0: B0 with ReLU6, and without squeeze-and-excitation.

    The library has no switch for the latter, so each of its gates is one unit wide
    and always open: see `gates`.
    """
    names = NAMES.read_text("utf-8").splitlines()
    return EfficientNetConfig(
        width_coefficient=1.0,
        depth_coefficient=1.0,
        hidden_dim=1280,
        image_size=224,
        hidden_act="relu6",
        squeeze_expansion_ratio=0.0,
        dropout_rate=0.2,
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
    )


def image_processor() -> CLIPImageProcessorPil:
    """Return what makes the pixels: the shorter side becomes 256, of that the middle
    224 by 224, and (value - 127) / 128. CLIP's processor has just these steps."""
    return CLIPImageProcessorPil(
        size={"shortest_edge": 256},
        crop_size={"height": 224, "width": 224},
        image_mean=[127 / 255] * 3,
        image_std=[128 / 255] * 3,
    )


def state_of(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the file's tensors under the library's names."""
    state = {}
    for name, tensor in tensors.items():
        part, kind = name.rsplit(".", 1)
        block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)", part)
        if part == "_fc":
            state[f"classifier.{kind}"] = tensor
        elif block and block[2] in INSIDE:
            place = f"efficientnet.encoder.blocks.{block[1]}.{INSIDE[block[2]]}"
            state[f"{place}.{kind}"] = tensor
        elif part in OUTSIDE:
            state[f"efficientnet.{OUTSIDE[part]}.{kind}"] = tensor
        else:
            raise ValueError(f"{FILE} holds {name!r}, which this converter lacks")
    return state


def gates(wanted: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return squeeze-and-excitation layers that multiply by one.

    `wanted` is the state dict of a model; of its gates all is zero but the last
    bias, whose sigmoid is one.
    """
    made = {
        name: torch.zeros_like(tensor)
        for name, tensor in wanted.items()
        if ".squeeze_excite." in name
    }
    for name, tensor in made.items():
        if name.endswith("squeeze_excite.expand.bias"):
            tensor.fill_(OPEN)
    return made
