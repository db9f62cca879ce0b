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
