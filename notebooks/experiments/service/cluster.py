"""A Ray of this machine alone, quiet, and gone with whoever started it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO


def start_ray(workers: int) -> None:
    """Start Ray for a job with some workers, or do nothing where it runs already.

    Ray listens on this machine's own address alone, which `__init__.py` sees to.
    Besides the workers there is room for tasks of Ray's own: with as many workers as
    logical CPUs these would wait for ever. Taught in notebook 13.
    """
    # Ray's own reports say where the job stands, in a terminal; a page stays short.
    os.environ["RAY_DATA_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_BACKEND_LOG_LEVEL"] = "fatal"
    import ray

    if ray.is_initialized():
        return
    with quiet():
        ray.init(
            address="local",
            num_cpus=workers + 2,
            include_dashboard=False,
            object_store_memory=200 * 2**20,
            logging_level="ERROR",
            log_to_driver=False,
        )
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep off the page what Ray writes in the background, from Python and from C++: a
    paragraph with addresses and numbers for every worker that dies."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        for number, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, number)
            os.close(copy)
        os.close(nowhere)
