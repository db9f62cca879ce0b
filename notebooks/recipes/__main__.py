"""Make, measure and publish the embedded models.

In notebooks/: python -m recipes STAGE [NAME ...] --data DIR --work DIR

prepare   fetch into DATA what the model learns from and is measured on, and check it
train     train the model in WORK/NAME; an interrupted run goes on where it was
publish   write what was trained in WORK/NAME to models/NAME
score     measure what the card says and compare (no NAME: every model; --quick: what
          needs nothing beyond the repository)

Only `publish` writes into the repository. NAME is a folder of models/. README.md says
what each needs and how long it takes.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from importlib.util import find_spec
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
        except (FileNotFoundError, prepare.WrongData) as error:
            print(f"{asked.stage} {name}: {error}", file=sys.stderr)
            return 1
    return 0


def run(stage: str, name: str, data: Path, work: Path) -> None:
    """Run a stage other than `score` for one model.

    Raises FileNotFoundError (of which prepare.MissingData is one) where the data set,
    the recipe or what was trained is absent, prepare.WrongData where a file is another
    one than the recipe was made with.
    """
    recipe = importlib.import_module(module_of(name))
    if stage == "prepare":
        fetch_all(recipe.NEEDS, data)
        return
    if find_spec(f"{module_of(name)}.train") is None:
        raise FileNotFoundError(f"{name} is a base as it is; there is nothing to train")
    train = importlib.import_module(f"{module_of(name)}.train")
    if stage == "train":
        work.mkdir(parents=True, exist_ok=True)
        train.train(data, work)
    elif not work.is_dir():
        raise FileNotFoundError(f"nothing was trained in {work}: train {name} first")
    else:
        train.publish(work, MODELS / name)


def fetch_all(needs: tuple[str, ...], data: Path) -> None:
    """Fetch every set that can be had; then say which cannot, in one error."""
    absent = []
    for needed in needs:
        try:
            print(f"{needed}: {prepare.fetch(needed, data)}", flush=True)
        except prepare.MissingData as error:
            if prepare.source(needed).get("optional"):
                print(f"{needed} is absent, and the recipe does without: {error}")
            else:
                absent.append(str(error))
    if absent:
        raise prepare.MissingData("\n".join(absent))


if __name__ == "__main__":
    sys.exit(main())
