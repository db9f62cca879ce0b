"""The exercises of notebook 10: for each its solution, then its checker."""

from __future__ import annotations

import torch

from . import Wrong, exercise


def causal_examples(ids: list[int]) -> list[tuple[list[int], int]]:
    """The solution of 10.1: each place but the first is a label once."""
    return [(ids[:place], ids[place]) for place in range(1, len(ids))]


@exercise(
    "10.1",
    "For the place p, the input is ids[:p] and the label is ids[p].",
    "The first token has nothing before it: range(1, len(ids)).",
)
def check_causal_examples(answer) -> None:
    for ids in ([5, 7, 9, 11], [3, 3], [8], []):
        found = [(list(before), label) for before, label in answer(list(ids))]
        if len(found) != max(0, len(ids) - 1):
            raise Wrong(f"{len(ids)} tokens went in; {len(found)} pairs came out.")
        if any(label in before[len(before) :] for before, label in found):
            raise Wrong("The label stands among its inputs.")
        if found != causal_examples(ids):
            raise Wrong(f"For {ids} expected {causal_examples(ids)}, got {found}.")


def causal_mask(scores: torch.Tensor) -> torch.Tensor:
    """The solution of 10.2: masked_fill makes a copy, masked_fill_ would not."""
    future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(future, -torch.inf)


@exercise(
    "10.2",
    "torch.ones(n, n).triu(1).bool() is True above the diagonal.",
    "scores.masked_fill(future, -torch.inf) returns a changed copy.",
)
def check_causal_mask(answer) -> None:
    for shape in ((3, 3), (2, 4, 4), (1, 2, 5, 5), (1, 1)):
        given = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        kept = given.clone()
        found = answer(given)
        if not torch.equal(given, kept):
            raise Wrong("The input was changed: return a copy.")
        same_shape(found, given.shape)
        expected = causal_mask(given)
        if torch.isinf(found.diagonal(dim1=-2, dim2=-1)).any():
            raise Wrong("A token may see itself: the diagonal stays.")
        if not torch.isinf(found).equal(torch.isinf(expected)):
            raise Wrong("Exactly what lies above the diagonal should be -inf.")
        if not torch.equal(found, expected):
            raise Wrong("Scores of the past should stay as they are.")


def same_shape(found, shape) -> None:
    """Raise Wrong where an answer is no tensor of a shape."""
    if not isinstance(found, torch.Tensor):
        raise Wrong(f"Expected a tensor, got {type(found).__name__}.")
    if tuple(found.shape) != tuple(shape):
        raise Wrong(f"Expected the shape {tuple(shape)}, got {tuple(found.shape)}.")


def attention_head(x, w_q, w_k, w_v):
    """The solution of 10.3: three products, a mask, a softmax and a mean."""
    q, k, v = x @ w_q, x @ w_k, x @ w_v
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    return causal_mask(scores).softmax(dim=-1) @ v


@exercise(
    "10.3",
    "q = x @ w_q, and the same for k and v; scores = q @ k.transpose(-2, -1).",
    "Divide by the root of the size of a query, which is w_q.shape[1].",
    "causal_mask(scores).softmax(dim=-1) @ v is the answer.",
)
def check_attention_head(answer) -> None:
    chance = torch.Generator().manual_seed(0)
    for batch, tokens, width, size in ((1, 3, 4, 2), (2, 5, 8, 8), (3, 1, 6, 4)):
        x = torch.randn(batch, tokens, width, generator=chance)
        w = [torch.randn(width, size, generator=chance) for _ in range(3)]
        found, expected = answer(x, *w), attention_head(x, *w)
        same_shape(found, expected.shape)
        if torch.allclose(found, expected, atol=1e-4):
            continue
        q, k, v = (x @ weight for weight in w)
        scores = q @ k.transpose(-2, -1)
        sees_all = (scores / size**0.5).softmax(dim=-1) @ v
        if torch.allclose(found, sees_all, atol=1e-4):
            raise Wrong("Your head looks into the future: mask it.")
        if torch.allclose(found, causal_mask(scores).softmax(-1) @ v, atol=1e-4):
            raise Wrong("Divide the scores by the root of the size.")
        gap = (found - expected).abs().max()
        raise Wrong(f"For vectors of shape {tuple(x.shape)} it is off by {gap:.3f}.")


def parameters(vocabulary: int, places: int, width: int, layers: int) -> int:
    """The solution of 10.4: two tables, the blocks, the last norm."""
    attention = width * 3 * width + 3 * width + width * width + width
    feed_forward = width * 4 * width + 4 * width + 4 * width * width + width
    block = attention + feed_forward + 2 * 2 * width
    return vocabulary * width + places * width + layers * block + 2 * width


@exercise(
    "10.4",
    "A linear layer from a to b has a * b weights and b biases; a norm has 2 * width.",
    "A block: width to 3 width, width to width, width to 4 width and back, two norms.",
    "Outside the blocks: both tables and one norm. The score reuses the first table.",
)
def check_parameters(answer) -> None:
    for sizes in ((100, 32, 64, 3), (512, 64, 192, 2), (7, 5, 4, 0)):
        found, expected = answer(*sizes), parameters(*sizes)
        if found == expected + sizes[0] * sizes[2]:
            raise Wrong("The scores of the words reuse the table: count it once.")
        if found != expected:
            raise Wrong(f"For {sizes} expected {expected:,}, got {found:,}.")


def induction_score(weights: torch.Tensor, period: int) -> float:
    """The solution of 10.5: from place i to i - period + 1, in the second half."""
    places = range(period, len(weights))
    return sum(float(weights[i, i - period + 1]) for i in places) / len(places)


@exercise(
    "10.5",
    "The token at place i stood at i - period before; what followed it is one further.",
    "Mean of weights[i, i - period + 1] for i from period to the end.",
)
def check_induction_score(answer) -> None:
    chance = torch.Generator().manual_seed(0)
    for period in (4, 7):
        weights = torch.rand(2 * period, 2 * period, generator=chance)
        weights = causal_mask(weights).softmax(dim=-1)
        found, expected = (
            float(answer(weights, period)),
            induction_score(weights, period),
        )
        same = weights.diagonal(-period).mean()
        if abs(found - float(same)) < 1e-4:
            raise Wrong("That is the token itself; take the one that followed it.")
        if abs(found - expected) > 1e-4:
            raise Wrong(
                f"For a period of {period} expected {expected:.3f}, not {found:.3f}."
            )


def merge(weight, a, b, alpha: float):
    """The solution of 10.6: W + alpha / rank * B A."""
    return weight + alpha / len(a) * b @ a


@exercise(
    "10.6",
    "b @ a has the shape of weight.",
    "The rank is a.shape[0]: weight + alpha / rank * (b @ a).",
)
def check_merge(answer) -> None:
    chance = torch.Generator().manual_seed(0)
    for out, into, rank, alpha in ((3, 5, 2, 4), (6, 6, 1, 16), (4, 2, 8, 8)):
        weight = torch.randn(out, into, generator=chance)
        a = torch.randn(rank, into, generator=chance)
        b = torch.randn(out, rank, generator=chance)
        kept = weight.clone()
        found, expected = answer(weight, a, b, alpha), merge(kept, a, b, alpha)
        if not torch.equal(weight, kept):
            raise Wrong("The input was changed: return a new matrix.")
        same_shape(found, expected.shape)
        if not torch.allclose(found, expected, atol=1e-4):
            if torch.allclose(found, kept + alpha * b @ a, atol=1e-4):
                raise Wrong("The scale is alpha / rank.")
            raise Wrong("Folding it in should give what weight and LoRA give together.")
