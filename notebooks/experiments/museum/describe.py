"""Say in a sentence what is on each of the museum's pictures: descriptions.jsonl.

    python -m experiments.museum.describe    # in notebooks/; a minute on two cores

The notebook finds a sentence by the sha256 of its picture's pixels, so a changed
picture is described again. After a change of the model, run this recipe again.
"""

from __future__ import annotations

import json

import pandas as pd
from transformers import pipeline

from experiments.museum.collection import MUSEUM, key_of, load, margin
from helpers import model_for, register_own_tasks, setup

STORE = MUSEUM / "descriptions.jsonl"
NAME = "fastvlm-scenes"  # in models/catalogue.toml


def main() -> None:
    """Describe each picture that can be read."""
    setup()
    register_own_tasks()
    describe = pipeline("describe-image", **model_for("describe-image"))
    records = pd.read_csv(MUSEUM / "records.csv", keep_default_na=False)
    lines = []
    for record in records[records["source"] == "picture"].to_dict("records"):
        try:
            picture = load(record)
        except Exception as error:  # noqa: BLE001 (broken on purpose, of any kind)
            print(f"{record['id']}: skipped, {error}")
            continue
        text = describe(margin(picture))[0]["generated_text"]
        row = {"sha256": key_of(picture), "model": NAME, "text": text}
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
        print(f"{record['id']}: {text}", flush=True)
    STORE.write_text("".join(lines), "utf-8")


if __name__ == "__main__":
    main()
