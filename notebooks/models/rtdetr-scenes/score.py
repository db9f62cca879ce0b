"""What the card of rtdetr-scenes says, measured again, by torchmetrics."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from torchmetrics.detection import MeanAveragePrecision
from transformers import pipeline

from helpers.models import embedded

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "scenes"))

from scenes import NAMES, compose, sheet


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return the precision on scenes of Twemoji's drawings, which are no part of any
    training, and how many scenes a second are looked at."""
    detect = pipeline("object-detection", model=str(embedded("rtdetr-scenes")))
    drawings = sheet()
    scenes = [compose(seed, drawings) for seed in range(200)]
    metric = MeanAveragePrecision(iou_thresholds=[0.5], class_metrics=False)
    start, number = time.perf_counter(), detect.model.config.label2id
    for scene in scenes:
        found = detect(scene.picture, threshold=0.01)
        boxes = [
            [box[k] for k in ("xmin", "ymin", "xmax", "ymax")]
            for box in (f["box"] for f in found)
        ]
        said = {
            "boxes": torch.tensor(boxes).float().reshape(-1, 4),
            "scores": torch.tensor([f["score"] for f in found]),
            "labels": torch.tensor([number[f["label"]] for f in found]).long(),
        }
        truth = {
            "boxes": torch.tensor([thing.box for thing in scene.things]).float(),
            "labels": torch.tensor([NAMES.index(t.name) for t in scene.things]),
        }
        metric.update([said], [truth])
    seconds = time.perf_counter() - start
    return {
        "mAP at IoU 0.5 on 200 scenes by an unseen hand": metric.compute()[
            "map_50"
        ].item(),
        "scenes a second": len(scenes) / seconds,
    }
