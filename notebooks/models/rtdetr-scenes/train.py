"""Train rtdetr-scenes: find things in composed scenes and name them.

Two stages. First the eye alone, a ConvNeXt: for each cell of a 5 by 5 grid it says
which thing has its centre there, and what colour the ground has. That is dense and
cheap, and teaches most of what there is to know. Then RT-DETR (Zhao et al., 2024) on
top of it: boxes, one query a thing. The eye goes on learning its first lesson beside
the second, since fastvlm-scenes sees with the same eye.

    python train.py eye --data FOLDER
    python train.py detector --data FOLDER

FOLDER is what ../pictures/world.py makes; checkpoints and logs go there too. Time,
result and the last lines of the log stand at the end of this file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from transformers import (
    AutoBackbone,
    ConvNextConfig,
    RTDetrConfig,
    RTDetrForObjectDetection,
    get_cosine_schedule_with_warmup,
    set_seed,
)

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scenes"))

from scenes import GROUNDS, NAMES, SIZE, Scene, compose, rendered

SEED = 0
STYLES = (
    "noto;noto-v1;fxemoji;fluent-emoji;fluent-emoji-flat;fluent-emoji-3d;"
    "emojione;emojione-v1;openmoji"
).split(";")
GRID = SIZE // 32  # cells a side, of the eye's last stage
NOTHING = len(NAMES)  # the class of a cell without a thing; other names come after
OTHERS = 0.25  # the eye sees all that the hands have drawn in so many of its scenes
OURS = {name: at for at, name in enumerate(NAMES)}
BATCH = 32
# The widths give 2.3 M parameters, 0.5 s a batch on one core in bfloat16.
WIDTHS, DEPTHS = (40, 80, 160, 256), (1, 2, 4, 2)
DROP_PATH = 0.05
EYE = {"steps": 900, "lr": 2e-3, "things": (1, 6)}
# The eye has learned already: a fifth of the new parts' learning rate.
DETECTOR = {"steps": 3000, "lr": 1e-3, "eye_lr": 2e-4, "things": (2, 6)}
DECAY = 0.05
KEEP = 0.5  # how much the eye's first lesson counts in the second stage


class Scenes(Dataset):
    """Endless scenes, each with its targets: cells of both grids, ground, boxes."""

    def __init__(self, folder: Path, others: list[str], things, batches: int, at: int):
        self.drawings = rendered(folder, STYLES)
        self.all = rendered(folder, STYLES, [*NAMES, *others]) if others else None
        self.names = {name: at for at, name in enumerate([*NAMES, "", *others])}
        self.things, self.batches, self.at = things, batches, at

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, batch: int) -> dict:
        first = 10**6 + (self.at + batch) * BATCH
        made = []
        for i in range(BATCH):
            wide = self.all and i < BATCH * OTHERS
            drawings = self.all if wide else self.drawings
            made.append(compose(first + i, drawings, self.things, vary=True))
        return collate(made, self.names)


def pixels(scenes: list[Scene]) -> torch.Tensor:
    """Return the pictures as (scenes, 3, height, width), 0 to 1, as RT-DETR reads."""
    arrays = np.stack([np.asarray(scene.picture) for scene in scenes])
    return torch.from_numpy(arrays).permute(0, 3, 1, 2).float() / 255


def other_names(folder: Path) -> list[str]:
    """Return the names beyond ours that nearly all hands have drawn."""
    things = json.loads((folder / "things.json").read_text())
    drawn = {t["name"]: len(set(t["styles"]) & set(STYLES)) for t in things}
    return sorted(n for n, hands in drawn.items() if hands > 6 and n not in NAMES)


def cells(scene: Scene, grid: int, names: dict[str, int]) -> torch.Tensor:
    """Return which thing has its centre in each cell, (grid, grid)."""
    target = torch.full((grid, grid), NOTHING)
    for thing in scene.things:
        row, column = int(thing.y / SIZE * grid), int(thing.x / SIZE * grid)
        target[row, column] = names[thing.name]
    return target


def collate(scenes: list[Scene], to: dict[str, int] = OURS) -> dict:
    """Return a batch: pixels, and what is where in four ways."""
    labels = []
    for scene in scenes:
        boxes = torch.tensor([thing.box for thing in scene.things]).float() / SIZE
        middle, extent = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        names = torch.tensor([to[thing.name] for thing in scene.things])
        labels.append({"class_labels": names, "boxes": torch.cat([middle, extent], 1)})
    return {
        "pixels": pixels(scenes),
        "coarse": torch.stack([cells(scene, GRID, to) for scene in scenes]),
        "fine": torch.stack([cells(scene, 2 * GRID, to) for scene in scenes]),
        "ground": torch.tensor([list(GROUNDS).index(s.ground) for s in scenes]),
        "labels": labels,
    }


class Lesson(nn.Module):
    """What the eye learns first: things by cell on two grids, the ground, and where
    each cell lies, which a language model will need to know."""

    def __init__(self, others: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(WIDTHS[3], NOTHING + 1 + others, 1)
        self.fine = nn.Conv2d(WIDTHS[2], NOTHING + 1 + others, 1)
        self.ground = nn.Conv2d(WIDTHS[3], len(GROUNDS), 1)
        self.place = nn.Conv2d(WIDTHS[3], GRID * GRID, 1)

    def forward(self, maps: list[torch.Tensor], batch: dict) -> torch.Tensor:
        fine, coarse = maps[-2].float(), maps[-1].float()
        spread = batch["ground"][:, None, None].expand_as(batch["coarse"])
        places = torch.arange(GRID * GRID).view(1, GRID, GRID)
        places = places.expand_as(batch["coarse"])
        return (
            cross_entropy(self.coarse(coarse), batch["coarse"])
            + cross_entropy(self.fine(fine), batch["fine"])
            + 0.1 * cross_entropy(self.ground(coarse), spread)
            + 0.1 * cross_entropy(self.place(coarse), places)
        )


def eye_config() -> ConvNextConfig:
    return ConvNextConfig(
        hidden_sizes=list(WIDTHS),
        depths=list(DEPTHS),
        drop_path_rate=DROP_PATH,
        out_features=["stage3", "stage4"],
    )


def detector_config() -> RTDetrConfig:
    """Return a small RT-DETR: width 96, three decoder layers, 30 queries."""
    return RTDetrConfig(
        backbone_config=eye_config(),
        # No thing is smaller than 20 pixels: the maps of strides 16 and 32 suffice.
        encoder_in_channels=list(WIDTHS[2:]),
        feat_strides=[16, 32],
        num_feature_levels=2,
        encode_proj_layers=[1],
        decoder_in_channels=[96, 96],
        d_model=96,
        encoder_hidden_dim=96,
        encoder_ffn_dim=256,
        encoder_attention_heads=3,
        hidden_expansion=0.5,
        decoder_ffn_dim=256,
        decoder_attention_heads=3,
        decoder_layers=3,
        decoder_n_points=4,
        num_queries=30,
        num_denoising=30,
        id2label=dict(enumerate(NAMES)),
        label2id={name: at for at, name in enumerate(NAMES)},
    )


def groups(parts: list[tuple[nn.Module, float]]) -> list[dict]:
    """Return the optimizer's groups: matrices decay, biases and norms do not."""
    made = []
    for part, lr in parts:
        found = [p for p in part.parameters() if p.requires_grad]
        made += [
            {"params": [p for p in found if p.ndim > 1], "lr": lr, "weight_decay": DECAY},
            {"params": [p for p in found if p.ndim < 2], "lr": lr, "weight_decay": 0.0},
        ]
    return made


