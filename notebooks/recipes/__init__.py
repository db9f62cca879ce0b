"""How the embedded models were made: `python -m recipes`, see README.md."""

import re


def module_of(name: str) -> str:
    """Return the package of a model's recipe: minilm-sst2 is recipes.minilm_sst2."""
    return "recipes." + re.sub(r"[-.]", "_", name.lower())
