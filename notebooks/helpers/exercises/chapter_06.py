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


@torch.no_grad()
def next_tokens(prompt: str, n: int, model, tokenizer) -> list[tuple[str, float]]:
    """The solution of 06.1: softmax over the logits of the last place."""
    inputs = tokenizer(prompt, return_tensors="pt").to(model.device)
    best = model(**inputs).logits[0, -1].softmax(-1).topk(n)
    texts = [tokenizer.decode(place) for place in best.indices]
    return list(zip(texts, best.values.tolist(), strict=True))


@exercise(
    "06.1",
    "The logits have the shape (texts, tokens, vocabulary): take those of the last "
    "token, logits[0, -1].",
    "softmax(-1) makes probabilities of them, topk(n) has values and indices.",
    "tokenizer.decode(index) is the text of a token.",
)
def check_next_tokens(answer, model, tokenizer) -> None:
    for prompt, n in (("The capital of France is", 3), ("Two and two is", 5)):
        expected = next_tokens(prompt, n, model, tokenizer)
        found = [(text, float(chance)) for text, chance in answer(prompt, n)]
        if len(found) != n:
            raise Wrong(f"Expected {n} pairs after {prompt!r}, got {len(found)}.")
        if [text for text, _ in found] == [text for text, _ in expected][::-1]:
            raise Wrong("The likeliest comes first.")
        shares = {text.strip(): share for text, share in expected}
        for (text, chance), (right, share) in zip(found, expected, strict=True):
            # Two tokens that are equally likely may come in either order.
            if not math.isclose(shares.get(text.strip(), -1), share, abs_tol=1e-3):
                raise Wrong(
                    f"After {prompt!r} expected {right!r} with {share:.3f}, "
                    f"got {text!r} with {chance:.3f}."
                )
            if not math.isclose(chance, share, abs_tol=1e-3):
                raise Wrong(
                    f"The token {text!r} is right; its probability is {share:.3f}, "
                    f"not {chance:.3f}. Is it a softmax over the whole vocabulary?"
                )


def probabilities(logits: list[float], t: float) -> list[float]:
    """The solution of 06.2: the limit of a falling temperature is greedy."""
    if t == 0:
        best = logits.index(max(logits))
        return [float(place == best) for place in range(len(logits))]
    powers = [math.exp((logit - max(logits)) / t) for logit in logits]
    return [power / sum(powers) for power in powers]


@exercise(
    "06.2",
    "Divide every logit by t, then take the softmax: exp of each over their sum.",
    "Subtract the largest logit first, so that exp never overflows.",
    "t == 0 needs a branch of its own, as nothing can be divided by it.",
)
def check_probabilities(answer) -> None:
    mixed = [-1.0, 0.5, 2.0, 1.0]
    for logits, t in [(mixed, t) for t in (1.0, 0.5, 2.0, 0.01)] + [([9, 900, 899], 1)]:
        try:
            found = list(answer(list(logits), t))
        except OverflowError:
            raise Wrong(f"exp overflows for {logits}: hint('06.2').") from None
        expected = probabilities(logits, t)
        if not close(found, expected):
            raise Wrong(
                f"For {logits} at {t} expected {rounded(expected)}, "
                f"got {rounded(found)}."
            )
    try:
        found = list(answer(list(mixed), 0))
    except ZeroDivisionError:
        raise Wrong("A temperature of 0 divides by zero: hint('06.2').") from None
    if not close(found, [0, 0, 1, 0]):
        raise Wrong(f"At 0 the likeliest gets 1, the others 0; got {rounded(found)}.")


class WithoutE(LogitsProcessor):
    """The solution of 06.3: which tokens are forbidden is found once."""

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
    "06.3",
    "class WithoutE(LogitsProcessor), with __init__(self, tokenizer) and "
    "__call__(self, ids, scores), which returns the new scores.",
    "In __init__, decode every number below len(tokenizer) and remember those whose "
    "text holds an e or E.",
    'scores = scores.clone(); scores[:, self.places] = float("-inf")',
)
def check_without_e(answer, model, tokenizer) -> None:
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
    inputs = tokenizer("A dog and a fox", return_tensors="pt").to(model.device)
    way = {"do_sample": False, "max_new_tokens": 12}
    written = model.generate(**inputs, **way, logits_processor=[answer(tokenizer)])
    if "e" in (story := tokenizer.decode(written[0], skip_special_tokens=True)).lower():
        raise Wrong(f"The model wrote with it: {story!r}.")


@torch.no_grad()
def likeliest(prompt: str, answers: list[str], model, tokenizer) -> str:
    """The solution of 06.4: the sum of log probabilities of an answer's tokens."""
    start = tokenizer(prompt, return_tensors="pt")["input_ids"].to(model.device)

    def chance(answer: str) -> float:
        rest = tokenizer(answer, return_tensors="pt")["input_ids"].to(model.device)
        row = torch.cat([start, rest], dim=1)
        known = model(row).logits[0, :-1].log_softmax(-1)
        chances = known.gather(1, row[0, 1:, None])[-rest.shape[1] :]
        return float(chances.sum())

    return max(answers, key=chance)


@exercise(
    "06.4",
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
