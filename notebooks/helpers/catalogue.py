"""The table of models, `models/catalogue.toml`, read once.

Taught in notebook 01, section "Which model was that?".
"""

from __future__ import annotations

import os
import tomllib
from functools import cache
from pathlib import Path

NOTEBOOKS = Path(__file__).resolve().parent.parent
MODELS = NOTEBOOKS / "models"


@cache
def catalogue() -> dict:
    """Return the catalogue: the tables `bases`, `embedded`, `hub` and `tasks`.

    LEARN_TRANSFORMERS_CATALOGUE names another file, for models of your own.
    """
    chosen = os.environ.get("LEARN_TRANSFORMERS_CATALOGUE")
    with Path(chosen or MODELS / "catalogue.toml").open("rb") as file:
        return tomllib.load(file)
