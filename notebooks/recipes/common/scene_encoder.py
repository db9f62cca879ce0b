"""The encoder that rtdetr-scenes and fastvlm-scenes share, and batches of scenes.

It is the encoder of convnext-emoji, which has learned from drawings of one thing
each, 64 pixels wide. On a scene it is lost at first: of single things it names 93 in
100, of the same things in a scene of 160 pixels 12, for its maps are now larger than
what its kernels have met. So its last two stages learn anew what scenes ask for: which
thing has its centre in each cell of a 5 by 5 grid. The first two stay as they are. Of
what the large matrices learn, `to_low_rank` keeps two narrow ones each: a third of the
size.
"""

from __future__ import annotations

from pathlib import Path

import torch
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from transformers import ConvNextConfig

from recipes.common.pictures import as_pixels
from recipes.convnext_emoji import DEPTHS, WIDTHS
from recipes.datasets.emoji.drawings import TRAINING_STYLES
from recipes.datasets.scenes.compose import (
    GROUNDS,
    NAMES,
    SIZE,
    Scene,
    compose,
    styled_drawings,
)

GRID = SIZE // 32  # cells per side, of the encoder's last stage
NOTHING = len(NAMES)  # the class of a cell without a thing
RANK = 64  # of the low-rank changes


def encoder_config() -> ConvNextConfig:
    """Return the configuration of the encoder, as a backbone of its last two stages."""
    return ConvNextConfig(
        hidden_sizes=list(WIDTHS),
        depths=list(DEPTHS),
        hidden_size=WIDTHS[-1],  # what classes that hold an encoder ask for
        out_features=["stage3", "stage4"],
    )


def load_encoder(encoder: nn.Module, folder: Path) -> None:
    """Give an encoder what convnext-emoji in `folder` has learned, and freeze its first
    two stages."""
    learned = {
        # As they are committed, in float16: what is frozen must not change later.
        name.removeprefix("convnext."): tensor.half().float()
        for name, tensor in load_file(folder / "model.safetensors").items()
        if name.startswith("convnext.")
    }
    missing, _ = encoder.load_state_dict(learned, strict=False)
    if absent := [name for name in missing if not learns(name)]:
        raise ValueError(f"{folder} lacks tensors of the encoder: {absent}")
    # It learned at 64 pixels, where its last maps are 2 by 2: of these 7 by 7 weights
    # no more than the middle 3 by 3 ever met anything but padding. The others are as
    # they were drawn at random, as large as the signal.
    for layer in encoder.encoder.stages[3].layers:
        middle = torch.zeros(7, 7)
        middle[2:5, 2:5] = 1.0
        layer.dwconv.weight.data *= middle
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(learns(name))


def learns(name: str) -> bool:
    """Return whether scenes teach this tensor of an encoder something new."""
    return any(part in name for part in ("stages.2.", "stages.3.", "states_norms."))


def frozen_parts(encoder: nn.Module) -> list[nn.Module]:
    """Return the parts that learn nothing, and in which dropout must stay off."""
    return [encoder.embeddings, *encoder.encoder.stages[:2]]


def large_matrices(encoder: nn.Module) -> list[str]:
    """Return the names of the linear layers of which a low-rank change is kept."""
    return [
        name
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Linear) and learns(name)
    ]


def lora_config(names: list[str]) -> LoraConfig:
    """Return the configuration of the low-rank changes of layers of these names."""
    return LoraConfig(r=RANK, lora_alpha=RANK, target_modules=names)


def to_low_rank(encoder: nn.Module, learned: dict[str, torch.Tensor]) -> None:
    """Give a loaded encoder what it has `learned` since, a state dict: of the change of
    each large matrix the nearest one of low rank, as a LoRA (Hu et al., 2021) that goes
    on learning, and all else as it is."""
    changes = {
        name: learned[f"{name}.weight"] - encoder.get_submodule(name).weight.detach()
        for name in large_matrices(encoder)
    }
    large = {f"{name}.weight" for name in changes}
    rest = {name: tensor for name, tensor in learned.items() if name not in large}
    encoder.load_state_dict(rest, strict=False)
    inject_adapter_in_model(lora_config(list(changes)), encoder)
    for name, change in changes.items():
        left, size, right = torch.linalg.svd(change, full_matrices=False)
        root, layer = size[:RANK].sqrt(), encoder.get_submodule(name)
        layer.lora_A["default"].weight.data = root[:, None] * right[:RANK]
        layer.lora_B["default"].weight.data = left[:, :RANK] * root
    for name, parameter in encoder.named_parameters():  # peft froze all but the LoRA
        parameter.requires_grad_(learns(name) and "base_layer.weight" not in name)


def cells(scene: Scene) -> torch.Tensor:
    """Return which thing has its centre in each cell, (5, 5)."""
    target = torch.full((GRID, GRID), NOTHING)
    for thing in scene.things:
        row, column = int(thing.y / SIZE * GRID), int(thing.x / SIZE * GRID)
        target[row, column] = NAMES.index(thing.name)
    return target


