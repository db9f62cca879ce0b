"""The batch job: files of texts, classified by int8 in ONNX Runtime, on Ray Data."""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
from tokenizers import Tokenizer


class Int8Classifier:
    def __init__(self, folder: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            folder / "int8.onnx", options, providers=["CPUExecutionProvider"]
        )
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_padding()
        self.tokenizer.enable_truncation(512)
        config = json.loads((folder / "config.json").read_text("utf-8"))
        self.names = config["id2label"]  # by the number, as text

    def __call__(self, texts: list[str]) -> list[str]:
        labels = dict.fromkeys(range(len(texts)))
        order = sorted(labels, key=lambda i: len(texts[i]))
        for start in range(0, len(order), 16):
            some = order[start : start + 16]
            rows = self.tokenizer.encode_batch([texts[i] for i in some])
            inputs = {
                "input_ids": np.array([row.ids for row in rows]),
                "attention_mask": np.array([row.attention_mask for row in rows]),
            }
            (logits,) = self.session.run(None, inputs)
            best = logits.argmax(axis=-1)
            labels |= {i: self.names[str(n)] for i, n in zip(some, best, strict=True)}
        return list(labels.values())


class Worker:
    def __init__(self, model: Path, answers: Path) -> None:
        self.classify, self.answers = Int8Classifier(model), answers

    def __call__(self, batch: dict) -> dict:
        path = Path(batch["path"][0])
        rows = pd.read_parquet(path)
        good = rows["text"].notna()
        labels = self.classify(rows["text"][good].tolist())
        rows["label"] = pd.Series(labels, rows.index[good], dtype="str")
        rows["problem"] = good.map({True: "", False: "no text"})
        aside = self.answers / f"{path.stem}.writing"
        rows[["id", "label", "problem"]].to_parquet(aside)
        aside.replace(self.answers / path.name)
        broken = rows["id"][~good].tolist()
        return {"file": [path.name], "worker": [os.getpid()], "broken": [broken]}


class FragileWorker(Worker):
    def __call__(self, batch: dict) -> dict:
        note = self.answers / "_died"
        if "part-0003" in batch["path"][0] and not note.exists():
            note.write_text(str(os.getpid()))
            os.abort()
        return super().__call__(batch)


def parts_left(texts: Path, answers: Path) -> list[Path]:
    done = {path.name for path in answers.glob("*.parquet")}
    return [p for p in sorted(texts.glob("*.parquet")) if p.name not in done]


def write_answers(folder: Path, workers: int, worker: type, most: int | None = None):
    import ray

    answers = folder / "answers"
    answers.mkdir(exist_ok=True)
    left = [{"path": str(p)} for p in parts_left(folder / "texts", answers)[:most]]
    if not left:
        return []
    files = ray.data.from_items(left, override_num_blocks=len(left))
    pool = ray.data.ActorPoolStrategy(size=min(workers, len(left)))
    how = {"batch_size": 1, "compute": pool, "num_cpus": 1}
    given = [folder / "model", answers]
    return files.map_batches(worker, fn_constructor_args=given, **how).take_all()
