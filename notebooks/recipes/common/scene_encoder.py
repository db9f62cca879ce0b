"""The eye that rtdetr-scenes and fastvlm-scenes share, and batches of scenes for it.

It is the encoder of convnext-emoji, which has learned from drawings of one thing
each, 64 pixels wide. On a scene it is lost at first: of single things it names 93 in
100, of the same things in a scene of 160 pixels 12, for its maps are now larger than
what its kernels have met. So its last two stages learn anew what scenes ask for: which
thing has its centre in each cell of a 5 by 5 grid. The first two stay as they are. Of
what the large matrices learn, `thin` keeps two narrow ones each: a third of the size.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.parametrize import register_parametrization
from torch.utils.data import DataLoader, Dataset
from transformers import ConvNextConfig

from recipes.datasets.scenes.compose import (
    GROUNDS,
    NAMES,
    SIZE,
    Scene,
    compose,
    rendered,
)

SEED = 0
STYLES = [
    "noto",
    "noto-v1",
    "fxemoji",
    "fluent-emoji",
    "fluent-emoji-flat",
    "fluent-emoji-3d",
    "emojione",
    "emojione-v1",
    "openmoji",
]
WATCH = "streamline"  # another hand kept aside: what a log says is about it
GRID = SIZE // 32  # cells a side, of the eye's last stage
NOTHING = len(NAMES)  # the class of a cell without a thing
WIDTHS, DEPTHS = (48, 96, 192, 320), (2, 2, 4, 2)
RANK = 64  # of Thin
DECAY = 0.05


def eye_config() -> ConvNextConfig:
    return ConvNextConfig(
        hidden_sizes=list(WIDTHS),
        depths=list(DEPTHS),
        hidden_size=WIDTHS[-1],  # what classes that hold an encoder ask for
        out_features=["stage3", "stage4"],
    )


def awaken(eye: nn.Module, encoder: Path) -> None:
    """Give an eye what the encoder has learned, and freeze its first two stages."""
    learned = {
        # As they are committed, in float16: what is frozen must not change later.
        name.removeprefix("convnext."): tensor.half().float()
        for name, tensor in load_file(encoder / "model.safetensors").items()
        if name.startswith("convnext.")
    }
    missing, _ = eye.load_state_dict(learned, strict=False)
    assert not [name for name in missing if not learns(name)], missing
    # It learned at 64 pixels, where its last maps are 2 by 2: of these 7 by 7 weights
    # no more than the middle 3 by 3 ever met anything but padding. The others are as
    # they were drawn at random, as large as the signal.
    for layer in eye.encoder.stages[3].layers:
        middle = torch.zeros(7, 7)
        middle[2:5, 2:5] = 1.0
        layer.dwconv.weight.data *= middle
    for name, parameter in eye.named_parameters():
        parameter.requires_grad_(learns(name))


def learns(name: str) -> bool:
    """Return whether scenes teach this tensor of an eye something new."""
    return any(part in name for part in ("stages.2.", "stages.3.", "states_norms."))


def merged(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors of a model whose eye is `thin`, as if it were not."""
    made, end = {}, "parametrizations.weight."
    for name, tensor in state.items():
        stem = name.partition(end)[0]
        if name.endswith(f"{end}original"):
            thin = [state[f"{stem}{end}0.lora_{part}"] for part in "BA"]
            made[f"{stem}weight"] = tensor + thin[0] @ thin[1]
        elif end not in name:
            made[name] = tensor
    return made


def still(eye: nn.Module) -> list[nn.Module]:
    """Return the parts in which nothing is to be left out at random."""
    return [eye.embeddings, *eye.encoder.stages[:2]]


class Thin(nn.Module):
    """A change of a matrix as the product of two narrow ones (LoRA, Hu et al., 2021),
    for torch's parametrizations. It starts as near to `change` as its rank allows."""

    def __init__(self, change: torch.Tensor) -> None:
        super().__init__()
        left, size, right = torch.linalg.svd(change, full_matrices=False)
        root = size[:RANK].sqrt()
        self.lora_A = nn.Parameter(root[:, None] * right[:RANK])
        self.lora_B = nn.Parameter(left[:, :RANK] * root)

    def forward(self, matrix: torch.Tensor) -> torch.Tensor:
        return matrix + self.lora_B @ self.lora_A


def thin(eye: nn.Module, learned: dict[str, torch.Tensor]) -> None:
    """Give an awakened eye what it has learned since: the large matrices as `Thin`."""
    changed = {}
    for name, module in eye.named_modules():
        if isinstance(module, nn.Linear) and learns(name):
            changed[name] = learned[f"{name}.weight"] - module.weight.data
    large = {f"{name}.weight" for name in changed}
    rest = {name: tensor for name, tensor in learned.items() if name not in large}
    eye.load_state_dict(rest, strict=False)
    for name, change in changed.items():
        module = eye.get_submodule(name)
        module.weight.requires_grad_(False)
        register_parametrization(module, "weight", Thin(change))


