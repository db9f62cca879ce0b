"""Texts for the batch job: sentences of the series' own data, put together."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

DATA = Path(__file__).resolve().parents[2] / "data"
SOURCES = ("remarks.csv", "topics.csv", "requests/requests.csv")


def made_up(how_many: int, sentences: int = 2, seed: int = 0) -> list[str]:
    """Return texts of one up to some sentences, the same ones for the same seed."""
    pool = []
    for name in SOURCES:
        with (DATA / name).open(encoding="utf-8", newline="") as file:
            pool += [row["text"] for row in csv.DictReader(file)]
    draw = random.Random(seed)
    return [
        " ".join(draw.choices(pool, k=draw.randint(1, sentences)))
        for _ in range(how_many)
    ]


def write_parts(texts: list[str | None], folder: Path, rows: int) -> None:
    """Write texts with their numbers, column `id`, to Parquet files of some rows."""
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(texts), rows):
        part = texts[start : start + rows]
        ids = pa.array(range(start, start + len(part)))
        table = pa.table({"id": ids, "text": pa.array(part, pa.string())})
        pq.write_table(table, folder / f"part-{start // rows:04}.parquet")
