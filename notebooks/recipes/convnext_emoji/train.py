"""Train the encoder of pictures that every picture model of this series shares.

A ConvNeXt from scratch on drawings in nine styles, augmented anew at every look:
turned, stretched, on another ground, in other colours; first small and little changed,
which is learned fast, then larger and harder. Two losses: which of the things it is,
and how near its vector is to what MiniLM makes of the thing's name, of words for it
and of its definition. The second gives the vector a place among words.

Time and result are at the end.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate
from transformers import (
    AutoImageProcessor,
    ConvNextConfig,
    ConvNextForImageClassification,
    set_seed,
)

from recipes.common import precision
from recipes.common.pictures import on_white, square_processor
from recipes.common.training import Trainer, decay_groups, moving_average
from recipes.convnext_emoji import DEPTHS, WIDTHS
from recipes.convnext_emoji.augment import TrainingDrawings
from recipes.convnext_emoji.word_loss import LABEL_SMOOTHING, WordLoss
from recipes.datasets.emoji.captions import texts_and_vectors
from recipes.datasets.emoji.drawings import (
    SMALL,
    VALIDATION_STYLE,
    load_style,
    load_things,
)
from recipes.datasets.emoji.labels import known_names, other_names

SEED = 0
PHASES = [(0.4, 32), (0.7, 48), (1.0, SMALL)]  # up to which part of the steps, pixels
HARDEST = 0.6  # the part of the steps after which the changes grow no more
ALONE = 0.85  # from this part on, the known things alone, and less changed
BATCH = 96
STEPS = 7_000
LR, WARMUP, DECAY = 2e-3, 150, 0.05
AVERAGE, AVERAGED_EVERY = 0.999, 8  # what is kept is a moving average of the weights


def config(labels: list[str]) -> ConvNextConfig:
    """Return the configuration of the encoder with a classifier of these labels."""
    return ConvNextConfig(
        image_size=SMALL,
        patch_size=4,
        hidden_sizes=list(WIDTHS),
        depths=list(DEPTHS),
        layer_scale_init_value=0.1,  # 1e-6, the default, learns slower here
        drop_path_rate=0.05,
        hidden_size=WIDTHS[-1],  # what classes that hold an encoder ask for
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )


class Learner(nn.Module):
    """The classifier and the loss of words, on one encoder."""

    def __init__(self, model: ConvNextForImageClassification, words: WordLoss) -> None:
        super().__init__()
        self.model, self.words = model, words

    def pooled(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return the encoder's vectors, (n, 320), of pictures (n, 3, side, side)."""
        with precision.autocast(self.training):
            pictures = pictures.to(memory_format=torch.channels_last)
            return self.model.convnext(pictures).pooler_output.float()

    def forward(
        self, pictures: torch.Tensor, labels: torch.Tensor, known: int
    ) -> dict[str, torch.Tensor]:
        """Return both losses; the classifier chooses among the first `known` labels."""
        pooled = self.pooled(pictures)
        logits = self.model.classifier(pooled)[:, :known]
        return {
            "classifier": cross_entropy(
                logits, labels, label_smoothing=LABEL_SMOOTHING
            ),
            "words": self.words(pooled, labels),
        }


@torch.no_grad()
def validate(
    learner: Learner, pictures: torch.Tensor, labels: torch.Tensor, known: int
) -> dict[str, float]:
    """Return top-1 and top-5 of the classifier and of the names, among `known`."""
    learner.eval()
    pooled = torch.cat([learner.pooled(part) for part in pictures.split(128)])
    by_name = learner.words.pictures(pooled) @ learner.words.names().T
    found = {}
    for kind, logits in (
        ("classifier", learner.model.classifier(pooled)),
        ("names", by_name),
    ):
        order = logits[:, :known].argsort(descending=True)
        right = order == labels[:, None]
        for k in (1, 5):
            share = right[:, :k].any(1).float().mean().item()
            found[f"{kind} top-{k}"] = round(share, 3)
    return found