def loader(folder: Path, others, things, steps: int, at: int) -> DataLoader:
    scenes = Scenes(folder, others, things, steps, at)
    return DataLoader(scenes, batch_size=None, num_workers=1, prefetch_factor=4)


@torch.no_grad()
def by_cell(eye: nn.Module, lesson: Lesson, scenes: list[Scene]) -> dict[str, float]:
    """Return how well the eye's first lesson goes on scenes."""
    eye.eval()
    last = eye(pixels(scenes)).feature_maps[-1].float()
    eye.train()
    said = lesson.coarse(last)[:, : NOTHING + 1].argmax(1)
    is_there = torch.stack([cells(scene, GRID, OURS) for scene in scenes])
    right = ((said == is_there) & (is_there != NOTHING)).sum().item()
    ground = lesson.ground(last).mean((2, 3)).argmax(1).tolist()
    return {
        "recall": right / (is_there != NOTHING).sum().item(),
        "precision": right / max(1, (said != NOTHING).sum().item()),
        "ground": sum(
            list(GROUNDS)[g] == s.ground for g, s in zip(ground, scenes, strict=True)
        )
        / len(scenes),
    }


def train_eye(folder: Path, out: Path) -> None:
    others = other_names(folder)
    eye, lesson = AutoBackbone.from_config(eye_config()), Lesson(len(others))
    steps, lr = EYE["steps"], EYE["lr"]
    optimizer = torch.optim.AdamW(groups([(eye, lr), (lesson, lr)]))
    schedule = get_cosine_schedule_with_warmup(optimizer, 50, steps)
    aside = rendered(folder, ["streamline"])  # an unseen hand, to watch by
    watch = [compose(seed, aside, EYE["things"]) for seed in range(200)]
    eye.train()
    start, mean = time.time(), 0.0
    for step, batch in enumerate(loader(folder, others, EYE["things"], steps, 0), 1):
        with torch.autocast("cpu", torch.bfloat16):
            maps = eye(batch["pixels"]).feature_maps
        loss = lesson(maps, batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(eye.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        mean += (loss.item() - mean) * max(0.02, 1 / step)
        if step % 100 == 0:
            found = by_cell(eye, lesson, watch) if step % 200 == 0 else {}
            said = " ".join(f"{key} {value:.3f}" for key, value in found.items())
            print(f"{step} loss {mean:.3f} {time.time() - start:.0f} s {said}", flush=True)
            torch.save({"eye": eye.state_dict(), "lesson": lesson.state_dict()}, out)


def train_detector(folder: Path, eye_file: Path, out: Path) -> None:
    model = RTDetrForObjectDetection(detector_config())
    lesson = Lesson(len(other_names(folder)))
    eye = model.model.backbone.model
    learned = torch.load(eye_file)
    eye.load_state_dict(learned["eye"])
    lesson.load_state_dict(learned["lesson"])
    maps: list[torch.Tensor] = []
    eye.register_forward_hook(lambda _, __, output: maps.extend(output.feature_maps))
    steps, lr = DETECTOR["steps"], DETECTOR["lr"]
    rest = nn.ModuleList(
        [part for part in model.children() if part is not model.model]
        + [part for part in model.model.children() if part is not model.model.backbone]
    )
    optimizer = torch.optim.AdamW(
        groups([(eye, DETECTOR["eye_lr"]), (lesson, lr), (rest, lr)])
    )
    schedule = get_cosine_schedule_with_warmup(optimizer, 50, steps)
    model.train()
    start, mean = time.time(), {}
    for step, batch in enumerate(
        loader(folder, [], DETECTOR["things"], steps, EYE["steps"]), 1
    ):
        maps.clear()
        with torch.autocast("cpu", torch.bfloat16):
            found = model(batch["pixels"], labels=batch["labels"])
        loss = found.loss.float() + KEEP * lesson(maps, batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        now = {"loss": loss.item()} | {
            key: value.item()
            for key, value in found.loss_dict.items()
            if key in ("loss_vfl", "loss_bbox", "loss_giou")
        }
        for key, value in now.items():
            old = mean.setdefault(key, value)
            mean[key] = old + (value - old) * max(0.02, 1 / step)
        if step % 50 == 0:
            said = " ".join(f"{key} {value:.3f}" for key, value in mean.items())
            print(f"{step} {said} {time.time() - start:.0f} s", flush=True)
        if step % 200 == 0 or step == steps:
            torch.save({"model": model.state_dict(), "lesson": lesson.state_dict()}, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=("eye", "detector"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="for checkpoints")
    parser.add_argument("--steps", type=int)
    asked = parser.parse_args()
    set_seed(SEED)
    asked.work.mkdir(parents=True, exist_ok=True)
    eye, detector = asked.work / "eye.pt", asked.work / "detector.pt"
    if asked.stage == "eye":
        EYE["steps"] = asked.steps or EYE["steps"]
        train_eye(asked.data, eye)
    else:
        DETECTOR["steps"] = asked.steps or DETECTOR["steps"]
        train_detector(asked.data, eye, detector)


if __name__ == "__main__":
    main()
