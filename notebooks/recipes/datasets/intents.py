"""CLINC150 and BANKING77: what people ask of an assistant and of a bank."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from recipes.datasets import prepare

Row = tuple[str, str]  # a text and its intent
# Two of CLINC150's domains, 30 intents in all, which minilm-nli is measured on.
HELD_OUT_DOMAINS = ("home", "auto_and_commute")


def clinc150(data: Path) -> dict[str, list[Row]]:
    """Return the splits of DATA/clinc150 by name: train, val, test, oos_train and so
    on, each with (text, intent) rows. Errors as in `prepare.ready`."""
    path = prepare.ready("clinc150", data) / "data_full.json"
    table = json.loads(path.read_text("utf-8"))
    return {split: [(text, intent) for text, intent in table[split]] for split in table}


def domains(data: Path) -> dict[str, list[str]]:
    """Return the intents of each of CLINC150's ten domains."""
    path = prepare.ready("clinc150", data) / "domains.json"
    return json.loads(path.read_text("utf-8"))


def banking77(data: Path) -> list[Row]:
    """Return the (text, intent) rows of the training set in DATA/banking77."""
    path = prepare.ready("banking77", data) / "train.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def clinc150_from_hub(folder: Path) -> None:
    """Write data_full.json from the Hub's configuration "plus". The Hub has no
    domains, so domains.json stays absent."""
    from datasets import load_dataset

    table = {}
    hub = prepare.source("clinc150")["hub"]
    for split, short in (("train", "train"), ("validation", "val"), ("test", "test")):
        rows = load_dataset(hub, "plus", split=split)
        names = rows.features["intent"].names
        for row in rows:
            intent = names[row["intent"]]
            key = f"oos_{short}" if intent == "oos" else short
            table.setdefault(key, []).append([row["text"], intent])
    (folder / "data_full.json").write_text(json.dumps(table), "utf-8")


def banking77_from_hub(folder: Path) -> None:
    """Write train.csv from the Hub's rows."""
    from datasets import load_dataset

    rows = load_dataset(prepare.source("banking77")["hub"], split="train")
    names = rows.features["label"].names
    with (folder / "train.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "category"])
        writer.writerows([row["text"], names[row["label"]]] for row in rows)
