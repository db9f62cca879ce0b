"""What the card of clip-photos says, measured again.

    python -m recipes.clip_photos.score SHEET.png

draws every photograph with the classifier's five first names and the dual encoder's
two first labels, to look at.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from torch.nn.functional import normalize
from transformers import pipeline
from transformers.image_utils import load_image

from helpers.models import embedded
from recipes.datasets.photographs import LABELS, PARTS, Photograph, photographs


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return how often the right one of twelve labels comes first, and how fast."""
    choose = chooser()
    test = [photograph for photograph in photographs("test") if photograph.label]
    some = test[::5]  # the pipeline reads all labels anew for each photograph
    choose(str(some[0].path), candidate_labels=LABELS)
    start = time.process_time()
    asked = [
        choose(str(photograph.path), candidate_labels=LABELS)[0]["label"]
        for photograph in some
    ]
    seconds = (time.process_time() - start) / len(some)
    first = likeliest(choose, test)
    assert first[::5] == asked, "the pipeline ranks otherwise than the vectors"
    right = [
        found == photograph.label for found, photograph in zip(first, test, strict=True)
    ]
    return {
        f"right one of 12 labels first, {len(test)} photographs of our own": sum(right)
        / len(right),
        # Of a core: other work on the machine does not count.
        "photographs per second of one core, 12 labels": 1 / seconds,
    }


@torch.no_grad()
def likeliest(choose, test: list[Photograph]) -> list[str]:
    """Return the nearest label of each photograph, by the two halves' vectors."""
    texts = [f"This is a photo of {label}." for label in LABELS]
    inputs = choose.tokenizer(texts, padding=True, return_tensors="pt")
    told = normalize(choose.model.get_text_features(**inputs).pooler_output, dim=-1)
    first = []
    for photograph in test:
        pixels = choose.image_processor(
            load_image(str(photograph.path)), return_tensors="pt"
        )
        seen = choose.model.get_image_features(**pixels).pooler_output
        first.append(LABELS[(seen @ told.T).argmax().item()])
    return first


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
