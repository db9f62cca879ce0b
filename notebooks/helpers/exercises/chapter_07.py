"""The exercises of notebook 07: for each its solution, then its checker."""

from __future__ import annotations

import math
import re

import torch
from transformers import LogitsProcessor

from . import Wrong, exercise

OUT = float("-inf")


@torch.no_grad()
def surprises(text: str, model, tokenizer) -> list[tuple[str, float]]:
    """Return each token of a text but the first, as a text, and its surprise: the
    negative logarithm of its probability after the tokens before it."""
    ids = tokenizer(text, return_tensors="pt")["input_ids"].to(model.device)
    known = model(ids).logits[0, :-1].log_softmax(-1)
    losses = -known.gather(1, ids[0, 1:, None])[:, 0]
    return [(tokenizer.decode(i), x) for i, x in zip(ids[0, 1:], losses.tolist())]


def most_surprising(text: str, model, tokenizer) -> tuple[str, float]:
    """The solution of 07.1: the token with the largest surprise."""
    return max(surprises(text, model, tokenizer), key=lambda pair: pair[1])


ODD = [
    "Every morning I brush my teeth with a lighthouse and warm water.",
    "The capital of France is Paris, and the capital of Italy is purple.",
    "One, two, three, four, five, six, spoon, eight, nine, ten.",
    "She opened the umbrella because it had begun to cheese.",
]


@exercise(
    "07.1",
    "The cell with the proverb has all that you need: look for the largest of its "
    "surprises.",
    "The logits at one place are about the next token: logits[0, :-1] beside "
    "labels[0, 1:]. So the first token has no surprise.",
    "argmax of the surprises is a place among the tokens from the second on: "
    "tokenizer.decode(labels[0, 1:][place]).",
)
def check_most_surprising(answer, model, tokenizer) -> None:
    for text in ODD:
        pairs = surprises(text, model, tokenizer)
        token, most = max(pairs, key=lambda pair: pair[1])
        found, value = answer(text)
        found, value = str(found), float(value)
        named = [x for piece, x in pairs if piece.strip() == found.strip()]
        if not named:
            raise Wrong(
                f"{text!r}: {found!r} is no token of it from the second on. Is the "
                "place counted from the second token, too?"
            )
        if not math.isclose(max(named), most, rel_tol=1e-3):
            least = min(pairs, key=lambda pair: pair[1])[0].strip() == found.strip()
            raise Wrong(
                f"{text!r}: {token!r} has the largest surprise, {most:.2f}; {found!r} "
                + ("was expected most." if least else f"has {max(named):.2f}.")
            )
        if math.isclose(-value, most, rel_tol=0.01):
            raise Wrong("A surprise is the negative of the logarithm, and above 0.")
        if not math.isclose(value, most, rel_tol=0.01, abs_tol=0.02):
            raise Wrong(
                f"{text!r}: {token!r} is right; its surprise is {most:.2f}, not "
                f"{value:.2f}. It is the natural logarithm of one probability."
            )


def judge(answer: str, wanted: str) -> str:
    """The solution of 07.2: "refused", "right" or "wrong", in this order."""
    plain = answer.lower().replace("’", "'")
    marks = ["don't know", "do not know", "not mentioned", "does not say"]
    if any(mark in plain for mark in marks):
        return "refused"
    pattern = rf"(?<![\w-]){re.escape(wanted.lower())}(?![\w-])"
    return "right" if re.search(pattern, plain) else "wrong"


JUDGED = [
    ("The cat is called Biscuit.", "Biscuit", "right"),
    ("biscuit", "Biscuit", "right"),
    ("It is painted in a blue-green colour.", "green", "wrong"),
    ("The lighthouse is 131 metres high.", "31", "wrong"),
    ("The name of the cat is Biscuits.", "Biscuit", "wrong"),
    ("I don't know who built it.", "Marsh", "refused"),
    ("I do not know.", "Marsh", "refused"),
    ("The village of Quern is not mentioned in the text.", "Quern", "refused"),
    ("The text does not say so.", "Friday", "refused"),
    ("I know it: on Friday.", "Friday", "right"),
    ("", "Friday", "wrong"),
]


@exercise(
    "07.2",
    "Look for a refusal first: an answer that says that Quern is not mentioned holds "
    "the word Quern too.",
    "Compare in lower case, and let the word stand whole: green is not in blue-green.",
    "The function holds of the page finds a whole word.",
)
def check_judge(answer) -> None:
    for text, wanted, expected in JUDGED:
        found = answer(text, wanted)
        if found != expected:
            raise Wrong(
                f"{text!r}, where {wanted!r} is wanted, is {expected!r}; got {found!r}."
            )


