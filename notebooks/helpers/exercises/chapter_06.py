"""The exercises of notebook 06: for each its solution, then its checker."""

from __future__ import annotations

import math

import torch
from transformers import LogitsProcessor

from . import Wrong, exercise

OUT = float("-inf")


def close(found, expected, tolerance: float = 1e-4) -> bool:
    """Return whether two lists of numbers agree."""
    return len(found) == len(expected) and all(
        math.isclose(f, e, rel_tol=tolerance, abs_tol=tolerance)
        for f, e in zip(found, expected, strict=True)
    )


def rounded(values) -> str:
    """Return a list of numbers as a short text."""
    return "[" + ", ".join(f"{value:.3f}" for value in values) + "]"


def probabilities(logits: list[float], t: float) -> list[float]:
    """The solution of 06.1: the limit of a falling temperature is greedy."""
    if t == 0:
        best = logits.index(max(logits))
        return [float(place == best) for place in range(len(logits))]
    powers = [math.exp((logit - max(logits)) / t) for logit in logits]
    return [power / sum(powers) for power in powers]


@exercise(
    "06.1",
    "Divide every logit by t, then take the softmax: exp of each over their sum.",
    "Subtract the largest logit first, so that exp never overflows.",
    "t == 0 needs a branch of its own, as nothing can be divided by it.",
)
def check_probabilities(answer) -> None:
    logits = [2.0, 1.0, -1.0]
    for t in (1.0, 0.5, 2.0, 0.01):
        found, expected = list(answer(list(logits), t)), probabilities(logits, t)
        if not close(found, expected):
            raise Wrong(
                f"For {logits} at {t} expected {rounded(expected)}, "
                f"got {rounded(found)}."
            )
    try:
        found = list(answer(list(logits), 0))
    except ZeroDivisionError:
        raise Wrong("A temperature of 0 divides by zero: hint('06.1').") from None
    if not close(found, [1, 0, 0]):
        raise Wrong(f"At 0 the likeliest gets 1, the others 0; got {rounded(found)}.")


def nucleus(probabilities: list[float], p: float) -> list[float]:
    """The solution of 06.2: from the likeliest on, until the sum reaches p."""
    kept, total = [0.0] * len(probabilities), 0.0
    order = sorted(range(len(kept)), key=lambda i: -probabilities[i])
    for place in order:
        if total >= p:
            break
        kept[place] = probabilities[place]
        total += probabilities[place]
    return [value / total for value in kept]


@exercise(
    "06.2",
    "Go through the places from the likeliest to the least likely.",
    "Keep an entry while the sum of those before it is below p; so one is always kept.",
    "At the end divide by the sum of what is kept, and leave every entry in its place.",
)
def check_nucleus(answer) -> None:
    for values, p in (
        ([0.1, 0.5, 0.4], 0.6),
        ([0.25, 0.5, 0.25], 0.4),
        ([0.7, 0.2, 0.1], 1.0),
        ([0.125, 0.25, 0.125, 0.5], 0.75),
    ):
        found, expected = list(answer(list(values), p)), nucleus(values, p)
        if len(found) != len(values):
            raise Wrong(f"{len(values)} numbers went in, {len(found)} came out.")
        if not close(found, expected):
            raise Wrong(
                f"For {values} and p = {p} expected {rounded(expected)}, "
                f"got {rounded(found)}."
            )


@torch.no_grad()
def perplexity(text: str, model, tokenizer) -> float:
    """The solution of 06.3: the exponential of the mean loss of a token."""
    row = tokenizer(text, return_tensors="pt")["input_ids"].to(model.device)
    return math.exp(model(row, labels=row).loss)


@exercise(
    "06.3",
    'row = tokenizer(text, return_tensors="pt")["input_ids"] goes into the model.',
    "model(row, labels=row).loss is the mean of the negative logarithms.",
    "math.exp(loss), as a number: float(loss) makes one of a tensor.",
)
def check_perplexity(answer, model, tokenizer) -> None:
    for text in ("The sky is blue.", "The sky is cheese."):
        found, expected = float(answer(text)), perplexity(text, model, tokenizer)
        if math.isclose(found, math.log(expected), rel_tol=1e-3):
            raise Wrong("That is the loss; the perplexity is its exponential.")
        if not math.isclose(found, expected, rel_tol=1e-2):
            raise Wrong(f"For {text!r} expected {expected:.1f}, got {found:.1f}.")


class WithoutE(LogitsProcessor):
    """The solution of 06.4: which tokens are forbidden is found once."""

    def __init__(self, tokenizer) -> None:
        texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
        places = [i for i, text in enumerate(texts) if "e" in text.lower()]
        # The mark that ends a text is no word, whatever it is called.
        self.places = [i for i in places if i not in tokenizer.all_special_ids]

    def __call__(self, ids, scores):
        scores = scores.clone()
        scores[:, self.places] = OUT
        return scores


@exercise(
    "06.4",
    "class WithoutE(LogitsProcessor), with __init__(self, tokenizer) and "
    "__call__(self, ids, scores), which returns the new scores.",
    "In __init__, decode every number below len(tokenizer) and remember those whose "
    "text holds an e or E.",
    'scores = scores.clone(); scores[:, self.places] = float("-inf")',
)
def check_without_e(answer, tokenizer) -> None:
    special = set(tokenizer.all_special_ids)
    texts = tokenizer.batch_decode([[i] for i in range(len(tokenizer))])
    scores = torch.zeros(1, len(texts))
    found = answer(tokenizer)(torch.zeros(1, 1, dtype=torch.long), scores)
    if not isinstance(found, torch.Tensor) or found.shape != scores.shape:
        raise Wrong("__call__ should return scores of the shape that it was given.")
    for place, (text, score) in enumerate(zip(texts, found[0].tolist(), strict=True)):
        if place in special:
            continue
        if "e" in text.lower() and score != OUT:
            raise Wrong(f"The token {text!r} is still allowed.")
        if "e" not in text.lower() and score != 0:
            raise Wrong(f"The token {text!r} has no e; leave its logit as it is.")


@torch.no_grad()
def likeliest(prompt: str, answers: list[str], model, tokenizer) -> str:
    """The solution of 06.5: the sum of log probabilities of an answer's tokens."""
    start = tokenizer(prompt, return_tensors="pt")["input_ids"].to(model.device)

    def chance(answer: str) -> float:
        rest = tokenizer(answer, return_tensors="pt")["input_ids"].to(model.device)
        row = torch.cat([start, rest], dim=1)
        known = model(row).logits[0, :-1].log_softmax(-1)
        chances = known.gather(1, row[0, 1:, None])[-rest.shape[1] :]
        return float(chances.sum())

    return max(answers, key=chance)


@exercise(
    "06.5",
    "Tokenize prompt and answer apart, and put the ids together with torch.cat.",
    "The logits at one place are about the next token: logits[0, :-1] beside "
    "row[0, 1:].",
    "log_softmax, gather, and the sum over the answer's tokens alone; then max.",
)
def check_likeliest(answer, model, tokenizer) -> None:
    for prompt, answers in (
        ("The capital of France is", [" Berlin", " Paris", " Rome"]),
        ("Once upon a", [" purple elephant", " time"]),
        ("I drink a cup of", [" tea", " coffee every morning", " sand"]),
    ):
        expected = likeliest(prompt, answers, model, tokenizer)
        if (found := answer(prompt, list(answers))) != expected:
            raise Wrong(f"After {prompt!r} expected {expected!r}, got {found!r}.")
