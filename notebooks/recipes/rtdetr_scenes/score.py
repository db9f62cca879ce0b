"""What the card of rtdetr-scenes says, measured again, by pycocotools."""

from __future__ import annotations

import contextlib
import io
import time
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from transformers import pipeline

from helpers.models import embedded
from recipes.datasets.scenes.compose import NAMES, Scene, compose, unseen_drawings

SCENES, QUICK = 200, 40


def as_coco(image: int, label: str, box: tuple) -> dict:
    """Return what COCO calls an annotation; `box` is left, top, right, bottom."""
    left, top, right, bottom = box
    wide, high = right - left, bottom - top
    return {
        "image_id": image,
        "category_id": NAMES.index(label),
        "bbox": [left, top, wide, high],
        "area": wide * high,
        "iscrowd": 0,
    }


def mean_average_precision(scenes: list[Scene], found: list[list[dict]]) -> float:
    """Return the mean average precision at an overlap of 0.5.

    `found` holds, for each scene, what the pipeline answers.
    """
    truths, answers = [], []
    for at, (scene, answer) in enumerate(zip(scenes, found, strict=True), 1):
        truths += [as_coco(at, thing.name, thing.box) for thing in scene.things]
        for row in answer:
            box = tuple(row["box"][edge] for edge in ("xmin", "ymin", "xmax", "ymax"))
            answers.append(as_coco(at, row["label"], box) | {"score": row["score"]})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": at} for at in range(1, len(scenes) + 1)],
            "annotations": [row | {"id": at} for at, row in enumerate(truths, 1)],
            "categories": [{"id": at, "name": name} for at, name in enumerate(NAMES)],
        }
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(answers), "bbox")
        judge.params.iouThrs = np.array([0.5])
        judge.evaluate()
        judge.accumulate()
    table = judge.eval["precision"][0, :, :, 0, -1]  # recall by name, any size
    return float(table[table > -1].mean())


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return the precision on scenes of Twemoji's drawings, which are no part of any
    training, and how many scenes per second are looked at.

    Quick: on the first 40 of 200 scenes. `data` is not needed.
    """
    detect = pipeline("object-detection", model=str(embedded("rtdetr-scenes")))
    drawings = unseen_drawings()
    scenes = [compose(seed, drawings) for seed in range(QUICK if quick else SCENES)]
    start = time.perf_counter()
    found = [detect(scene.picture, threshold=0.01) for scene in scenes]
    seconds = time.perf_counter() - start
    precision = mean_average_precision(scenes, found)
    if quick:
        return {"mAP on the first 40 of the 200 scenes": precision}
    return {
        "mAP at IoU 0.5 on 200 scenes in an unseen style": precision,
        "scenes per second": SCENES / seconds,
    }
