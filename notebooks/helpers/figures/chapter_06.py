"""Chapter 06: the likeliest next tokens, and the paths that a text can take."""

from __future__ import annotations

import torch


def plot_next_tokens(
    tokenizer, logits: dict[str, torch.Tensor], title: str = ""
) -> None:
    """Draw the probabilities of the ten likeliest next tokens, a panel per entry, at
    most three in a row.

    `logits` maps a panel's title to the logits (1, vocabulary) of one place; the tokens
    are the first entry's ten likeliest in each panel, so that panels can be compared.
    """
    import matplotlib.pyplot as plt

    places = next(iter(logits.values()))[0].topk(10).indices
    words = [repr(tokenizer.decode(place)) for place in places]
    rows, columns = -(-len(logits) // 3), min(3, len(logits))
    size = (max(6.5, 1.2 + 1.8 * columns), 2.6 * rows + 0.3 + 0.3 * bool(title))
    figure, grid = plt.subplots(
        rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False
    )
    for axes in grid.flat[len(logits) :]:
        axes.set_visible(False)
    for axes, (name, values) in zip(grid.flat, logits.items(), strict=False):
        axes.barh(range(len(words)), values[0].softmax(-1)[places].cpu())
        axes.set_yticks(range(len(words)), words)
        axes.set_ylim(len(words) - 0.5, -0.5)  # the likeliest on top
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
    and the number at its end are the probability of the whole path.
    """
    import matplotlib.pyplot as plt

    inputs = tokenizer(prompt, return_tensors="pt").to(model.device)
    paths, heights = inputs["input_ids"], [0.5]
    chances = torch.ones(1, device=paths.device)
    axes = plt.figure(figsize=(7.5, 1.2 + 0.2 * width**depth)).add_subplot()
    for level in range(1, depth + 1):
        best = model(paths).logits[:, -1].softmax(-1).topk(width)
        paths = paths.repeat_interleave(width, dim=0)
        paths = torch.cat([paths, best.indices.view(-1, 1)], dim=1)
        chances = chances.repeat_interleave(width) * best.values.flatten()
        parents, number = heights, width**level
        heights = [1 - (place + 0.5) / number for place in range(number)]
        for place, (height, chance) in enumerate(
            zip(heights, chances.tolist(), strict=True)
        ):
            line = [parents[place // width], height]
            axes.plot([level - 0.45, level], line, "C0", lw=0.3 + 9 * chance)
            word = repr(tokenizer.decode(paths[place, -1]))
            said = f"{chance:.3f}" if chance >= 0.0005 else "< 0.001"
            axes.text(level, height, f" {word} {said}", va="center", size=10)
    axes.text(0.53, 0.5, prompt, ha="right", va="center")
    axes.set(xlim=(-0.1, depth + 0.7), frame_on=False, xticks=[], yticks=[])
    plt.show()
