"""Train the encoder of pictures that every picture model of this series shares.

A ConvNeXt from scratch on drawings by nine hands, made new at every look: turned,
stretched, on another ground, in other colours; first small and little changed, which
is learned fast, then larger and harder. Two losses: which of the things it is, and
how near its vector is to what MiniLM makes of the thing's name, of words for it and
of its definition. The second gives the vector a place among words.

    torchrun --nproc-per-node 2 train.py --data FOLDER

FOLDER is what ../pictures/world.py has filled. One process a core, each with half of
a batch, waits less than one process on two; a run that was stopped goes on.

Time and result are at the end.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import (
    affine_grid,
    avg_pool2d,
    conv2d,
    cross_entropy,
    grid_sample,
    interpolate,
    normalize,
)
from transformers import (
    AutoImageProcessor,
    ConvNextConfig,
    ConvNextForImageClassification,
    ViTImageProcessorPil,
    set_seed,
)

from helpers.catalogue import MODELS

PUBLISHED = MODELS / "convnext-emoji"

from recipes.common import precision
from recipes.datasets.emoji.captions import cached
from recipes.datasets.emoji.drawings import ASIDE, LARGE, TEST, TRAIN, drawings
from recipes.datasets.emoji.labels import chosen, left_out

SEED = 0
SIZE = 64  # pixels a side in the end
PHASES = [(0.4, 32), (0.7, 48), (1.0, 64)]  # up to which part of the steps, pixels
STORED = 96  # the drawings are kept larger, so that a close look has detail
ALONE = 0.85  # from this part on, the known things alone, and less changed
BATCH = 96
STEPS = 7_000
LR, DECAY, WARM = 2e-3, 0.05, 150
AVERAGE = 0.999  # the weights that are kept are a moving average
SMOOTH = 0.1  # of the labels
DIM = 384  # of MiniLM's space


def settings(labels: list[str]) -> ConvNextConfig:
    return ConvNextConfig(
        image_size=SIZE,
        patch_size=4,
        hidden_sizes=[48, 96, 192, 320],
        depths=[2, 2, 4, 2],
        layer_scale_init_value=0.1,  # 1e-6, the default, learns slower here
        drop_path_rate=0.05,
        hidden_size=320,  # what classes that hold an encoder ask for
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )


class Drawings:
    """All training drawings in memory, and batches of them made new."""

    def __init__(self, folder: Path, names: list[str], weights: list[float]) -> None:
        from PIL import Image

        number = {name: i for i, name in enumerate(names)}
        pixels, labels, chances = [], [], []
        for style in TRAIN:
            for name, drawing in drawings(folder, style, LARGE).items():
                if name not in number:
                    continue
                # Colours times opacity: what may be resized without dark rims.
                drawing = np.asarray(
                    Image.fromarray(drawing, "RGBA")
                    .convert("RGBa")
                    .resize((STORED, STORED), Image.Resampling.BOX)
                )
                pixels.append(torch.from_numpy(drawing.copy()).permute(2, 0, 1))
                labels.append(number[name])
                # Fluent's three variants are by one hand.
                chances.append(0.5 if style.startswith("fluent") else 1.0)
        self.pixels, self.labels = torch.stack(pixels), torch.tensor(labels)
        chance = torch.tensor(chances)
        total = torch.zeros(len(names)).index_add(0, self.labels, chance)
        self.chance = chance / total[self.labels] * torch.tensor(weights)[self.labels]

    def batch(
        self, n: int, side: int, force: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return pictures (n, 3, side, side) between -1 and 1, and their labels."""
        at = torch.multinomial(self.chance, n, replacement=True)
        return varied(self.pixels[at].float().div_(255), side, force), self.labels[at]


def uniform(n: int, low: float, high: float) -> torch.Tensor:
    return torch.empty(n).uniform_(low, high)


def often(n: int, share: float) -> torch.Tensor:
    return torch.rand(n) < share


