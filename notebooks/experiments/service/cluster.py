"""A Ray of this machine alone, quiet, and gone with whoever started it."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO

STORE = 200 * 2**20  # bytes of memory for what tasks hand to one another, on a node
# Ray's own reports say where the job stands, in a terminal; a page stays short.
SETTINGS = {
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
}


def start_ray(workers: int, address: str = "local") -> None:
    """Start Ray for a job with some workers, or do nothing where it runs already.

    Ray listens on this machine's own address alone, which `__init__.py` sees to.
    Besides the workers there is room for tasks of Ray's own: with as many workers as
    logical CPUs these would wait for ever. `address` names a cluster that runs, such
    as that of `nodes`. Taught in notebook 13.
    """
    os.environ.update(SETTINGS)
    import ray

    if ray.is_initialized():
        return
    own = {
        "num_cpus": workers + 1,
        "include_dashboard": False,
        "object_store_memory": STORE,
    }
    for more in (2, 1, 0):
        try:
            with quiet():
                ray.init(
                    address=address,
                    logging_level="ERROR",
                    log_to_driver=False,
                    **(own if address == "local" else {}),
                )
            break
        except Exception as error:  # Ray has no type of its own for it
            ray.shutdown()
            # Ray gives its processes 30 seconds, too few where all cores are busy.
            if "timed out during startup" not in str(error) or not more:
                raise
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


@contextmanager
def nodes(how_many: int, cpus: int = 3) -> Iterator[None]:
    """Run a Ray cluster of some nodes on this machine while the block lasts, each with
    the processes that it would have on a machine of its own, and connect to it.

    `ray start` refuses a second node on loopback, and elsewhere it would listen to the
    network; Ray's own tests start nodes in this way.
    """
    os.environ.update(SETTINGS)
    import ray
    from ray.cluster_utils import Cluster

    given = {"num_cpus": cpus, "object_store_memory": STORE}
    with quiet():
        cluster = Cluster(
            initialize_head=True, head_node_args=given | {"include_dashboard": False}
        )
        for _ in range(how_many - 1):
            cluster.add_node(**given)
    start_ray(0, cluster.address)
    try:
        yield
    finally:
        with quiet():
            ray.shutdown()
            cluster.shutdown()


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
