"""Grids of 25 vectors, in SmolLM2's own space, that say what is where in a scene.

Where a thing has its centre stands the embedding of its name, elsewhere that of the
ground's colour; each cell adds how far left or right, up or down it is.
"""

from __future__ import annotations

import math
import random

import torch
from torch import nn

from recipes.common.scene_encoder import GRID
from recipes.datasets.scenes.compose import GROUNDS, NAMES, SIZE, Scene

PLACE = 1.5  # length of the vector of the leftmost and topmost cells; a word's is 3.2
ENDS = ("left", "right", "top", "bottom")
NEIGHBOURS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))


def vocabulary(tokenizer, embeddings: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a vector for each name and each colour, (61, 576), and one for each cell,
    (25, 576), from a language model's input embeddings."""
    table = embeddings.weight.detach().float()
    words = [tokenizer.encode(f" {word}") for word in [*NAMES, *GROUNDS]]
    vectors = torch.stack([table[ids].mean(0) for ids in words])
    # Where a cell lies is said in words too: so much right or left, up or down.
    ends = [table[tokenizer.encode(f" {word}")[0]] for word in ENDS]
    across, down = ends[1] - ends[0], ends[3] - ends[2]
    steps = PLACE * torch.linspace(-1, 1, GRID)
    columns = steps[:, None] * across / across.norm()
    rows = steps[:, None] * down / down.norm()
    return vectors, (rows[:, None] + columns[None]).flatten(0, 1)


def shares(scene: Scene) -> torch.Tensor:
    """Return what is in each cell, (25, names + colours); each row adds up to one."""
    grid = torch.zeros(GRID, GRID, len(NAMES) + len(GROUNDS))
    for thing in scene.things:
        row, column = int(thing.y / SIZE * GRID), int(thing.x / SIZE * GRID)
        grid[row, column] = 0.0
        grid[row, column, NAMES.index(thing.name)] = 1.0
    return with_ground(grid, scene)


def noisy_shares(scene: Scene, rng: random.Random) -> torch.Tensor:
    """Return `shares` as an encoder might see them that is not sure of borders and of
    names."""
    grid = torch.zeros(GRID, GRID, len(NAMES) + len(GROUNDS))
    for thing in scene.things:
        x, y = thing.x / SIZE * GRID, thing.y / SIZE * GRID
        seen, name = 1.0, NAMES.index(thing.name)
        x, y = (min(max(v + rng.gauss(0, 0.04), 0.01), GRID - 0.01) for v in (x, y))
        if rng.random() < 0.3:
            seen = rng.uniform(0.5, 1.0)
        for dx, dy in NEIGHBOURS:
            row, column = int(y) + dy, int(x) + dx
            if not (0 <= row < GRID and 0 <= column < GRID):
                continue
            # How surely the centre is within a cell, near its border: a soft step.
            edges = (x - column, column + 1 - x, y - row, row + 1 - y)
            share = seen * math.prod(1 / (1 + math.exp(-edge / 0.03)) for edge in edges)
            if share > 0.02:
                grid[row, column] *= 1 - share
                other = rng.randrange(len(NAMES))
                doubt = rng.uniform(0, 0.4) if rng.random() < 0.1 else 0.0
                grid[row, column, name] += share * (1 - doubt)
                grid[row, column, other] += share * doubt
    return with_ground(grid, scene)


def with_ground(grid: torch.Tensor, scene: Scene) -> torch.Tensor:
    """Return a grid (5, 5, …) as (25, …), its cells filled up with the ground."""
    ground = len(NAMES) + list(GROUNDS).index(scene.ground)
    grid[..., ground] += (1 - grid.sum(-1)).clamp(min=0)
    return grid.flatten(0, 1)
