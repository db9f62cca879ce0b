"""What the card of minilm-sst2 says, measured again."""

from __future__ import annotations

import csv
from pathlib import Path

from transformers import pipeline

from helpers.catalogue import NOTEBOOKS
from helpers.models import embedded
from recipes.datasets import sst2
from recipes.minilm_sst2.train import LABELS

REMARKS = NOTEBOOKS / "data" / "remarks.csv"


def accuracy(classifier, rows: list[tuple[str, str]]) -> float:
    """Return the share of (text, label) rows that the pipeline gets right."""
    answers = classifier([text for text, _ in rows], batch_size=16)
    right = [a["label"] == r[1] for a, r in zip(answers, rows, strict=True)]
    return sum(right) / len(right)


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return the accuracies; `data` holds sst2/. Errors as in `prepare.ready`."""
    classifier = pipeline("text-classification", model=str(embedded("minilm-sst2")))
    with REMARKS.open(encoding="utf-8", newline="") as file:
        rows = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    found = {"accuracy on 64 everyday remarks": accuracy(classifier, rows)}
    if quick:
        return found
    _, held_out = sst2.split(sst2.load(data, exact=True))
    rows = [(text, LABELS[label]) for text, label in held_out]
    name = "accuracy on 900 held-out sentences of SST-2"
    return {name: accuracy(classifier, rows)} | found
