"""Exact search against two indexes, for 1,000 to 200,000 vectors.

    python -m experiments.index_benchmark    # two minutes on two cores, 1 GB

Writes index_benchmark.csv beside it.

Vectors like the museum's: each is one of the real ones (its notes and transcripts, cut
to 64 numbers by principal components) with noise added, so that each has near and far
neighbours. The queries are made the same way and are not in the table. Recall is the
share of the ten nearest vectors, found exactly, that an index finds too. Times are the
processor's, of all threads together: a busy machine does not change them much.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import HnswSq, IvfFlat

from experiments.tables import write_table
from helpers.catalogue import NOTEBOOKS

STORE = Path(__file__).with_suffix(".csv")

SEED = 0
SIZES = [1_000, 3_000, 10_000, 30_000, 100_000, 200_000]
NOISE = 1.0  # its length, beside a real vector's 1
QUERIES = 50
TEN = 10
NUMBERS = 64  # in a vector
PROBES = 8  # of sqrt(vectors) lists that IVF reads


def real_vectors() -> np.ndarray:
    """Return the vectors of the museum's notes and transcripts (208, 64)."""
    import torch
    from transformers import pipeline

    from helpers import model_for

    reader = pipeline("feature-extraction", **model_for("feature-extraction"))
    texts = []
    for name in ("notes.jsonl", "transcripts.jsonl"):
        lines = (NOTEBOOKS / "data" / "museum" / name).read_text("utf-8").splitlines()
        texts += [json.loads(line)["text"] for line in lines]
    with torch.no_grad():
        made = [torch.tensor(reader(text)[0]).mean(0) for text in texts if text]
    return smaller(torch.stack(made).numpy())


def smaller(vectors: np.ndarray) -> np.ndarray:
    """Return vectors cut to their first principal components, each of length 1."""
    vectors = vectors - vectors.mean(0)
    directions = np.linalg.svd(vectors, full_matrices=False)[2]
    return unit(vectors @ directions[:NUMBERS].T)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (n, numbers), each divided by its length."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def around(real: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return `count` vectors around the real ones (count, numbers)."""
    noise = rng.standard_normal((count, real.shape[1])).astype("float32")
    return unit(real[rng.integers(len(real), size=count)] + NOISE * unit(noise))


def ask(
    table: lancedb.table.Table, queries: np.ndarray, **settings: int
) -> tuple[list[set], float]:
    """Return the ten nearest ids of each query, and milliseconds per query.

    `settings` are calls of the search: nprobes=8, say.
    """
    found = []
    for warm in (True, False):
        start = time.process_time()
        for query in queries[:5] if warm else queries:
            search = table.search(query).distance_type("cosine").limit(TEN)
            for name, value in settings.items():
                search = getattr(search, name)(value)
            rows = search.select(["id", "_distance"]).to_list()
            if not warm:
                found.append({row["id"] for row in rows})
    return found, (time.process_time() - start) / len(queries) * 1000


def measure(size: int, real: np.ndarray) -> list[dict]:
    """Return a row for exact search and one for each index."""
    rng = np.random.default_rng(SEED)
    vectors, queries = around(real, size, rng), around(real, QUERIES, rng)
    with tempfile.TemporaryDirectory() as folder:
        data = pa.table(
            {
                "id": np.arange(size),
                "vector": pa.FixedSizeListArray.from_arrays(
                    vectors.ravel(), vectors.shape[1]
                ),
            }
        )
        table = lancedb.connect(folder).create_table("grown", data=data)
        exact, ms = ask(table, queries)
        row = {"vectors": size, "dimensions": vectors.shape[1]}
        rows = [row | {"search": "exact", "build_s": 0, "ms": ms, "recall": 1}]
        lists = round(size**0.5)
        ways = {
            "IVF": (IvfFlat(distance_type="cosine", num_partitions=lists), PROBES),
            "HNSW": (HnswSq(distance_type="cosine", num_partitions=1), 1),
        }
        for name, (config, probes) in ways.items():
            start = time.process_time()
            table.create_index("vector", config=config, replace=True)
            build = time.process_time() - start
            settings = {"nprobes": probes} | ({"ef": 100} if name == "HNSW" else {})
            found, ms = ask(table, queries, **settings)
            recall = np.mean([len(a & b) / TEN for a, b in zip(found, exact)])
            rows.append(
                row | {"search": name, "build_s": build, "ms": ms, "recall": recall}
            )
        return rows


def main() -> None:
    """Measure each size and write the table after each."""
    real = real_vectors()
    rows = []
    for size in SIZES:
        rows += measure(size, real)
        for row in rows[-3:]:
            for column in ("build_s", "ms", "recall"):
                row[column] = round(float(row[column]), 3)
            print(*row.values(), flush=True)
        write_table(STORE, rows)


if __name__ == "__main__":
    main()
