"""How fast one machine classifies, in several ways: writes faster.csv.

In notebooks/, with the machine to yourself: `python -m experiments.service.faster`,
a minute. 256 texts of one to eight sentences, 28 words in the mean; each way
reads them once before the clock starts, and the better of two runs counts. Used in
notebook 13.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from experiments.tables import read_table, write_table

from .texts import made_up

TABLE = Path(__file__).with_name("faster.csv")
BATCH = 16
Scores = list[float]  # how POSITIVE each text is, between 0 and 1


def by_tokens(logits_of: Callable, tokenizer) -> Callable[[list[str]], Scores]:
    """Return a function that classifies texts in batches of like length.

    `logits_of` takes `input_ids` and `attention_mask` and returns the logits.
    """

    def classify(texts: list[str]) -> Scores:
        ids = tokenizer(texts, truncation=True)["input_ids"]
        order = sorted(range(len(texts)), key=lambda i: len(ids[i]))
        scores = [0.0] * len(texts)
        for start in range(0, len(order), BATCH):
            some = order[start : start + BATCH]
            rows = {"input_ids": [ids[i] for i in some]}
            inputs = tokenizer.pad(rows, return_tensors="pt")
            with torch.inference_mode():
                logits = logits_of(inputs["input_ids"], inputs["attention_mask"])
            for i, score in zip(some, logits.softmax(-1)[:, 1].tolist(), strict=True):
                scores[i] = score
        return scores

    return classify


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keep off the page what the exporters report while all is well, and give back
    the memory of the graphs that they leave behind."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
        gc.collect()


def export(classifier, path: Path) -> None:
    """Write a classifier to a file that ONNX Runtime reads, for texts of any number
    and length."""
    inputs = classifier.tokenizer(["One.", "Two of them."], padding=True)
    names = ["input_ids", "attention_mask"]
    tensors = {name: torch.tensor(inputs[name]) for name in names}
    sizes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens")}
    with silent():
        torch.onnx.export(
            classifier.model.cpu(),
            kwargs=tensors,
            f=str(path),
            input_names=names,
            output_names=["logits"],
            dynamic_shapes=dict.fromkeys(names, sizes),
            dynamo=True,
            verbose=False,
        )


def onnx_int8(path: Path, per_channel: bool = False) -> Path:
    """Write a copy of an ONNX file with matrices of 8-bit numbers; return its path.
    With `per_channel` each column of a matrix is rounded on a scale of its own."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    small = path.with_name("int8.onnx")
    with silent():
        quantize_dynamic(
            path, small, weight_type=QuantType.QInt8, per_channel=per_channel
        )
    return small


def onnx_logits(path: Path, threads: int) -> Callable:
    """Return what asks ONNX Runtime for logits, as a tensor."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )

    def logits_of(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        given = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
        return torch.from_numpy(session.run(None, given)[0])

    return logits_of


def torch_logits(model) -> Callable:
    """Return what asks a model of the library for logits."""
    return lambda ids, mask: model(input_ids=ids, attention_mask=mask).logits


def torch_int8(model):
    """Return a copy with matrices of 8-bit numbers. torch has announced that this
    function will go, in favour of the package torchao."""
    with silent():
        return torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear})


def piped(classifier, batch_size: int, ordered: bool = False) -> Callable:
    """Return a function that classifies texts with the pipeline."""

    def classify(texts: list[str]) -> Scores:
        order = range(len(texts))
        if ordered:
            order = sorted(order, key=lambda i: len(texts[i]))
        answers = classifier([texts[i] for i in order], batch_size=batch_size)
        scores = [0.0] * len(texts)
        for i, answer in zip(order, answers, strict=True):
            positive = answer["label"] == "POSITIVE"
            scores[i] = answer["score"] if positive else 1 - answer["score"]
        return scores

    return classify


def ways(classifier, folder: Path) -> dict[str, Callable]:
    """Return what makes each way ready to classify, by its name."""
    model, tokenizer = classifier.model.cpu(), classifier.tokenizer
    file, threads = folder / "model.onnx", torch.get_num_threads()

    def exported() -> Callable:
        export(classifier, file)
        return by_tokens(onnx_logits(file, threads), tokenizer)

    return {
        "pipeline, one by one": lambda: piped(classifier, 1),
        "pipeline, batches": lambda: piped(classifier, BATCH),
        "pipeline, sorted batches": lambda: piped(classifier, BATCH, ordered=True),
        "by hand, sorted by tokens": lambda: by_tokens(torch_logits(model), tokenizer),
        "torch.compile": lambda: by_tokens(
            torch_logits(torch.compile(model, dynamic=True)), tokenizer
        ),
        "ONNX Runtime": exported,
        "int8, torch": lambda: by_tokens(torch_logits(torch_int8(model)), tokenizer),
        "int8, ONNX Runtime": lambda: by_tokens(
            onnx_logits(onnx_int8(file), threads), tokenizer
        ),
    }


def main() -> None:
    from transformers import pipeline

    from helpers import model_for, setup

    setup()
    classifier = pipeline("sentiment-analysis", **model_for("sentiment-analysis"))
    texts, first, rows = made_up(256, sentences=8), None, []
    with tempfile.TemporaryDirectory() as folder:
        for name, prepare in ways(classifier, Path(folder)).items():
            start = time.perf_counter()
            classify = prepare()
            scores = classify(texts)
            ready, runs = time.perf_counter(), []
            for _ in range(2):
                began = time.perf_counter()
                classify(texts)
                runs.append(time.perf_counter() - began)
            seconds = min(runs)  # what else the machine did counts less
            first = first or scores
            pairs = list(zip(first, scores, strict=True))
            rows.append(
                {
                    "way": name,
                    "texts_per_second": round(len(texts) / seconds, 1),
                    "seconds_before": round(ready - start, 1),
                    "largest_difference": f"{max(abs(a - b) for a, b in pairs):.1g}",
                    "verdicts_changed": sum((a > 0.5) != (b > 0.5) for a, b in pairs),
                    "threads": torch.get_num_threads(),
                }
            )
            print(rows[-1], flush=True)
    write_table(TABLE, rows)


def table() -> list[dict[str, str]]:
    """Return what was measured."""
    return read_table(TABLE)


if __name__ == "__main__":
    main()