def placed(drawing: torch.Tensor, side: int, force: float) -> torch.Tensor:
    """Turn, stretch, shift and mirror: from (n, 4, 96, 96) to (n, 4, side, side)."""
    n = len(drawing)
    angle = torch.randn(n) * math.radians(12) * force
    size = uniform(n, math.log(0.6) * force, math.log(1.15)).exp()
    ratio = (uniform(n, -0.2, 0.2) * force).exp()
    wide, high = 1 / (size * ratio), ratio / size
    wide = torch.where(often(n, 0.5), -wide, wide)
    slant = uniform(n, -0.15, 0.15) * force
    cos, sin = angle.cos(), angle.sin()
    room = (1 / size).clamp(min=1) - 1 + 0.12 * force
    across, down = uniform(n, -1, 1) * room, uniform(n, -1, 1) * room
    matrix = torch.stack(
        [
            torch.stack([cos * wide, (slant - sin) * high, across], -1),
            torch.stack([sin * wide, cos * high, down], -1),
        ],
        1,
    )
    if side < SIZE:  # else only every third pixel would count
        drawing = interpolate(drawing, size=SIZE, mode="area")
    grid = affine_grid(matrix, (n, 4, side, side), align_corners=False)
    return grid_sample(drawing, grid, align_corners=False)


def coloured(drawing: torch.Tensor, force: float) -> torch.Tensor:
    """Turn hues, change saturation, contrast and brightness; some become grey."""
    n = len(drawing)
    colour, opacity = drawing[:, :3], drawing[:, 3:]
    hue = torch.where(
        often(n, 0.1 * force),
        uniform(n, -math.pi, math.pi),
        torch.randn(n) * math.radians(12) * force,
    )
    # A turn about the grey axis, after Rodrigues.
    third, cross = torch.full((3, 3), 1 / 3), 1 / math.sqrt(3)
    skew = torch.tensor([[0, -cross, cross], [cross, 0, -cross], [-cross, cross, 0]])
    cos, sin = hue.cos()[:, None, None], hue.sin()[:, None, None]
    turn = cos * torch.eye(3) + (1 - cos) * third + sin * skew
    keep = torch.where(
        often(n, 0.1 * force), torch.zeros(n), uniform(n, -0.6, 0.5) * force + 1
    )
    grey = torch.tensor([0.299, 0.587, 0.114]).expand(3, 3)
    keep = keep[:, None, None]
    matrix = (keep * torch.eye(3) + (1 - keep) * grey) @ turn
    contrast = (uniform(n, -0.4, 0.3) * force + 1)[:, None, None]
    matrix = matrix * contrast * (uniform(n * 3, -0.15, 0.15) * force + 1).view(n, 3, 1)
    shift = uniform(n, -0.15, 0.15)[:, None, None] * force + (1 - contrast) / 2
    flat = matrix @ colour.flatten(2) + shift * opacity.flatten(2)
    colour = torch.minimum(flat.view_as(colour).clamp(min=0), opacity)
    return torch.cat([colour, opacity], 1)


def ground(n: int, side: int, force: float) -> torch.Tensor:
    """Return what is behind the things: white, black, a colour, a run of two, waves."""
    first, second = torch.rand(2, n, 3, 1, 1)
    white = often(n, 1 - 0.6 * force)
    first[white], second[white] = 1, 1
    black = ~white & often(n, 0.15)
    first[black], second[black] = 0, 0
    one = often(n, 0.5)
    second[one] = first[one]
    line = torch.linspace(-1, 1, side)
    angle = uniform(n, 0, 2 * math.pi)[:, None, None]
    along = angle.cos() * line[None, None, :] + angle.sin() * line[None, :, None]
    waves = (along * uniform(n, 3, 25)[:, None, None]).sin()
    along = torch.where(often(n, 0.4)[:, None, None], waves, along)
    share = (along[:, None] + 1.4) / 2.8
    return first * (1 - share) + second * share


