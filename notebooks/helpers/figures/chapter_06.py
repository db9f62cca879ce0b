"""Chapter 06: the likeliest next tokens, the paths that a text can take, and what the
library says of a call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


def plot_next_tokens(
    tokenizer, logits: dict[str, torch.Tensor], title: str = ""
) -> None:
    """Draw the probabilities of the ten likeliest next tokens, and what all others have
    together, a panel per entry, at most three in a row.

    `logits` maps a panel's title to the logits (1, vocabulary) of one place; the tokens
    are the first entry's ten likeliest in each panel, so that panels can be compared.
    """
    import matplotlib.pyplot as plt

    places = next(iter(logits.values()))[0].topk(10).indices
    words = [*(repr(tokenizer.decode(place)) for place in places), "all others"]
    rows, columns = -(-len(logits) // 3), min(3, len(logits))
    size = (max(6.5, 1.2 + 1.8 * columns), 2.9 * rows + 0.3 + 0.3 * bool(title))
    figure, grid = plt.subplots(
        rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False
    )
    for axes in grid.flat[len(logits) :]:
        axes.set_visible(False)
    for axes, (name, values) in zip(grid.flat, logits.items(), strict=False):
        shares = values[0].softmax(-1)[places].tolist()
        shares.append(max(0.0, 1 - sum(shares)))
        colours = ["C0"] * len(places) + ["grey"]
        bars = axes.barh(range(len(words)), shares, color=colours)
        axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=9)
        axes.set_yticks(range(len(words)), words)
        axes.set_ylim(len(words) - 0.5, -0.5)  # the likeliest on top
        axes.margins(x=0.16)  # room for the numbers
        axes.set_title(name, fontsize=10)
    for axes in grid.flat[max(0, len(logits) - columns) : len(logits)]:
        axes.tick_params(labelbottom=True)  # nothing stands below it
    figure.supxlabel("probability", fontsize=10)
    figure.suptitle(title, fontsize=10, wrap=True)
    plt.show()


@torch.no_grad()
def plot_tree(model, tokenizer, prompt: str, width: int = 3, depth: int = 3) -> None:
    """Draw the likeliest paths that a text can take from a prompt.

    From each place go the `width` likeliest tokens, `depth` times; the width of a line
    and the number at its end are the probability of the whole path. What a beam search
    with `width` beams keeps is bold and has another colour.
    """
    import matplotlib.pyplot as plt

    inputs = tokenizer(prompt, return_tensors="pt").to(model.device)
    paths, heights = inputs["input_ids"], [0.5]
    chances, kept = torch.ones(1), torch.ones(1, dtype=torch.bool)
    axes = plt.figure(figsize=(7.5, 1.2 + 0.24 * width**depth)).add_subplot()
    for level in range(1, depth + 1):
        best = model(paths).logits[:, -1].softmax(-1).topk(width)
        paths = paths.repeat_interleave(width, dim=0)
        paths = torch.cat([paths, best.indices.view(-1, 1)], dim=1)
        chances = chances.repeat_interleave(width) * best.values.flatten().cpu()
        # Of the beams' continuations, those that are likeliest as a whole.
        beams = (chances * kept.repeat_interleave(width)).topk(width).indices
        kept = torch.zeros(len(chances), dtype=torch.bool).index_fill(0, beams, True)
        parents, number = heights, width**level
        heights = [1 - (place + 0.5) / number for place in range(number)]
        rows = zip(heights, chances.tolist(), kept.tolist(), strict=True)
        for place, (height, chance, beam) in enumerate(rows):
            line = [parents[place // width], height]
            colour = "C1" if beam else "C0"
            axes.plot([level - 0.45, level], line, colour, lw=0.8 + 9 * chance)
            word = repr(tokenizer.decode(paths[place, -1]))
            said = f"{chance:.3f}" if chance >= 0.0005 else "< 0.001"
            how = {"va": "center", "size": 11, "weight": "bold" if beam else "normal"}
            axes.text(level, height, f" {word} {said}", **how)
    axes.text(0.53, 0.5, prompt, ha="right", va="center", size=11)
    axes.set(xlim=(-0.1, depth + 0.7), frame_on=False, xticks=[], yticks=[])
    plt.show()


@contextmanager
def notices() -> Iterator[None]:
    """Show what the library says of a call, on the page, while inside `with`."""
    import sys
    from logging import StreamHandler

    from transformers.utils import logging

    before, handler = logging.get_verbosity(), StreamHandler(sys.stdout)
    logging.disable_default_handler()  # which writes to the error stream
    logging.add_handler(handler)
    logging.set_verbosity_warning()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.remove_handler(handler)
        logging.enable_default_handler()
