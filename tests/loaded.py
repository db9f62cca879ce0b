"""A plugin for pytest: models that are loaded once for all files of a worker."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest


@pytest.fixture(scope="session")
def pipe() -> Callable:
    """Give a pipeline, loaded at its first use: `pipe("summarize", dtype="float32")`.

    The task's embedded model is taken, or the one that is named after it. Whoever
    changes a pipeline makes one of its own: others use this one, too.
    """

    from helpers import model_for, register_own_tasks
    from helpers.models import embedded
    from helpers.session import device

    @functools.cache
    def loaded(task: str, **options):
        from transformers import pipeline

        register_own_tasks()
        return pipeline(task, **options)

    def load(task: str, name: str | None = None, **options):
        if name is None:
            return loaded(task, **model_for(task), **options)
        chosen = {"model": str(embedded(name)), "device": device()}
        return loaded(task, **chosen, **options)

    return load


@pytest.fixture(scope="module")
def tiny():
    """A Llama of random weights that has 32 positions."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=32,
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).eval()