def save(model: ConvNextForImageClassification, known: list[str], folder: Path) -> None:
    """Write the encoder with a classifier of the known things alone, whole or not at
    all, and the processor."""
    small = ConvNextForImageClassification(config(known))
    state = dict(model.state_dict())
    for part in ("classifier.weight", "classifier.bias"):
        state[part] = state[part][: len(known)]
    small.load_state_dict(state)
    aside = folder.with_name(f"{folder.name}.writing")
    small.save_pretrained(aside)
    square_processor(SMALL).save_pretrained(aside)
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def train(data: Path, work: Path, steps: int = STEPS) -> None:
    """Train in WORK/training.pt and write the result to WORK/encoder."""
    set_seed(SEED)
    things = load_things(data)
    known = known_names(things)
    # More things than the models know by name are shown, half as often.
    names = known + other_names(things)
    weights = [1.0 if name in known else 0.5 for name in names]
    drawings = TrainingDrawings(data, names, weights)
    print(f"{len(drawings.labels)} drawings of {len(names)} things, {len(known)} known")
    texts, vectors = texts_and_vectors(things, data, work)
    words = WordLoss([texts[name] for name in names], vectors, WIDTHS[-1])
    model = ConvNextForImageClassification(config(names))
    model = model.to(memory_format=torch.channels_last)
    learner = Learner(model, words).train()
    optimizer = torch.optim.AdamW(
        decay_groups([(learner, LR)], DECAY), lr=LR, betas=(0.9, 0.98), fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,  # the lower one of a linear warm-up and a cosine
        lambda s: min((s + 1) / WARMUP, 0.5 + 0.5 * math.cos(math.pi * s / steps)),
    )
    average = moving_average(learner, AVERAGE, young=40, every=AVERAGED_EVERY)
    trainer = Trainer(
        learner,
        optimizer,
        schedule,
        steps,
        work / "training.pt",
        average=average,
        average_every=AVERAGED_EVERY,
        every=min(500, steps),
        log=100,
    )

    def draw(step: int) -> list[tuple]:
        side = next(side for until, side in PHASES if step < until * steps)
        # At first the drawings as they are, by and by the hard ones.
        force = 0.3 + 0.5 * min(1.0, step / (HARDEST * steps))
        among = len(names)
        if step >= ALONE * steps:
            force, among = 0.5, len(known)
            drawings.weights[drawings.labels >= among] = 0
        return [(*drawings.batch(BATCH, side, force), among)]

    drawn = load_style(data, VALIDATION_STYLE)
    aside = [name for name in known if name in drawn]
    pictures = on_white([drawn[name] for name in aside])
    labels = torch.tensor([known.index(name) for name in aside])

    def report(step: int) -> None:
        side = next(side for until, side in PHASES if step <= until * steps)
        small = interpolate(pictures, size=side, mode="area")
        found = validate(average.module, small, labels, len(known))
        print(f"  {VALIDATION_STYLE}: {found}", flush=True)

    trainer.run(draw, lambda batch: learner(*batch), report)
    save(average.module.model, known, work / "encoder")


def publish(work: Path, folder: Path) -> None:
    """Write the model of WORK/encoder to FOLDER, in float16."""
    model = ConvNextForImageClassification.from_pretrained(work / "encoder")
    model.half().save_pretrained(folder)
    AutoImageProcessor.from_pretrained(work / "encoder").save_pretrained(folder)


# What the committed run printed, in 40 minutes on two cores shared with much other work
# (it was stopped once and went on; alone it would take half of that). It ran in two
# processes, each with half of every batch:
#   5574 drawings of 745 things, 447 known
#   step 2500 (32 pixels)  streamline: classifier top-1 0.569, names top-1 0.465
#   step 4500 (48 pixels)  streamline: classifier top-1 0.600, names top-1 0.531
#   step 7000: losses [1.512, 2.276]
#     streamline: classifier top-1 0.638, top-5 0.858, names top-1 0.585, top-5 0.831
# On Twemoji, measured by score.py: top-1 0.819, top-5 0.944. Streamline's file has
# some drawings of something else by the same name ("turkey" is a flag).
