"""Make, measure and publish the embedded models.

In notebooks/: python -m recipes STAGE [NAME ...] --data DIR --work DIR

prepare   fetch into DATA what the model learns from and is measured on, and check it
train     train the model in WORK; a run that was interrupted goes on where it was
publish   write what was trained in WORK to models/NAME
score     measure what the card says and compare (no NAME: every model; --quick: what
          needs nothing beyond the repository)

Only `publish` writes into the repository. NAME is a folder of models/.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from helpers.catalogue import MODELS, NOTEBOOKS, catalogue
from recipes import module_of, scores
from recipes.datasets import prepare

BUILD = NOTEBOOKS.parent / "build"


def main() -> int:
    """Run one stage for the named models; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stage", choices=["prepare", "train", "publish", "score"])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--data", type=Path, default=BUILD / "data")
    parser.add_argument("--work", type=Path, default=BUILD / "work")
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_intermixed_args()
    known = catalogue()["embedded"]
    if unknown := set(asked.names) - set(known):
        parser.error(f"no model {', '.join(unknown)}; there are {', '.join(known)}")
    if asked.stage == "score":
        return scores.report(asked.names or list(known), asked.quick, asked.data)
    if not asked.names:
        parser.error(f"{asked.stage} wants the name of a model: {', '.join(known)}")
    for name in asked.names:
        try:
            run(asked.stage, name, asked.data, asked.work / name)
        except (FileNotFoundError, prepare.MissingData) as error:
            print(f"{asked.stage} {name}: {error}", file=sys.stderr)
            return 1
    return 0


def run(stage: str, name: str, data: Path, work: Path) -> None:
    """Run a stage other than `score` for one model."""
    recipe = importlib.import_module(module_of(name))
    if stage == "prepare":
        for needed in getattr(recipe, "NEEDS", ()):
            prepare.fetch(needed, data)
        return
    if not hasattr(recipe, "NEEDS"):
        raise FileNotFoundError(f"{name} is a base as it is; there is nothing to train")
    work.mkdir(parents=True, exist_ok=True)
    train = importlib.import_module(f"{module_of(name)}.train")
    if stage == "train":
        train.train(data, work)
    else:
        train.publish(work, MODELS / name)


if __name__ == "__main__":
    sys.exit(main())