def varied(drawing: torch.Tensor, side: int, force: float = 1) -> torch.Tensor:
    """Return the drawings as a look at them might be, (n, 3, side, side), -1 to 1."""
    n = len(drawing)
    drawing = coloured(placed(drawing, side, force), force)
    picture = drawing[:, :3] + (1 - drawing[:, 3:]) * ground(n, side, force)
    # A random filter changes texture and leaves shape (Xu et al., 2021).
    some = often(n, 0.2 * force).nonzero().flatten()
    if k := len(some):
        filters = torch.randn(k * 3, 3, 3, 3) / math.sqrt(27) * 1.4
        part = picture[some]
        other = conv2d(part.reshape(1, k * 3, side, side), filters, padding=1, groups=k)
        other = other.view(k, 3, side, side)
        other = (other - other.mean((2, 3), keepdim=True)) / (
            other.std((2, 3), keepdim=True) + 1e-3
        )
        other = other * part.std((2, 3), keepdim=True) + part.mean((2, 3), keepdim=True)
        share = uniform(k, 0.2, 0.9)[:, None, None, None]
        picture[some] = (share * part + (1 - share) * other).clamp(0, 1)
    soft = often(n, 0.1 * force)
    picture[soft] = avg_pool2d(picture[soft], 3, 1, 1)
    rough = often(n, 0.1 * force)
    picture[rough] += torch.randn_like(picture[rough]) * 0.06
    for i in often(n, 0.25 * force).nonzero().flatten().tolist():
        wide, high = torch.randint(side // 8, side * 7 // 16, (2,)).tolist()
        left, top = torch.randint(-side // 8, side * 7 // 8, (2,)).tolist()
        box = picture[i, :, max(top, 0) : top + high, max(left, 0) : left + wide]
        box.copy_(torch.rand(3, 1, 1).expand_as(box))
    return picture.clamp_(0, 1).mul_(2).sub_(1)


class Words(torch.nn.Module):
    """The second loss: how near a picture's vector is to what is said of the thing."""

    def __init__(self, texts: list[dict], vectors: dict[str, torch.Tensor]) -> None:
        super().__init__()
        # Names lie close together in MiniLM's space; without their mean they spread.
        self.register_buffer("mean", torch.stack(list(vectors.values())).mean(0))
        every = [[row[kind] or row["names"] for kind in row] for row in texts]
        flat = [text for row in every for kind in row for text in kind]
        flat = normalize(torch.stack([vectors[t] for t in flat]) - self.mean, dim=-1)
        # Of thing i, its names, phrases and glosses: where they begin, how many.
        self.vectors = flat
        self.count = torch.tensor([[len(kind) for kind in row] for row in every])
        flat_count = self.count.flatten()
        self.first = (flat_count.cumsum(0) - flat_count).view_as(self.count)
        self.visual = torch.nn.Linear(320, DIM, bias=False)
        self.text = torch.nn.Linear(DIM, DIM, bias=False)
        torch.nn.init.eye_(self.text.weight)
        self.scale = torch.nn.Parameter(torch.tensor(math.log(10.0)))

    def sample(self) -> torch.Tensor:
        """Return one text's vector for each thing, its name half of the time."""
        n = len(self.count)
        kind = torch.multinomial(torch.tensor([0.5, 0.25, 0.25]), n, replacement=True)
        count = self.count.gather(1, kind[:, None]).squeeze(1)
        first = self.first.gather(1, kind[:, None]).squeeze(1)
        return self.vectors[first + (torch.rand(n) * count).long()]

    def names(self) -> torch.Tensor:
        return normalize(self.text(self.vectors[self.first[:, 0]]), dim=-1)

    def forward(self, pooled: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        texts = normalize(self.text(self.sample()), dim=-1)
        logits = normalize(self.visual(pooled), dim=-1) @ texts.T
        scale = self.scale.clamp(max=math.log(40.0)).exp()
        return cross_entropy(logits * scale, labels, label_smoothing=SMOOTH)


def plain(folder: Path, style: str, names: list[str]) -> torch.Tensor:
    """Return a style's drawings on white, (names, 3, 64, 64) from -1 to 1."""
    drawn = drawings(folder, style)
    pixels = torch.stack([torch.from_numpy(drawn[name]) for name in names]).float()
    pixels = pixels.permute(0, 3, 1, 2) / 255
    picture = pixels[:, :3] * pixels[:, 3:] + 1 - pixels[:, 3:]
    return picture * 2 - 1


@torch.no_grad()
def measure(model, words: Words, pictures, labels, known: int) -> dict[str, float]:
    """Return top-1 and top-5 of the classifier and of the names, among `known`."""
    model.eval()
    pooled = torch.cat(
        [model.convnext(part).pooler_output for part in pictures.split(128)]
    )
    found = {}
    by_name = normalize(words.visual(pooled), dim=-1) @ words.names().T
    for kind, logits in (("classifier", model.classifier(pooled)), ("names", by_name)):
        order = logits[:, :known].argsort(descending=True)
        right = order == labels[:, None]
        for k in (1, 5):
            found[f"{kind} top-{k}"] = round(
                right[:, :k].any(1).float().mean().item(), 3
            )
    return found


def keep(model, words: Words, folder: Path, names: list[str]) -> None:
    """Write the encoder and all that its heads need, whole or not at all."""
    aside = folder.with_name(f"{folder.name}.new")
    model.save_pretrained(aside)
    ViTImageProcessorPil(
        size={"height": SIZE, "width": SIZE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(aside)
    torch.save(words.state_dict(), aside / "words.pt")
    (aside / "names.json").write_text(json.dumps(names))
    if folder.is_dir():
        shutil.rmtree(folder)
    aside.rename(folder)


def publish(folder: Path, known: int) -> None:
    """Write what is committed, in half the bytes: the things it knows by name."""
    whole = ConvNextForImageClassification.from_pretrained(folder)
    names = list(whole.config.id2label.values())[:known]
    model = ConvNextForImageClassification(settings(names))
    state = whole.state_dict()
    for part in ("classifier.weight", "classifier.bias"):
        state[part] = state[part][:known]
    model.load_state_dict(state)
    model.half().save_pretrained(PUBLISHED)
    AutoImageProcessor.from_pretrained(folder).save_pretrained(PUBLISHED)


def shared(parameters: list[torch.nn.Parameter], processes: int) -> None:
    """Give every process the mean of all processes' gradients."""
    flat = torch.cat([p.grad.flatten() for p in parameters])
    torch.distributed.all_reduce(flat)
    parts = flat.div_(processes).split([p.numel() for p in parameters])
    for p, part in zip(parameters, parts, strict=True):
        p.grad.copy_(part.view_as(p))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=STEPS)
    asked = parser.parse_args()
    folder = asked.data
    rank, processes = (
        int(os.environ.get("RANK", "0")),
        int(os.environ.get("WORLD_SIZE", "1")),
    )
    if processes > 1:
        torch.distributed.init_process_group("gloo")
        torch.set_num_threads(1)
    set_seed(SEED)
    things = json.loads((folder / "things.json").read_text())
    know = chosen(things, TRAIN, TEST)
    # More things than the models know by name are shown, half as often.
    more = [
        thing["name"]
        for thing in things
        if thing["name"] not in know
        and thing["name"] not in left_out()
        and not thing["name"].endswith(("o’clock", "-thirty"))
        and any(style in TRAIN for style in thing["styles"])
    ]
    names = know + more
    drawn = Drawings(folder, names, [1.0] * len(know) + [0.5] * len(more))
    texts, vectors = cached(things, folder)
    words = Words([texts[name] for name in names], vectors)
    model = ConvNextForImageClassification(settings(names)).train()
    model = model.to(memory_format=torch.channels_last)
    both = torch.nn.ModuleList([model, words])
    average = copy.deepcopy(both)
    learn = list(both.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in learn if p.ndim > 1], "weight_decay": DECAY},
            {"params": [p for p in learn if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=LR,
        betas=(0.9, 0.98),
        fused=True,
    )
    state, step = folder / "encoder.pt", 0
    if state.is_file():
        saved = torch.load(state)
        both.load_state_dict(saved["both"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        step = saved["step"]
    if processes > 1:
        torch.distributed.barrier()
    set_seed(SEED + 1000 * rank + step)
    aside = [t["name"] for t in things if t["name"] in know and ASIDE in t["styles"]]
    test = plain(folder, ASIDE, aside)
    truth = torch.tensor([know.index(name) for name in aside])
    if rank == 0:
        print(f"{len(drawn.labels)} drawings of {len(names)} things, {len(know)} known")
    start, seen = time.time(), torch.zeros(2)
    while step < asked.steps:
        side = next(side for until, side in PHASES if step < until * asked.steps)
        # At first the drawings as they are, by and by the hard ones.
        force = 0.3 + 0.5 * min(1.0, step / (0.6 * asked.steps))
        if step >= ALONE * asked.steps:
            force = 0.5
            drawn.chance[drawn.labels >= len(know)] = 0
        rate = 0.5 + 0.5 * math.cos(math.pi * step / asked.steps)
        for group in optimizer.param_groups:
            group["lr"] = LR * min((step + 1) / WARM, rate)
        pictures, labels = drawn.batch(BATCH // processes, side, force)
        with precision.autocast():
            pictures = pictures.to(memory_format=torch.channels_last)
            pooled = model.convnext(pictures).pooler_output.float()
        logits = model.classifier(pooled)
        if step >= ALONE * asked.steps:
            logits = logits[:, : len(know)]
        first = cross_entropy(logits, labels, label_smoothing=SMOOTH)
        second = words(pooled, labels)
        optimizer.zero_grad()
        (first + second).backward()
        if processes > 1:
            shared(learn, processes)
        torch.nn.utils.clip_grad_norm_(learn, 1.0)
        optimizer.step()
        step += 1
        seen += torch.tensor([first.item(), second.item()])
        if rank > 0:
            continue
        if step % 8 == 0:  # early weights are forgotten sooner
            part = 1 - min(AVERAGE, step / (step + 40)) ** 8
            with torch.no_grad():
                for kept, new in zip(average.parameters(), learn, strict=True):
                    kept.lerp_(new, part)
        if step % 100 == 0:
            losses = [round(loss, 3) for loss in (seen / 100).tolist()]
            seen.zero_()
            print(
                f"step {step}: losses {losses}, {time.time() - start:.0f} s", flush=True
            )
        if step % 500 == 0 or step == asked.steps:
            small = interpolate(test, size=side, mode="area")
            print(f"  {ASIDE}:", measure(*average, small, truth, len(know)), flush=True)
            keep(*average, folder / "encoder", names)
            torch.save(
                {
                    "both": both.state_dict(),
                    "average": average.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "step": step,
                },
                state.with_suffix(".new"),
            )
            state.with_suffix(".new").rename(state)
    if rank == 0:
        publish(folder / "encoder", len(know))


if __name__ == "__main__":
    main()

# What it printed, in 40 minutes on two cores shared with much other work (it was
# stopped once and went on; alone it would take half of that):
#   5574 drawings of 745 things, 447 known
#   step 2500 (32 pixels)  streamline: classifier top-1 0.569, names top-1 0.465
#   step 4500 (48 pixels)  streamline: classifier top-1 0.600, names top-1 0.531
#   step 7000: losses [1.512, 2.276]
#     streamline: classifier top-1 0.638, top-5 0.858, names top-1 0.585, top-5 0.831
# On Twemoji, measured by score.py: top-1 0.819, top-5 0.944. Streamline's file has
# some drawings of something else by the same name ("turkey" is a flag).
