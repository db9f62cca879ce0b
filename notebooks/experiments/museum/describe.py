"""Say in a sentence what is on each of the museum's pictures: descriptions.jsonl.

    python -m experiments.museum.describe    # in notebooks/; a minute on two cores

The notebook finds a sentence by the sha256 of its picture's pixels, so a changed
picture is described again. After a change of the model, run this recipe again.
"""

from __future__ import annotations

import json
import unicodedata

import pandas as pd
from transformers import pipeline

from experiments.museum.collection import MUSEUM, key_of, load, margin, stored
from helpers import model_for, register_own_tasks, setup

STORE = MUSEUM / "descriptions.jsonl"
NAME = "fastvlm-scenes"  # in models/catalogue.toml


def named(pictures: list[dict]) -> pd.DataFrame:
    """Return for each drawing whether the classifier's `word` and the stored `sentence`
    name it: the last word of its character's name in Unicode ("steam locomotive").

    `pictures` are rows of the museum's table of pictures: id, text, file, origin.
    """
    said, rows = stored("descriptions"), {}
    for picture in pictures:
        character = chr(int(picture["origin"].split()[1].split("-")[0], 16))
        name = unicodedata.name(character, "?").split()[-1].lower()
        texts = picture["text"], said[key_of(load(picture))]
        rows[picture["id"]] = [name in text.lower() for text in texts]
    return pd.DataFrame.from_dict(rows, "index", columns=["word", "sentence"])


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
