"""Transfer learning as an experiment: seven ways to learn eight kinds of requests.

    python -m experiments.transfer    # in notebooks/; an hour of one core

Writes transfer.csv beside it, row by row: a run that is there is not repeated.

What is alike for all: the number of labelled requests, of which a quarter (at least
one of each kind) is held back as validation data; a linear head; and, for those with
a network, AdamW, which trains until the validation loss has not fallen for PATIENCE
steps, then the best weights are taken back. The rate of each method is the best of
three on validation data, in runs of their own (seed TRIAL, 64 requests; they see no
test data). The 400 requests of the test part are measured once per run, at its end.
Notebook 12 draws the table and repeats a point of it.

The head reads the mean of the network's output vectors; in the two ways that end in
FIRST it is the library's own class, whose head reads the first token.

Also writes transfer_beyond.csv: what a further rate would have changed.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from torch import nn
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
STORE_BEYOND = STORE.with_name("transfer_beyond.csv")
SIZES = [16, 64, 256, 1024]
SEEDS = [0, 1, 2]
TRIAL, TRIAL_SIZE = 9, 64  # the runs that choose a rate
FIRST = ", first token"
RANK, BESIDE = 8, ["query", "key", "value"]  # of LoRA, as in the notebook
RATES = {  # of TF-IDF: the C of its logistic regression
    "TF-IDF": [10, 100, 1000],
    "frozen": [1e-2, 3e-2, 1e-1],
    "fine-tuned": [5e-5, 1.5e-4, 5e-4],
    "random weights": [5e-5, 1.5e-4, 5e-4],
    "LoRA": [1e-3, 3e-3, 1e-2],
    "frozen" + FIRST: [3e-2, 1e-1, 3e-1],
    "fine-tuned" + FIRST: [5e-5, 1.5e-4, 5e-4],
}
# One step beyond, where the best of three was at an end (not for the library's class,
# which got the rates of the fine-tuned mean). Only for random weights it was better on
# validation data, so one point was measured with it as well.
BEYOND = {"TF-IDF": 10_000, "fine-tuned": 1.5e-5, "random weights": 1.5e-5}
BEYOND_POINT = ("random weights", 256, 0)  # method, examples, seed
METHODS = list(RATES)
NOT_RUN = {(16, 2), (256, 2), (1024, 1)}  # of fine-tuned, first token: examples, seed
BATCH, CHECK, PATIENCE, LONGEST_RUN = 16, 16, 64, 1600  # all but the first: steps


def read() -> tuple[list[dict], list[dict], list[str]]:
    """Return the rows to learn from, the rows to test on, and the labels, sorted."""
    rows = read_table(NOTEBOOKS / "data" / "requests" / "requests.csv")
    learn = [row for row in rows if row["split"] == "train"]
    test = [row for row in rows if row["split"] == "test"]
    return learn, test, sorted({row["label"] for row in rows})


def draw(rows: list[dict], size: int, seed: int) -> tuple[list[dict], list[dict]]:
    """Return `size` of the rows, as many of each label, in two parts: to train on
    and to validate on, a quarter but at least one of each label."""
    chance = random.Random(seed)
    train, validation = [], []
    for label in sorted({row["label"] for row in rows}):
        own = [row for row in rows if row["label"] == label]
        own = chance.sample(own, size // 8)
        held_back = max(1, len(own) // 4)
        validation += own[:held_back]
        train += own[held_back:]
    return train, validation


class MeanClassifier(nn.Module):
    """An encoder, the mean of its output vectors, and a linear head."""

    def __init__(self, encoder, labels: int):
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.hidden_size, labels)

    def vectors(self, **inputs):
        """Return one vector per text, the mean over its tokens: (batch, width)."""
        mask = inputs["attention_mask"].unsqueeze(-1)
        outputs = self.encoder(**inputs).last_hidden_state * mask
        return outputs.sum(dim=1) / mask.sum(dim=1)

    def forward(self, **inputs):
        return self.head(self.vectors(**inputs))


class FirstTokenClassifier(nn.Module):
    """The library's class: its head reads the first token, after the pooler."""

    def __init__(self, model):
        super().__init__()
        self.model, self.head = model, model.classifier

    def vectors(self, **inputs):
        """Return one vector per text, of its first token: (batch, width)."""
        return self.model.base_model(**inputs).pooler_output

    def forward(self, **inputs):
        return self.model(**inputs).logits


