"""Print what the series costs, each figure as a ratio of two taken in one run.

    make bench

1. the first answer of notebook 01, from its first line, against a bare script;
2. `make run`'s time for the series against the sum of its cells;
3. texts per second through the pipeline against ONNX Runtime on the same model.

Ends with exit status 1 where the first is over its limit. It is no part of the test
suite, which runs two things at a time.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from helpers.catalogue import NOTEBOOKS

MOST = 1.5  # times a bare script's time, for the first answer; the aim is 1.2

BARE = """
from transformers import AutoModelForSequenceClassification, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained({folder!r})
model = AutoModelForSequenceClassification.from_pretrained({folder!r})
logits = model(**tokenizer("I'm so hungry man!", return_tensors="pt")).logits
print(model.config.id2label[int(logits.argmax())])
"""


def first_cells() -> str:
    """Return notebook 01 up to its first answer, as a script."""
    import nbformat
    from IPython.core.inputtransformer2 import TransformerManager

    notebook = nbformat.read(NOTEBOOKS / "01_pipelines.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    end = next(i for i, cell in enumerate(code) if cell.id == "first-answer")
    plain = TransformerManager().transform_cell
    return "\n".join(plain(cell.source) for cell in code[: end + 1])


def seconds(script: str) -> float:
    """Return how long a script takes in a Python of its own, from its first line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "script.py")
        clock = "import time; _start = time.perf_counter()\n"
        path.write_text(
            f"{clock}{script}\nprint(time.perf_counter() - _start)", "utf-8"
        )
        environment = os.environ | {"PYTHONPATH": str(NOTEBOOKS)}
        command = [sys.executable, str(path)]
        out = subprocess.check_output(
            command,
            cwd=NOTEBOOKS,
            env=environment,
            text=True,
            stderr=subprocess.DEVNULL,
        )
    return float(out.splitlines()[-1])


def first_answer(rounds: int = 3) -> tuple[float, float]:
    """Return the best seconds of the notebook's first cells and of a bare script."""
    from helpers.models import embedded

    bare, ours = BARE.format(folder=str(embedded("minilm-sst2"))), first_cells()
    pairs = [(seconds(ours), seconds(bare)) for _ in range(rounds)]
    return min(a for a, _ in pairs), min(b for _, b in pairs)


def time_series() -> tuple[float, float]:
    """Return the seconds of `make run`'s executions and the sum over all cells."""
    from book import execute

    total = 0.0

    def add(path: Path, notebook) -> None:
        nonlocal total
        for cell in notebook.cells:
            if times := cell.metadata.get("execution", {}):
                busy, reply = (
                    datetime.fromisoformat(times[key])
                    for key in ("iopub.status.busy", "shell.execute_reply")
                )
                total += (reply - busy).total_seconds()

    clean, execute.clean = execute.clean, lambda notebook: notebook
    start = time.perf_counter()
    try:
        assert execute.run_all(execute.notebooks(), add)
    finally:
        execute.clean = clean
        os.environ.pop("OMP_NUM_THREADS", None)
    return time.perf_counter() - start, total


def speeds(size: int = 8) -> tuple[float, float]:
    """Return texts per second in batches: the pipeline's, and ONNX Runtime's."""
    import onnxruntime
    import torch
    from transformers import logging, pipeline

    from helpers.models import embedded

    logging.set_verbosity_error()
    folder = str(embedded("minilm-sst2"))
    classifier = pipeline("sentiment-analysis", model=folder)
    with (NOTEBOOKS / "data" / "remarks.csv").open(encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)] * 4
    batches = [texts[i : i + size] for i in range(0, len(texts), size)]

    def pad(batch):
        return classifier.tokenizer(batch, padding=True, return_tensors="np")

    names = ["input_ids", "attention_mask", "token_type_ids"]
    example = classifier.tokenizer(batches[0], padding=True, return_tensors="pt")
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=512)}
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "model.onnx")
        torch.onnx.export(
            classifier.model,
            (),
            str(path),
            kwargs={name: example[name] for name in names},
            dynamic_shapes=dict.fromkeys(names, axes),
            input_names=names,
            verbose=False,
        )
        session = onnxruntime.InferenceSession(str(path))
        asked = [tensor.name for tensor in session.get_inputs()]

        def with_onnx() -> None:
            for batch in batches:
                inputs = pad(batch)
                session.run(None, {name: inputs[name] for name in asked})

        def with_pipeline() -> None:
            classifier(texts, batch_size=size)

        best = []
        for run in (with_pipeline, with_onnx):
            run()
            taken = []
            for _ in range(3):
                start = time.perf_counter()
                run()
                taken.append(time.perf_counter() - start)
            best.append(len(texts) / min(taken))
    return best[0], best[1]


def main() -> int:
    os.environ.pop("OMP_NUM_THREADS", None)  # as a reader has it
    ours, bare = first_answer()
    print(f"first answer: {ours:.1f} s, bare script {bare:.1f} s: {ours / bare:.2f}")
    whole, cells = time_series()
    print(f"series: {whole:.1f} s, its cells {cells:.1f} s: {whole / cells:.2f}")
    pipe, onnx = speeds()
    print(f"texts per second: {pipe:.0f}, ONNX Runtime {onnx:.0f}: {pipe / onnx:.2f}")
    if ours > MOST * bare:
        print(f"FAILED the first answer: over {MOST} times a bare script's time")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
