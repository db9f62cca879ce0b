"""A large batch job on Ray Data: writes million.csv, or with --compare workers.csv.

In notebooks/: `python -m experiments.service.million ROWS WORKERS`. The job is
that of `job.py`: int8 in ONNX Runtime, one thread per worker. Every ten seconds this
notes how many texts are written and how much memory all processes hold together. Run
again after it was stopped, it goes on. `--compare` begins anew and adds a row to
workers.csv instead; `--nodes 2` runs the job on a cluster of two nodes, both on this
machine. Used in notebook 13.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import threading
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import psutil
import pyarrow.parquet as pq

from experiments.tables import append_to_table, read_table, write_table

from .job import Worker, write_answers
from .texts import made_up, write_parts

HERE = Path(__file__).parent
TABLE, WORKERS = HERE / "million.csv", HERE / "workers.csv"
PART = 500  # texts in a file
EVERY = 10  # seconds between two notes


class NodeWorker(Worker):
    """Says on which node it works, too."""

    def __call__(self, batch: dict) -> dict:
        import ray

        node = ray.get_runtime_context().get_node_id()
        return super().__call__(batch) | {"node": [node]}


def rows_written(folder: Path) -> int:
    """Return how many answers are on the disk, from the files' own counts."""
    files = (folder / "answers").glob("*.parquet")
    return sum(pq.read_metadata(path).num_rows for path in files)


class Notes(threading.Thread):
    """Notes every ten seconds how far a job is and what memory it takes, in a table
    of the job's folder. A job that goes on goes on with its notes: `run` counts its
    starts, the seconds the time at work, the core seconds what its processes took of
    the processor, which is the same on a machine that has other work too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder, self.table = folder, folder / "notes.csv"
        self.over = threading.Event()
        before = read_table(self.table)
        worked = float(before[-1]["seconds"]) if before else 0.0
        self.start_time = time.perf_counter() - worked
        self.core_seconds = float(before[-1]["core_seconds"]) if before else 0.0
        self.run_number = int(before[-1]["run"]) + 1 if before else 1
        self.taken: dict[int, float] = {}  # of each process, which may be gone

    def note(self) -> None:
        me, total = psutil.Process(), 0
        for process in [me, *me.children(recursive=True)]:
            try:
                total += process.memory_info().rss
                times = process.cpu_times()
                self.taken[process.pid] = times.user + times.system
            except psutil.Error:
                continue
        row = {
            "run": self.run_number,
            "seconds": round(time.perf_counter() - self.start_time, 1),
            "core_seconds": round(self.core_seconds + sum(self.taken.values()), 1),
            "texts": rows_written(self.folder),
            "gigabytes": round(total / 1e9, 2),
        }
        append_to_table(self.table, [row])
        print(row, flush=True)

    def run(self) -> None:
        while not self.over.wait(EVERY):
            self.note()


def prepare(folder: Path, how_many: int) -> tuple[str, Path]:
    """Write the texts, and the model as a worker reads it; return the folders of the
    model as the library reads it and as a worker does."""
    from transformers import pipeline

    from helpers import model_for

    from .faster import export, onnx_int8

    chosen, model = model_for("sentiment-analysis"), folder / "model"
    if not (model / "int8.onnx").exists():
        model.mkdir(parents=True, exist_ok=True)
        classifier = pipeline("sentiment-analysis", **chosen)
        classifier.tokenizer.save_pretrained(model)
        classifier.model.config.save_pretrained(model)
        export(classifier, model / "model.onnx")
        onnx_int8(model / "model.onnx", per_channel=True)
    if not (folder / "texts").exists():
        write_parts(made_up(how_many), folder / "texts", PART)
    return chosen["model"], model


def timed(
    folder: Path, how_many: int, workers: int
) -> tuple[list[dict[str, str]], list[int]]:
    """Do the job, or what is left of it; return the notes made meanwhile, and how many
    files each node wrote."""
    prepare(folder, how_many)
    notes = Notes(folder)
    notes.start()
    report = write_answers(folder, workers, NodeWorker)
    notes.over.set()
    notes.join()
    notes.note()
    written = pd.read_parquet(folder / "answers")
    assert sorted(written["id"]) == list(range(how_many)), "lost or twice"
    files = sorted(Counter(row["node"] for row in report).values())
    return read_table(notes.table), files


def pace(notes: list[dict[str, str]]) -> float:
    """Return the texts per second between the first note of a text and the last."""
    first = next(note for note in notes if int(note["texts"]))
    texts = int(notes[-1]["texts"]) - int(first["texts"])
    return texts / (float(notes[-1]["seconds"]) - float(first["seconds"]))


def main() -> None:
    from .cluster import nodes, start_ray

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int)
    parser.add_argument("workers", type=int)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("build/million"))
    parser.add_argument("--aside", type=Path, default=TABLE, help="the table to write")
    parser.add_argument("--compare", action="store_true", help="add to workers.csv")
    asked = parser.parse_args()
    if asked.compare:
        shutil.rmtree(asked.folder / "answers", ignore_errors=True)
        (asked.folder / "notes.csv").unlink(missing_ok=True)
    with nodes(asked.nodes) if asked.nodes > 1 else contextlib.nullcontext():
        start_ray(asked.workers)
        notes, files = timed(asked.folder, asked.rows, asked.workers)
    print("files per node:", *files, flush=True)
    if asked.compare:
        how = {"nodes": asked.nodes, "workers": asked.workers}
        at_work = {"texts_per_second": round(pace(notes))}
        shares = {"files_per_node": " + ".join(map(str, files))}
        last = {key: value for key, value in notes[-1].items() if key != "run"}
        row = how | last | at_work | shares
        append_to_table(WORKERS, [row])
    else:
        write_table(asked.aside, notes)


def table() -> list[dict[str, str]]:
    """Return the notes of the large job."""
    return read_table(TABLE)


def compared() -> list[dict[str, str]]:
    """Return what the same texts took with other numbers of workers and nodes."""
    return read_table(WORKERS)


if __name__ == "__main__":
    main()
