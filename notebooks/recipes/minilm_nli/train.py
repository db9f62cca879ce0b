"""Train minilm-nli: MiniLM, fine-tuned to say whether a text entails a sentence.

Put a label into the sentence "This example is {}." and such a model sorts texts by
labels that it has never seen (Yin, Hay and Roth, 2019). Three stages:

1. SmolLM2 writes texts on many subjects: written.py.
2. The model learns from real pairs of sentences (SNLI); from texts with labels
   (requests, feelings, reviews, news, questions, encyclopedia), each label put into one
   of many sentences, under one of several names; from WordNet, where a definition
   entails the names of everything above it; and from what MiniLM knew before: its
   opinion on texts and labels thrown together at random is distilled, so that topics
   nobody labelled are not forgotten. This file.
3. The model learns to say alone what it and its base say together: distil.py.

Time and result stand at the end of this file and of distil.py.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR
from transformers import set_seed

from recipes.common.publish import (
    config_of,
    halved,
    learned,
    write_model,
    write_tensors,
)
from recipes.common.training import Trainer
from recipes.common.vectors import SentenceEncoder
from recipes.minilm_nli import distil
from recipes.minilm_nli.draw import Distilled, Group, draw, find_hard_labels
from recipes.minilm_nli.model import (
    TOKENS,
    development,
    entailed_minus_contradicted,
    logits_of,
    new_model,
)
from recipes.minilm_nli.sets import load_pairs, load_sets
from recipes.minilm_nli.written import written_texts

SEED = 0
STEPS = 950  # as many as the time allowed: 25 minutes
LR = 2e-4
WARMUP, DECAY = 0.05, 0.35  # shares of the steps: up, then even, then down to zero


def rate(step: int) -> float:
    """Return the share of the learning rate at a step, counted from 1."""
    return min(1, step / (WARMUP * STEPS), (STEPS - step) / (DECAY * STEPS))


def group_loss(logits: torch.Tensor, groups: list[Group]) -> torch.Tensor:
    """Compare the labels of one text with each other, and each with its truth.

    The first is what the pipeline does by default, a softmax over the labels'
    entailment; the second is its `multi_label`, entailment against contradiction.
    """
    listwise, start, truths, rows = [], 0, [], []
    for _, sentences, target, truth in groups:
        stop = start + len(sentences)
        if target is not None and len(sentences) > 1:
            share = target / target.sum()
            listwise.append(-(share * logits[start:stop, 2].log_softmax(0)).sum())
        if truth is not None:
            rows += range(start, stop)
            truths += truth
        start = stop
    loss = torch.stack(listwise).mean() if listwise else logits.sum() * 0
    if truths:
        margin = entailed_minus_contradicted(logits[rows])
        truth = torch.tensor(truths, dtype=torch.float)
        loss = loss + bce(margin, truth)
        # A wrong label may be neutral or a contradiction: only not entailed.
        entailed = logits[rows].log_softmax(1)[:, 2]
        yes, no = entailed, torch.log1p(-entailed.exp().clamp(max=1 - 1e-6))
        loss = loss - 0.5 * (truth * yes + (1 - truth) * no).mean()
    return loss


def train_first(data: Path, work: Path) -> None:
    """Train the model of the second stage; write it to WORK/first.safetensors."""
    written = written_texts(work)
    set_seed(SEED)
    sets = load_sets(data, written)
    pairs, kept = load_pairs(data)
    encoder = SentenceEncoder(TOKENS, batch=128, half=True)
    find_hard_labels(sets, encoder)
    distilled = Distilled(sets, [p[0] for p in pairs], encoder)
    for name, one in sets.items():
        print(f"{name}: {len(one.rows)} texts, {len(one.names)} labels")
    print(f"{len(pairs)} pairs, {len(kept)} held out; {len(distilled.texts)} texts and "
          f"{len(distilled.names)} labels to distil", flush=True)  # fmt: skip
    model, tokenizer = new_model(), encoder.tokenizer
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, LR, weight_decay=0.01)
    schedule = LambdaLR(optimizer, lambda done: rate(done + 1))

    def loss_of(drawn: tuple[str, list]) -> dict[str, torch.Tensor]:
        kind, batch = drawn
        model.train()
        if kind == "pairs":
            premises, hypotheses, labels = zip(*batch, strict=True)
            logits = logits_of(model, tokenizer, list(premises), list(hypotheses))
            return {kind: cross_entropy(logits, torch.tensor(labels))}
        texts = [g[0] for g in batch for _ in g[1]]
        sentences = [s for g in batch for s in g[1]]
        logits = logits_of(model, tokenizer, texts, sentences)
        return {kind: group_loss(logits, batch)}

    def report(step: int) -> None:
        print(f"step {step}: {development(model, tokenizer, data, kept)}", flush=True)

    Trainer(
        model,
        optimizer,
        schedule,
        STEPS,
        work / "first.pt",
        every=max(STEPS // 4, 1),
        log=200,
    ).run(lambda step: draw(sets, pairs, distilled), loss_of, report)
    write_tensors(halved(learned(model)), work / "first.safetensors")


def train(data: Path, work: Path) -> None:
    """Run the three stages; one whose result lies in `work` is not run again."""
    if not (work / "first.safetensors").exists():
        train_first(data, work)
    distil.train(data, work)


def publish(work: Path, folder: Path) -> None:
    """Write what has learned, in float16, which moves no score, and the config."""
    tensors = load_file(work / "second.safetensors")
    write_model(folder, tensors, config_of(new_model()))


# Result: 950 steps in about 25 minutes of one core, after half an hour for the written
# texts. On the development sets: BBC news 0.82, CLINC150's two held-out domains 0.69,
# an emotion set 0.65, SNIPS 0.65, SST-2 0.81; then AG News, the test: 0.6905.
# distil.py goes on from there.