class HeadOnly(nn.Module):
    """The linear head alone, over vectors that were computed once."""

    def __init__(self, head):
        super().__init__()
        self.head = head

    def forward(self, vectors):
        return self.head(vectors)


class Texts:
    """Tokenized texts: `pick` gives some of them as one padded batch."""

    def __init__(self, rows, labels, tokenizer, device):
        self.encoded = tokenizer([row["text"] for row in rows])["input_ids"]
        self.targets = torch.tensor([labels.index(r["label"]) for r in rows])
        self.targets = self.targets.to(device)
        self.tokenizer, self.device = tokenizer, device

    def pick(self, places: list[int]) -> dict:
        some = {"input_ids": [self.encoded[i] for i in places]}
        return self.tokenizer.pad(some, return_tensors="pt").to(self.device)


class Vectors:
    """The vectors of texts, computed once with a network that stays as it is."""

    @torch.no_grad()
    def __init__(self, texts: Texts, model: nn.Module):
        model.eval()
        places = list(range(len(texts.targets)))
        parts = [places[start : start + 64] for start in places[::64]]
        self.vectors = torch.cat([model.vectors(**texts.pick(x)) for x in parts])
        self.targets = texts.targets

    def pick(self, places: list[int]) -> dict:
        return {"vectors": self.vectors[places]}


def network(method: str, chosen: dict, labels: list[str], seed: int) -> nn.Module:
    """Return MiniLM with a new head, ready for a method."""
    set_seed(seed)
    name, where = chosen["model"], {"revision": chosen.get("revision", "main")}
    if method.endswith(FIRST):
        kind = AutoModelForSequenceClassification
        model = kind.from_pretrained(name, num_labels=len(labels), **where)
        return FirstTokenClassifier(model).to(chosen.get("device", "cpu"))
    if method == "random weights":
        encoder = AutoModel.from_config(AutoConfig.from_pretrained(name, **where))
    else:
        encoder = AutoModel.from_pretrained(name, **where)
    if method == "LoRA":
        encoder = get_peft_model(encoder, LoraConfig(r=RANK, target_modules=BESIDE))
    return MeanClassifier(encoder, len(labels)).to(chosen.get("device", "cpu"))


@torch.no_grad()
def measure(model, data) -> tuple[float, float]:
    """Return the loss and the accuracy of a model on some data."""
    model.eval()
    loss, right, count = 0.0, 0, len(data.targets)
    for start in range(0, count, 64):
        places = list(range(start, min(start + 64, count)))
        logits, targets = model(**data.pick(places)), data.targets[places]
        loss += nn.functional.cross_entropy(logits, targets, reduction="sum").item()
        right += (logits.argmax(dim=-1) == targets).sum().item()
    return loss / count, right / count


@torch.enable_grad()
def train(model, data, validation, rate: float, seed: int) -> dict:
    """Train until the validation loss stops falling; keep the best weights."""
    chance, order = random.Random(seed), []
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    fused = weights[0].device.type == "cpu"  # where it is much faster
    optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=0.01, fused=fused)
    batch_size = min(BATCH, len(data.targets))
    best, best_step, kept = float("inf"), 0, None
    for step in range(1, LONGEST_RUN + 1):
        model.train()
        if len(order) < batch_size:
            everything = range(len(data.targets))
            order += chance.sample(everything, len(everything))
        places, order = order[:batch_size], order[batch_size:]
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, step / CHECK)  # a short warm-up
        logits = model(**data.pick(places))
        loss = nn.functional.cross_entropy(logits, data.targets[places])
        if not torch.isfinite(loss):
            raise ValueError(f"The loss is {loss.item()} at step {step}: stop.")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % CHECK == 0:
            now, _ = measure(model, validation)
            if now < best:
                best, best_step = now, step
                kept = [weight.detach().clone() for weight in weights]
            elif step - best_step >= PATIENCE:
                break
    with torch.no_grad():
        for weight, value in zip(weights, kept, strict=True):
            weight.copy_(value)
    return {"steps": step, "best_step": best_step, "batch": batch_size}