def collate(scenes: list[Scene]) -> dict:
    """Return a batch: `pixels` (n, 3, 160, 160), the `cells` (n, 5, 5), the number of
    the `ground` (n,), and `labels` as RT-DETR takes them: boxes of centre, width and
    height, in shares of the side."""
    labels = []
    for scene in scenes:
        boxes = torch.tensor([thing.box for thing in scene.things]).float() / SIZE
        middle, extent = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        classes = torch.tensor([NAMES.index(thing.name) for thing in scene.things])
        labels.append(
            {"class_labels": classes, "boxes": torch.cat([middle, extent], 1)}
        )
    return {
        "pixels": as_pixels([scene.picture for scene in scenes]),
        "cells": torch.stack([cells(scene) for scene in scenes]),
        "ground": torch.tensor([list(GROUNDS).index(s.ground) for s in scenes]),
        "labels": labels,
    }


class Scenes(Dataset):
    """Batches of scenes, composed anew each time from the number of the batch.

    `how` has the recipe's `batch` (scenes) and `things` (fewest, most); `first` is the
    seed of the first scene.
    """

    def __init__(self, data: Path, first: int, how: dict) -> None:
        self.drawings = styled_drawings(data, TRAINING_STYLES)
        self.first, self.how = first, how

    def __getitem__(self, batch: int) -> dict:
        first = self.first + batch * self.how["batch"]
        seeds = range(first, first + self.how["batch"])
        things = self.how["things"]
        return collate([compose(s, self.drawings, things, vary=True) for s in seeds])

    def batches(self, numbers: range) -> DataLoader:
        """Return the batches of these numbers, composed in a process of its own."""
        return DataLoader(
            self, batch_size=None, sampler=numbers, num_workers=1, prefetch_factor=4
        )


class CellLoss(nn.Module):
    """What the encoder is to know of each cell: the thing that has its centre there,
    the colour of the ground, and where the cell lies, which a language model will need.

    Takes the last stage's map (n, 320, 5, 5) and a batch; gives one number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.thing = nn.Conv2d(WIDTHS[3], NOTHING + 1, 1)
        self.ground = nn.Conv2d(WIDTHS[3], len(GROUNDS), 1)
        self.place = nn.Conv2d(WIDTHS[3], GRID * GRID, 1)

    def forward(self, last: torch.Tensor, batch: dict) -> torch.Tensor:
        last = last.float()
        ground = batch["ground"][:, None, None].expand_as(batch["cells"])
        place = torch.arange(GRID * GRID).view(1, GRID, GRID)
        # Things and empty cells count half each, though there are six times as many
        # of the latter.
        each = cross_entropy(self.thing(last), batch["cells"], reduction="none")
        empty = batch["cells"] == NOTHING
        return (
            (each[~empty].mean() + each[empty].mean()) / 2
            + 0.1 * cross_entropy(self.ground(last), ground)
            + 0.1 * cross_entropy(self.place(last), place.expand_as(ground))
        )


@torch.no_grad()
def init_from_classifier(loss: CellLoss, encoder: nn.Module, folder: Path) -> None:
    """Start the loss from what the classifier in `folder` knows of the names; a name
    that it does not know starts from nothing."""
    learned = load_file(folder / "model.safetensors")
    label2id = ConvNextConfig.from_pretrained(folder).label2id
    known = [at for at, name in enumerate(NAMES) if name in label2id]
    rows = [label2id[NAMES[at]] for at in known]
    weight, bias = (
        learned[f"classifier.{part}"][rows].float() for part in ("weight", "bias")
    )
    # The classifier stands behind another norm than the loss: make up for that.
    scale, shift = (
        learned[f"convnext.layernorm.{part}"].float() for part in ("weight", "bias")
    )
    norm = encoder.hidden_states_norms["stage4"]
    bias = bias + weight @ (shift - scale / norm.weight * norm.bias)
    weight = weight * scale / norm.weight
    loss.thing.weight.zero_()
    loss.thing.weight[known] = weight[..., None, None]
    loss.thing.bias.fill_(bias.mean())
    loss.thing.bias[known] = bias
    loss.thing.bias[NOTHING] = bias.mean() + 3.0


@torch.no_grad()
def by_cell(
    encoder: nn.Module, loss: CellLoss, scenes: list[Scene]
) -> dict[str, float]:
    """Return how well the encoder knows the things and the grounds of scenes."""
    pixels = as_pixels([scene.picture for scene in scenes])
    last = encoder(pixels).feature_maps[-1].float()
    said = loss.thing(last).argmax(1)
    is_there = torch.stack([cells(scene) for scene in scenes])
    right = ((said == is_there) & (is_there != NOTHING)).sum().item()
    ground = loss.ground(last).mean((2, 3)).argmax(1)
    truth = torch.tensor([list(GROUNDS).index(scene.ground) for scene in scenes])
    return {
        "recall": right / (is_there != NOTHING).sum().item(),
        "precision": right / max(1, (said != NOTHING).sum().item()),
        "ground": (ground == truth).float().mean().item(),
    }
