"""A plugin for pytest: which tier a test belongs to, and which tests keep together.

| tier | what it runs |
|---|---|
| check | `pytest tests -m "not model and not nightly"`: loads no model |
| smoke | `pytest notebooks --ignore-glob="*/solutions/*"`: each cell of each chapter |
| test | `pytest -m "not nightly"`: all but what is slow and changes rarely |
| nightly | `pytest -m nightly` |

With `-n 2 --dist loadscope --no-loadscope-reorder` two workers share them: a file
stays on one worker, the longest files come first.

A test that asks for a fixture of HEAVY, or lies in a file of HEAVY_FILES, is marked
`model` by that. One that loads a model or starts a long process in another way is
marked by hand; `pytestmark = pytest.mark.model` does so for a file. A test that loads
a model and is not marked fails; one that is slow and not marked is named at the end.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from book import sync_generated

# Fixtures that load a model (loaded.py), run many notebooks (test_suite.py) or render
# all pages (rendered.py).
HEAVY = {"pipe", "fared", "book_pages"}
# Files that do so throughout, in processes of their own: parts of their names.
HEAVY_FILES = ("test_hub", "test_accelerator", "test_pretend_device")
CARDS = "test_a_card_says_no_more_than_is_measured"
# Parts of the ids of what takes longest. It is begun first, in this order, so that
# nobody waits for it at the end.
LONGEST = (
    "test_rerun.py",
    "test_accelerator.py",
    "test_hub_notebooks.py",
    ".ipynb",
    CARDS,
    "test_browser.py",
    "test_chapter_13.py",
    "test_chapter_08.py",
    "test_setup.py",
    "test_lab.py",
    "test_suite.py",
    "test_colab.py",
)
# Parts of the ids of tests that need not stay with their file: each goes where there
# is room.
SPREAD = ("test_accelerator.py", "test_rerun.py", CARDS)
SLOW = 5.0  # seconds; a test that takes longer is no test for `make check`

current: pytest.Item | None = None  # the test that is running


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out a notebook that lies among the series' own and is not one of them."""
    folders = {path.parent for path in sync_generated.notebooks()}
    if collection_path.suffix == ".ipynb" and collection_path.parent in folders:
        return collection_path not in sync_generated.notebooks() or None
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what loads a model, and begin with what takes longest."""

    def place(item: pytest.Item) -> int:
        found = (i for i, part in enumerate(LONGEST) if part in name_of(item))
        return next(found, len(LONGEST))

    for item in items:
        heavy = any(part in item.path.name for part in HEAVY_FILES)
        if heavy or HEAVY & set(getattr(item, "fixturenames", ())):
            item.add_marker("model")
    items.sort(key=place)


def name_of(item: pytest.Item) -> str:
    """Return a test's file and name, however its id is spelled."""
    return f"{item.path.name}::{item.name}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log):
    """Keep a file on one worker, as `loadscope` does, but for the tests of SPREAD."""
    if config.getoption("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Spreading(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            if any(part in nodeid for part in SPREAD):
                return nodeid
            return super()._split_scope(nodeid)

    return Spreading(config, log)


# --- the guard: nothing that takes long slips into `make check` -------------------


def is_light(item: pytest.Item | None) -> bool:
    """Tell whether `make check` runs this test."""
    names = ("model", "nightly")
    return isinstance(item, pytest.Function) and not any(
        item.get_closest_marker(name) for name in names
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let the library's loading of weights fail a test that is not marked."""
    if "transformers" not in sys.modules or not any(map(is_light, session.items)):
        return
    from transformers import PreTrainedModel

    loading = PreTrainedModel.from_pretrained.__func__

    def guarded(cls, *args, **options):
        if is_light(current):
            pytest.fail(f"{current.name} loads a model: mark it `model` (tiers.py)")
        return loading(cls, *args, **options)

    PreTrainedModel.from_pretrained = classmethod(guarded)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note which test is running, fixtures included."""
    global current
    current = item


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """Say on the report of a test whether `make check` runs it."""
    report = yield
    report.light = is_light(item)
    return report


def pytest_terminal_summary(terminalreporter) -> None:
    """Name the tests of `make check` that took long."""
    seconds: dict[str, float] = {}
    for report in terminalreporter.getreports("passed"):
        if getattr(report, "light", False):
            seconds[report.nodeid] = seconds.get(report.nodeid, 0) + report.duration
    for name, taken in sorted(seconds.items(), key=lambda row: -row[1]):
        if taken > SLOW:
            terminalreporter.write_line(f"slow for `make check`: {name} {taken:.0f} s")