def counted_words(rows, validation, labels, c: float):
    """Return TF-IDF with logistic regression, fitted, and its validation figures."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(C=c, max_iter=1000))
    model.fit([row["text"] for row in rows], [row["label"] for row in rows])
    texts, truth = zip(*((row["text"], row["label"]) for row in validation))
    loss = log_loss(truth, model.predict_proba(texts), labels=labels)
    return model, loss, model.score(texts, truth)


def one_run(method: str, size: int, seed: int, rate: float, chosen: dict) -> dict:
    """Return a row of the table; runs that choose a rate see no test data."""
    learn, test, labels = read()
    rows, held_back = draw(learn, size, seed)
    with_test = seed != TRIAL
    row = {"method": method, "examples": size, "seed": seed, "rate": rate}
    start = time.process_time()
    if method == "TF-IDF":
        model, loss, right = counted_words(rows, held_back, labels, rate)
        row |= {"steps": 0, "best_step": 0, "trained": 0}
        seconds = time.process_time() - start
        if with_test:
            truth = [row["label"] for row in test]
            tested = model.score([row["text"] for row in test], truth)
    else:
        where = {"revision": chosen.get("revision", "main")}
        tokenizer = AutoTokenizer.from_pretrained(chosen["model"], **where)
        model = network(method, chosen, labels, seed)
        device = chosen.get("device", "cpu")
        parts = [
            Texts(part, labels, tokenizer, device) for part in (rows, held_back, test)
        ]
        start = time.process_time()
        if method.startswith("frozen"):
            data, validation = (Vectors(part, model) for part in parts[:2])
            learner = HeadOnly(model.head)
        else:
            data, validation, learner = *parts[:2], model
        done = train(learner, data, validation, rate, seed)
        seconds = time.process_time() - start
        loss, right = measure(learner, validation)
        trained = (w.numel() for w in learner.parameters() if w.requires_grad)
        row |= {"steps": done["steps"], "best_step": done["best_step"]}
        row |= {"trained": sum(trained)}
        if with_test:
            _, tested = measure(model, parts[2])
    row |= {"validation_loss": round(loss, 4), "validation_accuracy": round(right, 4)}
    row |= {"accuracy": round(tested, 4) if with_test else ""}
    return row | {"cpu_seconds": round(seconds, 2)}


def best_rate(method: str) -> float:
    """Return the rate with the lowest validation loss of the runs that chose it."""
    tried = [
        row
        for row in read_table(STORE)
        if row["method"] == method and row["seed"] == str(TRIAL)
    ]
    return float(min(tried, key=lambda row: float(row["validation_loss"]))["rate"])


def add(
    method: str, size: int, seed: int, rate: float, chosen: dict, store: Path = STORE
) -> None:
    """Make a run and write it down, unless the table has it."""
    for row in read_table(store):
        same = (row["method"], row["examples"], row["seed"])
        if same == (method, str(size), str(seed)) and float(row["rate"]) == rate:
            return
    row = one_run(method, size, seed, rate, chosen)
    print(row, flush=True)
    append_to_table(store, [row])


def main() -> None:
    """Choose a rate for each method, then make each run that the table lacks."""
    from helpers import model_for

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    chosen = model_for("feature-extraction")
    for method in METHODS:
        for rate in RATES[method]:
            add(method, TRIAL_SIZE, TRIAL, rate, chosen)
    for seed in SEEDS:
        for size in SIZES:
            for method in METHODS:
                if method != "fine-tuned" + FIRST or (size, seed) not in NOT_RUN:
                    add(method, size, seed, best_rate(method), chosen)
    for method, rate in BEYOND.items():
        add(method, TRIAL_SIZE, TRIAL, rate, chosen, STORE_BEYOND)
    add(*BEYOND_POINT, BEYOND[BEYOND_POINT[0]], chosen, STORE_BEYOND)


if __name__ == "__main__":
    main()
