"""What the card of minilm-sst2 says, measured again."""

from __future__ import annotations

import csv
from pathlib import Path

from transformers import pipeline

from helpers.catalogue import NOTEBOOKS
from helpers.models import embedded

HERE = Path(__file__).resolve().parent
REMARKS = NOTEBOOKS / "data" / "remarks.csv"


def accuracy(classifier, rows: list[tuple[str, str]]) -> float:
    answers = classifier([text for text, _ in rows], batch_size=16)
    right = [a["label"] == r[1] for a, r in zip(answers, rows, strict=True)]
    return sum(right) / len(right)


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return the accuracies; `data` holds sst2/train.tsv and validation.tsv."""
    classifier = pipeline("text-classification", model=str(embedded("minilm-sst2")))
    with REMARKS.open(encoding="utf-8") as file:
        rows = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    found = {"accuracy on 64 everyday remarks": accuracy(classifier, rows)}
    if quick:
        return found
    if data is None or not (data / "sst2" / "train.tsv").exists():
        raise FileNotFoundError("SST-2's train.tsv and validation.tsv in DATA/sst2")
    from recipes.minilm_sst2 import train

    _, held_out = train.split(train.load(data / "sst2"))
    rows = [(text, train.LABELS[label]) for text, label in held_out]
    name = "accuracy on 900 held-out sentences of SST-2"
    return {name: accuracy(classifier, rows)} | found
