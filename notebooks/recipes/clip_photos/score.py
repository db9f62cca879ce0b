"""What the card of clip-photos says, measured again.

    python -m recipes.clip_photos.score SHEET.png

draws every photograph with the classifier's five first names and the dual encoder's
two first labels, to look at.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from transformers import pipeline

from helpers.models import embedded
from recipes.datasets.photographs import LABELS, PARTS, photographs


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return how often the right one of twelve labels comes first, and how fast."""
    choose = chooser()
    test = [photograph for photograph in photographs("test") if photograph.label]
    choose(str(test[0].path), candidate_labels=LABELS)
    start = time.process_time()
    answers = [
        choose(str(photograph.path), candidate_labels=LABELS) for photograph in test
    ]
    seconds = (time.process_time() - start) / len(test)
    right = [
        answer[0]["label"] == photograph.label
        for photograph, answer in zip(test, answers, strict=True)
    ]
    return {
        f"right one of 12 labels first, {len(test)} photographs of our own": sum(right)
        / len(right),
        # Of a core: other work on the machine does not count.
        "photographs per second of one core, 12 labels": 1 / seconds,
    }


def chooser():
    """Return the pipeline that chooses among labels."""
    return pipeline(
        "zero-shot-image-classification",
        model=str(embedded("clip-photos")),
        device="cpu",
    )


def draw(path: Path) -> None:
    """Draw all photographs with what the two models say of them, right answers in
    bold, to `path`."""
    import matplotlib.pyplot as plt
    from PIL import Image

    classify = pipeline(
        "image-classification", model=str(embedded("efficientnet-lite0")), device="cpu"
    )
    choose, columns = chooser(), 8
    rows = [photograph for part in PARTS for photograph in photographs(part)]
    height = -(-len(rows) // columns)
    figure, axes = plt.subplots(height, columns, figsize=(24, 4.2 * height))
    for axis in axes.flat:
        axis.axis("off")
    for axis, photograph in zip(axes.flat, rows, strict=False):
        names = classify(str(photograph.path), top_k=5)
        labels = choose(str(photograph.path), candidate_labels=LABELS)[:2]
        said = [(row, row["label"] in photograph.classes) for row in names]
        said += [(row, row["label"] == photograph.label) for row in labels]
        axis.imshow(Image.open(photograph.path))
        part = photograph.path.parent.name
        axis.set_title(f"{part}/{photograph.path.stem}", fontsize=9)
        for at, (row, right) in enumerate(said):
            axis.annotate(
                f"{row['label'][:34]} {row['score']:.2f}",
                (0, 0),
                (0, -12 - 11 * at - 3 * (at > 4)),
                xycoords="axes fraction",
                textcoords="offset points",
                weight="bold" if right else "normal",
                fontsize=9,
            )
    figure.tight_layout()
    figure.savefig(path, dpi=60)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