class FromSource(LogitsProcessor):
    """The solution of 07.3: only tokens of the source, and the end, may be written."""

    def __init__(self, tokenizer, source: str) -> None:
        self.places = [*tokenizer.encode(source), tokenizer.eos_token_id]

    def __call__(self, ids, scores):
        allowed = torch.full_like(scores, OUT)
        allowed[:, self.places] = scores[:, self.places]
        return allowed


@exercise(
    "07.3",
    "class FromSource(LogitsProcessor), with __init__(self, tokenizer, source) and "
    "__call__(self, ids, scores), which returns the new scores.",
    "tokenizer.encode(source) are the tokens to keep, for every row of the batch; "
    "tokenizer.eos_token_id lets an answer end.",
    'allowed = torch.full_like(scores, float("-inf")); then copy what is allowed.',
)
def check_from_source(answer, model, tokenizer) -> None:
    source = "The heron sleeps on one leg. The owl does not."
    kept = set(tokenizer.encode(source))
    scores = torch.randn(2, len(tokenizer), generator=torch.Generator().manual_seed(0))
    before = scores.clone()
    found = answer(tokenizer, source)(torch.zeros(2, 1, dtype=torch.long), scores)
    if not isinstance(found, torch.Tensor) or found.shape != scores.shape:
        raise Wrong("__call__ should return scores of the shape that it was given.")
    end = tokenizer.eos_token_id
    if (found[:, end] == OUT).any():
        raise Wrong("The token that ends an answer is forbidden: it would never end.")
    allowed = torch.zeros(len(tokenizer), dtype=torch.bool)
    allowed[[*kept, end]] = True
    for row in range(2):
        if (found[row][~allowed] != OUT).any():
            place = int((found[row] != OUT).logical_and(~allowed).nonzero()[0])
            text = tokenizer.decode(place)
            raise Wrong(f"Row {row}: the token {text!r} is not in the source.")
        if not torch.equal(found[row][allowed], before[row][allowed]):
            raise Wrong(f"Row {row}: leave the logits of the source as they are.")
    inputs = tokenizer("Which bird sleeps?", return_tensors="pt").to(model.device)
    length = inputs["input_ids"].shape[1]
    options = {"do_sample": False, "max_new_tokens": 8}
    filters = [answer(tokenizer, source)]
    written = model.generate(**inputs, **options, logits_processor=filters)
    written = set(written[0, length:].tolist())
    if not written <= {*kept, end, tokenizer.pad_token_id}:
        raise Wrong("With it, the model wrote tokens that are not in the source.")


def quantize(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The solution of 07.4: a scale per row, and 1 for a row of zeros."""
    scale = weight.abs().amax(dim=1, keepdim=True) / 127
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    return (weight / scale).round().to(torch.int8), scale


@exercise(
    "07.4",
    "weight.abs().amax(dim=1, keepdim=True) / 127 is a scale for each row.",
    "Round before .to(torch.int8), which cuts off what stands behind the point.",
    "A row of zeros has a scale of 0: divide it by 1 instead (torch.where).",
)
def check_quantize(answer) -> None:
    torch.manual_seed(0)
    weight = torch.randn(6, 40) * torch.tensor([0.01, 1, 3, 0, 50, 1])[:, None]
    weight[5] = -weight[5].abs()
    whole, scale = answer(weight.clone())
    if whole.dtype != torch.int8 or whole.shape != weight.shape:
        raise Wrong("Expected int8 of the weight's shape, and the scales.")
    if tuple(scale.shape) not in {(6, 1), (6,)}:
        raise Wrong(f"Expected a scale for each of 6 rows, got {tuple(scale.shape)}.")
    again = whole.float() * scale.view(6, 1)
    if not again.isfinite().all():
        raise Wrong("A row of zeros was divided by zero: hint('07.4').")
    # Half a step is the most that rounding can move a number.
    steps = (again - weight).abs() / weight.abs().amax(dim=1, keepdim=True) * 127
    if float(steps.nan_to_num().max()) > 0.51:
        raise Wrong(
            f"A weight moved by {float(steps.nan_to_num().max()):.2f} steps of its "
            "row; rounding moves none by more than half a step."
        )
