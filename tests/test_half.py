"""Proves that the recipes multiply in the numbers that this processor is fast in."""

from pathlib import Path

import pytest
import torch

from recipes.common import precision

RECIPES = Path(__file__).resolve().parent.parent / "notebooks" / "recipes"


def test_the_faster_numbers_are_taken(monkeypatch):
    with precision.autocast():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == precision.DTYPE
    monkeypatch.setattr(precision, "DTYPE", torch.bfloat16)
    with precision.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with precision.autocast(False):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file(), reason="no list of flags")
def test_it_is_what_the_processor_says():
    flags = set(Path("/proc/cpuinfo").read_text().split())
    if flags & {"amx_bf16", "avx512_bf16"}:
        assert precision.DTYPE == torch.bfloat16
    elif "avx2" in flags and "avx512f" not in flags:
        assert precision.DTYPE == torch.float32


def test_no_recipe_decides_for_itself():
    modules = [path for path in RECIPES.rglob("*.py") if path.name != "precision.py"]
    assert modules
    for path in modules:
        assert "torch.autocast(" not in path.read_text("utf-8"), path
