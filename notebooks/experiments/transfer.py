"""Transfer learning as an experiment: five ways to learn eight kinds of requests.

    python -m experiments.transfer    # in notebooks/; half an hour on two cores

Writes transfer.csv beside it.

The budget: every network is shown 1,024 examples, in 64 steps of 16, however many of
them are different; so 16 labelled requests are seen 64 times each, 1,024 once. The
two methods that train no network stay far below it. The learning rates are customary
ones and were not tuned; LoRA is measured at two sizes only, to keep the recipe short.
The test part of 400 requests is only ever measured on. Notebook 10 draws the table
and repeats points of it. A run that is in the table already is not repeated.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    logging,
    set_seed,
)

from experiments.tables import append_to_table, read_table
from helpers.catalogue import NOTEBOOKS

STORE = Path(__file__).with_suffix(".csv")
SIZES = [16, 64, 256, 1024]
LORA_SIZES = [64, 1024]  # to keep the recipe short
SEEDS = [0, 1, 2]
STEPS, BATCH, LONGEST = 64, 16, 16
RATES = {"fine-tuned": 3e-4, "LoRA": 2e-3, "from scratch": 5e-4}
METHODS = ["TF-IDF", "frozen", "LoRA", "fine-tuned", "from scratch"]


def read() -> tuple[list[dict], list[dict], list[str]]:
    """Return the rows to train on, the rows to test on, and the labels, sorted."""
    rows = read_table(NOTEBOOKS / "data" / "requests" / "requests.csv")
    train = [row for row in rows if row["split"] == "train"]
    test = [row for row in rows if row["split"] == "test"]
    return train, test, sorted({row["label"] for row in rows})


def some(rows: list[dict], size: int, seed: int) -> list[dict]:
    """Return `size` of the rows, as many of each label, in random order."""
    chance = random.Random(seed)
    labels = sorted({row["label"] for row in rows})
    chosen = []
    for label in labels:
        own = [row for row in rows if row["label"] == label]
        chosen += chance.sample(own, size // len(labels))
    chance.shuffle(chosen)
    return chosen


def network(method: str, chosen: dict, labels: list[str], seed: int):
    """Return MiniLM with a new head: its own weights, random ones, or with LoRA."""
    set_seed(seed)
    kind, name = AutoModelForSequenceClassification, chosen["model"]
    more = {"revision": chosen.get("revision", "main"), "num_labels": len(labels)}
    if method == "from scratch":
        return kind.from_config(AutoConfig.from_pretrained(name, **more))
    model = kind.from_pretrained(name, **more)
    if method == "LoRA":
        from peft import LoraConfig, get_peft_model

        # r and alpha are peft's usual small choice; the pooler is new to this task.
        lora = LoraConfig(
            task_type="SEQ_CLS",
            r=8,
            lora_alpha=16,
            target_modules=["query", "key", "value"],
            modules_to_save=["pooler", "classifier"],
        )
        model = get_peft_model(model, lora)
    return model


def encode(tokenizer, rows: list[dict]):
    """Return the texts of some rows as one batch of tensors."""
    texts = [row["text"] for row in rows]
    return tokenizer(
        texts, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
    )


@torch.enable_grad()
def train(model, tokenizer, rows, labels, rate: float, seed: int):
    """Train on STEPS batches, the rows in a new order each time they run out."""
    chance, order = random.Random(seed), []
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=0.01, fused=True)
    warm = STEPS // 10
    model.train()
    for step in range(STEPS):
        if len(order) < BATCH:
            order += chance.sample(rows, len(rows))
        batch, order = order[:BATCH], order[BATCH:]
        target = torch.tensor([labels.index(row["label"]) for row in batch])
        logits = model(**encode(tokenizer, batch)).logits
        loss = torch.nn.functional.cross_entropy(logits, target)
        if not torch.isfinite(loss):
            raise ValueError(f"The loss is {loss.item()} at step {step + 1}: stop.")
        for group in optimizer.param_groups:
            group["lr"] = rate * min((step + 1) / warm, (STEPS - step) / (STEPS - warm))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def accuracy(model, tokenizer, rows, labels) -> float:
    """Return the share of rows that the model labels rightly."""
    model.eval()
    rows, right = sorted(rows, key=lambda row: len(row["text"])), 0
    for start in range(0, len(rows), 50):
        batch = rows[start : start + 50]
        best = model(**encode(tokenizer, batch)).logits.argmax(dim=-1)
        right += sum(labels[i] == row["label"] for i, row in zip(best, batch))
    return right / len(rows)


@torch.no_grad()
def features(rows: list[dict], chosen: dict) -> list:
    """Return for each text the mean of MiniLM's output vectors, 384 numbers."""
    where = {"revision": chosen.get("revision", "main")}
    tokenizer = AutoTokenizer.from_pretrained(chosen["model"], **where)
    model = AutoModel.from_pretrained(chosen["model"], **where).eval()
    parts = []
    for start in range(0, len(rows), 50):
        inputs = encode(tokenizer, rows[start : start + 50])
        mask = inputs["attention_mask"].unsqueeze(-1)
        vectors = model(**inputs).last_hidden_state * mask
        parts.append(vectors.sum(dim=1) / mask.sum(dim=1))
    return torch.cat(parts).numpy()


def simple(method: str, chosen: dict, rows, test) -> tuple[float, float]:
    """Return accuracy and seconds of logistic regression on words or on features."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    start = time.process_time()
    if method == "TF-IDF":
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        inputs = words.fit_transform([row["text"] for row in rows])
    else:
        inputs = features(rows, chosen)
    head = LogisticRegression(C=10, max_iter=1000)
    head.fit(inputs, [row["label"] for row in rows])
    seconds = time.process_time() - start
    if method == "TF-IDF":
        unseen = words.transform([row["text"] for row in test])
    else:
        unseen = features(test, chosen)
    return head.score(unseen, [row["label"] for row in test]), seconds


def one_run(method: str, size: int, seed: int, chosen: dict) -> dict:
    """Return a row of the table: what was run, the accuracy, the CPU seconds."""
    rows, test, labels = read()
    rows = some(rows, size, seed)
    if method in ("TF-IDF", "frozen"):
        right, seconds = simple(method, chosen, rows, test)
        trained, shown = 0, 0
    else:
        where = {"revision": chosen.get("revision", "main")}
        tokenizer = AutoTokenizer.from_pretrained(chosen["model"], **where)
        model = network(method, chosen, labels, seed)
        trained = sum(w.numel() for w in model.parameters() if w.requires_grad)
        shown = STEPS * BATCH
        start = time.process_time()
        train(model, tokenizer, rows, labels, RATES[method], seed)
        seconds = time.process_time() - start
        right = accuracy(model, tokenizer, test, labels)
    return {
        "method": method,
        "examples": size,
        "seed": seed,
        "shown": shown,
        "accuracy": round(right, 4),
        "cpu_seconds": round(seconds, 1),
        "trained": trained,
    }


def main() -> None:
    """Make each run that the table lacks."""
    from helpers import model_for

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    chosen = model_for("feature-extraction")
    done = {(row["method"], row["examples"], row["seed"]) for row in read_table(STORE)}
    for seed in SEEDS:
        for method in METHODS:
            for size in LORA_SIZES if method == "LoRA" else SIZES:
                if (method, str(size), str(seed)) in done:
                    continue
                row = one_run(method, size, seed, chosen)
                print(row, flush=True)
                append_to_table(STORE, [row])


if __name__ == "__main__":
    main()
