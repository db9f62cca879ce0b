"""Settings of the suite: its plugins, which lie in tests/, and the environment."""

import os
import sys

import pytest

pytest_plugins = ["nbval_hooks", "report", "tiers", "loaded", "rendered", "chromium"]
pytest.register_assert_rewrite("hygiene")


def pytest_configure(config):
    """Set the environment of the kernels and of the tests, before any import."""
    from book.execute import QUIET

    os.environ.update(QUIET)
    # As bootstrap.py does: or each kernel compiles torch and transformers anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    os.environ["MODELS"] = os.environ.get("MODELS", "embedded")
    if getattr(config, "workerinput", {}).get("workercount", 1) > 1:
        # Two that each take all cores wait for one another most of the time.
        os.environ["OMP_NUM_THREADS"] = "1"
    # Python imports tests/offline/sitecustomize.py in every kernel: no network.
    offline = str(config.rootpath / "tests" / "offline")
    guard = str(config.rootpath / "notebooks" / "helpers" / "offline")
    paths = [offline, guard, os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