def pixels(scenes: list[Scene]) -> torch.Tensor:
    """Return the pictures as (scenes, 3, height, width), from -1 to 1."""
    arrays = np.stack([np.asarray(scene.picture) for scene in scenes])
    return torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 127.5 - 1


def cells(scene: Scene) -> torch.Tensor:
    """Return which thing has its centre in each cell, (5, 5)."""
    target = torch.full((GRID, GRID), NOTHING)
    for thing in scene.things:
        row, column = int(thing.y / SIZE * GRID), int(thing.x / SIZE * GRID)
        target[row, column] = NAMES.index(thing.name)
    return target


def collate(scenes: list[Scene]) -> dict:
    """Return a batch: pixels, and what is where in three ways."""
    labels = []
    for scene in scenes:
        boxes = torch.tensor([thing.box for thing in scene.things]).float() / SIZE
        middle, extent = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        classes = torch.tensor([NAMES.index(thing.name) for thing in scene.things])
        labels.append(
            {"class_labels": classes, "boxes": torch.cat([middle, extent], 1)}
        )
    return {
        "pixels": pixels(scenes),
        "cells": torch.stack([cells(scene) for scene in scenes]),
        "ground": torch.tensor([list(GROUNDS).index(s.ground) for s in scenes]),
        "labels": labels,
    }


class Scenes(Dataset):
    """Batches of scenes, made anew each time from the number of the batch."""

    def __init__(self, folder: Path, first: int, how: dict) -> None:
        self.drawings, self.first, self.how = rendered(folder, STYLES), first, how

    def __len__(self) -> int:
        return self.how["steps"]

    def __getitem__(self, batch: int) -> dict:
        first = self.first + batch * self.how["batch"]
        seeds = range(first, first + self.how["batch"])
        things = self.how["things"]
        return collate([compose(s, self.drawings, things, vary=True) for s in seeds])


def loader(folder: Path, first: int, how: dict) -> DataLoader:
    scenes = Scenes(folder, first, how)
    return DataLoader(scenes, batch_size=None, num_workers=1, prefetch_factor=4)


class Lesson(nn.Module):
    """What the eye is to know of each cell: the thing that has its centre there, the
    colour of the ground, and where the cell lies, which a language model will need."""

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
def remind(lesson: Lesson, eye: nn.Module, encoder: Path) -> None:
    """Start the lesson from what the encoder's classifier knows of the names."""
    learned = load_file(encoder / "model.safetensors")
    label2id = ConvNextConfig.from_pretrained(encoder).label2id
    rows = [label2id[name] for name in NAMES]
    weight, bias = (learned[f"classifier.{part}"][rows] for part in ("weight", "bias"))
    # The classifier stands behind another norm than the lesson: make up for that.
    scale, shift = (learned[f"convnext.layernorm.{p}"] for p in ("weight", "bias"))
    norm = eye.hidden_states_norms["stage4"]
    bias = bias + weight @ (shift - scale / norm.weight * norm.bias)
    weight = weight * scale / norm.weight
    lesson.thing.weight[:NOTHING] = weight[..., None, None]
    lesson.thing.bias[:NOTHING] = bias
    lesson.thing.weight[NOTHING] = 0.0
    lesson.thing.bias[NOTHING] = bias.mean() + 3.0


def groups(parts: list[tuple[nn.Module, float]]) -> list[dict]:
    """Return the optimizer's groups: matrices decay, biases and norms do not."""
    made = []
    for part, lr in parts:
        found = [p for p in part.parameters() if p.requires_grad]
        for decay, chosen in (
            (DECAY, [p for p in found if p.ndim > 1]),
            (0.0, [p for p in found if p.ndim < 2]),
        ):
            made.append({"params": chosen, "lr": lr, "weight_decay": decay})
    return made


@torch.no_grad()
def by_cell(eye: nn.Module, lesson: Lesson, scenes: list[Scene]) -> dict[str, float]:
    """Return how well the eye knows the things and the grounds of scenes."""
    last = eye(pixels(scenes)).feature_maps[-1].float()
    said = lesson.thing(last).argmax(1)
    is_there = torch.stack([cells(scene) for scene in scenes])
    right = ((said == is_there) & (is_there != NOTHING)).sum().item()
    ground = lesson.ground(last).mean((2, 3)).argmax(1)
    truth = torch.tensor([list(GROUNDS).index(scene.ground) for scene in scenes])
    return {
        "recall": right / (is_there != NOTHING).sum().item(),
        "precision": right / max(1, (said != NOTHING).sum().item()),
        "ground": (ground == truth).float().mean().item(),
    }
