"""The eye that rtdetr-scenes and fastvlm-scenes share, and batches of scenes for it.

It is the encoder of convnext-emoji, which has learned from drawings of one thing
each. Its first three stages stay as they are, for one copy serves all; the last one
learns what scenes ask for: which thing has its centre in each cell of a 5 by 5 grid.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from scenes import GROUNDS, NAMES, SIZE, Scene, compose, rendered
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from transformers import ConvNextConfig

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
LATER = ("hidden_states_norms.", "encoder.stages.3.")
DECAY = 0.05


def eye_config() -> ConvNextConfig:
    return ConvNextConfig(
        hidden_sizes=list(WIDTHS),
        depths=list(DEPTHS),
        hidden_size=WIDTHS[-1],  # what classes that hold an encoder ask for
        out_features=["stage3", "stage4"],
    )


def awaken(eye: nn.Module, encoder: Path, last: bool = True) -> None:
    """Give an eye what the encoder has learned, and freeze its first three stages.
    Without `last` the fourth stays as it is: it has learned more since."""
    learned = {
        # As they are committed, in float16: what is frozen must not change later.
        name.removeprefix("convnext."): tensor.half().float()
        for name, tensor in load_file(encoder / "model.safetensors").items()
        if name.startswith("convnext.") and (last or "stages.3" not in name)
    }
    missing, _ = eye.load_state_dict(learned, strict=False)
    assert not [n for n in missing if not n.startswith(LATER)], missing
    for part in frozen(eye):
        part.requires_grad_(False)


def frozen(eye: nn.Module) -> list[nn.Module]:
    return [eye.embeddings, *eye.encoder.stages[:3]]


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
        return (
            cross_entropy(self.thing(last), batch["cells"])
            + 0.1 * cross_entropy(self.ground(last), ground)
            + 0.1 * cross_entropy(self.place(last), place.expand_as(ground))
        )


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
