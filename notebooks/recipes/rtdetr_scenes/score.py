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
from recipes.datasets.scenes.compose import NAMES, Scene, compose, sheet

SCENES = 200


def precision(scenes: list[Scene], found: list[list[dict]]) -> float:
    """Return the mean average precision at an overlap of 0.5.

    `found` holds, for each scene, what the pipeline answers.
    """
    images = [{"id": at} for at in range(1, len(scenes) + 1)]
    truths, answers = [], []
    for at, (scene, answer) in enumerate(zip(scenes, found, strict=True), 1):
        for thing in scene.things:
            left, top, right, bottom = thing.box
            box = [left, top, right - left, bottom - top]
            truths.append(
                {
                    "id": len(truths) + 1,
                    "image_id": at,
                    "category_id": NAMES.index(thing.name),
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
        for row in answer:
            left, top, right, bottom = (
                row["box"][edge] for edge in ("xmin", "ymin", "xmax", "ymax")
            )
            answers.append(
                {
                    "image_id": at,
                    "category_id": NAMES.index(row["label"]),
                    "bbox": [left, top, right - left, bottom - top],
                    "score": row["score"],
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": images,
            "annotations": truths,
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
    training, and how many scenes a second are looked at."""
    detect = pipeline("object-detection", model=str(embedded("rtdetr-scenes")))
    drawings = sheet()
    scenes = [compose(seed, drawings) for seed in range(SCENES)]
    start = time.perf_counter()
    found = [detect(scene.picture, threshold=0.01) for scene in scenes]
    seconds = time.perf_counter() - start
    return {
        "mAP at IoU 0.5 on 200 scenes by an unseen hand": precision(scenes, found),
        "scenes a second": SCENES / seconds,
    }
