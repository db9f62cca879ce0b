"""What the card of minilm-nli says, measured again.

Every score goes through the library's own pipeline. None of the texts were trained on.
"""

from __future__ import annotations

import csv
from pathlib import Path

import torch
from transformers import pipeline

from helpers.catalogue import NOTEBOOKS
from helpers.models import embedded
from recipes.datasets import intents, prepare, sst2
from recipes.minilm_nli.sets import typed

HERE = Path(__file__).resolve().parent
# The topics lie among the series' data, where a page reads them too.
OURS = {"topics": NOTEBOOKS / "data", "feelings": HERE, "requests": HERE}
NEWS = ["world", "sports", "business", "science and technology"]
VERDICTS = ["negative", "positive"]

Row = tuple[str, str]  # a text and its label


def classifier():
    """Return the library's zero-shot pipeline with this model."""
    return pipeline("zero-shot-classification", model=str(embedded("minilm-nli")))


def read(name: str) -> list[Row]:
    """Return the (text, label) pairs of a file of our own."""
    with (OURS[name] / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def accuracy(model, rows: list[Row], labels: list[str], **options) -> float:
    """Return how often the first label is the right one."""
    order = sorted(rows, key=lambda row: len(row[0]))  # like lengths, little padding
    answers = model([text for text, _ in order], labels, **options)
    pairs = zip(answers, order, strict=True)
    return sum(a["labels"][0] == label for a, (_, label) in pairs) / len(rows)


def independent(model, rows: list[Row]) -> dict[str, float]:
    """Return what `multi_label=True` says of right labels and of wrong ones."""
    labels = sorted({label for _, label in rows})
    order = sorted(rows, key=lambda row: len(row[0]))  # like lengths, little padding
    texts = [text for text, _ in order]
    answers = model(texts, labels, multi_label=True, batch_size=32)
    right, wrong = [], []
    for (_, truth), answer in zip(order, answers, strict=True):
        for label, score in zip(answer["labels"], answer["scores"], strict=True):
            (right if label == truth else wrong).append(score)
    r, w = torch.tensor(right), torch.tensor(wrong)
    above = (r[:, None] > w).float().mean() + 0.5 * (r[:, None] == w).float().mean()
    return {
        "AUROC": above.item(),
        "right labels above 0.5": (r > 0.5).float().mean().item(),
        "wrong labels below 0.5": (w < 0.5).float().mean().item(),
    }


def news(model, data: Path) -> float:
    """Return the accuracy on AG News' test set: title and description."""
    path = prepare.ready("ag_news", data) / "test.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if row and row[0].isdigit()]
    rows = [(f"{row[1]} {row[2]}", NEWS[int(row[0]) - 1]) for row in rows]
    return accuracy(model, rows, NEWS, batch_size=64)


def reviews(model, data: Path) -> float:
    """Return the accuracy on the sentences of SST-2 that the recipe holds out."""
    _, kept = sst2.split(sst2.load(data, exact=True))
    rows = [(typed(text), VERDICTS[label]) for text, label in kept]
    return accuracy(model, rows, VERDICTS, batch_size=32)


def requests(model, data: Path) -> float:
    """Return the accuracy on the test requests of CLINC150's held-out domains, each
    among the intents of its own domain."""
    domains, table = intents.domains(data), intents.clinc150(data)["test"]
    right, total = 0.0, 0
    for domain in intents.HELD_OUT_DOMAINS:
        rows = [(t, i.replace("_", " ")) for t, i in table if i in domains[domain]]
        labels = sorted({intent for _, intent in rows})
        right += accuracy(model, rows, labels, batch_size=64) * len(rows)
        total += len(rows)
    return right / total


# What needs data from elsewhere.
ELSEWHERE = {
    "accuracy on AG News": news,
    "accuracy on 900 held-out sentences of SST-2": reviews,
    "accuracy on 30 held-out intents of CLINC150": requests,
}


def measure(quick: bool, data: Path | None = None) -> dict[str, float]:
    """Return every measure by the name that the card and the catalogue give it.

    quick: only what needs no other data, some seconds. Raises prepare.MissingData,
    with what could be measured, where one or more sets are not in `data`.
    """
    model, scores = classifier(), {}
    for name in OURS:
        rows = read(name)
        labels = sorted({label for _, label in rows})
        scores[f"accuracy on {len(rows)} {name} of our own"] = accuracy(
            model, rows, labels, batch_size=32
        )
    for name, value in independent(model, read("topics")).items():
        scores[f"multi_label on the topics: {name}"] = value
    absent = []
    for name, measured in {} if quick else ELSEWHERE.items():
        try:
            scores[name] = measured(model, data)
        except prepare.MissingData as error:
            absent.append(str(error))
    if absent:
        raise prepare.MissingData(" ".join(absent), scores)
    return scores
